// How few patches still convince the model? A search, one patch after the other.

import { probabilities } from "../../page/page_model.js";

// Begin with none and add, each time, the patch that raises the class most, until the model is more
// certain of it than not, or `most` patches are in. Returns the places, in the order of the search.
// What is found convinces this model; a person may need to see something else.
export function fewestPatches(vit, pixels, answer, most = 6) {
  const places = Array.from({ length: vit.grid[0] * vit.grid[1] }, (_, place) => place);
  const chosen = [];
  const share = (keep) => probabilities(vit.forward(pixels, { keep }).logits)[answer];
  while (chosen.length < Math.min(most, places.length)) {
    let [best, highest] = [null, -1];
    for (const place of places) {
      if (chosen.includes(place)) continue;
      const reached = share([...chosen, place]);
      if (reached > highest) [best, highest] = [place, reached];
    }
    chosen.push(best);
    if (highest > 0.5) break;
  }
  return chosen;
}
