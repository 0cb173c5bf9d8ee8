// The curves of the deletion test: a small plot for each order, to choose it
// by, with the other curves behind.

import { column, element, label, svg } from "../page/elements.js";
import { percent } from "../page/words.js";
import { METHODS } from "./deletion_test.js";

const [LEFT, TOP, WIDE, HIGH] = [30, 6, 124, 72]; // where a plot's lines lie

export class Plots {
  // group: a name for the radio buttons. choose(method).
  constructor(classes, group, choose) {
    this.classes = classes;
    this.axes = label();
    this.plots = METHODS.map((method) => new Plot(method, group, choose));
    const orders = element(
      "div",
      { class: "vt-orders", role: "radiogroup", "aria-label": "Order" },
      ...this.plots.map(({ el }) => el),
    );
    this.el = column(this.axes, orders);
    this.el.classList.add("vt-plots");
  }

  show({ test, method, gone }) {
    const name = this.classes[test.first];
    this.axes.textContent = `probability of ${name} as patches are removed`;
    const paths = METHODS.map((each) => pathOf(test, each));
    for (const plot of this.plots) plot.show({ test, method, gone, paths });
  }

  fail({ message }) {
    this.axes.textContent = `The curves cannot be computed: ${message}.`;
  }
}

class Plot {
  constructor(method, group, choose) {
    this.method = method;
    this.input = element("input", {
      type: "radio",
      name: group,
      value: method,
      onchange: () => choose(method),
    });
    this.curves = METHODS.map((each) => {
      const own = each === method ? " vt-curve-own" : "";
      return svg("path", { class: `vt-curve${own}` });
    });
    this.now = svg("path", { class: "vt-curve-now" });
    this.dot = svg("circle", { class: "vt-curve-dot", r: 3.5 });
    this.result = element("span", { class: "vt-order-result" });
    this.el = element(
      "label",
      { class: "vt-order" },
      element("span", {}, this.input, method),
      this.drawing(),
      this.result,
    );
  }

  drawing() {
    const own = this.curves[METHODS.indexOf(this.method)];
    const others = this.curves.filter((curve) => curve !== own);
    const bottom = TOP + HIGH;
    return svg(
      "svg",
      { viewBox: "0 0 160 100", "aria-hidden": "true" },
      svg("path", { class: "vt-axes", d: `M${LEFT} ${TOP}v${HIGH}h${WIDE}` }),
      tick(LEFT - 3, TOP + 4, "end", "100%"),
      tick(LEFT - 3, bottom, "end", "0%"),
      tick(LEFT, bottom + 13, "middle", "0%"),
      tick(LEFT + WIDE, bottom + 13, "end", "100% removed"),
      this.now,
      ...others,
      own,
      this.dot,
    );
  }

  show({ test, method, gone, paths }) {
    const isChosen = this.method === method;
    const x = xOf(gone, test.count);
    const here = test.probability(this.method, gone);
    this.input.checked = isChosen;
    this.el.dataset.chosen = isChosen;
    this.curves.forEach((curve, i) => curve.setAttribute("d", paths[i]));
    this.now.setAttribute("d", `M${x} ${TOP}v${HIGH}`);
    this.dot.setAttribute("cx", x);
    const isKnown = here !== undefined;
    this.dot.setAttribute("visibility", isKnown ? "visible" : "hidden");
    if (isKnown) this.dot.setAttribute("cy", yOf(here));
    const area = test.area(this.method)?.toFixed(2) ?? "…";
    const share = isKnown ? percent(here) : "…";
    this.result.textContent = `area ${area}, here ${share}`;
  }
}

function tick(x, y, anchor, words) {
  const place = { x, y, "text-anchor": anchor };
  return svg("text", { ...place, class: "vt-tick" }, words);
}

// A curve, as soon as its sevenths are there.
function pathOf(test, method) {
  if (test.area(method) === undefined) return "";
  const points = test
    .curve(method)
    .map(([gone, share]) => `${xOf(gone, test.count)} ${yOf(share)}`);
  return `M${points.join("L")}`;
}

function xOf(gone, count) {
  return (LEFT + (WIDE * gone) / count).toFixed(1);
}

function yOf(share) {
  return (TOP + HIGH * (1 - share)).toFixed(1);
}
