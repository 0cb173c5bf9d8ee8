// Forward passes, kept for a while: no second one for the same question.

import { probabilities } from "../../page/page_model.js";
import { shuffled } from "../../page/shuffle.js";
import { toBase64 } from "../../page/packed_image.js";
import { UNTOUCHED, interventions } from "./playground_state.js";

const KEPT = 8;

export class Passes {
  #kept = new Map();

  constructor(vit) {
    this.vit = vit;
    this.patches = vit.grid[0] * vit.grid[1];
  }

  // What the model makes of an image in a state: its layers, their places, and
  // the probabilities before the first layer and after each (`stages`) and
  // after the last (`now`). Null: nothing is left to read.
  of(bytes, state) {
    const changes = interventions(state, this.patches);
    if (!changes.keep.length && !this.vit.numPrefix) return null;
    const question = JSON.stringify([toBase64(bytes), changes]);
    if (!this.#kept.has(question)) {
      const found = this.vit.forward(bytes, changes);
      const { predictions, layers, places } = found;
      const stages = predictions.map(probabilities);
      const [oldest] = this.#kept.keys();
      if (this.#kept.size >= KEPT) this.#kept.delete(oldest);
      this.#kept.set(question, { stages, now: stages.at(-1), layers, places });
    }
    return this.#kept.get(question);
  }

  whole(bytes) {
    return this.of(bytes, UNTOUCHED);
  }

  // The patches in the order of what the last layer gives them, mean over its
  // heads: by the class token, or without one by all patches together.
  mostAttended(bytes) {
    const { vit, patches } = this;
    const { attention } = this.whole(bytes).layers.at(-1);
    const tokens = vit.numPrefix + patches;
    const given = new Float64Array(patches);
    for (let head = 0; head < vit.config.heads; head++) {
      for (let query = 0; query < (vit.numPrefix || tokens); query++) {
        const row = (head * tokens + query) * tokens + vit.numPrefix;
        for (let i = 0; i < patches; i++) given[i] += attention[row + i];
      }
    }
    return shuffled(patches, 0).sort((a, b) => given[b] - given[a]);
  }
}
