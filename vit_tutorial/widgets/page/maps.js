// What the figures about attention maps share: colours as pixels, and what maps
// sum up to.

import { cividis } from "./colours.js";

const COLOURS = Array.from({ length: 256 }, (_, i) =>
  cividis(i / 255)
    .match(/\d+/g)
    .map(Number),
);

// A map on a canvas, a pixel a patch: colours from 0 to `highest`. A patch that
// is not there (null) leaves its pixel open, so that what is behind shows
// through.
export function paint(canvas, shares, highest) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  shares.forEach((share, place) => {
    if (share === null) return;
    const level = Math.round(Math.min(share / (highest || 1), 1) * 255);
    image.data.set(COLOURS[level], 4 * place);
    image.data[4 * place + 3] = 255;
  });
  context.putImageData(image, 0, 0);
}

// One token's row of a map, (heads, n, n).
export function rowOf(attention, n, head, token) {
  const start = (head * n + token) * n;
  return attention.subarray(start, start + n);
}

// How many tokens a row hears: the exponential of its entropy.
export function heard(row) {
  let entropy = 0;
  for (const weight of row)
    if (weight > 0) entropy -= weight * Math.log(weight);
  return Math.exp(entropy);
}

// What the class token takes from each token of the first layer, through all
// layers: its row of attention_rollout, which is followed back from the last
// layer, row times matrix.
export function rollout(layers, heads, n) {
  let row = new Float64Array(n);
  row[0] = 1;
  for (const { attention } of [...layers].reverse()) {
    const before = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      const fused = new Float64Array(n); // the heads' mean, rescaled to sum to 1
      let sum = 0;
      for (let head = 0; head < heads; head++) {
        rowOf(attention, n, head, i).forEach((weight, j) => {
          fused[j] += weight;
          sum += weight;
        });
      }
      if (!sum) {
        before[i] += row[i]; // all heads off: the residual connection alone
        continue;
      }
      for (let j = 0; j < n; j++)
        before[j] += row[i] * 0.5 * (fused[j] / sum + (i === j ? 1 : 0));
    }
    row = before;
  }
  return row;
}
