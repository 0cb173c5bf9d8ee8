// The encoder of vit.js once more, from the same parts, but open: a bug can
// exchange a step of it.

import { linear, place } from "../engine/linear.js";
import { Memory } from "../engine/memory.js";

export class OpenEncoder {
  // vit: whose weights these are; tensors: their shapes.
  constructor(vit, tensors) {
    const { dim, heads, dim_head, mlp_dim } = vit.config;
    const n = vit.numPrefix + vit.grid[0] * vit.grid[1];
    const inner = n * heads * dim_head;
    const widest = Math.max(n * dim, n * mlp_dim, 3 * inner);
    const sizes = { x: widest, y: widest, q: inner, k: inner, v: inner };
    Object.assign(sizes, { keys: inner, maps: heads * n * n, spare: n * n });
    const weights = Object.values(vit.weights).map(({ length }) => length);
    this.vit = vit;
    this.n = n;
    this.memory = new Memory(weights, sizes);
    this.linears = {};
    for (const [name, [outputs, inputs]] of Object.entries(tensors)) {
      const [, own] = name.match(/^(transformer.*)\.weight$/) ?? [];
      if (!own || !inputs) continue; // a norm's weight is a vector
      this.linears[own] = place(this.memory, vit.weights, own, outputs);
    }
    this.at = this.memory.takeAll(sizes);
  }

  // Read one image: { logits, layers }, as ViT.forward returns them. What can
  // be exchanged:
  //   cut(head, n, config)             where in (n, h*d) a head's entries of
  //                                    the first token are, and how far it is
  //                                    to those of the next: [start, step]
  //   weigh(memory, map, n, scale, spare)  turns scores (n, n) into weights
  //   carried(x, normed)               what the skip connections add
  forward(pixels, { cut = slices, weigh = overKeys, carried = (x) => x }) {
    const { vit } = this;
    let x = vit.embed(pixels).tokens;
    const layers = [];
    for (let number = 0; number < vit.config.depth; number++) {
      const name = `transformer.layers.${number}`;
      let normed = vit.norm(x, `${name}.0.norm`);
      const qkv = this.linear(normed, `${name}.0.fn.to_qkv`); // eq. 5
      const { attention, out } = this.attend(qkv, cut, weigh);
      layers.push({ attention });
      const joined = this.linear(out, `${name}.0.fn.to_out.0`); // eq. 8
      x = sum(joined, carried(x, normed)); // eq. 2
      normed = vit.norm(x, `${name}.1.norm`);
      const hidden = this.gelu(this.linear(normed, `${name}.1.fn.net.0`));
      const fed = this.linear(hidden, `${name}.1.fn.net.3`);
      x = sum(fed, carried(x, normed)); // eq. 3
    }
    return { logits: vit.classify(x), layers };
  }

  // Queries, keys and values side by side, (n, 3 h*d) -> (h, n, n), (n, h*d)
  attend(qkv, cut, weigh) {
    const { n, memory, at } = this;
    const { heads, dim_head: d } = this.vit.config;
    const { product, transpose } = memory.kernels;
    const inner = heads * d;
    for (let i = 0; i < n; i++)
      ["q", "k", "v"].forEach((part, which) => {
        const from = (3 * i + which) * inner;
        const own = qkv.subarray(from, from + inner);
        memory.set(at[part] + 4 * i * inner, own);
      });
    for (let head = 0; head < heads; head++) {
      const [start, step] = cut(head, n, this.vit.config);
      const [q, k, v] = [at.q, at.k, at.v].map((part) => part + 4 * start);
      const map = at.maps + 4 * head * n * n;
      transpose(at.keys, k, n, d, step);
      product(n, n, d, q, step, 1, at.keys, n, map, n, 0, 0); // eq. 6: q k^T
      weigh(memory, map, n, d ** -0.5, at.spare);
      const out = at.y + 4 * head * d;
      product(n, d, n, map, n, 1, v, step, out, inner, 0, 0); // eq. 7: A v
    }
    const attention = memory.read(at.maps, heads * n * n);
    return { attention, out: memory.read(at.y, n * inner) };
  }

  // (n, in) -> (n, out)
  linear(x, name) {
    const { memory, at, n } = this;
    const layer = this.linears[name];
    if (!layer) return x; // one full head: there is nothing to join
    memory.set(at.x, x);
    linear(memory, at.x, n, layer, at.y);
    return memory.read(at.y, n * layer.outputs);
  }

  gelu(x) {
    const { memory, at } = this;
    memory.set(at.x, x);
    memory.kernels.gelu(at.x, x.length);
    return memory.read(at.x, x.length);
  }
}

// A head has a slice of every token.
function slices(head, n, { heads, dim_head }) {
  return [head * dim_head, heads * dim_head];
}

function overKeys({ kernels }, map, n, scale) {
  kernels.softmax(map, n, n, scale);
}

function sum(x, y) {
  return x.map((value, i) => value + y[i]);
}
