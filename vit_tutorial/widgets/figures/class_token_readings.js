// What two models, one with a class token and one with the mean of its patches,
// read from the same pictures after every layer.

import { classNames, probabilities } from "../page/page_model.js";

// What both models read from each picture: `of[picture]`.
export class Readings {
  constructor({ cls, mean }, pictures) {
    if (cls.config.depth !== mean.config.depth) {
      throw new Error("the two models differ in depth");
    }
    this.depth = cls.config.depth;
    this.classes = classNames(cls.config);
    this.of = pictures.map((image) => readingOf(cls, mean, image));
  }

  named(shares) {
    return this.classes[shares.indexOf(Math.max(...shares))];
  }
}

// One picture: cls, mean: (depth + 1, classes), the probabilities before the
// first layer and after each. taken: (depth, tokens), what token 0 takes from
// each token. highest: the largest share of a patch, one for all layers and
// both models, so that colours compare.
function readingOf(cls, mean, { name, bytes }) {
  const n = 1 + cls.grid[0] * cls.grid[1];
  const { predictions, layers } = cls.forward(bytes);
  const taken = layers.map(({ attention }) => taking(attention, n));
  return {
    name,
    taken,
    cls: predictions.map(probabilities),
    mean: mean.forward(bytes).predictions.map(probabilities),
    highest: Math.max(1 / (n - 1), ...taken.flat()),
  };
}

// What token 0 takes from each token, the mean over the heads:
// (heads, n, n) -> (n,)
function taking(attention, n) {
  const heads = attention.length / (n * n);
  return Array.from({ length: n }, (_, key) => {
    let sum = 0;
    for (let head = 0; head < heads; head++) {
      sum += attention[head * n * n + key];
    }
    return sum / heads;
  });
}

// How much each patch contributes to what is read: to the class token what it
// takes in this layer, nothing before the first; to the mean all the same.
export function sharesOfPatches({ taken }, pooling, layer) {
  const patches = taken[0].length - 1;
  if (pooling === "mean") return Array(patches).fill(1 / patches);
  return layer ? taken[layer - 1].slice(1) : Array(patches).fill(0);
}

// How far apart the two models' probabilities are after so many layers.
export function difference({ cls, mean }, layer) {
  return cls[layer].reduce(
    (sum, share, i) => sum + Math.abs(share - mean[layer][i]),
    0,
  );
}
