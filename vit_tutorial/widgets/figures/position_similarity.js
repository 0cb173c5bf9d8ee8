// Does it know that the picture is flat? For each position a small map of how alike its embedding
// is to all others, laid out like the positions; one of them large, and its means.

import { Card } from "../page/card.js";
import { PatchGrid } from "../page/patch_grid.js";
import { element } from "../page/elements.js";
import { signed, signedLegend } from "../page/colours.js";
import { within } from "../page/checks.js";
import { ViT } from "../engine/vit.js";

const STATE = ["position"];
const KINDS = ["the rest of its row", "the rest of its column", "elsewhere"];
const [PIXEL, GAP] = [8, 8]; // of the overview's canvas: a place of a map, and between two maps

function render({ model, el }) {
  const card = new Card(el, "Does it know that the picture is flat?");
  card.rounded();
  const start = Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  let vit, n, columns, alike, parts, surprises;
  let hovered = null; // the position under the pointer, for a look at its map
  let other = null; // the place of the large map that is looked at
  let surprised = 0;

  const change = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const choose = (position) => {
    other = null;
    change({ position });
  };
  const rowOf = (place) => Math.floor(place / columns);
  const columnOf = (place) => place % columns;
  const whereIs = (place) =>
    `position ${place + 1}, row ${rowOf(place) + 1}, column ${columnOf(place) + 1}`;
  const kindOf = (place, from) =>
    rowOf(place) === rowOf(from) ? 0 : columnOf(place) === columnOf(from) ? 1 : 2;

  // Everything that the model decides, made anew when it changes.
  function build() {
    vit = new ViT(model.get("vit"));
    if (vit.config.position === "none") {
      throw new RangeError("this model has no positions to compare");
    }
    n = vit.grid[0] * vit.grid[1];
    columns = vit.grid[1];
    alike = similarity(vit);
    surprises = hovered = other = null;

    const all = new PatchGrid({
      grid: vit.grid,
      label: "Positions",
      behind: overview(alike, vit.grid),
      move: choose,
      pick: choose,
      hover: (place) => {
        hovered = place;
        card.attempt(look);
      },
    });
    all.el.classList.add("vt-alike-overview");
    const one = new PatchGrid({
      grid: vit.grid,
      label: "Similarity with each position",
      move: (place) => {
        other = place;
        card.attempt(look);
      },
      pick: choose,
      hover: (place) => {
        other = place;
        card.attempt(look);
      },
    });
    const title = element("p", { class: "vt-label" });
    const pair = element("p", { class: "vt-label vt-alike-pair" });
    const means = element("ul", { class: "vt-alike-means" });
    const column = (heading, ...below) => element("div", { class: "vt-column" }, heading, ...below);
    card.figure.replaceChildren(
      column(element("p", { class: "vt-label" }, "one small map for each position"), all.el),
      column(title, one.el, signedLegend(1), pair),
      element(
        "div",
        { class: "vt-column vt-alike-column" },
        element("p", { class: "vt-label" }, "its mean similarity with"),
        means,
        element(
          "p",
          { class: "vt-label" },
          element("span", { class: "vt-alike-chance vt-alike-chance-key", "aria-hidden": "true" }),
          ` where 19 of 20 such means lie if positions are random: around ${sign(-1 / (n - 1))}`,
        ),
      ),
    );

    card.controls.replaceChildren();
    card.button("surprise me", surprise);
    card.button("reset", () => choose(start.position));
    card.link(model, STATE);
    parts = { all, one, title, pair, means };
  }

  // The means over the rest of a position's row and column and elsewhere; null where there is none.
  function meansOf(position) {
    const [sums, counts] = [
      [0, 0, 0],
      [0, 0, 0],
    ];
    for (let place = 0; place < n; place++) {
      if (place === position) continue;
      sums[kindOf(place, position)] += alike[position * n + place];
      counts[kindOf(place, position)] += 1;
    }
    return KINDS.map((name, kind) => ({
      name,
      count: counts[kind],
      mean: counts[kind] ? sums[kind] / counts[kind] : null,
    }));
  }

  function nearest(position) {
    let best = null;
    for (let place = 0; place < n; place++) {
      if (place === position) continue;
      if (best === null || alike[position * n + place] > alike[position * n + best]) best = place;
    }
    return best;
  }

  function draw() {
    const position = within("position", model.get("position"), n);
    parts.all.show({ selected: position, name: whereIs });
    look();

    const subject = `Position ${position + 1}`;
    const found = meansOf(position)
      .filter(({ mean }) => mean !== null)
      .map(({ name, mean }) => `${sign(mean)} ${name === KINDS[2] ? name : `with ${name}`}`);
    const best = nearest(position);
    const place = ["in its row", "in its column", "elsewhere"];
    card.say(
      best === null
        ? `${subject} is the only one.`
        : `${subject}: ${found.join(", ")}. Most like it is position ${best + 1}, ` +
            `${place[kindOf(best, position)]}: ${sign(alike[position * n + best])}.`,
    );
    card.tabulate(
      `Similarity with ${whereIs(position)}: cosines, what all positions share taken off`,
      ["position", "row", "column", "cosine", "random: 19 of 20 in"],
      () => [
        ...meansOf(position).map(({ name, count, mean }) => [
          `mean, ${name} (${count})`,
          "",
          "",
          mean === null ? "–" : sign(mean),
          mean === null ? "" : chance(n, vit.config.dim, count).map(sign).join(" to "),
        ]),
        ...Array.from({ length: n }, (_, place) => [
          `position ${place + 1}`,
          rowOf(place) + 1,
          columnOf(place) + 1,
          sign(alike[position * n + place]),
          "",
        ]),
      ],
    );
  }

  // The large map and its means: of the position under the pointer, else of the one picked.
  function look() {
    const position = hovered ?? model.get("position");
    const value = (place) => alike[position * n + place];
    parts.title.textContent = `position ${position + 1} and all others`;
    parts.one.show({
      selected: position,
      colour: (place) => signed(value(place)),
      name: (place) => `${whereIs(place)}: ${sign(value(place))}`,
    });
    const best = nearest(position);
    const against = other ?? best;
    parts.pair.textContent =
      against === null
        ? ""
        : `${position + 1} and ${against === position ? "itself" : against + 1}: ` +
          `${sign(value(against))}${against === best ? ", the highest" : ""}`;
    parts.means.replaceChildren(
      ...meansOf(position)
        .filter(({ mean }) => mean !== null)
        .map(({ name, count, mean }) =>
          element(
            "li",
            {},
            element("span", {}, name),
            element("strong", {}, sign(mean)),
            scale(mean, chance(n, vit.config.dim, count)),
          ),
        ),
    );
  }

  // The positions that most resemble their row and column, and least what is elsewhere.
  function surprise() {
    if (!surprises) {
      const structure = Array.from({ length: n }, (_, position) => {
        const [row, column, elsewhere] = meansOf(position).map(({ mean }) => mean ?? 0);
        return { position, strength: (row + column) / 2 - elsewhere };
      });
      structure.sort((a, b) => b.strength - a.strength);
      surprises = structure.map(({ position }) => position);
      surprised = 0;
    }
    const isShown = surprises[surprised % n] === model.get("position");
    if (isShown) surprised++; // what is there already surprises nobody
    choose(surprises[surprised++ % n]);
  }

  const redraw = () => card.attempt(draw);
  const rebuild = () => card.attempt(() => (build(), draw()));
  build();
  draw();
  card.guess(
    `Which position will be most like ${whereIs(start.position)} of ${vit.grid.join(" × ")}?`,
    ["a neighbour", "another one in its row", "another one in its column", "one elsewhere"],
  );
  model.on("change:position", redraw);
  model.on("change:vit", rebuild);
  return () => {
    model.off("change:position", redraw);
    model.off("change:vit", rebuild);
    el.replaceChildren();
  };
}

