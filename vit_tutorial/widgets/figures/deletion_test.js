// The deletion test of one image: patches are removed in the order that a
// method gives, the most important first, and what is watched is the
// probability of the class that the model predicted at first.

import { rollout, rowOf } from "../page/rollout.js";
import { probabilities } from "../page/page_model.js";
import { randomNumbers } from "../page/shuffle.js";

export const METHODS = ["last layer", "rollout", "contrast", "at random"];
export const STEPS = 7; // the area under a curve is taken from every seventh

export class DeletionTest {
  #left; // probabilities by how many patches are gone, as far as computed
  #areas = {};

  // seed: of the random order.
  constructor(vit, image, seed) {
    this.vit = vit;
    this.bytes = image.bytes;
    this.count = vit.grid[0] * vit.grid[1];
    const { logits, layers } = vit.forward(image.bytes);
    this.before = probabilities(logits);
    this.first = this.before.indexOf(Math.max(...this.before));
    const random = randomNumbers(seed);
    this.scores = {
      "last layer": lastLayer(layers, vit.config.heads, this.count),
      rollout: rollout(layers, vit.config.heads, this.count + 1).subarray(1),
      contrast: contrast(image, vit.patchSize),
      "at random": Float64Array.from({ length: this.count }, random),
    };
    this.order = ofEach((method) => ranked(this.scores[method]));
    this.rank = ofEach((method) => inverse(this.order[method]));
    this.#left = ofEach(() => [this.before]);
  }

  // The probabilities when an order's first `gone` patches are removed, which
  // is computed once.
  left(method, gone) {
    if (!this.#left[method][gone]) {
      const logits = this.vit.logits(this.bytes, this.#kept(method, gone));
      this.#know(method, gone, probabilities(logits));
    }
    return this.#left[method][gone];
  }

  #kept(method, gone) {
    return { keep: this.order[method].slice(gone) };
  }

  // Without any patch the order plays no part.
  #know(method, gone, shares) {
    const methods = gone === this.count ? METHODS : [method];
    for (const each of methods) this.#left[each][gone] = shares;
  }

  // The watched probability, undefined where it has not been computed.
  probability(method, gone) {
    return this.#left[method][gone]?.[this.first];
  }

  // How many patches are removed at each step, from none to all.
  get steps() {
    return Array.from({ length: STEPS + 1 }, (_, step) =>
      Math.floor((step * this.count) / STEPS + 0.5),
    );
  }

  // The points of a curve that are there, as [gone, probability].
  curve(method) {
    return Array.from(this.#left[method].keys())
      .map((gone) => [gone, this.probability(method, gone)])
      .filter(([, probability]) => probability !== undefined);
  }

  // The area under a curve by the trapezoidal rule, undefined until all its
  // sevenths are there.
  area(method) {
    if (this.#areas[method] === undefined) {
      const heights = this.steps.map((gone) => this.probability(method, gone));
      if (heights.includes(undefined)) return undefined;
      const ends = (heights[0] + heights[STEPS]) / 2;
      const inner = heights.slice(1, STEPS).reduce((a, b) => a + b, 0);
      this.#areas[method] = (inner + ends) / STEPS;
    }
    return this.#areas[method];
  }

  // Compute what these methods' areas need. many: as Work gives it
  // (background.js).
  computeAreas(many, methods = METHODS) {
    return this.#compute(many, methods, this.steps);
  }

  // Compute whole curves, patch by patch.
  computeCurves(many) {
    return this.#compute(many, METHODS, [...Array(this.count + 1).keys()]);
  }

  async #compute(many, methods, gones) {
    for (const method of methods) {
      const missing = gones.filter((gone) => !this.#left[method][gone]);
      const kept = missing.map((gone) => this.#kept(method, gone));
      const found = await many(this.bytes, kept);
      missing.forEach((gone, i) => this.#know(method, gone, found[i]));
    }
  }
}

function ofEach(make) {
  return Object.fromEntries(METHODS.map((method) => [method, make(method)]));
}

// Patches by their scores, the highest first, equal ones as they stand.
function ranked(scores) {
  return [...scores.keys()].sort((a, b) => scores[b] - scores[a] || a - b);
}

// Where each patch stands in an order.
function inverse(order) {
  const rank = [];
  order.forEach((place, i) => (rank[place] = i));
  return rank;
}

// How much the class token attends to each patch in the last layer, the mean
// over the heads.
function lastLayer(layers, heads, count) {
  const { attention } = layers.at(-1);
  const taken = new Float64Array(count);
  for (let head = 0; head < heads; head++) {
    const row = rowOf(attention, count + 1, head, 0);
    for (let i = 0; i < count; i++) taken[i] += row[i + 1] / heads;
  }
  return taken;
}

// How much the pixels of each patch differ: their standard deviation, from 0 to
// 1. The sums are whole numbers, so that equal patches come out equal.
function contrast({ shape, bytes }, [p1, p2]) {
  const [channels, height, width] = shape;
  const columns = width / p2;
  const sums = Array.from({ length: (height / p1) * columns }, () => [0, 0]);
  bytes.forEach((value, i) => {
    const [y, x] = [Math.floor(i / width) % height, i % width];
    const sum = sums[Math.floor(y / p1) * columns + Math.floor(x / p2)];
    sum[0] += value;
    sum[1] += value ** 2;
  });
  const n = channels * p1 * p2;
  return Float64Array.from(sums, ([sum, squares]) => {
    const spread = n * squares - sum ** 2;
    return Math.sqrt(spread / Math.max(n * (n - 1), 1)) / 255;
  });
}
