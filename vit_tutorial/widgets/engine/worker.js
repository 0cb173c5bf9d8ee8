// The Worker's side: it answers what a page asks (background.js), one question
// after the other.

import { ViT } from "./vit.js";

// All that a page can ask of a model, by name. What is returned is the answer;
// what is thrown reaches the page as well.
export const ANSWERS = {
  // An image's logits in each of several changed states: see ViT.forward.
  logits: (vit, pixels, states) =>
    states.map((changes) => vit.logits(pixels, changes)),
};

// answers: the table above, with those of other modules that a page needs.
export function serve(answers) {
  let vit;
  globalThis.onmessage = ({ data: { model, name, given } }) => {
    try {
      if (model) vit = new ViT(model); // the first question brings it
      postMessage({ answer: answers[name](vit, ...given) });
    } catch (error) {
      const isFull = error.cause === "memory"; // see memory.js
      postMessage({ error: error.message, isFull });
    }
  };
}
