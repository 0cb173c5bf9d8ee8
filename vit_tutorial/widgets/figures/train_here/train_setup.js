// What the choices are to the engine: a ViT's arguments and a recipe.

import { MODEL, RECIPE } from "../../page/training_defaults.js";
import { grouped, parametersOf } from "../../engine/parameters.js";
import { Random } from "../../engine/random.js";

const WARM_UP = 0.05; // of the run

// facts: of the data, { mean, std, class_names }.
export function configOf(choices, facts) {
  const { patch_size, dim, depth, heads, position, pool } = choices;
  return {
    ...{ ...MODEL, patch_size, dim, depth, heads, position, pool },
    ...{ dim_head: dim / heads, mlp_dim: 2 * dim, ...facts },
  };
}

// As recipes.py has it. Muon moves the blocks' matrices at twice AdamW's rate,
// as in the book's own recipe.
export function recipeOf(choices) {
  const { images, batch_size, rate, optimizer, steps, flip, shift } = choices;
  const stepsAnEpoch = Math.floor(images / batch_size);
  return {
    ...{ ...RECIPE, batch_size, flip, shift, lr: rate },
    epochs: Math.max(1, Math.round(steps / stepsAnEpoch)),
    matrix_lr: optimizer === "muon" ? 2 * rate : null,
    warm_up: choices.warm_up ? WARM_UP : 0,
  };
}

// The model that a run with these choices begins with, for `new ViT(...)`.
export function untrained(choices, facts) {
  const config = configOf(choices, facts);
  const random = new Random(choices.seed);
  const { parameters } = grouped(parametersOf(config), recipeOf(choices));
  const count = (shape) => shape.reduce((a, b) => a * b, 1);
  const weights = {};
  const tensors = {};
  for (const { name, shape, draw } of parameters) {
    tensors[name] = shape;
    const values = new Float32Array(count(shape));
    weights[name] = values.map(() => draw(random));
  }
  return { config, tensors, weights };
}
