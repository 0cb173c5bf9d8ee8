// What each patch is worth: every one that is there is removed in turn, and put
// back. Many passes, so it is asked for, shows how far it is, and can be
// stopped.

import { element } from "../../page/elements.js";
import { signed } from "../../page/colours.js";

export class Worth {
  #latest = null; // the measurement that runs, or whose result is shown

  constructor(figure) {
    this.figure = figure;
    this.overlay = null; // { shares, highest, isSigned }: changes, by place
    const onclick = () => this.turn();
    this.button = element("button", { type: "button", onclick });
    this.progress = element("progress", {
      "aria-label": "Patches removed so far",
    });
    this.show({});
  }

  get isOn() {
    return this.#latest !== null;
  }

  turn() {
    if (!this.isOn) this.measure();
    else this.stop();
    this.figure.show(this.figure.view());
  }

  stop() {
    this.#latest = null;
    this.overlay = null;
  }

  async measure() {
    const latest = (this.#latest = {});
    const isWanted = () => this.#latest === latest;
    const { figure } = this;
    const { asked, whole, now } = figure.view();
    if (!now) return;
    const { reading, vit } = figure;
    const all = asked.keep;
    // Without a class token, the last patch cannot go.
    const places = all.length > 1 || vit.numPrefix ? all : [];
    const before = reading.followed(now.predictions.at(-1), whole);
    const shares = Array(asked.all).fill(null);
    this.overlay = { shares, highest: 0, isSigned: true };
    this.progress.max = places.length;
    this.done = 0;
    try {
      for (const place of places) {
        const keep = all.filter((each) => each !== place);
        const logits = await figure.passes.logits(asked, keep, isWanted);
        shares[place] = reading.followed(logits, whole) - before;
        const size = Math.abs(shares[place]);
        this.overlay.highest = Math.max(this.overlay.highest, size);
        this.done++;
        figure.show(figure.view());
      }
    } catch (error) {
      this.stop();
      figure.fail(error);
    }
  }

  get isOver() {
    return this.overlay !== null && this.done === this.progress.max;
  }

  show({ now }) {
    const running = this.isOn && !this.isOver;
    this.button.textContent = running
      ? "Stop removing"
      : this.isOn
        ? "Hide what patches are worth"
        : "Remove each patch in turn";
    this.button.setAttribute("aria-disabled", !now && !this.isOn);
    this.progress.hidden = !running;
    if (running) this.progress.value = this.done;
  }

  // What came of it: the patch that is worth most.
  said(reading, whole) {
    const { shares, highest } = this.overlay;
    const most = shares.findIndex((each) => each && Math.abs(each) === highest);
    if (most < 0) return "No patch makes a difference so far. ";
    const change = shares[most];
    const points = reading.isHeadless
      ? change.toFixed(3)
      : `${(100 * change).toFixed(highest < 0.01 ? 3 : 1)} points`;
    const so = this.isOver
      ? ""
      : ` (${this.done} of ${this.progress.max} so far)`;
    const sign = change > 0 ? "+" : "";
    return (
      `${reading.followedName(whole)} changes most without patch ${most + 1}: ` +
      `${sign}${points.replace("-", "−")}${so}. `
    );
  }
}

// Signed changes on a canvas, a pixel a patch; null leaves its pixel open.
export function paintSigned(canvas, changes, limit) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  changes.forEach((change, place) => {
    if (change === null) return;
    context.fillStyle = signed(change / (limit || 1));
    const row = Math.floor(place / canvas.width);
    context.fillRect(place % canvas.width, row, 1, 1);
  });
}
