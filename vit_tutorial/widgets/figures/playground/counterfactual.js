// What each patch is worth: every one that is there is removed in turn, and put
// back.

import { Work } from "../../page/background.js";
import { highestOf } from "../../page/answers.js";
import { signed, signedLegend } from "../../page/colours.js";
import { element, label } from "../../page/elements.js";
import { interventions, toggled } from "./playground_state.js";

export class Counterfactual {
  // background: the Worker that computes it.
  constructor({ vit, names, background }) {
    Object.assign(this, { vit, names });
    this.isOn = false;
    this.work = new Work(background, (error) => this.fail(error));
    const turn = () => this.turn();
    const on = { type: "button", "aria-pressed": "false", onclick: turn };
    this.button = element("button", on, "Remove each patch in turn");
    const [height, width] = vit.grid;
    this.canvas = element("canvas", { width, height, role: "img" });
    this.said = label();
    this.legend = element("div");
    const line = element("div", { class: "vt-controls" }, this.button);
    const words = element("div", {}, line, this.said, this.legend);
    this.el = element("div", { class: "vt-worth" }, this.canvas, words);
    this.parts = [this.canvas, this.said, this.legend];
    for (const part of this.parts) part.hidden = true;
  }

  turn() {
    this.isOn = !this.isOn;
    this.button.setAttribute("aria-pressed", this.isOn);
    for (const part of this.parts) part.hidden = !this.isOn;
    if (this.isOn && this.view) this.follow(this.view);
    else this.work.stop();
  }

  // Another state is shown: measure anew, if anybody looks.
  follow(view) {
    this.view = view;
    if (this.isOn) this.work.start((many) => this.measure(many, view));
  }

  async measure(many, { image, state, order, pass }) {
    const { vit, names } = this;
    const there = pass?.places ?? [];
    // Without a class token, the last patch cannot go.
    const places = there.length > 1 || vit.numPrefix ? there : [];
    const without = (place) => {
      const dropped = toggled(state.dropped, order[place]);
      return interventions({ ...state, dropped }, order.length);
    };
    const first = pass ? highestOf(pass.now) : 0;
    const found = await many(image.bytes, places.map(without));
    const changes = Array(order.length).fill(null); // by place
    places.forEach((place, i) => {
      changes[place] = found[i][first] - pass.now[first];
    });
    this.show(changes, order, names[first]);
  }

  fail({ message }) {
    this.canvas.hidden = true;
    this.legend.replaceChildren();
    this.said.textContent =
      `What each patch is worth cannot be computed: ${message}.`;
  }

  // changes: by how much the probability of `name` changes without each patch.
  show(changes, order, name) {
    const size = (each) => Math.abs(each ?? 0);
    const limit = Math.max(...changes.map(size)) || 1;
    const { canvas } = this;
    canvas.hidden = false; // as it is where a Worker failed
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    changes.forEach((change, place) => {
      if (change === null) return;
      context.fillStyle = signed(change / limit);
      const row = Math.floor(place / canvas.width);
      context.fillRect(place % canvas.width, row, 1, 1);
    });
    const most = changes.map(size).indexOf(limit);
    const points = (each) => (100 * each).toFixed(1).replace("-", "−");
    this.said.textContent =
      most < 0
        ? "No patch makes a difference."
        : `P(${name}) changes most without patch ${order[most] + 1}: ` +
          `${points(changes[most])} points`;
    canvas.setAttribute("aria-label", this.said.textContent);
    this.legend.replaceChildren(signedLegend(points(limit)));
  }
}
