// The curves of a run: loss and accuracy on the images that it learns from and
// on those held out, with the run before in grey.

import { element, label, svg } from "../../page/elements.js";
import { grouped } from "../../page/words.js";
import { linear, logarithmic, Plot } from "./train_plot.js";
import { UNTRAINED } from "./train_recorded.js";

const SHARES = linear(1, [
  [0, "0"],
  [0.5, "50%"],
  [1, "100%"],
]);
const TOPS = [2.5, 5, 10, 25, 50, 100]; // of the loss; a guess costs ln 10

export class Curves {
  #shown = [null, null];

  // newId(): of a page's inputs.
  constructor({ newId }) {
    this.loss = new Plot("loss", "Loss");
    this.accuracy = new Plot("accuracy", "Accuracy");
    this.figure = element("strong", { class: "vt-train-accuracy" });
    this.before = element("span");
    this.end = element("span", { class: "vt-train-end" });
    this.logarithmic = element("input", {
      type: "checkbox",
      id: newId(),
      onchange: () => this.show(...this.#shown),
    });
    this.el = element(
      "div",
      { class: "vt-column vt-train-curves" },
      element("p", { class: "vt-label" }, this.figure, " held-out accuracy"),
      this.accuracy.el,
      this.loss.el,
      element(
        "div",
        { class: "vt-label vt-train-keys" },
        key("vt-train-held", "held out"),
        key("vt-train-learned", "training"),
        key("vt-train-before", this.before),
        element(
          "span",
          { class: "vt-train-check" },
          this.logarithmic,
          element("label", { for: this.logarithmic.id }, "loss on a log scale"),
        ),
        this.end,
      ),
    );
  }

  // run, before: as in train_run.js, or null. before.name: where it is not the
  // reader's own; then it is shown as far as theirs will go.
  show(run, before) {
    this.#shown = [run, before];
    const longest = Math.max(run?.steps ?? 1, before?.steps ?? 1);
    const last = (before?.name && run?.steps) || longest;
    const { accuracy } = run?.model ? run : UNTRAINED;
    this.figure.textContent = percentage(accuracy);
    this.before.textContent = before?.name ?? "previous run";
    this.loss.show(run, before, last, this.#losses(run, before));
    this.accuracy.show(run, before, last, SHARES);
    const isThere = run?.steps || before;
    this.end.textContent = isThere ? `step 0 to ${grouped(last)}` : "\u00a0";
  }

  // The axis of the loss, as far as these runs reach.
  #losses(run, before) {
    const all = [run?.heldOut, run?.batches, before?.heldOut].flatMap(
      (points) => points?.map(({ loss }) => loss) ?? [],
    );
    const held = [...(run?.heldOut ?? []), ...(before?.heldOut ?? [])];
    const most = Math.max(0, ...held.map(({ loss }) => loss));
    const top = TOPS.find((top) => top >= most) ?? TOPS.at(-1);
    if (!this.logarithmic.checked) {
      return linear(
        top,
        [0, 0.4, 0.8].map((share) => [share * top, String(share * top)]),
      );
    }
    const least = Math.min(0.9, ...all.filter((loss) => loss > 0));
    const low = 10 ** Math.max(Math.floor(Math.log10(least)), -4);
    return logarithmic(low, top);
  }
}

export function percentage(share) {
  return `${(100 * share).toFixed(1)}%`;
}

// What a line stands for.
function key(look, name) {
  return element(
    "span",
    {},
    svg(
      "svg",
      { viewBox: "0 0 26 8", class: "vt-train-key", "aria-hidden": "true" },
      svg("polyline", { class: look, points: "0,4 26,4" }),
    ),
    name,
  );
}
