// What does a finer patch cost? A picture under the grid of its patches, and one layer's cost
// against that of 16-pixel patches.

import { Card } from "../page/card.js";
import { element, picture, svg } from "../page/elements.js";
import { percent } from "../page/words.js";
import { fromBase64 } from "../engine/dequantise.js";

const STATE = ["image_size", "patch_size"];
const SIZES = [112, 224, 384, 512];
const [DIM, HEADS] = [768, 12]; // of B/16
const REFERENCE = costOf(14 * 14); // patches of 16 pixels in a picture of 224
const LARGEST = 1024;
const [LEAST, MOST] = [-5, 8]; // the powers of ten that the bars reach

const COSTS = [
  { key: "tokens", name: "tokens, n" },
  { key: "each", name: "operations for every token, 24\u00a0n\u00a0D²" },
  { key: "scores", name: "scores of one head, n²" },
  { key: "pairs", name: "operations for every pair, 4\u00a0n²\u00a0D" },
  { key: "bytes", name: `scores of ${HEADS} heads, if stored` },
];

// Of one layer, on paper; every number is whole, and small enough to be exact.
function costOf(tokens) {
  return {
    tokens,
    each: 24 * tokens * DIM ** 2, // projections 8 n D², MLP 16 n D²
    scores: tokens ** 2,
    pairs: 4 * tokens ** 2 * DIM,
    bytes: 4 * HEADS * tokens ** 2,
  };
}

function render({ model, el }) {
  const card = new Card(el, "What does a finer patch cost?");
  const start = Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  let busy = false; // the two sizes change together
  let photo, sizes, patches, halved;

  const change = (changes) => {
    busy = true;
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    busy = false;
    model.save_changes();
    redraw();
  };

  const shown = element("div", { class: "vt-column vt-cost-shown" });
  const costs = element("div", { class: "vt-column vt-costs-column" });
  card.figure.append(shown, costs);
  const image = card.choice("picture", [], () => {
    const size = sizes[image.selectedIndex];
    const [patch] = divisors(size).sort(
      (a, b) => far(a, model.get("patch_size")) - far(b, model.get("patch_size")),
    );
    change({ image_size: size, patch_size: patch }); // the patch next in size that fits
  });
  const patch = card.choice("patch", [], () =>
    change({ patch_size: patches[patch.selectedIndex] }),
  );
  card.button("halve the patch", () => {
    const now = model.get("patch_size");
    if (now % 2) card.say(`A patch of ${now} pixel${now === 1 ? "" : "s"} cannot be halved.`);
    else change({ patch_size: now / 2 });
  });
  card.button("reset", () => change(start));
  card.link(model, STATE);

  function build() {
    const { shape, pixels } = model.get("picture");
    photo = picture(shape, fromBase64(pixels)).toDataURL();
  }

  function draw() {
    const [size, side] = STATE.map((name) => whole(name, model.get(name)));
    if (size % side) throw new RangeError(`patches of ${side} pixels do not tile ${size} pixels`);
    const now = costOf((size / side) ** 2);
    sizes = [...new Set([...SIZES, start.image_size, size])].sort((a, b) => a - b);
    patches = divisors(size);
    fill(image, sizes, size);
    fill(patch, patches, side);
    shown.replaceChildren(...cut(size, side));

    const share = now.pairs / (now.pairs + now.each);
    costs.replaceChildren(
      element(
        "p",
        { class: "vt-label" },
        "against 16-pixel patches at 224 × 224; each mark is ten times the one before",
      ),
      element("ul", { class: "vt-costs" }, ...COSTS.map((cost) => line(cost, now))),
      axis(),
      element("p", { class: "vt-label" }, "of one layer’s operations"),
      shares(share),
    );

    const ratio = now.tokens / REFERENCE.tokens;
    const against =
      ratio === 1
        ? "as many as the reference has"
        : `${times(ratio)} times the reference, with ${times(ratio ** 2)} times the scores`;
    card.say(
      `Patches of ${side} × ${side} in ${size} × ${size} pixels: ${grouped(now.tokens)} ` +
        `token${now.tokens === 1 ? "" : "s"}, ${against}. The pairs take ${percent(share)} of the ` +
        "layer’s operations.",
    );
    card.tabulate(
      `One layer of B/16 (D = ${DIM}, ${HEADS} heads), for a picture of ${size} × ${size}; ` +
        "no class token",
      ["patch", ...COSTS.map(({ name }) => name)],
      () =>
        patches.map((side) => [
          `${side} × ${side}`,
          ...COSTS.map(({ key }) => {
            const value = costOf((size / side) ** 2)[key];
            return grouped(value) + (key === "bytes" ? " bytes" : "");
          }),
        ]),
    );
  }

  // The picture under its grid. Where that is too fine to be seen, a part of it enlarged.
  function cut(size, side) {
    const count = size / side;
    const length = 224; // of the drawing, as of the book's other pictures
    const cell = length / count;
    const zoom = cell >= 4 ? 1 : cell >= 1.5 ? 4 : cell >= 0.4 ? 16 : 32;
    const image = () => svg("image", { href: photo, width: length, height: length });
    const lines = (from, to) => {
      const path = [];
      for (let i = Math.ceil(from / cell); i <= Math.floor(to / cell); i++) {
        const at = (i * cell).toFixed(3);
        path.push(`M${at} ${from}V${to}M${from} ${at}H${to}`);
      }
      return svg("path", { class: "vt-cost-lines", d: path.join("") });
    };
    const root = svg("svg", {
      class: "vt-cost-picture",
      viewBox: `0 0 ${length} ${length}`,
      role: "img",
      "aria-label": `A picture under a grid of ${count} by ${count} patches`,
    });
    root.append(image());
    if (zoom === 1) root.append(lines(0, length));
    else {
      const [at, lens, corner] = [84, 104, 114];
      const part = lens / zoom;
      const box = (x, side) => [
        svg("rect", { class: "vt-cost-rim", x, y: x, width: side, height: side }),
        svg("rect", { class: "vt-cost-lens", x, y: x, width: side, height: side }),
      ];
      const inner = svg("svg", {
        x: corner,
        y: corner,
        width: lens,
        height: lens,
        viewBox: `${at} ${at} ${part} ${part}`,
      });
      inner.append(image(), lines(at, at + part));
      root.append(...box(at, part), inner, ...box(corner, lens));
    }
    const enlarged = zoom === 1 ? "" : `the square, ${zoom} times as large`;
    return [
      element("p", { class: "vt-label" }, `${grouped(count)} × ${grouped(count)} patches`),
      root,
      element("p", { class: "vt-label vt-cost-zoom" }, enlarged),
    ];
  }

  const redraw = () => busy || card.attempt(draw);
  const rebuild = () => card.attempt(() => (build(), draw()));
  build();
  draw();
  card.guess("Half the patch’s side: how many times the attention scores?", [
    "2 times",
    "4 times",
    "8 times",
    "16 times",
  ]);
  for (const name of STATE) model.on(`change:${name}`, redraw);
  model.on("change:picture", rebuild);
  return () => {
    for (const name of STATE) model.off(`change:${name}`, redraw);
    model.off("change:picture", rebuild);
    el.replaceChildren();
  };
}

