// Resizing as Pillow does it, and PyTorch with antialias=True: each output is a
// weighted mean of the inputs under a filter, which widens as the image
// shrinks.

const cubic = (x) =>
  x < 1
    ? (1.5 * x - 2.5) * x * x + 1
    : x < 2
      ? ((2.5 - 0.5 * x) * x - 4) * x + 2
      : 0;
const sinc = (x) => (x ? Math.sin(Math.PI * x) / (Math.PI * x) : 1);

// How far a filter reaches, and its weight at a distance from the middle.
const FILTERS = {
  box: [0.5, (x) => (x > -0.5 && x <= 0.5 ? 1 : 0)],
  bilinear: [1, (x) => Math.max(0, 1 - Math.abs(x))],
  hamming: [
    1,
    (x) =>
      Math.abs(x) < 1 ? sinc(x) * (0.54 + 0.46 * Math.cos(Math.PI * x)) : 0,
  ],
  bicubic: [2, (x) => cubic(Math.abs(x))],
  lanczos: [3, (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0)],
};
export const INTERPOLATIONS = Object.keys(FILTERS);

// What each of `to` outputs is mixed from, of `from` inputs: { first, weights
// }, the number of the first input and the weights of it and those behind it.
export function mixes(from, to, interpolation) {
  const [reach, weight] = FILTERS[interpolation];
  const scale = from / to;
  const wider = Math.max(scale, 1);
  const support = reach * wider;
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - support + 0.5));
    const end = Math.min(from, Math.floor(centre + support + 0.5));
    const raw = Array.from({ length: end - first }, (_, j) =>
      weight((j + first - centre + 0.5) / wider),
    );
    const sum = raw.reduce((a, b) => a + b, 0);
    return { first, weights: raw.map((each) => each / sum) };
  });
}

// Learned positions for another grid, (tokens, D) both: those of `prefix`
// tokens in front stay, the patches' are resized bicubically.
export function resizePositions(table, dim, prefix, [h, w], [rows, columns]) {
  const across = mixes(w, columns, "bicubic");
  const down = mixes(h, rows, "bicubic");
  const start = prefix * dim;
  const wide = new Float32Array(h * columns * dim);
  for (let y = 0; y < h; y++)
    across.forEach(({ first, weights }, x) => {
      const to = (y * columns + x) * dim;
      weights.forEach((weight, i) => {
        const from = start + (y * w + first + i) * dim;
        for (let d = 0; d < dim; d++) wide[to + d] += weight * table[from + d];
      });
    });
  const resized = new Float32Array(start + rows * columns * dim);
  resized.set(table.subarray(0, start));
  const row = columns * dim;
  down.forEach(({ first, weights }, y) => {
    const to = start + y * row;
    weights.forEach((weight, i) => {
      const from = (first + i) * row;
      for (let d = 0; d < row; d++) resized[to + d] += weight * wide[from + d];
    });
  });
  return resized;
}
