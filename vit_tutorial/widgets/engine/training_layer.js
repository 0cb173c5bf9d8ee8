// A layer of the encoder for many images at once, and the way back through it.
//
// b images of n tokens are b*n rows, D = dim numbers each; an image's queries,
// keys and values stand side by side in a row of qkv. Whatever the backward
// pass needs stays where the forward pass has put it. Where the head reads the
// class token alone, the last layer computes that alone: the other tokens give
// it their keys and values, and nobody reads what becomes of them.

import { linearBack, normBack, part } from "./back.js";
import { linear } from "./linear.js";

// How many numbers a layer keeps of `rows` tokens, n of each image.
export function layerSizes({ dim, heads, dim_head, mlp_dim }, rows, n) {
  const inner = heads * dim_head;
  return {
    normed: rows * dim,
    qkv: rows * 3 * inner,
    maps: rows * heads * n,
    joined: rows * inner, // what all heads put out
    between: rows * dim, // the stream after attention
    mlpNormed: rows * dim,
    hidden: rows * mlp_dim,
    slope: rows * mlp_dim, // GELU's
    out: rows * dim,
  };
}

// What all layers share: numbers that no layer needs again.
export function sharedSizes({ dim, heads, dim_head, mlp_dim }, rows, n) {
  const inner = heads * dim_head;
  return {
    read: rows * dim, // the tokens that go on, of the stream that came in
    turned: dim_head * n, // a head's keys or values as columns
    dStream: rows * dim,
    dRows: rows * dim, // a norm's output
    dQkv: rows * 3 * inner,
    dMap: n * n,
    dJoined: rows * inner,
    dHidden: rows * mlp_dim,
  };
}

export class TrainingLayer {
  // weights: those that `layer` of weights.js finds. own, shared: addresses of
  // the sizes above. classAlone: compute the class token's output only.
  constructor(memory, config, weights, { own, shared, classAlone }) {
    const { kernels } = memory;
    Object.assign(this, { memory, kernels, config, shared, classAlone });
    const { qkv, ...others } = weights;
    Object.assign(this, others, own);
    const inner = config.heads * config.dim_head;
    this.queries = part(qkv, 0, inner);
    this.keysAndValues = part(qkv, inner, 2 * inner);
  }

  // The stream at x, (b*n, D), goes through: out is (b*n, D), or (b, D) where
  // the class token goes on alone.
  forward(x, b, n) {
    const { kernels, between, mlpNormed, hidden, slope, out } = this;
    const { dim, mlp_dim } = this.config;
    const rows = this.#rowsOut(b, n);
    this.#norm(this.normed, x, b * n, this.norm);
    this.#attend(b, n);
    const joined = this.#joined(rows);
    kernels.add(between, joined, this.#read(x, b, n), rows * dim); // eq. 2
    this.#norm(mlpNormed, between, rows, this.mlpNorm);
    linear(this.memory, mlpNormed, rows, this.widen, hidden);
    kernels.gelu_with_slope(hidden, slope, rows * mlp_dim);
    linear(this.memory, hidden, rows, this.narrow, out);
    kernels.add(out, out, between, rows * dim); // eq. 3
  }

  // From dOut, the gradient of `out`, to that of x: both addresses. On the way
  // every weight's gradient grows.
  backward(x, dOut, b, n) {
    const { kernels, memory, shared, config } = this;
    const { dim, heads, dim_head, mlp_dim } = config;
    const rows = this.#rowsOut(b, n);
    const dHidden = { at: shared.dHidden, step: mlp_dim };
    const dRows = { at: shared.dRows, step: dim };

    const hidden = { at: this.hidden, step: mlp_dim };
    const dy = { at: dOut, step: dim };
    linearBack(memory, rows, this.narrow, hidden, dy, dHidden);
    kernels.multiply(dHidden.at, dHidden.at, this.slope, rows * mlp_dim);
    const mlpNormed = { at: this.mlpNormed, step: dim };
    linearBack(memory, rows, this.widen, mlpNormed, dHidden, dRows);
    this.#normBack(dOut, this.between, rows, this.mlpNorm); // and eq. 3

    let dJoined = dOut;
    if (this.join) {
      dJoined = shared.dJoined;
      const inner = heads * dim_head;
      const joined = { at: this.joined, step: inner };
      const dx = { at: dJoined, step: inner };
      linearBack(memory, rows, this.join, joined, dy, dx);
    }
    this.#attendBack(dJoined, b, n);
    const dStream = this.#unread(dOut, b, n); // eq. 2
    this.#normBack(dStream, x, b * n, this.norm);
    return dStream;
  }

  #rowsOut(b, n) {
    return this.classAlone ? b : b * n;
  }

