// The Vision Transformer of vit.py in plain JavaScript: the same names, in the same order.
//
// n tokens: the class token, where there is one, and then the patches; D = dim, h heads of width d.
// Tensors are Float32Arrays, row by row; sums are in double precision. Equation numbers are those
// of the paper's section 3.1 and appendix A.

import { dequantise } from "./dequantise.js";

export class ViT {
  // payload: { config, tensors, data }, as page_vit() in packing.py makes it of a ViT.
  constructor({ config, tensors, data }) {
    this.config = config;
    this.weights = dequantise(tensors, data);
    this.imageSize = pair(config.image_size);
    this.patchSize = pair(config.patch_size);
    this.grid = this.imageSize.map((side, axis) => side / this.patchSize[axis]);
    this.numPrefix = config.pool === "cls" ? 1 : 0;
  }

  // Read one picture: bytes, c * H * W of them, channel by channel. Of `changes`, any of these:
  //   order        the patch of place i is the picture's patch order[i]
  //   keep         the places whose tokens enter the encoder; the others are dropped
  //   positions    false: no position embeddings
  //   headsOff     { layer: [heads] }: those send nothing, and their maps are zero
  //   temperature  divides the attention scores of all layers once more
  // Returns { logits, predictions, layers, places, tokens }. predictions: (depth + 1) arrays of
  // logits, the head read before the first layer and after each. layers: { q, k, v, attention,
  // attended, fed, out } each: q and k (h, n, d), v (h, d, n), attention (h, n, n); attended and fed
  // (n, D) are what the layer's attention and its MLP add to the residual stream, out (n, D) is the
  // stream after both. tokens: the stream before the first layer. places: which place each patch
  // token has.
  // Throws a RangeError that names what does not fit.
  forward(pixels, changes = {}) {
    const { places, tokens } = this.embed(pixels, changes);
    const layers = this.transformer(tokens, changes);
    const stages = [tokens, ...layers.map((layer) => layer.out)];
    const predictions = stages.map((x) => this.classify(x));
    return { logits: predictions.at(-1), predictions, layers, places, tokens };
  }

  embed(pixels, { order, keep, positions = true }) {
    const { config, weights } = this;
    const n = this.grid[0] * this.grid[1];
    const places = check(keep ?? range(n), n, "keep");
    if (!places.length && !this.numPrefix) throw new RangeError("keep at least one patch");
    if (check(order ?? range(n), n, "order").length !== n) {
      throw new RangeError(`order must name all ${n} patches once`);
    }
    const patches = this.patchify(pixels); // (n, p1*p2*c)
    const length = patches.length / n;
    const chosen = new Float32Array(places.length * length);
    places.forEach((place, i) => {
      const patch = order ? order[place] : place;
      chosen.set(patches.subarray(patch * length, (patch + 1) * length), i * length);
    });
    const x = linear(chosen, places.length, weights, "to_patch_embedding.1"); // eq. 1: x_p E
    const tokens = new Float32Array((this.numPrefix + places.length) * config.dim);
    if (this.numPrefix) tokens.set(weights.cls_token); // eq. 1: x_class first, (n, D)
    tokens.set(x, this.numPrefix * config.dim);
    if (positions) this.addPositions(tokens, places); // eq. 1: E_pos
    return { places, tokens };
  }

  // Cut a normalised picture into patches, row by row; within a patch the channel runs fastest.
  patchify(pixels) {
    const { channels } = this.config;
    const [height, width] = this.imageSize;
    const [p1, p2] = this.patchSize;
    if (pixels.length !== channels * height * width) {
      throw new RangeError(
        `this model reads pictures of ${channels} x ${height} x ${width} bytes, ` +
          `got ${pixels.length} in all`,
      );
    }
    const mean = this.config.mean ?? Array(channels).fill(0);
    const std = this.config.std ?? Array(channels).fill(1);
    const patches = new Float32Array(pixels.length);
    let i = 0;
    for (let top = 0; top < height; top += p1) {
      for (let left = 0; left < width; left += p2) {
        for (let y = top; y < top + p1; y++) {
          for (let x = left; x < left + p2; x++) {
            for (let c = 0; c < channels; c++) {
              const byte = pixels[(c * height + y) * width + x];
              patches[i++] = (byte / 255 - mean[c]) / std[c];
            }
          }
        }
      }
    }
    return patches;
  }

  // Each token gets its position's embedding, in place; a dropped patch leaves the others where
  // they were.
  addPositions(tokens, places) {
    const { dim } = this.config;
    const table = this.positions(); // (numPrefix + patches, D), or null
    if (!table) return;
    const prefix = this.numPrefix;
    const rows = [...range(prefix), ...places.map((place) => prefix + place)];
    rows.forEach((row, i) => {
      for (let d = 0; d < dim; d++) tokens[i * dim + d] += table[row * dim + d];
    });
  }

  positions() {
    const kind = this.config.position;
    if (!Object.hasOwn(POSITIONS, kind)) {
      const known = Object.keys(POSITIONS).join(", ");
      throw new RangeError(`this page adds positions of the kinds ${known}; got ${kind}`);
    }
    return POSITIONS[kind](this);
  }

