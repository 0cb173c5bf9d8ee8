// A model for another figure: its weights a byte each, as quantise.py has them.

import { toBase64 } from "../../page/packed_image.js";

// model: { config, tensors, weights }. Returns { config, tensors, data }.
export function quantised({ config, tensors, weights }) {
  const [floats, integers] = [[], []];
  for (const [name, shape] of Object.entries(tensors)) {
    const values = weights[name];
    const length = shape.at(-1);
    if (values.length === length) {
      floats.push(...values); // a single row stays as it is
      continue;
    }
    for (let start = 0; start < values.length; start += length) {
      const row = values.subarray(start, start + length);
      const largest = row.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
      const scale = Math.fround(largest > 1e-30 ? largest / 127 : 1);
      floats.push(scale);
      integers.push(...row.map((value) => Math.round(value / scale)));
    }
  }
  const bytes = new Uint8Array(4 * floats.length + integers.length);
  bytes.set(new Uint8Array(Float32Array.from(floats).buffer));
  bytes.set(new Uint8Array(Int8Array.from(integers).buffer), 4 * floats.length);
  return { config, tensors, data: toBase64(bytes) };
}
