// The Vision Transformer of vit.py for a page: the same names, in the same
// order. The kernels do the arithmetic (kernels.c), on numbers in a memory of
// their own; here stands what follows what, and callers get copies.
//
// n tokens: the class token, where there is one, and then the patches; D = dim,
// h heads of width d. Matrices are float32, row by row; one in the kernels'
// memory goes by its address. Equation numbers are those of the paper's section
// 3.1 and appendix A.

import { dequantise } from "./dequantise.js";
import { linear, place } from "./linear.js";
import { Memory } from "./memory.js";
import { handOver, layOut, sizes } from "./pass.js";
import { positionTable } from "./positions.js";

export class ViT {
  #memory;
  #norms = {}; // where each norm's weight and bias are
  #parts; // where the weights of the embedding, each layer and the head are
  #buffers; // the address behind them: a pass puts its own numbers there
  #pass; // where the last one has put them

  // payload: { config, tensors, data }, as page_vit() in packing.py makes it of
  // a ViT; or the weights themselves in place of data, as trainer.js has them.
  // Throws an Error where the browser cannot run it (see memory.js).
  constructor({ config, tensors, data, weights }) {
    this.config = config;
    this.weights = weights ?? dequantise(tensors, data);
    this.imageSize = pair(config.image_size);
    this.patchSize = pair(config.patch_size);
    this.grid = this.imageSize.map((side, axis) => side / this.patchSize[axis]);
    this.numPrefix = config.pool === "cls" ? 1 : 0;
    this.#prepare(tensors);
  }

  // Put the weights where the kernels find them, with room for a pass behind.
  #prepare(tensors) {
    const n = this.numPrefix + this.grid[0] * this.grid[1];
    const { pass, layer } = sizes(this.config, n);
    const layers = Array(this.config.depth).fill(layer);
    // read from the shapes: weights may still lie on a disk (checkpoint_worker.js)
    const size = (shape) => shape.reduce((a, b) => a * b, 1);
    const weights = Object.values(tensors).map(size);
    this.#memory = new Memory(weights, pass, ...layers);
    const linearAt = (name) => {
      const [outputs] = tensors[`${name}.weight`];
      return place(this.#memory, this.weights, name, outputs);
    };
    const normAt = (name) => {
      const [weight, bias] = ["weight", "bias"].map((part) =>
        this.#memory.put(this.weights[`${name}.${part}`]),
      );
      return (this.#norms[name] = { weight, bias });
    };
    this.#parts = {
      embedding: linearAt("to_patch_embedding.1"),
      layers: layers.map((_, number) => {
        const name = `transformer.layers.${number}`;
        const join = `${name}.0.fn.to_out.0`; // one full head has none
        return {
          norm: normAt(`${name}.0.norm`),
          qkv: linearAt(`${name}.0.fn.to_qkv`),
          join: `${join}.weight` in tensors ? linearAt(join) : null,
          mlpNorm: normAt(`${name}.1.norm`),
          widen: linearAt(`${name}.1.fn.net.0`),
          narrow: linearAt(`${name}.1.fn.net.3`),
        };
      }),
      headNorm: normAt("mlp_head.0"),
      head: linearAt("mlp_head.1"),
    };
    this.#buffers = this.#memory.free;
  }

