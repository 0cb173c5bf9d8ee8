// The buttons of a run, and how fast it goes.

import { element } from "../../page/elements.js";
import { pace } from "./train_words.js";

export class Controls {
  // train, step, again, another: what the buttons do.
  constructor({ train, step, again, another }) {
    const button = (text, onclick, kind) =>
      element("button", { type: "button", class: kind, onclick }, text);
    this.train = button("Train", train, "vt-train-button");
    this.step = button("Step", step);
    this.pace = element("span", { class: "vt-label vt-train-pace" });
    this.el = element(
      "div",
      { class: "vt-controls" },
      this.train,
      this.step,
      button("Start over", again),
      button("New seed", another),
      this.pace,
    );
  }

  // note: in place of the pace.
  show(run, note) {
    this.train.textContent = run?.isRunning ? "Pause" : "Train";
    this.step.setAttribute("aria-disabled", Boolean(run?.isRunning));
    this.pace.textContent = note || pace(run);
  }
}
