// A run of the page as a command that trains the same in Python: the same
// model, images and settings, but not the same random numbers.

import { IMAGES, MODEL, RECIPE } from "./training_defaults.js";

// config, recipe and seed: the run's. count: how many images it learns from.
// Labels that were shuffled, and weights to begin with, are not part of it.
export function commandFor({ config, recipe, seed, count }) {
  const now = { ...config, ...recipe, train_on: count };
  const before = { ...MODEL, ...RECIPE, train_on: IMAGES };
  const changed = Object.keys(before)
    .filter((name) => now[name] !== before[name])
    .map((name) => `${name}=${inPython(now[name])}`);
  return [
    `python -m vit_tutorial.train --recipe page --seed ${seed}`,
    ...(changed.length ? ["--set", ...changed] : []),
  ].join(" ");
}

function inPython(value) {
  const words = new Map([[null, "None"], [true, "True"], [false, "False"]]);
  return words.get(value) ?? String(value);
}