  // The encoder. Returns of each layer what went on inside, what it adds, and what it puts out.
  transformer(tokens, changes) {
    const { depth, dim } = this.config;
    const n = tokens.length / dim;
    const layers = [];
    let x = tokens;
    for (let layer = 0; layer < depth; layer++) {
      const name = `transformer.layers.${layer}`;
      const attention = this.attention(this.norm(x, `${name}.0.norm`), n, layer, changes);
      x = add(attention.out, x); // eq. 2
      const fed = this.feedForward(this.norm(x, `${name}.1.norm`), n, `${name}.1.fn.net`);
      x = add(fed, x); // eq. 3
      layers.push({ ...attention.inside, attended: attention.out, fed, out: x });
    }
    return layers;
  }

  attention(x, n, layer, { headsOff = {}, temperature = 1 }) {
    if (!(temperature > 0 && temperature < Infinity)) {
      throw new RangeError(`a temperature is positive and finite, got ${temperature}`);
    }
    const { heads, dim_head: d } = this.config;
    const name = `transformer.layers.${layer}.0.fn`;
    const inner = heads * d;
    const qkv = linear(x, n, this.weights, `${name}.to_qkv`); // eq. 5: (n, 3*h*d)
    const [q, k, v] = [0, 1, 2].map(() => new Float32Array(n * inner));
    for (let i = 0; i < n; i++) {
      for (let c = 0; c < inner; c++) {
        const [head, slot] = [Math.floor(c / d), c % d];
        q[(head * n + i) * d + slot] = qkv[i * 3 * inner + c];
        k[(head * n + i) * d + slot] = qkv[i * 3 * inner + inner + c];
        v[(head * d + slot) * n + i] = qkv[i * 3 * inner + 2 * inner + c]; // each value's column
      }
    }
    const attention = new Float32Array(heads * n * n);
    const joined = new Float32Array(n * inner); // (n, h*d)
    const part = new Float32Array(n * d);
    for (let head = 0; head < heads; head++) {
      if (headsOff[layer]?.includes(head)) continue;
      const rows = (t, size) => t.subarray(head * size, (head + 1) * size);
      const weights = rows(attention, n * n);
      products(rows(q, n * d), n, rows(k, n * d), n, d, weights); // eq. 6: q k^T
      for (let i = 0; i < n; i++)
        softmax(weights.subarray(i * n, (i + 1) * n), Math.sqrt(d) * temperature);
      products(weights, n, rows(v, n * d), d, n, part); // eq. 7: A v
      for (let i = 0; i < n; i++)
        joined.set(part.subarray(i * d, (i + 1) * d), i * inner + head * d);
    }
    const oneFullHead = !(`${name}.to_out.0.weight` in this.weights); // nothing to join then
    const out = oneFullHead ? joined : linear(joined, n, this.weights, `${name}.to_out.0`); // eq. 8
    return { out, inside: { q, k, v, attention } };
  }

  feedForward(x, n, name) {
    const hidden = linear(x, n, this.weights, `${name}.0`);
    for (let i = 0; i < hidden.length; i++) hidden[i] = gelu(hidden[i]);
    return linear(hidden, n, this.weights, `${name}.3`);
  }

  // Read the answer off tokens, equation 4: (n, D) -> (classes,)
  classify(tokens) {
    const { dim } = this.config;
    const n = tokens.length / dim;
    let x = tokens.subarray(0, dim);
    if (this.config.pool === "mean") {
      x = new Float32Array(dim);
      for (let d = 0; d < dim; d++) {
        let sum = 0;
        for (let i = 0; i < n; i++) sum += tokens[i * dim + d];
        x[d] = sum / n;
      }
    }
    return linear(this.norm(x, "mlp_head.0"), 1, this.weights, "mlp_head.1"); // eq. 4
  }

  // LayerNorm: each token to mean 0 and variance 1, then scaled and shifted.
  norm(x, name) {
    const { dim, eps } = this.config;
    const [weight, bias] = [this.weights[`${name}.weight`], this.weights[`${name}.bias`]];
    const out = new Float32Array(x.length);
    for (let start = 0; start < x.length; start += dim) {
      let mean = 0;
      for (let d = 0; d < dim; d++) mean += x[start + d];
      mean /= dim;
      let variance = 0;
      for (let d = 0; d < dim; d++) variance += (x[start + d] - mean) ** 2;
      const scale = 1 / Math.sqrt(variance / dim + eps);
      for (let d = 0; d < dim; d++)
        out[start + d] = (x[start + d] - mean) * scale * weight[d] + bias[d];
    }
    return out;
  }
}

// y = x W^T + b: (n, in) -> (n, out)
function linear(x, n, weights, name) {
  const [weight, bias] = [weights[`${name}.weight`], weights[`${name}.bias`]];
  const inputs = n ? x.length / n : 1;
  const outputs = weight.length / inputs;
  const y = new Float32Array(n ? n * outputs : 0);
  products(x, n, weight, outputs, inputs, y);
  if (bias) {
    for (let i = 0; i < n; i++) for (let o = 0; o < outputs; o++) y[i * outputs + o] += bias[o];
  }
  return y;
}

