// How few patches convince the model, how few lose it? Greedy searches, one
// patch after the other; each round is one question for the Worker.

import { highestOf } from "../../page/answers.js";

// Begin with none and add, each time, the patch that raises the class most,
// until the model is more certain of it than not, or `most` patches are in.
// many: as Work gives it (background.js). all: the places of all patches.
// Returns the places, in the order of the search, and the probability. What is
// found convinces this model; a person may need to see something else.
export async function addPatches(many, pixels, all, answer, most = 6) {
  const chosen = [];
  let highest = 0;
  while (highest <= 0.5 && chosen.length < Math.min(most, all.length)) {
    const others = all.filter((place) => !chosen.includes(place));
    const keeps = others.map((place) => ({ keep: [...chosen, place] }));
    const reached = await many(pixels, keeps);
    const scores = reached.map((now) => now[answer]);
    highest = Math.max(...scores);
    chosen.push(others[scores.indexOf(highest)]);
  }
  return [chosen, highest];
}

// Begin with all and remove, each time, the patch that lowers the class most,
// until the model says something else. Returns the places removed, or null
// where `most` are not enough.
export async function removePatches(many, pixels, all, answer, most) {
  const dropped = [];
  while (dropped.length < Math.min(most, all.length - 1)) {
    const left = all.filter((place) => !dropped.includes(place));
    const without = (gone) => left.filter((place) => place !== gone);
    const keeps = left.map((gone) => ({ keep: without(gone) }));
    const reached = await many(pixels, keeps);
    const scores = reached.map((now) => now[answer]);
    const lowest = scores.indexOf(Math.min(...scores));
    dropped.push(left[lowest]);
    if (highestOf(reached[lowest]) !== answer)
      return dropped.sort((a, b) => a - b);
  }
  return null;
}