// The cosine of every two positions, (n, n), after what all have in common was taken off.
function similarity(vit) {
  const { dim } = vit.config;
  const n = vit.grid[0] * vit.grid[1];
  const table = new Float32Array((vit.numPrefix + n) * dim);
  vit.addPositions(
    table,
    Array.from({ length: n }, (_, place) => place),
  );
  const directions = Float64Array.from(table.subarray(vit.numPrefix * dim)); // (n, D)
  for (let d = 0; d < dim; d++) {
    let mean = 0;
    for (let i = d; i < directions.length; i += dim) mean += directions[i] / n;
    for (let i = d; i < directions.length; i += dim) directions[i] -= mean;
  }
  for (let start = 0; start < directions.length; start += dim) {
    const length = Math.hypot(...directions.subarray(start, start + dim)) || 1;
    for (let d = 0; d < dim; d++) directions[start + d] /= length;
  }
  const alike = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      for (let d = 0; d < dim; d++)
        alike[i * n + j] += directions[i * dim + d] * directions[j * dim + d];
    }
  }
  return alike;
}

// Where the mean of `count` cosines with one position lies, 19 times of 20, if the n positions are
// independent random vectors of `dim` numbers. Single cosines spread by 1/√dim. Since what all share
// is taken off, the n - 1 of them nearly sum to -1, so that a mean over most of them spreads less,
// as it does in a sample drawn from few without putting back.
function chance(n, dim, count) {
  const others = n - 1;
  const left = others > 1 ? (others - count) / (others - 1) : 0;
  const spread = Math.sqrt(left / (dim * count));
  return [-1 / others - 1.96 * spread, -1 / others + 1.96 * spread];
}

// All maps at once, each where its position is.
function overview(alike, [rows, columns]) {
  const n = rows * columns;
  const side = PIXEL * Math.max(rows, columns) + GAP;
  const canvas = element("canvas", {
    width: side * columns,
    height: side * rows,
    class: "vt-picture",
    "aria-hidden": "true",
  });
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser does not draw on a canvas");
  const [left, top] = [columns, rows].map((length) => (side - PIXEL * length) / 2);
  const corner = (place, step) => [(place % columns) * step, Math.floor(place / columns) * step];
  for (let position = 0; position < n; position++) {
    const [x, y] = corner(position, side);
    for (let place = 0; place < n; place++) {
      const [right, down] = corner(place, PIXEL);
      context.fillStyle = signed(alike[position * n + place]);
      context.fillRect(x + left + right, y + top + down, PIXEL, PIXEL);
    }
  }
  return canvas;
}

// A bar from zero to a value between -1 and 1, over the band in which chance would put it.
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

function sign(number) {
  const text = Math.abs(number).toFixed(2);
  return `${Number(text) === 0 ? "" : number < 0 ? "−" : "+"}${text}`;
}

export default { render, state: STATE };