  // The output of attention: (rows, D)
  #joined(rows) {
    if (!this.join) return this.joined; // one full head: nothing to join
    linear(this.memory, this.joined, rows, this.join, this.between); // eq. 8
    return this.between;
  }

  // The rows of x that go on.
  #read(x, b, n) {
    if (!this.classAlone) return x;
    const { dim } = this.config;
    const { numbers } = this.memory;
    const { read } = this.shared;
    for (let i = 0; i < b; i++) {
      const from = x / 4 + i * n * dim;
      numbers.copyWithin(read / 4 + i * dim, from, from + dim);
    }
    return read;
  }

  // The way back: the other rows have had no part in it.
  #unread(dRead, b, n) {
    if (!this.classAlone) return dRead;
    const { dim } = this.config;
    const { numbers } = this.memory;
    const { dStream } = this.shared;
    this.memory.view(dStream, b * n * dim).fill(0);
    for (let i = 0; i < b; i++) {
      const from = dRead / 4 + i * dim;
      numbers.copyWithin(dStream / 4 + i * n * dim, from, from + dim);
    }
    return dStream;
  }

  #attend(b, n) {
    const { memory, normed, qkv, maps, shared, kernels } = this;
    const { queries, keysAndValues } = this;
    const { dim, heads, dim_head: d } = this.config;
    const { product, softmax, transpose } = kernels;
    const inner = heads * d;
    const step = 3 * inner;
    const [m, rows] = this.classAlone ? [1, b] : [n, b * n];
    const apart = (b * n) / rows; // from a row that attends to the next
    const steps = [apart * dim, apart * step];
    linear(memory, normed, rows, queries, qkv, ...steps); // eq. 5
    const kv = qkv + 4 * inner;
    linear(memory, normed, b * n, keysAndValues, kv, dim, step);
    this.#eachHead(b, n, ({ q, k, map }) => {
      transpose(shared.turned, k, n, d, step);
      product(m, n, d, q, step, 1, shared.turned, n, map, n, 0, 0);
    });
    softmax(maps, rows * heads, n, d ** -0.5); // eq. 6
    this.#eachHead(b, n, ({ v, map, out }) => {
      const joined = this.joined + out;
      product(m, d, n, map, n, 1, v, step, joined, inner, 0, 0); // eq. 7
    });
  }

  // Leaves the gradient of the norm's output, (b*n, D), in dRows.
  #attendBack(dJoined, b, n) {
    const { memory, shared, kernels } = this;
    const { dim, heads, dim_head: d } = this.config;
    const { product, softmax_back, transpose } = kernels;
    const { dMap, dQkv, turned } = shared;
    const inner = heads * d;
    const step = 3 * inner;
    const [m, rows] = this.classAlone ? [1, b] : [n, b * n];
    this.#eachHead(b, n, ({ q, k, v, map, out }) => {
      const dOut = dJoined + out;
      const [dq, dk, dv] = [q, k, v].map((at) => at - this.qkv + dQkv);
      product(n, d, m, map, 1, n, dOut, inner, dv, step, 0, 0); // A^T dO
      transpose(turned, v, n, d, step);
      product(m, n, d, dOut, inner, 1, turned, n, dMap, n, 0, 0); // dO V^T
      softmax_back(dMap, map, m, n, d ** -0.5);
      product(m, d, n, dMap, n, 1, k, step, dq, step, 0, 0); // dS K
      product(n, d, m, dMap, 1, n, q, step, dk, step, 0, 0); // dS^T Q
    });
    const dRows = { at: shared.dRows, step: dim };
    const dKv = { at: dQkv + 4 * inner, step };
    const normed = { at: this.normed, step: dim };
    linearBack(memory, b * n, this.keysAndValues, normed, dKv, dRows);
    const apart = (b * n) / rows;
    const [x, dy, dx] = [normed, { at: dQkv, step }, dRows].map(
      ({ at, step }) => ({ at, step: step * apart }),
    );
    linearBack(memory, rows, this.queries, x, dy, dx, true);
  }

  // Where each head of each image has its first query, key and value, its map,
  // and its columns among the outputs of all heads.
  #eachHead(b, n, work) {
    const { heads, dim_head: d } = this.config;
    const inner = heads * d;
    const m = this.classAlone ? 1 : n;
    for (let i = 0; i < b; i++) {
      for (let head = 0; head < heads; head++) {
        const q = this.qkv + 4 * (i * n * 3 * inner + head * d);
        const [k, v] = [q + 4 * inner, q + 8 * inner];
        const map = this.maps + 4 * (i * heads + head) * m * n;
        work({ q, k, v, map, out: 4 * (i * m * inner + head * d) });
      }
    }
  }

  #norm(out, x, rows, { weight, bias }) {
    const { dim, eps } = this.config;
    this.kernels.norm(out, x, rows, dim, weight, bias, eps);
  }

  // Add what dRows, the gradient of a norm's output, makes of its input's.
  #normBack(dx, x, rows, norm) {
    const { memory, config, shared } = this;
    normBack(memory, config, norm, x, rows, shared.dRows, dx);
  }
}
