// What does the model receive? One row of numbers, the place in the image of
// each, and the patch that the model takes them for. What a reader sees counts
// from 1; the state and this code count from 0.

import { Figure, live } from "../page/live.js";
import { PatchGrid } from "../page/patch_grid.js";
import { Surprises } from "../page/surprises.js";
import { column, element, label, picture, svg } from "../page/elements.js";
import { whereIs } from "../page/words.js";
import { within } from "../page/checks.js";
import { fromBase64 } from "../engine/dequantise.js";
import { Cut, outline } from "./cut.js";

const WAYS = { rearrange: "rearrange", view: "a bare view" };
const CELL = 26; // pixels to a side of what is pointed at

class PatchCutter extends Figure {
  static question = "What does the model receive?";
  static state = ["patch", "way"];
  static inputs = ["picture", "patch_size"];

  build() {
    const { shape, pixels } = this.get("picture");
    const bytes = fromBase64(pixels);
    this.cuts = Object.keys(WAYS).map(
      (way) => new Cut(shape, bytes, this.get("patch_size"), way),
    );
    this.number = 0; // of the row's numbers, the one that is marked
    this.hovered = null; // the patch under the pointer, for a look
    this.pointed = null; // the number under the pointer
    this.surprises = null;

    const [cut] = this.cuts;
    this.source = this.buildSource(cut, picture(shape, bytes));
    this.piece = new Piece(cut);
    this.numbers = this.buildNumbers(cut);
    this.card.figure.replaceChildren(
      this.source.el,
      this.piece.el,
      this.numbers.el,
    );
    this.buildControls();
  }

  buildSource(cut, image) {
    return new Source(cut, image, {
      pick: (patch) => this.change({ patch }),
      hover: (patch) => {
        this.hovered = patch;
        this.card.attempt(() => this.look());
      },
    });
  }

  buildNumbers(cut) {
    return new Numbers(cut, {
      pick: (j) => this.mark(j),
      hover: (j) => {
        this.pointed = j;
        this.card.attempt(() => this.point());
      },
    });
  }

  buildControls() {
    const { card } = this;
    card.controls.replaceChildren();
    this.way = card.choice("cut by", Object.values(WAYS), () =>
      this.change({ way: Object.keys(WAYS)[this.way.selectedIndex] }),
    );
    card.button("Surprise me", () => this.surprise());
    this.addResetAndLink();
  }

  reset() {
    this.number = 0;
    super.reset();
  }

  // How the image is cut now.
  get cut() {
    return this.cuts.find(({ way }) => way === this.get("way"));
  }

  draw() {
    const { patch, way } = this.state();
    within("patch", patch, this.cuts[0].patches);
    if (!Object.hasOwn(WAYS, way)) {
      const known = Object.keys(WAYS).join(", ");
      throw new RangeError(`way is one of ${known}, got ${way}`);
    }
    this.source.select(patch, way);
    this.way.selectedIndex = Object.keys(WAYS).indexOf(way);
    this.look();
    this.card.say(summary(this.cut, patch));
    this.tabulate(this.cut, patch);
  }

  // A row of the table: of the patch under the pointer, else of the one that
  // was picked.
  look() {
    const { cut, patch } = this.shown();
    this.piece.show(cut, patch);
    this.numbers.show(cut, patch, this.number);
    this.point();
  }

  // One number: its place in the image, and the one that it is taken for.
  point() {
    const { cut, patch } = this.shown();
    const j = this.pointed ?? this.number;
    const isMarked = patch === this.get("patch"); // by the grid, in one piece
    this.source.point(cut, patch, j, cut.way === "rearrange" && isMarked);
    this.piece.point(cut.meant(j));
    this.numbers.tell(cut, patch, j);
  }

  shown() {
    return { cut: this.cut, patch: this.hovered ?? this.get("patch") };
  }

  mark(j) {
    this.number = j;
    this.card.attempt(() => this.look());
  }

