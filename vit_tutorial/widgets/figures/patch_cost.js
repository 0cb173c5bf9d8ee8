// What does a finer patch cost? An image under the grid of its patches, the
// table of its scores drawn to scale, and one layer's cost against that of
// 16-pixel patches.

import { Figure, live } from "../page/live.js";
import { askFirst } from "../page/guess.js";
import { column, element, label, picture, svg } from "../page/elements.js";
import { grouped, percent } from "../page/words.js";
import { fromBase64 } from "../engine/dequantise.js";

const SIZES = [112, 224, 384, 512];
const LARGEST = 1024;
const [DIM, HEADS] = [768, 12]; // of B/16
const REFERENCE = costOf(14 * 14); // patches of 16 pixels in an image of 224

const COSTS = [
  { key: "tokens", name: "tokens, n" },
  { key: "each", name: "operations on tokens, 24\u00a0n\u00a0D²" },
  { key: "scores", name: "scores of one head, n²" },
  { key: "pairs", name: "operations on pairs, 4\u00a0n²\u00a0D" },
  { key: "bytes", name: `scores of ${HEADS} heads, if stored` },
];

class PatchCost extends Figure {
  static question = "What does a finer patch cost?";
  static state = ["image_size", "patch_size"];
  static inputs = ["picture"];

  begin() {
    askFirst(
      this.card,
      "If you halve the patch side, how many times as many attention scores " +
        "do you get?",
      ["2 times", "4 times", "8 times", "16 times"],
      decide,
    );
  }

  build() {
    const { shape, pixels } = this.get("picture");
    this.photo = picture(shape, fromBase64(pixels)).toDataURL();
    this.shown = column();
    this.scores = column();
    for (const part of [this.shown, this.scores]) {
      part.classList.add("vt-cost-shown");
    }
    this.costs = column();
    this.costs.classList.add("vt-costs-column");
    this.shares = column();
    this.shares.classList.add("vt-cost-shares-column");
    this.card.figure.replaceChildren(
      this.shown,
      this.scores,
      this.costs,
      this.shares,
    );
    this.buildControls();
  }

  buildControls() {
    const { card } = this;
    card.controls.replaceChildren();
    this.image = card.choice("image size", [], () =>
      this.resize(this.sizes[this.image.selectedIndex]),
    );
    this.patch = card.choice("patch size", [], () =>
      this.change({ patch_size: this.patches[this.patch.selectedIndex] }),
    );
    card.button("Halve patch size", () => this.halve());
    this.addResetAndLink();
  }

  // Take a different image size, with the patch next in size that tiles it.
  resize(size) {
    const now = this.get("patch_size");
    const [patch] = divisors(size).sort((a, b) => far(a, now) - far(b, now));
    this.change({ image_size: size, patch_size: patch });
  }

  halve() {
    const now = this.get("patch_size");
    if (now % 2) {
      const pixels = `${now} pixel${now === 1 ? "" : "s"}`;
      this.card.say(`A patch of ${pixels} cannot be halved.`);
    } else this.change({ patch_size: now / 2 });
  }

  draw() {
    this.check();
    const { image_size: size, patch_size: patch } = this.state();
    const cost = costOf((size / patch) ** 2);
    this.fillChoices(size, patch);
    this.shown.replaceChildren(...imageUnderGrid(this.photo, size / patch));
    this.scores.replaceChildren(...tableOfScores(cost));
    this.costs.replaceChildren(
      label("against the reference"),
      element("ul", { class: "vt-costs" }, ...COSTS.map((c) => line(c, cost))),
    );
    this.shares.replaceChildren(
      label("share of one layer’s operations"),
      shares(shareOfPairs(cost)),
    );
    this.card.say(summary(size, patch, cost));
    this.tabulate(size);
  }

  check() {
    const { image_size: size, patch_size: patch } = this.state();
    for (const [name, value] of Object.entries(this.state())) {
      if (!Number.isInteger(value) || value < 1 || value > LARGEST) {
        throw new RangeError(
          `${name} is a whole number from 1 to ${LARGEST}, got ${value}`,
        );
      }
    }
    if (size % patch) {
      throw new RangeError(
        `patches of ${patch} pixels do not tile ${size} pixels`,
      );
    }
  }

  fillChoices(size, patch) {
    const sizes = new Set([...SIZES, this.start.image_size, size]);
    this.sizes = [...sizes].sort((a, b) => a - b);
    this.patches = divisors(size);
    fill(this.image, this.sizes, size);
    fill(this.patch, this.patches, patch);
  }

