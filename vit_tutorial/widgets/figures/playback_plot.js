// Curves over the epochs of a run, and a mark at one of them.

import { svg } from "../page/elements.js";

const [LEFT, RIGHT, TOP, HEIGHT] = [38, 234, 6, 74]; // in the plot's own units

export class Plot {
  // label: what the plot says. last: its last epoch. top: the value at its top;
  // at its bottom is 0. ends: how those two are written, from below. curves:
  // { values, first, look, name } each, with the epoch of the first value, a
  // class, and a name for the key; without a name it is not in it.
  constructor({ label, last, top, ends, curves }) {
    Object.assign(this, { last, top });
    this.mark = svg("line", {
      class: "vt-play-mark",
      ...{ x1: 0, x2: 0, y1: 2, y2: HEIGHT + 10 },
    });
    this.el = svg(
      "svg",
      {
        class: "vt-play-plot",
        viewBox: `0 0 240 ${HEIGHT + 14}`,
        role: "img",
        "aria-label": label,
      },
      ...this.axes(ends),
      this.mark,
      ...curves.map((curve) => this.curve(curve)),
      ...this.key(curves.filter(({ name }) => name)),
    );
  }

  show(epoch) {
    this.mark.setAttribute("transform", `translate(${this.x(epoch)} 0)`);
  }

  x(epoch) {
    return LEFT + ((RIGHT - LEFT) * epoch) / this.last;
  }

  y(value) {
    const share = Math.min(Math.max(value / this.top, 0), 1);
    return TOP + HEIGHT * (1 - share);
  }

  axes([low, high]) {
    const line = (y) =>
      svg("line", { class: "vt-play-line", x1: LEFT, x2: RIGHT, y1: y, y2: y });
    const [bottom, top] = [this.y(0), this.y(this.top)];
    const end = { "text-anchor": "end" };
    return [
      line(bottom),
      line(top),
      text(LEFT - 4, bottom + 4, low, end),
      text(LEFT - 4, top + 6, high, end),
    ];
  }

  curve({ values, first, look }) {
    const points = values.map((value, i) => [this.x(i + first), this.y(value)]);
    return svg("polyline", { class: look, points: points.join(" ") });
  }

  // What the curves are called, in the lower right, where there is room.
  key(curves) {
    return curves.flatMap(({ name, look }, i) => {
      const y = this.y(0) - 22 + 15 * i;
      return [
        svg("polyline", { class: look, points: `140,${y - 4} 164,${y - 4}` }),
        text(169, y, name),
      ];
    });
  }
}

function text(x, y, words, more = {}) {
  return svg("text", { x, y, class: "vt-play-text", ...more }, words);
}