  tabulate(cut, patch) {
    const line = (from, j) => {
      const to = cut.meant(j);
      const meant = [to.row + 1, to.column + 1, cut.colour(to.channel)];
      const source = [from.row + 1, from.column + 1, cut.colour(from.channel)];
      return [j + 1, ...meant, cut.valueAt(from), ...source];
    };
    this.card.tabulate(
      `Row ${patch + 1} of the table, cut by ${cut.way}`,
      ["entry", "p1", "p2", "c", "value", "pixel row", "column", "channel"],
      () => cut.sources(patch).map(line),
    );
  }

  // The patches whose numbers differ most from each other.
  surprise() {
    const [right] = this.cuts;
    this.surprises ??= new Surprises(
      Array.from({ length: right.patches }, (_, patch) => patch),
      (patch) => spread(right.values(patch)),
    );
    const shown = this.get("patch");
    this.change({ patch: this.surprises.next((patch) => patch === shown) });
  }
}

// The image under its patches, with the pixels that a row's numbers come from.
class Source {
  constructor({ height, width, rows, columns }, image, { pick, hover }) {
    this.columns = columns;
    this.patches = new PatchGrid({
      grid: [rows, columns],
      label: "Patches",
      behind: image,
      move: pick,
      pick,
      hover,
    });
    const side = `max(14rem, ${CELL * Math.max(rows, columns)}px)`;
    this.patches.el.style.setProperty("--vt-side", side);
    this.marks = overlay(width, height);
    this.patches.el.append(this.marks);
    this.el = column(
      label("the image, and where the values come from"),
      element("div", { class: "vt-scroll" }, this.patches.el),
    );
    this.el.classList.add("vt-cut");
  }

  select(patch, way) {
    this.patches.show({
      selected: patch,
      name: (place) => whereIs(place, this.columns),
    });
    this.patches.el.dataset.way = way;
  }

  point(cut, patch, j, isMarked) {
    const d = isMarked ? null : outline(cut.sources(patch));
    const border = d === null ? [] : rimmed("path", { d });
    this.marks.replaceChildren(
      ...border,
      ...ring(cut.source(patch, j), cut.width),
    );
  }
}

// The patch that the model takes a row's numbers for.
class Piece {
  constructor({ p1, p2 }) {
    this.title = label();
    this.taken = element("div", { class: "vt-taken" });
    this.taken.style.aspectRatio = `${p2} / ${p1}`;
    this.el = column(this.title, this.taken);
    this.el.classList.add("vt-piece");
  }

  show(cut, patch) {
    const { p1, p2, channels } = cut;
    this.width = p2;
    const size = `${p1} × ${p2} pixels`;
    this.title.textContent = `row ${patch + 1}, read as a patch: ${size}`;
    const bytes = new Uint8Array(cut.length); // (c, p1, p2)
    cut.values(patch).forEach((value, j) => {
      const { row, column, channel } = cut.meant(j);
      bytes[(channel * p1 + row) * p2 + column] = value;
    });
    this.marks = overlay(p2, p1);
    this.taken.replaceChildren(picture([channels, p1, p2], bytes), this.marks);
  }

  point(place) {
    this.marks.replaceChildren(...ring(place, this.width));
  }
}

// A row's numbers in their order, a line for each of its p1 rows of pixels.
class Numbers {
  constructor({ p1, p2, channels }, { pick, hover }) {
    this.grid = new PatchGrid({
      grid: [p1, p2 * channels],
      label: "The values in order",
      move: pick,
      pick,
      hover,
    });
    this.grid.el.style.setProperty("--vt-side", `${CELL * p2 * channels}px`);
    this.title = label();
    this.told = label("", "vt-number");
    this.el = column(
      this.title,
      element(
        "div",
        { class: "vt-scroll" },
        ...headings(p2, channels),
        element("div", { class: "vt-vector" }, lines(p1), this.grid.el),
      ),
      this.told,
    );
    this.el.classList.add("vt-vector-column");
  }

  show(cut, patch, selected) {
    const { patches, length, channels, way } = cut;
    const pattern =
      way === "rearrange"
        ? "c (h p1) (w p2) -> (h w) (p1 p2 c)"
        : `view(${patches}, ${length})`;
    this.title.replaceChildren(
      `row ${patch + 1} of ${patches}: ${length} values, cut by `,
      element("code", {}, pattern),
    );
    const from = cut.sources(patch);
    const values = cut.values(patch);
    this.grid.show({
      selected,
      name: (j) => `entry ${j + 1}: ${values[j]}, ${cut.nameOf(from[j])}`,
    });
    this.grid.cells.forEach((cell, j) => {
      cell.textContent = values[j];
      const [ground, ink] = colours(values[j], from[j].channel, channels);
      Object.assign(cell.style, { backgroundColor: ground, color: ink });
    });
  }

