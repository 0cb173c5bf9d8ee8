// The norm of one token's vector over all steps as a line, that of what each
// step adds to it as bars.

import { svg } from "../page/elements.js";
import { digits } from "../page/digits.js";

const [WIDE, HIGH, LEFT, TOP] = [26, 110, 28, 10]; // a step, and the plot
const BOTTOM = TOP + HIGH;

// lengths: before the first step and after each. added: of what each adds.
// marked: the step that is shown, 0 for the embedding; none: null.
export function lengthChart({ lengths, added, marked, name }) {
  const highest = Math.max(...lengths, ...added);
  const y = (value) => BOTTOM - (value / highest) * HIGH;
  const width = LEFT + lengths.length * WIDE;
  return svg(
    "svg",
    {
      class: "vt-walk-chart",
      viewBox: `0 0 ${width + 6} ${HIGH + 42}`,
      role: "img",
      "aria-label": inWords(lengths, added, name),
    },
    ...(marked === null ? [] : [mark(marked)]),
    text(digits(highest), { x: LEFT - 4, y: TOP + 4, "text-anchor": "end" }),
    text("0", { x: LEFT - 4, y: BOTTOM, "text-anchor": "end" }),
    text("emb.", { x: x(0), y: BOTTOM + 12, "text-anchor": "middle" }),
    ...added.flatMap((value, step) => bar(step, y(value))),
    svg("path", { class: "vt-walk-axis", d: `M${LEFT} ${BOTTOM}H${width}` }),
    ...line(lengths.map((value, i) => [x(i), y(value)])),
    text("layer", { x: x(0), y: BOTTOM + 26, "text-anchor": "middle" }),
  );
}

function x(i) {
  return LEFT + (i + 0.5) * WIDE;
}

function mark(i) {
  return svg("rect", {
    class: "vt-walk-now",
    x: x(i) - WIDE / 2,
    y: TOP,
    width: WIDE,
    height: HIGH,
  });
}

// A step's bar, its letter, and under attention's the number of the layer.
function bar(step, y) {
  const isMLP = step % 2;
  const middle = { x: x(step + 1), "text-anchor": "middle" };
  const parts = [
    svg("rect", {
      class: isMLP ? "vt-walk-mlp" : "vt-walk-attention",
      x: middle.x - 8,
      y,
      width: 16,
      height: BOTTOM - y,
    }),
    text(isMLP ? "M" : "A", { ...middle, y: BOTTOM + 12 }),
  ];
  if (isMLP) return parts;
  const layer = String(step / 2 + 1);
  const between = { ...middle, x: x(step + 1.5) };
  return [...parts, text(layer, { ...between, y: BOTTOM + 26 })];
}

function line(points) {
  const dots = points.map(([cx, cy]) =>
    svg("circle", { class: "vt-walk-dot", cx, cy, r: 2.5 }),
  );
  const drawn = { class: "vt-walk-line", points: points.join(" ") };
  return [svg("polyline", drawn), ...dots];
}

function text(content, attributes) {
  return svg("text", { class: "vt-walk-text", ...attributes }, content);
}

function inWords(lengths, added, name) {
  const [first, last] = [lengths[0], lengths.at(-1)].map(digits);
  const [least, most] = [Math.min(...added), Math.max(...added)].map(digits);
  return (
    `The norm of ${name}: ${first} before the first layer, ${last} after the ` +
    `last; the ${added.length} steps add vectors of norm ${least} to ${most}`
  );
}
