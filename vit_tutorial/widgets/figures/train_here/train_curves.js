// The curves of a run: loss and accuracy on the images that it learns from and
// on those held out, with the run before in grey.

import { element, label, svg } from "../../page/elements.js";
import { grouped, percent } from "../../page/words.js";

// In a plot's own units.
const [WIDTH, HEIGHT] = [400, 130];
const [LEFT, RIGHT, TOP, BOTTOM] = [34, 394, 6, 114];
const POINTS = 200; // of a curve at most: neighbouring batches become one

export class Curves {
  constructor() {
    this.loss = new Plot("loss", "Loss", 2.5, ["0", "2.5"]);
    this.accuracy = new Plot("accuracy", "Accuracy", 1, ["0", "100%"]);
    this.figure = element("strong", { class: "vt-train-accuracy" });
    this.end = label("", "vt-train-end");
    this.el = element(
      "div",
      { class: "vt-column vt-train-curves" },
      element("p", { class: "vt-label" }, this.figure, " held-out accuracy"),
      this.accuracy.el,
      this.loss.el,
      this.end,
      key(),
    );
  }

  // run, before: as in train_run.js, or null.
  show(run, before) {
    const last = Math.max(run?.steps ?? 1, before?.steps ?? 1);
    this.figure.textContent = run?.model ? percentage(run.accuracy) : "–";
    this.loss.show("loss", run, before, last);
    this.accuracy.show("accuracy", run, before, last);
    const isThere = run?.steps || before;
    this.end.textContent = isThere ? `step 0 to ${grouped(last)}` : "\u00a0";
  }
}

export function percentage(share) {
  return `${(100 * share).toFixed(1)}%`;
}

// What the lines stand for.
function key() {
  const line = (look, name) =>
    element(
      "span",
      {},
      svg(
        "svg",
        { viewBox: "0 0 26 8", class: "vt-train-key", "aria-hidden": "true" },
        svg("polyline", { class: look, points: "0,4 26,4" }),
      ),
      name,
    );
  return element(
    "p",
    { class: "vt-label vt-train-keys" },
    line("vt-train-held", "held out"),
    line("vt-train-learned", "training"),
    line("vt-train-before", "the run before"),
  );
}

class Plot {
  constructor(what, name, top, [low, high]) {
    Object.assign(this, { what, name, top });
    const curve = (look) => svg("polyline", { class: look });
    this.before = curve("vt-train-before");
    this.learned = curve("vt-train-learned");
    this.held = curve("vt-train-held");
    const across = { x1: LEFT, x2: RIGHT };
    const line = (y) =>
      svg("line", { class: "vt-train-line", ...across, y1: y, y2: y });
    const end = { x: LEFT - 4, class: "vt-train-text", "text-anchor": "end" };
    this.el = svg(
      "svg",
      {
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
        role: "img",
        class: "vt-train-plot",
      },
      ...[line(TOP), line((TOP + BOTTOM) / 2), line(BOTTOM)],
      svg("text", { ...end, y: BOTTOM + 4 }, low),
      svg("text", { ...end, y: TOP + 8 }, high),
      svg("text", { class: "vt-train-text", x: LEFT, y: HEIGHT - 4 }, what),
      ...[this.before, this.learned, this.held],
    );
  }

  show(what, run, before, last) {
    const set = (curve, points) => {
      const at = ({ step, [what]: value }) => {
        const share = Math.min(Math.max(value / this.top, 0), 1);
        const x = LEFT + ((RIGHT - LEFT) * step) / last;
        const y = BOTTOM + (TOP - BOTTOM) * share;
        return `${x.toFixed(1)},${y.toFixed(1)}`;
      };
      curve.setAttribute("points", points.map(at).join(" "));
    };
    set(this.before, before?.heldOut ?? []);
    set(this.learned, run ? thinned(run.batches) : []);
    set(this.held, run?.heldOut ?? []);
    this.el.setAttribute("aria-label", this.words(what, run));
  }

  words(what, run) {
    if (!run?.taken) return `${this.name}: nothing is trained yet`;
    const written = (value) =>
      what === "accuracy" ? percent(value) : value.toFixed(2);
    const learned = run.batches.at(-1)?.[what] ?? 0;
    return (
      `${this.name} after step ${run.taken}: held out ` +
      `${written(run.heldOut.at(-1)[what])}, training ${written(learned)}`
    );
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
