// The Vision Transformer of vit.py, forward and backward, for many images at
// once. Equation numbers are the paper's, as in vit.js.
//
// A batch comes in parts of a few images, so that what a part leaves for its
// way back stays in the processor's cache; the gradients of the parts add up.

import { linearBack, normBack } from "./back.js";
import { Cutter } from "./examples.js";
import { gridOf, positionsBack } from "./learned_positions.js";
import { linear } from "./linear.js";
import { positionTable } from "./positions.js";
import { layerSizes, sharedSizes, TrainingLayer } from "./training_layer.js";

const PART = 8; // images

// How many numbers a part needs: what lies before and behind the encoder, what
// its layers share, and what each keeps.
export function passSizes(config) {
  const { dim, depth, num_classes } = config;
  const { patches, pixels, n } = counts(config);
  const rows = PART * n;
  const own = {
    pixels: PART * patches * pixels,
    tokens: rows * dim,
    table: n * dim,
    dTable: n * dim,
    share: 1,
    pooled: PART * dim,
    dPooled: PART * dim,
    headNormed: PART * dim,
    logits: PART * num_classes,
  };
  const layer = layerSizes(config, rows, n);
  return [own, sharedSizes(config, rows, n), ...Array(depth).fill(layer)];
}

export class Learner {
  #memory;
  #config;
  #weights;
  #values; // the weights by their names
  #gradients;
  #cutter;
  #counts;
  #layers;
  #embedding;
  #headNorm;
  #head;
  #at; // addresses: `own` above, and what layers share

