// Do the position embeddings know rows and columns? For each position a small
// map of how similar its embedding is to all others, laid out like the
// positions; one of them large, and its means.

import { Figure, live } from "../page/live.js";
import { askFirst } from "../page/guess.js";
import { PatchGrid } from "../page/patch_grid.js";
import { Surprises } from "../page/surprises.js";
import { column, element, label } from "../page/elements.js";
import { signed, signedLegend } from "../page/colours.js";
import { within } from "../page/checks.js";
import { ViT } from "../engine/vit.js";
import { Similarity } from "./similarity.js";

// Where another position can be, by Similarity.kindOf.
const OTHERS = ["the rest of its row", "the rest of its column", "elsewhere"];
const PLACES = ["in its row", "in its column", "elsewhere"];
// What can be guessed: right beside it, or by Similarity.kindOf.
const NEIGHBOUR = "a direct neighbour";
const FARTHER = [
  "another in its row",
  "another in its column",
  "one elsewhere",
];
const [PIXEL, GAP] = [8, 8]; // of the overview: a place of a map, between maps

class PositionSimilarity extends Figure {
  static question = "Do the position embeddings know rows and columns?";
  static state = ["position"];
  static inputs = ["vit"];

  // What is read while the pointer is over another position: for the eye alone,
  // in place of the outcome, which goes on telling of the one that was picked.
  glance = element("p", {
    class: "vt-alike-glance",
    "aria-hidden": "true",
    hidden: "",
  });

  begin() {
    const { outcome } = this.card;
    const said = element("div", { class: "vt-alike-said" });
    outcome.replaceWith(said);
    said.append(outcome, this.glance);
    this.card.rounded();
    const { alike } = this;
    if (alike.n === 1) return; // nothing to guess
    const { rows, columns } = alike;
    const position = this.get("position");
    const which = alike.nameOf(position);
    askFirst(
      this.card,
      `Which position is most similar to ${which} of ${rows} × ${columns}?`,
      [NEIGHBOUR, ...FARTHER],
      () => decide(alike, position),
    );
  }

  build() {
    const vit = new ViT(this.get("vit"));
    this.alike = new Similarity(vit);
    this.hovered = null; // the position under the pointer, for a look
    this.other = null; // the place of the large map that is looked at
    this.surprises = null;
    this.buildFigure(vit.grid);
    this.buildControls();
  }

  buildFigure(grid) {
    this.all = new PatchGrid({
      grid,
      label: "Positions",
      behind: overview(this.alike),
      move: (position) => this.choose(position),
      pick: (position) => this.choose(position),
      hover: (position) => {
        this.hovered = position;
        this.card.attempt(() => this.look());
      },
    });
    this.all.el.classList.add("vt-alike-overview");
    this.large = new LargeMap(grid, {
      pick: (position) => this.choose(position),
      point: (place) => {
        this.other = place;
        this.card.attempt(() => this.look());
      },
    });
    this.means = new Means(this.alike);
    this.card.figure.replaceChildren(
      column(label("one small map for each position"), this.all.el),
      this.large.el,
      this.means.el,
    );
  }

  buildControls() {
    this.card.controls.replaceChildren();
    this.card.button("Surprise me", () => this.surprise());
    this.addResetAndLink();
  }

  choose(position) {
    this.other = null;
    this.change({ position });
  }

  reset() {
    this.other = null;
    super.reset();
  }

  draw() {
    const position = within("position", this.get("position"), this.alike.n);
    const name = (place) => this.alike.nameOf(place);
    this.all.show({ selected: position, name });
    this.look();
    this.card.say(summary(this.alike, position));
    this.tabulate(position);
  }

  // The large map and its means: of the position under the pointer, else of the
  // one that was picked.
  look() {
    const { alike, hovered } = this;
    const picked = this.get("position");
    const position = hovered ?? picked;
    this.large.show(alike, position, this.other);
    this.means.show(alike, position);
    this.all.cells.forEach((cell, place) => {
      cell.toggleAttribute("data-glance", place === hovered);
    });
    this.glance.hidden = position === picked;
    if (position === picked) return;
    this.glance.textContent = glanced(alike, position, picked);
  }

  tabulate(position) {
    const { alike } = this;
    const means = () =>
      OTHERS.map((name, kind) => {
        const found = alike.means(position).find((each) => each.kind === kind);
        if (!found) return [`mean, ${name} (0)`, "", "", "–", ""];
        const { count, mean, chance } = found;
        const range = chance.map(withSign).join(" to ");
        return [`mean, ${name} (${count})`, "", "", withSign(mean), range];
      });
    const single = (_, place) => [
      `position ${place + 1}`,
      alike.rowOf(place) + 1,
      alike.columnOf(place) + 1,
      withSign(alike.of(position, place)),
      "",
    ];
    this.card.tabulate(
      `Cosine similarity to ${alike.nameOf(position)}, after subtracting the ` +
        "mean position",
      ["position", "row", "column", "cosine", "95% range if random"],
      () => [...means(), ...Array.from({ length: alike.n }, single)],
    );
  }

  // The positions that resemble their row and column most, beside what is
  // elsewhere.
  surprise() {
    const positions = Array.from({ length: this.alike.n }, (_, i) => i);
    this.surprises ??= new Surprises(positions, (position) =>
      this.alike.structure(position),
    );
    const shown = this.get("position");
    this.choose(this.surprises.next((position) => position === shown));
  }
}