  // A pass puts its numbers over those of the last.
  #begin(n) {
    if (this.#pass?.n !== n) {
      this.#memory.release(this.#buffers);
      this.#pass = layOut(this.#memory, this.config, n);
    }
    return this.#pass;
  }

  // Read one image: bytes, c * H * W of them, channel by channel. Of `changes`,
  // any of these:
  //   order        the patch of place i is the image's patch order[i]
  //   keep         the places whose tokens enter the encoder; the others are
  //                dropped
  //   positions    false: no position embeddings
  //   headsOff     { layer: [heads] }: those send nothing, and their maps are
  //                zero
  //   temperature  divides the attention scores of all layers once more
  // Returns { logits, predictions, layers, places }. predictions: (depth + 1)
  // arrays of logits, the head read before the first layer and after each.
  // layers: { attention } each, (h, n, n). places: which place each patch token
  // has.
  // Throws a RangeError that names what does not fit.
  forward(pixels, changes = {}) {
    return this.#run(pixels, changes, ["attention"]);
  }

  // The same, and what each layer computes on its way: its q and k (h, n, d),
  // and v (h, d, n); attended and fed (n, D), what its attention and its MLP add
  // to the residual stream, and out (n, D), the stream after both. tokens: the
  // stream before the first layer. To copy all that takes as long as half a
  // pass.
  inside(pixels, changes = {}) {
    const parts = ["attention", "q", "k", "v", "attended", "fed", "out"];
    const found = this.#run(pixels, changes, parts);
    return { tokens: this.embed(pixels, changes).tokens, ...found };
  }

  #run(pixels, changes, parts) {
    const { pass, places } = this.#embed(pixels, changes);
    this.#transformer(pass, changes);
    const streams = [pass.tokens, ...pass.layers.map(({ out }) => out)];
    this.#classify(streams, pass);
    return { places, ...handOver(this.#memory, this.config, pass, parts) };
  }

  // The prediction alone, where many are wanted: nothing else is copied.
  logits(pixels, changes = {}) {
    const { pass } = this.#embed(pixels, changes);
    this.#transformer(pass, changes);
    this.#classify([pass.layers.at(-1).out], pass);
    return this.#memory.read(pass.predictions, this.config.num_classes);
  }

  // What enters the encoder: { tokens, places }, as in `forward`.
  embed(pixels, changes = {}) {
    const { pass, places } = this.#embed(pixels, changes);
    const tokens = this.#memory.read(pass.tokens, pass.n * this.config.dim);
    return { places, tokens };
  }

  #embed(pixels, { order, keep, positions = true }) {
    const patches = this.grid[0] * this.grid[1];
    const places = check(keep ?? range(patches), patches, "keep");
    if (!places.length && !this.numPrefix)
      throw new RangeError("keep at least one patch");
    if (check(order ?? range(patches), patches, "order").length !== patches) {
      throw new RangeError(`order must name all ${patches} patches once`);
    }
    const rows = this.patchify(pixels); // (patches, p1*p2*c)
    const length = rows.length / patches;
    const pass = this.#begin(this.numPrefix + places.length);
    places.forEach((place, i) => {
      const patch = order ? order[place] : place;
      const row = rows.subarray(patch * length, (patch + 1) * length);
      this.#memory.set(pass.pixels + 4 * i * length, row);
    });
    // eq. 1: x_class first
    if (this.numPrefix) this.#memory.set(pass.tokens, this.weights.cls_token);
    const first = pass.tokens + 4 * this.numPrefix * this.config.dim;
    const { embedding } = this.#parts;
    this.#linear(pass.pixels, places.length, embedding, first); // eq. 1: x_p E
    if (positions) this.#addPositions(pass, places); // eq. 1: E_pos
    return { pass, places };
  }

  // Cut a normalised image into patches, row by row; within a patch the channel
  // runs fastest.
  patchify(pixels) {
    const { channels } = this.config;
    const [height, width] = this.imageSize;
    const [p1, p2] = this.patchSize;
    if (pixels.length !== channels * height * width) {
      throw new RangeError(
        `this model reads images of ${channels} x ${height} x ${width} ` +
          `bytes, got ${pixels.length} in all`,
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

  // Each token gets its position's embedding; a dropped patch leaves the others
  // where they were.
  #addPositions({ n, tokens, rows }, places) {
    const { dim } = this.config;
    const table = this.positions(); // (numPrefix + patches, D), or null
    if (!table) return;
    const prefix = this.numPrefix;
    const kept = [...range(prefix), ...places.map((place) => prefix + place)];
    kept.forEach((row, i) => {
      const position = table.subarray(row * dim, (row + 1) * dim);
      this.#memory.set(rows + 4 * i * dim, position);
    });
    this.#memory.kernels.add(tokens, tokens, rows, n * dim);
  }

  positions() {
    return positionTable(this);
  }

  // The encoder: in each layer two norms, attention and the MLP.
  #transformer(pass, changes) {
    const { add, gelu } = this.#memory.kernels;
    const { n, rows, between, hidden } = pass;
    const { dim, mlp_dim } = this.config;
    let x = pass.tokens;
    pass.layers.forEach((layer, number) => {
      const { norm, mlpNorm, widen, narrow } = this.#parts.layers[number];
      this.#norm(x, n, norm, rows);
      this.#attention(pass, number, changes);
      add(between, layer.attended, x, n * dim); // eq. 2
      this.#norm(between, n, mlpNorm, rows);
      this.#linear(rows, n, widen, hidden);
      gelu(hidden, n * mlp_dim);
      this.#linear(hidden, n, narrow, layer.fed);
      add(layer.out, layer.fed, between, n * dim); // eq. 3
      x = layer.out;
    });
  }

  // Attention of a layer to the normed tokens in `rows`.
  #attention(pass, number, { headsOff = {}, temperature = 1 }) {
    if (!(temperature > 0 && temperature < Infinity)) {
      throw new RangeError(
        `a temperature is positive and finite, got ${temperature}`,
      );
    }
    const { product, softmax, transpose } = this.#memory.kernels;
    const { heads, dim_head: d } = this.config;
    const { n, rows, keys, joined } = pass;
    const layer = pass.layers[number];
    const { qkv, join } = this.#parts.layers[number];
    const inner = heads * d;
    const step = 3 * inner; // from a token's queries to the next one's
    this.#linear(rows, n, qkv, layer.qkv); // eq. 5
    for (let head = 0; head < heads; head++) {
      const q = layer.qkv + 4 * head * d; // the head's columns of (n, 3 h*d)
      const [k, v] = [q + 4 * inner, q + 8 * inner];
      transpose(keys, k, n, d, step);
      const map = layer.attention + 4 * head * n * n;
      if (headsOff[number]?.includes(head)) {
        this.#memory.view(map, n * n).fill(0);
      } else {
        product(n, n, d, q, step, 1, keys, n, map, n, 0, 0); // eq. 6: q k^T
        softmax(map, n, n, 1 / (Math.sqrt(d) * temperature));
      }
      const out = joined + 4 * head * d; // the head's columns of (n, h*d)
      product(n, d, n, map, n, 1, v, step, out, inner, 0, 0); // eq. 7: A v
    }
    if (join) {
      this.#linear(joined, n, join, layer.attended); // eq. 8
    } else {
      // one full head: there is nothing to join
      const only = this.#memory.view(joined, n * inner);
      this.#memory.set(layer.attended, only);
    }
  }

  // Read the prediction off tokens, equation 4: (n, D) -> (classes,)
  classify(tokens) {
    const pass = this.#begin(tokens.length / this.config.dim);
    this.#memory.set(pass.tokens, tokens);
    this.#classify([pass.tokens], pass);
    return this.#memory.read(pass.predictions, this.config.num_classes);
  }

  // The same of several streams: (n, D) each -> (streams, classes).
  #classify(streams, { n, share, read, predictions }) {
    const { dim, pool } = this.config;
    const { product } = this.#memory.kernels;
    streams.forEach((stream, i) => {
      const to = read + 4 * i * dim;
      if (pool === "mean") {
        this.#memory.set(share, [1 / n]); // a row of them, times the tokens
        product(1, dim, n, share, 0, 0, stream, dim, to, dim, 0, 0);
      } else {
        this.#memory.set(to, this.#memory.view(stream, dim));
      }
    });
    this.#norm(read, streams.length, this.#parts.headNorm, read);
    this.#linear(read, streams.length, this.#parts.head, predictions);
  }

  // LayerNorm of tokens, (n, D); name: the norm's, as the weights have it.
  norm(x, name) {
    const n = x.length / this.config.dim;
    const { rows } = this.#begin(n);
    this.#memory.set(rows, x);
    this.#norm(rows, n, this.#norms[name], rows);
    return this.#memory.read(rows, x.length);
  }

  #norm(x, n, { weight, bias }, out) {
    const { dim, eps } = this.config;
    this.#memory.kernels.norm(out, x, n, dim, weight, bias, eps);
  }

  #linear(x, n, layer, y) {
    linear(this.#memory, x, n, layer, y);
  }
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
    throw new RangeError(
      `${name} holds patches from 0 to ${n - 1}, each once; got ${indices}`,
    );
  }
  return indices;
}
