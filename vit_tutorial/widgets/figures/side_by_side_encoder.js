// The encoder of vit.js once more, step by step, so that a bug can exchange a
// step. It goes by the same weights, and its sums are the engine's, but for
// attention's.

import { linear, place } from "../engine/linear.js";
import { Memory } from "../engine/memory.js";
import { softmax } from "../engine/softmax.js";

export class OpenEncoder {
  // vit: whose weights these are; tensors: their shapes.
  constructor(vit, tensors) {
    const { dim, heads, dim_head, mlp_dim } = vit.config;
    this.vit = vit;
    this.n = vit.numPrefix + vit.grid[0] * vit.grid[1];
    const count = this.n * Math.max(dim, mlp_dim, 3 * heads * dim_head);
    const weights = Object.values(vit.weights).map(({ length }) => length);
    this.memory = new Memory(weights, [count, count]);
    this.linears = {};
    for (const [name, [outputs, inputs]] of Object.entries(tensors)) {
      const [, own] = name.match(/^(transformer.*)\.weight$/) ?? [];
      if (!own || !inputs) continue; // a norm has no inputs
      this.linears[own] = place(this.memory, vit.weights, own, outputs);
    }
    [this.x, this.y] = [this.memory.take(count), this.memory.take(count)];
  }

  // Read one image. attend(qkv, n, config): a layer's { attention, out }, as
  // `attention` below; carried(x, normed): what the skip connections add.
  // Returns { logits, layers }, as ViT.forward does.
  forward(pixels, attend, carried = (x) => x) {
    const { vit, n } = this;
    let x = vit.embed(pixels).tokens;
    const layers = [];
    for (let number = 0; number < vit.config.depth; number++) {
      const [first, second] = [0, 1].map(
        (half) => `transformer.layers.${number}.${half}`,
      );
      let normed = vit.norm(x, `${first}.norm`);
      const qkv = this.linear(normed, `${first}.fn.to_qkv`);
      const { attention, out } = attend(qkv, n, vit.config);
      layers.push({ attention });
      const joined = this.linear(out, `${first}.fn.to_out.0`);
      x = sum(joined, carried(x, normed)); // eq. 2
      normed = vit.norm(x, `${second}.norm`);
      const hidden = this.gelu(this.linear(normed, `${second}.fn.net.0`));
      const fed = this.linear(hidden, `${second}.fn.net.3`);
      x = sum(fed, carried(x, normed)); // eq. 3
    }
    return { logits: vit.classify(x), layers };
  }

  // (n, in) -> (n, out)
  linear(x, name) {
    const layer = this.linears[name];
    if (!layer) return x; // one full head: there is nothing to join
    this.memory.set(this.x, x);
    linear(this.memory, this.x, this.n, layer, this.y);
    return this.memory.read(this.y, this.n * layer.outputs);
  }

  gelu(x) {
    this.memory.set(this.x, x);
    this.memory.kernels.gelu(this.x, x.length);
    return this.memory.read(this.x, x.length);
  }
}

function sum(x, y) {
  return x.map((value, i) => value + y[i]);
}

// Equations 6 and 7, of queries, keys and values side by side, (n, 3 h*d):
// { attention, out }, (h, n, n) and (n, h*d).
//   start(head, token, n, config): where in a row of all tokens' queries that
//     token's query is
//   weigh(scores, n): turns a head's scores, (n, n), into weights, in place
export function attention(qkv, n, config, start = slice, weigh = overKeys) {
  const { heads, dim_head: d } = config;
  const inner = heads * d;
  const maps = new Float32Array(heads * n * n);
  const out = new Float32Array(n * inner);
  for (let head = 0; head < heads; head++) {
    const [q, k, v] = [0, 1, 2].map((part) =>
      Array.from({ length: n }, (_, token) => {
        const at = start(head, token, n, config);
        const row = 3 * (at - (at % inner)) + part * inner + (at % inner);
        return qkv.subarray(row, row + d);
      }),
    );
    const map = maps.subarray(head * n * n, (head + 1) * n * n);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++) {
        let score = 0;
        for (let e = 0; e < d; e++) score += q[i][e] * k[j][e];
        map[i * n + j] = score / Math.sqrt(d);
      }
    weigh(map, n);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++)
        for (let e = 0; e < d; e++)
          out[i * inner + head * d + e] += map[i * n + j] * v[j][e];
  }
  return { attention: maps, out };
}

// A head has its own slice of every token: "n (h d) -> h n d".
export function slice(head, token, n, { heads, dim_head }) {
  return (token * heads + head) * dim_head;
}

export function overKeys(scores, n) {
  for (let i = 0; i < n; i++) softmax(scores.subarray(i * n, (i + 1) * n));
}