// All products of rows: out[i, j] = a[i] · b[j], rows of `length` numbers. This is where the time
// goes: two rows of a and four of b at once, so that each number read is used more than once. At an
// edge the last row stands in for those beyond it, and is computed again.
export function products(a, rows, b, columns, length, out) {
  for (let j = 0; j < columns; j += 4) {
    const j1 = Math.min(j + 1, columns - 1);
    const j2 = Math.min(j + 2, columns - 1);
    const j3 = Math.min(j + 3, columns - 1);
    const [b0, b1, b2, b3] = [j * length, j1 * length, j2 * length, j3 * length];
    for (let i = 0; i < rows; i += 2) {
      const i1 = Math.min(i + 1, rows - 1);
      const [a0, a1] = [i * length, i1 * length];
      let [s00, s01, s02, s03, s10, s11, s12, s13] = [0, 0, 0, 0, 0, 0, 0, 0];
      for (let c = 0; c < length; c++) {
        const x0 = a[a0 + c];
        const x1 = a[a1 + c];
        const y0 = b[b0 + c];
        const y1 = b[b1 + c];
        const y2 = b[b2 + c];
        const y3 = b[b3 + c];
        s00 += x0 * y0;
        s01 += x0 * y1;
        s02 += x0 * y2;
        s03 += x0 * y3;
        s10 += x1 * y0;
        s11 += x1 * y1;
        s12 += x1 * y2;
        s13 += x1 * y3;
      }
      out[i * columns + j] = s00;
      out[i * columns + j1] = s01;
      out[i * columns + j2] = s02;
      out[i * columns + j3] = s03;
      out[i1 * columns + j] = s10;
      out[i1 * columns + j1] = s11;
      out[i1 * columns + j2] = s12;
      out[i1 * columns + j3] = s13;
    }
  }
}

// In place: divide the scores, then exponentials that sum to 1. The largest is taken off first,
// which changes no weight and keeps exp from overflowing.
export function softmax(scores, divisor = 1) {
  let largest = -Infinity;
  for (let i = 0; i < scores.length; i++) largest = Math.max(largest, scores[i]);
  let sum = 0;
  for (let i = 0; i < scores.length; i++) {
    scores[i] = Math.exp((scores[i] - largest) / divisor);
    sum += scores[i];
  }
  for (let i = 0; i < scores.length; i++) scores[i] /= sum;
  return scores;
}

export function gelu(x) {
  return 0.5 * x * (1 + erf(x * Math.SQRT1_2));
}

// The error function, wrong by less than 1.5e-7: Abramowitz and Stegun (1964), formula 7.1.26.
export function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const polynomial =
    ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  const y = 1 - polynomial * Math.exp(-x * x);
  return x < 0 ? -y : y;
}

// Every kind of position embedding, as in positions.py: what each token gets, (n, D), or null.
const POSITIONS = {
  none: () => null,
  learned: (vit) => vit.weights.pos_embedding,
  learned_2d: (vit) => rowsAndColumns(vit, vit.weights.pos_rows, vit.weights.pos_columns),
  sincos_2d: (vit) => rowsAndColumns(vit, ...vit.grid.map((side) => sincos(side, vit.config.dim))),
};

// One half for the column, one for the row; the class token has no position, so it gets zeros.
function rowsAndColumns({ grid, numPrefix, config: { dim } }, rows, columns) {
  const half = dim / 2;
  const table = new Float32Array((numPrefix + grid[0] * grid[1]) * dim);
  let i = numPrefix * dim;
  for (let row = 0; row < grid[0]; row++) {
    for (let column = 0; column < grid[1]; column++, i += dim) {
      table.set(columns.subarray(column * half, (column + 1) * half), i);
      table.set(rows.subarray(row * half, (row + 1) * half), i + half);
    }
  }
  return table;
}

// One axis of the 2-D sine-cosine positions: (length, dim/2).
function sincos(length, dim) {
  const quarter = dim / 4;
  const table = new Float32Array((length * dim) / 2);
  for (let i = 0; i < length; i++) {
    for (let d = 0; d < quarter; d++) {
      const angle = i * 10_000 ** -(d / Math.max(quarter - 1, 1));
      table[i * 2 * quarter + d] = Math.sin(angle);
      table[i * 2 * quarter + quarter + d] = Math.cos(angle);
    }
  }
  return table;
}

function add(x, y) {
  const sum = new Float32Array(x.length);
  for (let i = 0; i < x.length; i++) sum[i] = x[i] + y[i];
  return sum;
}

function pair(size) {
  return Array.isArray(size) ? size : [size, size];
}

function range(n) {
  return Array.from({ length: n }, (_, i) => i);
}

function check(indices, n, name) {
  const wrong = indices.filter((i) => !Number.isInteger(i) || i < 0 || i >= n);
  if (wrong.length || new Set(indices).size < indices.length) {
    throw new RangeError(`${name} holds patches from 0 to ${n - 1}, each once; got ${indices}`);
  }
  return indices;
}