  // memory: with room for passSizes(config). weights: those of weights.js.
  constructor(memory, config, weights) {
    const [own, shared, ...layers] = passSizes(config).map((sizes) =>
      memory.takeAll(sizes),
    );
    this.#memory = memory;
    this.#config = config;
    this.#weights = weights;
    this.#values = weights.views("weights");
    this.#gradients = weights.views("gradients");
    this.#cutter = new Cutter(config);
    this.#counts = counts(config);
    this.#at = { ...own, ...shared };
    this.#layers = layers.map((each, i) => {
      const classAlone = config.pool === "cls" && i === layers.length - 1;
      const where = { own: each, shared, classAlone };
      return new TrainingLayer(memory, config, weights.layer(i), where);
    });
    this.#embedding = weights.linear("to_patch_embedding.1");
    this.#headNorm = weights.norm("mlp_head.0");
    this.#head = weights.linear("mlp_head.1");
  }

  // Learn from a batch: examples as the Cutter takes them, with as many patches
  // kept of each, and a label. The gradients are those of the mean loss, the
  // cross-entropy with so much label smoothing.
  // Returns { loss, correct }: that mean, and how many predictions are right.
  learn(examples, smoothing) {
    this.#weights.view("gradients").fill(0);
    this.#fillTable();
    this.#memory.view(this.#at.dTable, this.#tableSize).fill(0);
    const sum = { loss: 0, correct: 0 };
    for (const part of parts(examples)) {
      this.#forward(part);
      const found = this.#lose(part, smoothing, examples.length);
      sum.loss += found.loss;
      sum.correct += found.correct;
      this.#backward(part);
    }
    this.#tableBack();
    return sum;
  }

  // The logits of examples, (count, classes).
  predict(examples) {
    const { num_classes } = this.#config;
    const logits = new Float32Array(examples.length * num_classes);
    this.#fillTable();
    let done = 0;
    for (const part of parts(examples)) {
      this.#forward(part);
      logits.set(this.#logits(part.length), done);
      done += part.length * num_classes;
    }
    return logits;
  }

  get #tableSize() {
    return this.#counts.n * this.#config.dim;
  }

  #logits(b) {
    return this.#memory.view(this.#at.logits, b * this.#config.num_classes);
  }

  // What each token begins with, before its patch: the class token, or the
  // embedding's bias, and the position.
  #fillTable() {
    const config = this.#config;
    const { dim } = config;
    const { prefix, grid } = this.#counts;
    const weights = this.#values;
    const vit = { config, grid, numPrefix: prefix, weights };
    const positions = positionTable(vit);
    const table = this.#memory.view(this.#at.table, this.#tableSize);
    const bias = weights["to_patch_embedding.1.bias"];
    if (prefix) table.set(weights.cls_token);
    for (let i = prefix * dim; i < table.length; i += dim) table.set(bias, i);
    if (!positions) return;
    for (let i = 0; i < table.length; i++) table[i] += positions[i];
  }

  // The gradient of the table reaches all that has made it.
  #tableBack() {
    const { dim } = this.#config;
    const { prefix } = this.#counts;
    const table = this.#memory.view(this.#at.dTable, this.#tableSize);
    const gradients = this.#gradients;
    if (prefix) gradients.cls_token.set(table.subarray(0, dim));
    const bias = gradients["to_patch_embedding.1.bias"];
    for (let i = prefix * dim; i < table.length; i += dim)
      for (let d = 0; d < dim; d++) bias[d] += table[i + d];
    positionsBack(this.#config, table, gradients);
  }

  #forward(part) {
    const b = part.length;
    const n = this.#embed(part);
    let x = this.#at.tokens;
    for (const layer of this.#layers) {
      layer.forward(x, b, n);
      x = layer.out;
    }
    this.#classify(x, b, n);
  }

  // eq. 1: the tokens of a part; returns how many an image has.
  #embed(part) {
    const { kernels, numbers } = this.#memory;
    const { dim } = this.#config;
    const { prefix, pixels } = this.#counts;
    const { weight } = this.#embedding;
    const kept = part[0].kept.length;
    const n = prefix + kept;
    part.forEach((example, i) => {
      const from = this.#at.pixels + 4 * i * kept * pixels;
      this.#cutter.cut(example, numbers, from / 4);
      const tokens = this.#at.tokens + 4 * i * n * dim;
      this.#eachRun(example, (row, place, count) => {
        const start = this.#at.table / 4 + place * dim;
        const end = start + count * dim;
        numbers.copyWithin(tokens / 4 + row * dim, start, end);
      });
      const patches = tokens + 4 * prefix * dim;
      const to = [patches, dim, patches, dim]; // added to what is there
      kernels.product(kept, dim, pixels, from, pixels, 1, weight, dim, ...to);
    });
    return n;
  }

  // Tokens whose places in the table follow each other, all of them where no
  // patch is dropped: the first one's row and place, and how many they are.
  #eachRun({ kept }, work) {
    const { prefix } = this.#counts;
    const n = prefix + kept.length;
    const placeOf = (row) => (row < prefix ? row : prefix + kept[row - prefix]);
    for (let row = 0; row < n; ) {
      const [first, place] = [row, placeOf(row)];
      while (++row < n && placeOf(row) - place === row - first);
      work(first, place, row - first);
    }
  }

  // eq. 4, of (b, n, D) at x; (b, D) where the class token has gone on alone.
  #classify(x, b, n) {
    const memory = this.#memory;
    const { product, norm } = memory.kernels;
    const { dim, eps, pool } = this.#config;
    const { share, pooled, headNormed, logits } = this.#at;
    const { weight, bias } = this.#headNorm;
    if (pool === "mean") {
      memory.set(share, [1 / n]); // a row of them, times the tokens
      for (let i = 0; i < b; i++) {
        const [from, to] = [x + 4 * i * n * dim, pooled + 4 * i * dim];
        product(1, dim, n, share, 0, 0, from, dim, to, dim, 0, 0);
      }
    } else {
      memory.set(pooled, memory.view(x, b * dim));
    }
    norm(headNormed, pooled, b, dim, weight, bias, eps);
    linear(memory, headNormed, b, this.#head, logits);
  }

  // The logits give way to the loss's gradient: probability minus target, over
  // the batch's size.
  #lose(part, smoothing, batch) {
    const { num_classes } = this.#config;
    const logits = this.#logits(part.length);
    let [loss, correct] = [0, 0];
    part.forEach(({ label }, i) => {
      const row = logits.subarray(i * num_classes, (i + 1) * num_classes);
      const { predicted, logSum } = judge(row);
      if (predicted === label) correct++;
      for (let c = 0; c < num_classes; c++) {
        const even = smoothing / num_classes;
        const target = (c === label ? 1 - smoothing : 0) + even;
        loss += (target * (logSum - row[c])) / batch;
        row[c] = (Math.exp(row[c] - logSum) - target) / batch;
      }
    });
    return { loss, correct };
  }

  #backward(part) {
    const b = part.length;
    const n = this.#counts.prefix + part[0].kept.length;
    let gradient = this.#classifyBack(b, n);
    for (let i = this.#layers.length - 1; i >= 0; i--) {
      const x = i ? this.#layers[i - 1].out : this.#at.tokens;
      gradient = this.#layers[i].backward(x, gradient, b, n);
    }
    this.#embedBack(part, gradient, n);
  }

  // Returns the gradient of what the encoder has put out.
  #classifyBack(b, n) {
    const memory = this.#memory;
    const { product } = memory.kernels;
    const { dim, pool, num_classes } = this.#config;
    const { headNormed, logits, dRows, pooled, dPooled, share } = this.#at;
    const [x, dx] = [headNormed, dRows].map((at) => ({ at, step: dim }));
    const dy = { at: logits, step: num_classes };
    linearBack(memory, b, this.#head, x, dy, dx);
    memory.view(dPooled, b * dim).fill(0);
    normBack(memory, this.#config, this.#headNorm, pooled, b, dRows, dPooled);
    if (pool === "cls") return dPooled;
    for (let i = 0; i < b; i++) {
      const from = dPooled + 4 * i * dim;
      const to = this.#at.dStream + 4 * i * n * dim;
      product(n, dim, 1, share, 0, 0, from, dim, to, dim, 0, 0);
    }
    return this.#at.dStream;
  }

  #embedBack(part, dTokens, n) {
    const { kernels } = this.#memory;
    const { dim } = this.#config;
    const { prefix, pixels } = this.#counts;
    const kept = n - prefix;
    const { dWeight } = this.#embedding;
    part.forEach((example, i) => {
      const from = this.#at.pixels + 4 * i * kept * pixels;
      const tokens = dTokens + 4 * i * n * dim;
      this.#eachRun(example, (row, place, count) => {
        const to = this.#at.dTable + 4 * place * dim;
        kernels.add(to, to, tokens + 4 * row * dim, count * dim);
      });
      const patches = tokens + 4 * prefix * dim;
      const dE = [dWeight, dim, dWeight, dim]; // added to what is there
      kernels.product(pixels, dim, kept, from, 1, pixels, patches, dim, ...dE);
    });
  }
}

// What a row of logits says: the class that is predicted, and the logarithm of
// all exponentials' sum. A class's loss is that less its logit, and its
// probability is e to the minus loss.
export function judge(logits) {
  let predicted = 0;
  for (let c = 1; c < logits.length; c++)
    if (logits[c] > logits[predicted]) predicted = c;
  let sum = 0; // the largest is taken off, as in softmax
  for (const logit of logits) sum += Math.exp(logit - logits[predicted]);
  return { predicted, logSum: logits[predicted] + Math.log(sum) };
}

function counts(config) {
  const grid = gridOf(config);
  const [p1, p2 = p1] = [config.patch_size].flat();
  const prefix = config.pool === "cls" ? 1 : 0;
  const patches = grid[0] * grid[1];
  const pixels = p1 * p2 * config.channels;
  return { grid, prefix, patches, pixels, n: prefix + patches };
}

function* parts(examples) {
  for (let i = 0; i < examples.length; i += PART)
    yield examples.slice(i, i + PART);
}