function whole(name, value) {
  if (!Number.isInteger(value) || value < 1 || value > LARGEST) {
    throw new RangeError(`${name} is a whole number from 1 to ${LARGEST}, got ${value}`);
  }
  return value;
}

function divisors(size) {
  return Array.from({ length: size }, (_, i) => i + 1).filter((side) => size % side === 0);
}

// How far apart two sizes are, as factors.
function far(a, b) {
  return Math.abs(Math.log(a / b));
}

function fill(select, sizes, chosen) {
  const options = sizes.map((size) => element("option", {}, `${size} × ${size}`));
  select.replaceChildren(...options);
  select.selectedIndex = sizes.indexOf(chosen);
}

function line({ key, name }, now) {
  const ratio = now[key] / REFERENCE[key];
  const [one, end] = [0, Math.log10(ratio)].map(at);
  const length = element("span", { class: isOfPairs(key) ? "vt-cost-pairs" : "vt-cost-each" });
  length.style.left = `${Math.min(one, end)}%`;
  length.style.width = `${Math.abs(end - one)}%`;
  const amount = key === "bytes" ? inWords(now[key], BYTES) : inWords(now[key], WORDS);
  return element(
    "li",
    {},
    element("span", {}, name),
    element("strong", {}, amount),
    element("span", { class: "vt-cost-scale", "aria-hidden": "true" }, length, mark(0)),
    element("span", { class: "vt-cost-times" }, `× ${times(ratio)}`),
  );
}

function isOfPairs(key) {
  return ["scores", "pairs", "bytes"].includes(key);
}

// Where a power of ten lies on the bars' scale, in percent.
function at(power) {
  return (100 * (power - LEAST)) / (MOST - LEAST);
}

function mark(power, ...text) {
  const span = element("span", { class: "vt-cost-mark" }, ...text);
  span.style.left = `${at(power)}%`;
  return span;
}

function axis() {
  const marks = [
    [-4, "÷ 10⁴"],
    [0, "1"],
    [4, "× 10⁴"],
    [8, "× 10⁸"],
  ];
  return element(
    "div",
    { class: "vt-cost-axis", "aria-hidden": "true" },
    ...marks.map(([power, text]) => mark(power, element("span", {}, text))),
  );
}

function shares(share) {
  const part = (name, width) => {
    const span = element("span", { class: name });
    span.style.width = `${100 * width}%`;
    return span;
  };
  return element(
    "div",
    { class: "vt-cost-shares" },
    element(
      "span",
      { class: "vt-cost-share", "aria-hidden": "true" },
      part("vt-cost-pairs", share),
      part("vt-cost-each", 1 - share),
    ),
    element("span", {}, `for every pair: ${percent(share)}`),
    element("span", {}, `for every token: ${percent(1 - share)}`),
  );
}

const WORDS = { " trillion": 1e12, " billion": 1e9, " million": 1e6 };
const BYTES = { " TB": 1e12, " GB": 1e9, " MB": 1e6, " kB": 1e3, " bytes": 1 };

// A large number in a unit of its size, with three digits.
function inWords(number, units) {
  for (const [unit, size] of Object.entries(units)) {
    if (number >= size) return times(Number((number / size).toPrecision(3))) + unit;
  }
  return grouped(number);
}

// How many times: whole where it is whole or large, else three digits that count.
function times(ratio) {
  if (ratio >= 100 || Number.isInteger(ratio)) return grouped(Math.round(ratio));
  return String(Number(ratio.toPrecision(3)));
}

function grouped(number) {
  return number.toLocaleString("en");
}

export default { render, state: STATE };
