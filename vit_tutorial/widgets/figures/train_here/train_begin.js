// The beginning of a run: its images are loaded, and go to the Worker that
// trains.

import {
  firstOf,
  trainingData,
  withShuffledLabels,
} from "../../page/training_data.js";
import { Run } from "./train_run.js";
import { configOf, recipeOf } from "./train_setup.js";

// model: the figure's, where the images come from.
// Returns what makes a Run: choices and moved are as in givenFor, more is what
// else Training begins with, and the rest goes to the Run as it is.
// Throws an Error that says what is missing.
export async function readyToTrain(model) {
  const data = await trainingData(model);
  return ({ choices, moved, more, ...rest }) => {
    const given = { ...givenFor(choices, data, moved), ...more };
    return new Run({ ...rest, choices, given });
  };
}

// All that Training begins a run with. data: as trainingData returns it.
// moved: by how many pixels the held-out images are moved to the right.
export function givenFor(choices, { train, heldOut, facts }, moved = 0) {
  const some = firstOf(train, choices.images);
  const { shuffled, seed } = choices;
  return {
    config: configOf(choices, facts),
    recipe: recipeOf(choices),
    ...(shuffled ? withShuffledLabels(some, seed) : some),
    heldOut: { ...heldOut, images: movedRight(heldOut.images, moved) },
    seed,
  };
}

// Images of 28 x 28 bytes, moved; black comes in at the left.
function movedRight(images, pixels) {
  if (!pixels) return images;
  return images.map((_, i) => (i % 28 < pixels ? 0 : images[i - pixels]));
}
