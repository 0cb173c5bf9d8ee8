// How few patches convince the model, how few lose it? Greedy searches, one
// patch after the other; each yields after every pass.

import { highestOf } from "../../page/answers.js";
import { probabilities } from "../../page/page_model.js";

// Begin with none and add, each time, the patch that raises the class most,
// until the model is more certain of it than not, or `most` patches are in.
// Returns the places, in the order of the search, and the probability. What is
// found convinces this model; a person may need to see something else.
function* addingPatches(vit, pixels, answer, most = 6) {
  const places = [...Array(vit.grid[0] * vit.grid[1]).keys()];
  const chosen = [];
  let highest = 0;
  while (highest <= 0.5 && chosen.length < Math.min(most, places.length)) {
    let best = null;
    highest = -1;
    for (const place of places) {
      if (chosen.includes(place)) continue;
      const keep = [...chosen, place];
      const reached = probabilities(vit.logits(pixels, { keep }))[answer];
      if (reached > highest) [best, highest] = [place, reached];
      yield;
    }
    chosen.push(best);
  }
  return [chosen, highest];
}

export function fewestPatches(vit, pixels, answer) {
  const steps = addingPatches(vit, pixels, answer);
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value[0];
  }
}

// Begin with all and remove, each time, the patch that lowers the class most,
// until the model says something else. Returns the places removed, or null
// where `most` are not enough.
function* removingPatches(vit, pixels, answer, most) {
  let left = [...Array(vit.grid[0] * vit.grid[1]).keys()];
  const dropped = [];
  while (dropped.length < Math.min(most, left.length - 1)) {
    let [gone, lowest, first] = [null, 2, answer];
    for (const place of left) {
      const keep = left.filter((each) => each !== place);
      const now = probabilities(vit.logits(pixels, { keep }));
      if (now[answer] < lowest) {
        [gone, lowest, first] = [place, now[answer], highestOf(now)];
      }
      yield;
    }
    left = left.filter((each) => each !== gone);
    dropped.push(gone);
    if (first !== answer) return dropped.sort((a, b) => a - b);
  }
  return null;
}

export const greedy = { addingPatches, removingPatches };
