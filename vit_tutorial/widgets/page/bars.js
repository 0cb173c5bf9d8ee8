// Any row of numbers, as bars up and down.

import { svg } from "./elements.js";

// A row of bars, up for positive and down for negative numbers.
export function bars(numbers, limit, label) {
  const [step, height] = [10, 40];
  const root = svg("svg", {
    class: "vt-bars",
    viewBox: `0 0 ${numbers.length * step} ${height}`,
    preserveAspectRatio: "none",
    role: "img",
    "aria-label": label,
  });
  root.append(
    svg("rect", {
      class: "vt-zero",
      x: 0,
      y: height / 2 - 0.25,
      width: numbers.length * step,
      height: 0.5,
    }),
  );
  numbers.forEach((number, i) => {
    const length = Math.max((Math.abs(number) / limit) * (height / 2), 0.4);
    root.append(
      svg("rect", {
        class: number < 0 ? "vt-negative" : "vt-positive",
        x: i * step + 1,
        y: number < 0 ? height / 2 : height / 2 - length,
        width: step - 2,
        height: length,
      }),
    );
  });
  return root;
}