  tell(cut, patch, j) {
    const [from, to] = [cut.source(patch, j), cut.meant(j)];
    const colour = cut.channels === 3 ? `, c = ${cut.colour(to.channel)}` : "";
    this.told.textContent =
      `Entry ${j + 1} is ${cut.valueAt(from)}, at p1 = ${to.row + 1}, ` +
      `p2 = ${to.column + 1}${colour}. ` +
      `In the image, it is at ${cut.nameOf(from)}.`;
  }
}

// Which p2 and which colour the columns of numbers are for.
function headings(p2, channels) {
  const heading = (name, each, texts) => {
    const cells = [name, ...texts].map((text) => element("span", {}, text));
    const line = element(
      "div",
      { class: "vt-vector-columns", "aria-hidden": "true" },
      ...cells,
    );
    const widths = `3.4rem repeat(${texts.length}, ${CELL * each}px)`;
    line.style.gridTemplateColumns = widths;
    return line;
  };
  const pixels = heading("p2 =", channels, count(p2, String));
  if (channels === 1) return [pixels];
  return [pixels, heading("c =", 1, count(p2, () => ["R", "G", "B"]).flat())];
}

// Which p1 the lines of numbers are for.
function lines(p1) {
  return element(
    "div",
    { class: "vt-vector-rows", "aria-hidden": "true" },
    ...count(p1, (row) => element("span", {}, `p1 = ${row}`)),
  );
}

function count(n, make) {
  return Array.from({ length: n }, (_, i) => make(i + 1));
}

// A layer over an image, in units of its pixels.
function overlay(width, height) {
  return svg("svg", {
    class: "vt-overlay",
    viewBox: `0 0 ${width} ${height}`,
    preserveAspectRatio: "none",
    "aria-hidden": "true",
  });
}

// A pixel, marked so that it is found: by a ring around it, where there are
// many.
function ring({ row, column }, width) {
  return width > 20
    ? rimmed("circle", { cx: column + 0.5, cy: row + 0.5, r: 1.6 })
    : rimmed("rect", { x: column, y: row, width: 1, height: 1 });
}

// A shape, drawn twice: a dark rim, and the outline on it.
function rimmed(tag, shape) {
  return ["vt-rim", "vt-outline"].map((name) =>
    svg(tag, { class: name, ...shape }),
  );
}

// A number's colour, in the channel that it is taken from, and a colour that
// can be read on it.
function colours(value, channel, channels) {
  const rgb = [0, 1, 2].map((c) =>
    channels === 1 || c === channel ? value : 0,
  );
  const light = rgb.map((level) => (level / 255) ** 2.2);
  const luminance = 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2];
  return [`rgb(${rgb.join(" ")})`, luminance > 0.18 ? "#000" : "#fff"];
}

// What can be said of one row.
function summary(cut, patch) {
  const { length } = cut;
  const from = cut.sources(patch);
  const own = from.filter((place) => cut.patchAt(place) === patch).length;
  const row = `Row ${patch + 1}`;
  const owner = `come from patch ${patch + 1}`;
  if (cut.way === "rearrange") {
    return `${row}: all ${own} values ${owner}, pixel by pixel.`;
  }
  const lines = new Set(from.map((place) => place.row)).size;
  const kinds = [...new Set(from.map(({ channel }) => cut.colour(channel)))];
  const colours = kinds.length > 1 ? kinds.join(" and ") : `${kinds[0]} only`;
  return (
    `${row}: ${own} of its ${length} values ${owner}. The row is cut from ` +
    `${lines} pixel row${lines === 1 ? "" : "s"}` +
    `${cut.channels === 1 ? "" : `, ${colours}`}. ` +
    `The shape is still right: (${cut.patches}, ${length}).`
  );
}

// How far numbers spread, as the sum of their squared distances from the mean.
function spread(values) {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
}

export default live(PatchCutter);
