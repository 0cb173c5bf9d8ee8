// Prepare a photo as a checkpoint expects it: as preprocess.py does, to the
// byte.

import { mixes } from "./resample.js";

const LONGEST = 100; // times the shorter side; resized, it fills the memory
const BITS = 22; // in which Pillow writes a filter's weights

// photo: { width, height, rgba }. preparation: { size: [height, width],
// channels, crop, stretch, interpolation }, see Preprocess in preprocess.py.
// Returns bytes, channel by channel, as vit.js reads them.
// Throws an Error for a photo that is too long.
export function prepare(photo, preparation) {
  const [height, width] = preparation.size;
  const [across, down] = resized(photo, preparation);
  const { interpolation, channels } = preparation;
  const columns = middle(mixes(photo.width, across, interpolation), width);
  const rows = middle(mixes(photo.height, down, interpolation), height);
  const planes = channels === 1 ? [grey(photo)] : [0, 1, 2].map(channel(photo));
  const bytes = new Uint8Array(channels * height * width);
  planes.forEach((plane, c) => {
    const cut = resize(plane, photo.width, columns, rows);
    bytes.set(cut, c * height * width);
  });
  return bytes;
}

// The width and height to which a photo is resized, before its middle is cut
// out.
function resized({ width, height }, { size, crop, stretch }) {
  // A share such as 224/256 gives 256 again, whatever is rounded.
  const [rows, columns] = size.map((n) => Math.floor(n / crop + 1e-6));
  if (stretch) return [columns, rows];
  if (Math.max(width, height) > LONGEST * Math.min(width, height)) {
    throw new Error(
      `a photo of ${width} × ${height} pixels is too long: cut it to at most ` +
        `${LONGEST} times its shorter side`,
    );
  }
  return width * rows < height * columns
    ? [columns, Math.floor((columns * height) / width)]
    : [Math.floor((rows * width) / height), rows];
}

function middle(all, count) {
  const start = halfToEven((all.length - count) / 2);
  return all.slice(start, start + count);
}

function halfToEven(number) {
  const below = Math.floor(number);
  if (number - below !== 0.5) return Math.round(number);
  return below + (below % 2);
}

const channel =
  ({ rgba }) =>
  (c) => {
    const plane = new Uint8Array(rgba.length / 4);
    for (let i = 0; i < plane.length; i++) plane[i] = rgba[4 * i + c];
    return plane;
  };

// As Pillow does it.
function grey({ rgba }) {
  const plane = new Uint8Array(rgba.length / 4);
  for (let i = 0; i < plane.length; i++) {
    const [red, green, blue] = [rgba[4 * i], rgba[4 * i + 1], rgba[4 * i + 2]];
    plane[i] = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16;
  }
  return plane;
}

// One channel, first across and then down, rounded to bytes in between. Only
// the rows that are looked at are computed.
function resize(plane, width, columns, rows) {
  const top = rows[0].first;
  const last = rows.at(-1);
  const count = last.first + last.weights.length - top;
  const [across, down] = [columns, rows].map((all) => all.map(whole));
  const wide = new Uint8Array(count * across.length);
  for (let y = 0; y < count; y++) {
    const row = plane.subarray((top + y) * width, (top + y + 1) * width);
    for (let x = 0; x < across.length; x++) {
      const { first, weights } = across[x];
      let sum = 1 << (BITS - 1);
      for (let i = 0; i < weights.length; i++)
        sum += weights[i] * row[first + i];
      wide[y * across.length + x] = toByte(sum);
    }
  }
  const out = new Uint8Array(down.length * across.length);
  const sums = new Float64Array(across.length);
  down.forEach(({ first, weights }, y) => {
    sums.fill(1 << (BITS - 1));
    weights.forEach((weight, i) => {
      const from = (first - top + i) * across.length;
      for (let x = 0; x < sums.length; x++) sums[x] += weight * wide[from + x];
    });
    sums.forEach((sum, x) => (out[y * across.length + x] = toByte(sum)));
  });
  return out;
}

// A filter's weights as whole numbers, halves away from zero.
function whole({ first, weights }) {
  const round = (weight) => {
    const size = Math.floor(Math.abs(weight) * (1 << BITS) + 0.5);
    return weight < 0 ? -size : size;
  };
  return { first, weights: Float64Array.from(weights, round) };
}

function toByte(sum) {
  return Math.min(Math.max(Math.floor(sum / (1 << BITS)), 0), 255);
}