  tabulate(size) {
    const row = (patch) => {
      const cost = costOf((size / patch) ** 2);
      const amount = ({ key }) =>
        grouped(cost[key]) + (key === "bytes" ? " bytes" : "");
      return [`${patch} × ${patch}`, ...COSTS.map(amount)];
    };
    this.card.tabulate(
      `One layer of B/16 (D = ${DIM}, ${HEADS} heads), for an image of ` +
        `${size} × ${size}; no class token`,
      ["patch", ...COSTS.map(({ name }) => name)],
      () => this.patches.map(row),
    );
  }
}

// One layer's cost, on paper; every number is whole, and small enough to be
// exact.
function costOf(tokens) {
  return {
    tokens,
    each: 24 * tokens * DIM ** 2, // projections 8 n D², MLP 16 n D²
    scores: tokens ** 2,
    pairs: 4 * tokens ** 2 * DIM,
    bytes: 4 * HEADS * tokens ** 2,
  };
}

// The guess: half the side makes four tokens of one.
function decide() {
  const { tokens, scores } = costOf(4);
  return {
    right: `${scores} times`,
    why:
      `half the side means ${tokens} × the tokens, so ${scores} × the pairs, ` +
      "and each pair has a score",
  };
}

function shareOfPairs({ pairs, each }) {
  return pairs / (pairs + each);
}

function divisors(size) {
  const sides = Array.from({ length: size }, (_, i) => i + 1);
  return sides.filter((side) => size % side === 0);
}

// How far apart two sizes are, as factors.
function far(a, b) {
  return Math.abs(Math.log(a / b));
}

function summary(size, patch, cost) {
  const { tokens } = cost;
  const ratio = tokens / REFERENCE.tokens;
  const against =
    ratio === 1
      ? "as many as the reference"
      : `${times(ratio)} times the reference, with ` +
        `${times(ratio ** 2)} times the scores`;
  return (
    `Patches of ${patch} × ${patch} in ${size} × ${size} pixels: ` +
    `${grouped(tokens)} token${tokens === 1 ? "" : "s"}, ${against}. ` +
    `${percent(shareOfPairs(cost))} of operations are on pairs.`
  );
}

function fill(select, sizes, chosen) {
  const options = sizes.map((size) =>
    element("option", {}, `${size} × ${size}`),
  );
  select.replaceChildren(...options);
  select.selectedIndex = sizes.indexOf(chosen);
}

const SIDE = 224; // of the drawing, as of the book's other images

// The image under its grid. Where that is too fine to be seen, a part of it
// enlarged.
function imageUnderGrid(photo, count) {
  const cell = SIDE / count;
  const zoom = cell >= 4 ? 1 : cell >= 1.5 ? 4 : cell >= 0.4 ? 16 : 32;
  const root = svg("svg", {
    class: "vt-cost-picture",
    viewBox: `0 0 ${SIDE} ${SIDE}`,
    role: "img",
    "aria-label": `An image under a grid of ${count} by ${count} patches`,
  });
  root.append(image(photo));
  root.append(...(zoom === 1 ? [grid(cell)] : enlarged(photo, cell, zoom)));
  return [
    label(`${grouped(count)} × ${grouped(count)} patches`),
    root,
    label(
      zoom === 1 ? "" : `the square, enlarged ${zoom} times`,
      "vt-cost-below",
    ),
  ];
}

function image(photo) {
  return svg("image", { href: photo, width: SIDE, height: SIDE });
}

function grid(cell, from = 0, to = SIDE) {
  const path = [];
  for (let i = Math.ceil(from / cell); i <= Math.floor(to / cell); i++) {
    const at = (i * cell).toFixed(3);
    path.push(`M${at} ${from}V${to}M${from} ${at}H${to}`);
  }
  return svg("path", { class: "vt-cost-lines", d: path.join("") });
}

// A square in the image, and that square under a lens.
function enlarged(photo, cell, zoom) {
  const [at, corner, side] = [84, 114, 104];
  const part = side / zoom;
  const lens = svg("svg", {
    x: corner,
    y: corner,
    width: side,
    height: side,
    viewBox: `${at} ${at} ${part} ${part}`,
  });
  lens.append(image(photo), grid(cell, at, at + part));
  return [...frame(at, part), lens, ...frame(corner, side)];
}

function frame(at, side) {
  return ["vt-cost-rim", "vt-cost-lens"].map((name) =>
    svg("rect", { class: name, x: at, y: at, width: side, height: side }),
  );
}

const EDGE = 8; // the strip of tokens and the gap beside it
const ROOM = SIDE - EDGE; // for the table
const WIDEST = 16 * REFERENCE.tokens; // tokens that fill it, before it shrinks
const FINEST = 6; // of the squares that can still be counted

