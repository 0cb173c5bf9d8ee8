// The colours of attention and of signed values, each with its legend.

import { element } from "./elements.js";

// matplotlib's cividis, at 33 of its 256 colours.
const CIVIDIS = `
  00224e 00285b 002e6a 053371 1a386f 273e6e 32436d 3b496c 434e6c 4b546c 535a6d
  5a5f6e 61656f 686a71 6f7073 767676 7d7c78 838179 8b8778 928d78 9a9376 a29975
  aaa073 b3a670 bbad6d c3b369 ccba64 d4c15f ddc858 e6d051 efd748 f8df3c fee838`
  .trim()
  .split(/\s+/)
  .map((hex) =>
    [0, 2, 4].map((start) => parseInt(hex.slice(start, start + 2), 16)),
  );

export function cividis(share) {
  const at = Math.min(Math.max(share, 0), 1) * (CIVIDIS.length - 1);
  const [low, part] = [Math.floor(at), at % 1];
  const high = Math.min(low + 1, CIVIDIS.length - 1);
  const mix = CIVIDIS[low].map((value, c) =>
    Math.round(value + part * (CIVIDIS[high][c] - value)),
  );
  return `rgb(${mix.join(" ")})`;
}

// Attention's colours, from 0 to `highest`, with the two ends named.
export function legend(highest) {
  return element(
    "span",
    { class: "vt-legend" },
    "0",
    element("span", { class: "vt-legend-bar", "aria-hidden": "true" }),
    highest,
  );
}

// The colours of signed values, from -1 (orange) over 0 (grey) to 1 (blue):
// those of plots.SIGNED.
const SIGNED = ["d9660a", "9aa0a6", "2f86c8"].map((hex) =>
  [0, 2, 4].map((start) => parseInt(hex.slice(start, start + 2), 16)),
);

export function signed(value) {
  const at = Math.min(Math.max(value, -1), 1) + 1;
  const low = Math.min(Math.floor(at), 1);
  const mix = SIGNED[low].map((a, c) =>
    Math.round(a + (at - low) * (SIGNED[low + 1][c] - a)),
  );
  return `rgb(${mix.join(" ")})`;
}

export function signedLegend(limit) {
  return element(
    "span",
    { class: "vt-legend" },
    `−${limit}`,
    element("span", {
      class: "vt-legend-bar vt-legend-signed",
      "aria-hidden": "true",
    }),
    String(limit),
  );
}
