// One plot of a run: a quantity step by step, on the images that it learns from
// and on those held out, with another run in grey.

import { svg } from "../../page/elements.js";
import { percent } from "../../page/words.js";

// In pixels: the plot is drawn in those that it has, so that its text is as
// large in a wide window as on a phone.
const [LEFT, RIGHT, TOP, BOTTOM] = [36, 6, 8, 18];
const POINTS = 200; // of a curve at most: neighbouring batches become one

// An axis: where a value stands, from 0 at the bottom to 1 at the top, and what
// is written beside it, [[value, text], …].
export function linear(top, ticks) {
  return { share: (value) => value / top, ticks };
}

// Below 1 are tenths: a line at each power of ten.
export function logarithmic(low, top) {
  const share = (value) => Math.log(value / low) / Math.log(top / low);
  const ticks = [];
  for (let value = low; value <= top; value *= 10) {
    ticks.push([value, String(Number(value.toPrecision(1)))]);
  }
  return { share, ticks };
}

export class Plot {
  #size = { width: 400, height: 130 }; // until the page has laid it out
  #shown;

  // what: "loss" or "accuracy". name: the same, at the beginning of a sentence.
  constructor(what, name) {
    Object.assign(this, { what, name });
    const curve = (look) => svg("polyline", { class: look });
    this.before = curve("vt-train-before");
    this.learned = curve("vt-train-learned");
    this.held = curve("vt-train-held");
    this.axis = svg("g");
    this.title = svg("text", { class: "vt-train-text", x: LEFT }, what);
    this.el = svg(
      "svg",
      { role: "img", class: "vt-train-plot" },
      ...[this.axis, this.title, this.before, this.learned, this.held],
    );
    new ResizeObserver(([{ contentRect }]) => {
      const { width, height } = contentRect;
      if (width <= LEFT + RIGHT || height <= TOP + BOTTOM) return; // hidden
      this.#size = { width, height };
      if (this.#shown) this.show(...this.#shown);
    }).observe(this.el);
  }

  // run, before: as in train_run.js, or null. last: the step at the right.
  show(run, before, last, axis) {
    this.#shown = [run, before, last, axis];
    const { width, height } = this.#size;
    this.el.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const right = width - RIGHT;
    const bottom = height - BOTTOM;
    const across = (step) => LEFT + ((right - LEFT) * step) / last;
    const up = (value) => {
      const share = Math.min(Math.max(axis.share(value), 0), 1);
      return bottom + (TOP - bottom) * share;
    };
    const set = (curve, points) => {
      const at = ({ step, [this.what]: value }) =>
        `${across(step).toFixed(1)},${up(value).toFixed(1)}`;
      const inView = points.filter(({ step }) => step <= last);
      curve.setAttribute("points", inView.map(at).join(" "));
    };
    set(this.before, before?.heldOut ?? []);
    set(this.learned, run ? thinned(run.batches) : []);
    set(this.held, run?.heldOut ?? []);
    this.title.setAttribute("y", height - 4);
    this.#drawAxis(axis, up, right);
    this.el.setAttribute("aria-label", this.#words(run, before));
  }

  #drawAxis({ ticks }, up, right) {
    const text = { x: LEFT - 4, class: "vt-train-text", "text-anchor": "end" };
    const lines = ticks.map(([value, written]) => {
      const y = up(value);
      const line = { x1: LEFT, x2: right, y1: y, y2: y };
      return [
        svg("line", { class: "vt-train-line", ...line }),
        svg("text", { ...text, y: y + 4 }, written),
      ];
    });
    this.axis.replaceChildren(...lines.flat());
  }

  #words(run, before) {
    const { name, what } = this;
    const written = (value) =>
      what === "accuracy" ? percent(value) : value.toFixed(2);
    if (run?.taken) {
      const learned = run.batches.at(-1)?.[what] ?? 0;
      return (
        `${name} after step ${run.taken}: held out ` +
        `${written(run.heldOut.at(-1)[what])}, training ${written(learned)}`
      );
    }
    const nothing = `${name}: nothing is trained yet`;
    if (!before) return nothing;
    const { step, [what]: value } = before.heldOut.at(-1);
    return `${nothing}; in grey, held out ${written(value)} at step ${step}`;
  }
}

// So few points that they are drawn at once: means of neighbours.
export function thinned(batches) {
  const size = Math.ceil(batches.length / POINTS);
  if (size < 2) return batches;
  const means = [];
  for (let i = 0; i < batches.length; i += size) {
    const some = batches.slice(i, i + size);
    const mean = (what) =>
      some.reduce((sum, each) => sum + each[what], 0) / some.length;
    const { step } = some.at(-1);
    means.push({ step, loss: mean("loss"), accuracy: mean("accuracy") });
  }
  return means;
}