// The tokens along two sides of the table of their scores, drawn to scale, and
// on it the table of the reference. Its lines cut it into tables of that size.
function tableOfScores({ tokens }) {
  const scale = ROOM / Math.max(WIDEST, tokens);
  const [side, unit] = [tokens, REFERENCE.tokens].map((n) => n * scale);
  const root = svg(
    "svg",
    {
      class: "vt-cost-picture vt-cost-table",
      viewBox: `0 0 ${SIDE} ${SIDE}`,
      role: "img",
      "aria-label": tableInWords(tokens),
    },
    box("vt-cost-room", ROOM),
    ...strips(Math.max(side, 1)),
    box("vt-cost-pairs", Math.max(side, 1)),
  );
  if (side > unit && unit >= FINEST) root.append(tiles(unit, side));
  root.append(box("vt-cost-halo", unit), box("vt-cost-reference", unit));
  const name = grouped(tokens);
  const below = label("", "vt-cost-below");
  const lines = ["outlined: the reference,", "16 × 16 at 224 × 224"];
  if (tokens > WIDEST) lines.push(`zoomed out ${times(tokens / WIDEST)} ×`);
  below.append(...lines.map((text) => element("span", {}, text)));
  return [label(`${name} × ${name} scores`), root, below];
}

function box(name, side) {
  return svg("rect", {
    class: name,
    x: EDGE,
    y: EDGE,
    width: side,
    height: side,
  });
}

// The tokens along the top and along the left.
function strips(side) {
  const thick = EDGE - 2;
  const sizes = [
    { x: EDGE, y: 0, width: side, height: thick },
    { x: 0, y: EDGE, width: thick, height: side },
  ];
  return sizes.map((size) => svg("rect", { class: "vt-cost-each", ...size }));
}

// Lines at every multiple of the reference, through the strips too.
function tiles(unit, side) {
  const end = EDGE + side;
  const path = [];
  for (let at = unit; at < side - 0.01; at += unit) {
    const to = (EDGE + at).toFixed(3);
    path.push(`M${to} 0V${end}M0 ${to}H${end}`);
  }
  return svg("path", { class: "vt-cost-tiles", d: path.join("") });
}

function tableInWords(tokens) {
  const name = grouped(tokens);
  const ratio = tokens / REFERENCE.tokens;
  return (
    `A table of ${name} by ${name} scores. Its side is ${times(ratio)} times ` +
    `that of the table for 16-pixel patches, its area ${times(ratio ** 2)} times`
  );
}

// One cost: its amount, and how many times the reference's.
function line({ key, name }, cost) {
  const kind = isOfPairs(key) ? "vt-cost-of-pairs" : "vt-cost-of-each";
  const amount = inWords(cost[key], key === "bytes" ? BYTES : WORDS);
  const ratio = cost[key] / REFERENCE[key];
  return element(
    "li",
    { class: kind },
    element("span", {}, name),
    element("strong", {}, amount),
    element("span", { class: "vt-cost-times" }, `× ${times(ratio)}`),
  );
}

function isOfPairs(key) {
  return ["scores", "pairs", "bytes"].includes(key);
}

// How a layer's operations divide into those for pairs and those for tokens.
function shares(ofPairs) {
  const part = (name, share) => {
    const span = element("span", { class: name });
    span.style.width = `${100 * share}%`;
    return span;
  };
  return element(
    "div",
    { class: "vt-cost-shares" },
    element(
      "span",
      { class: "vt-cost-share", "aria-hidden": "true" },
      part("vt-cost-pairs", ofPairs),
      part("vt-cost-each", 1 - ofPairs),
    ),
    element("span", {}, `on pairs: ${percent(ofPairs)}`),
    element("span", {}, `on tokens: ${percent(1 - ofPairs)}`),
  );
}

const WORDS = { " trillion": 1e12, " billion": 1e9, " million": 1e6 };
const BYTES = { " TB": 1e12, " GB": 1e9, " MB": 1e6, " kB": 1e3, " bytes": 1 };

// A large number in a unit of its size, with three digits.
function inWords(number, units) {
  for (const [unit, size] of Object.entries(units)) {
    if (number < size) continue;
    return times(Number((number / size).toPrecision(3))) + unit;
  }
  return grouped(number);
}

// How many times: whole where it is whole or large, else three digits that
// count.
function times(ratio) {
  if (ratio >= 100 || Number.isInteger(ratio)) {
    return grouped(Math.round(ratio));
  }
  return String(Number(ratio.toPrecision(3)));
}

export default live(PatchCost);
