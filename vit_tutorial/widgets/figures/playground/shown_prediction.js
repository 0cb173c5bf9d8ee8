// What the model predicts in the end, and how sure it would be after each
// layer.

import { answers, highestOf, strongest } from "../../page/answers.js";
import { column, element, label } from "../../page/elements.js";
import { percent } from "../../page/words.js";

export class ShownPrediction {
  constructor(names, small) {
    this.names = names;
    this.answers = element("div");
    this.title = label();
    this.layers = element("div");
    const below = small ? [] : [this.title, this.layers];
    this.el = column(label("prediction"), this.answers, ...below);
    this.el.classList.add("vt-predicted");
  }

  // stages: the probabilities after each layer, null where there are none.
  // before: those of the untouched image; isTouched: whether to mark them.
  show(stages, before, isTouched) {
    if (!stages) {
      this.title.textContent = "";
      for (const part of [this.answers, this.layers]) part.replaceChildren();
      return;
    }
    const { names } = this;
    const now = stages.at(-1);
    const first = highestOf(now);
    this.answers.replaceChildren(
      names.length > 10
        ? strongest(names, now, before)
        : answers(names, now, isTouched ? before : null),
    );
    this.title.textContent = `P(${names[first]}) by layer · top class`;
    this.layers.replaceChildren(afterLayers(names, stages, first));
  }
}

// A line for each layer: a bar and a number for one class, the final one, and
// which class leads there.
function afterLayers(names, stages, answer) {
  const line = (shares, layer) => {
    const leader = highestOf(shares);
    const length = element("span", { class: "vt-answer-length" });
    length.style.width = `${100 * shares[answer]}%`;
    const bar = { class: "vt-answer-bar", "aria-hidden": "true" };
    return element(
      "li",
      { class: leader === answer ? "vt-layer vt-answer-first" : "vt-layer" },
      element("span", {}, String(layer)),
      element("span", bar, length),
      element("span", { class: "vt-answer-share" }, percent(shares[answer])),
      element("span", {}, names[leader]),
    );
  };
  const lines = stages.map(line);
  return element("ol", { class: "vt-layers", start: 0 }, ...lines);
}