// How alike one position is to each, and to one of them in numbers.
class LargeMap {
  constructor(grid, { pick, point }) {
    this.title = label();
    this.map = new PatchGrid({
      grid,
      label: "Similarity to each position",
      move: point,
      pick,
      hover: point,
    });
    this.pair = label("", "vt-alike-pair");
    this.el = column(this.title, this.map.el, signedLegend(1), this.pair);
  }

  // other: the place to compare with; null: the most alike.
  show(alike, position, other) {
    const value = (place) => alike.of(position, place);
    this.title.textContent = `position ${position + 1} and all others`;
    this.map.show({
      selected: position,
      colour: (place) => signed(value(place)),
      name: (place) => `${alike.nameOf(place)}: ${withSign(value(place))}`,
    });
    this.pair.textContent = comparison(alike, position, other);
  }
}

// Two positions in numbers: "25 and 24: +0.81, the highest".
function comparison(alike, position, other) {
  const best = alike.nearest(position);
  const place = other ?? best;
  if (place === null) return "";
  const name = place === position ? "itself" : place + 1;
  const highest = place === best ? ", the highest" : "";
  const value = withSign(alike.of(position, place));
  return `${position + 1} and ${name}: ${value}${highest}`;
}

// One position's mean similarity with its row, its column and what is
// elsewhere, beside what chance would make of it.
class Means {
  constructor({ n }) {
    this.title = label();
    this.list = element("ul", { class: "vt-alike-means" });
    const key = "vt-alike-chance vt-alike-chance-key";
    const explained = label();
    explained.append(
      element("span", { class: key, "aria-hidden": "true" }),
      " where 95% of such means lie if positions are random: around " +
        withSign(-1 / (n - 1)),
    );
    this.el = column(this.title, this.list, explained);
    this.el.classList.add("vt-alike-column");
  }

  show(alike, position) {
    this.title.textContent = `mean similarity of position ${position + 1} to`;
    const lines = alike
      .means(position)
      .map(({ kind, mean, chance }) =>
        element(
          "li",
          {},
          element("span", {}, OTHERS[kind]),
          element("strong", {}, withSign(mean)),
          scale(mean, chance),
        ),
      );
    this.list.replaceChildren(...lines);
  }
}

// A bar from zero to a value between -1 and 1, over the band in which chance
// would put it.
function scale(value, [low, high]) {
  const at = (number) => 50 + 50 * Math.min(Math.max(number, -1), 1);
  const part = (name, from, to) => {
    const span = element("span", { class: name });
    span.style.left = `${Math.min(at(from), at(to))}%`;
    span.style.width = `${Math.abs(at(to) - at(from))}%`;
    return span;
  };
  const bar = part("vt-alike-mean", 0, value);
  bar.style.background = signed(Math.sign(value));
  return element(
    "span",
    { class: "vt-alike-scale", "aria-hidden": "true" },
    part("vt-alike-chance", low, high),
    bar,
    part("vt-alike-zero", 0, 0),
  );
}

// All maps at once, each where its position is.
function overview(alike) {
  const { n, rows, columns } = alike;
  const side = PIXEL * Math.max(rows, columns) + GAP;
  const canvas = element("canvas", {
    width: side * columns,
    height: side * rows,
    class: "vt-picture",
    "aria-hidden": "true",
  });
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser does not draw on a canvas");
  const [left, top] = [columns, rows].map(
    (count) => (side - PIXEL * count) / 2,
  );
  for (let position = 0; position < n; position++) {
    const x = alike.columnOf(position) * side + left;
    const y = alike.rowOf(position) * side + top;
    for (let place = 0; place < n; place++) {
      const right = alike.columnOf(place) * PIXEL;
      const down = alike.rowOf(place) * PIXEL;
      context.fillStyle = signed(alike.of(position, place));
      context.fillRect(x + right, y + down, PIXEL, PIXEL);
    }
  }
  return canvas;
}

function summary(alike, position) {
  const best = alike.nearest(position);
  if (best === null) return `Position ${position + 1} is the only one.`;
  const means = alike
    .means(position)
    .map(({ kind, mean }) =>
      kind === 2
        ? `${withSign(mean)} elsewhere`
        : `${withSign(mean)} to ${OTHERS[kind]}`,
    );
  return (
    `Position ${position + 1} has mean similarity ${means.join(", ")}. ` +
    mostSimilar(alike, position, best)
  );
}

// Of the position under the pointer: less than the summary says, so that it
// takes no more room.
function glanced(alike, position, picked) {
  return (
    `You point at position ${position + 1}. ` +
    `${mostSimilar(alike, position, alike.nearest(position))} ` +
    `Position ${picked + 1} stays picked.`
  );
}

function mostSimilar(alike, position, best) {
  const place = PLACES[alike.kindOf(best, position)];
  const value = withSign(alike.of(position, best));
  return `The most similar is position ${best + 1}, ${place}: ${value}.`;
}

// The guess, about one position.
function decide(alike, position) {
  const best = alike.nearest(position);
  const means = alike.means(position);
  const elsewhere = means.find(({ kind }) => kind === 2);
  const against = elsewhere
    ? `; elsewhere the mean is ${withSign(elsewhere.mean)}`
    : "";
  return {
    right: alike.areNeighbours(best, position)
      ? NEIGHBOUR
      : FARTHER[alike.kindOf(best, position)],
    why:
      "the highest cosine similarity is " +
      `${withSign(alike.of(position, best))}, to ${alike.nameOf(best)}` +
      against,
  };
}

function withSign(number) {
  const text = Math.abs(number).toFixed(2);
  return `${Number(text) === 0 ? "" : number < 0 ? "−" : "+"}${text}`;
}

export default live(PositionSimilarity);
