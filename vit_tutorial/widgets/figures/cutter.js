// What does the model receive? One row of numbers, the place in the picture of each, and the patch
// that the model takes them for.

import { Card } from "../page/card.js";
import { PatchGrid } from "../page/patch_grid.js";
import { element, picture, svg } from "../page/elements.js";
import { within } from "../page/checks.js";
import { fromBase64 } from "../engine/dequantise.js";

const STATE = ["patch", "way"];
const WAYS = { rearrange: "rearrange", view: "a bare view" };
const COLOURS = ["red", "green", "blue"];

function render({ model, el }) {
  const card = new Card(el, "What does the model receive?");
  const start = Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  let pixels, channels, height, width, p1, p2, rows, columns, length, parts;
  let hovered = null; // the patch under the pointer, for a look
  let number = 0; // of the row's numbers, the one that is marked
  let pointed = null; // and the one under the pointer
  let surprises = null;
  let surprised = 0;

  const change = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const whereIs = (patch) =>
    `patch ${patch + 1}, row ${Math.floor(patch / columns) + 1}, column ${(patch % columns) + 1}`;
  const colour = (c) => (channels === 1 ? "grey" : COLOURS[c]);

  // Number j of a patch as the model reads it: (p1 p2 c).
  const meant = (j) => ({
    row: Math.floor(j / (p2 * channels)),
    column: Math.floor(j / channels) % p2,
    channel: j % channels,
  });
  // Where number j of a row of the table comes from.
  function source(patch, j) {
    if (model.get("way") === "rearrange") {
      const { row, column, channel } = meant(j);
      return {
        row: Math.floor(patch / columns) * p1 + row,
        column: (patch % columns) * p2 + column,
        channel,
      };
    }
    const place = patch * length + j; // in memory: a channel after the other, row by row
    return {
      row: Math.floor(place / width) % height,
      column: place % width,
      channel: Math.floor(place / (width * height)),
    };
  }
  const valueAt = ({ row, column, channel }) => pixels[(channel * height + row) * width + column];

  // What the picture and the patch's size decide, made anew when those change.
  function build() {
    const given = model.get("picture");
    [channels, height, width] = given.shape;
    pixels = fromBase64(given.pixels);
    [p1, p2] = model.get("patch_size");
    [rows, columns] = [height / p1, width / p2];
    length = p1 * p2 * channels;
    number = 0;
    surprises = null;

    const cells = new PatchGrid({
      grid: [rows, columns],
      label: "Patches",
      behind: picture(given.shape, pixels),
      move: (place) => change({ patch: place }),
      pick: (place) => change({ patch: place }),
      hover: (place) => {
        hovered = place;
        card.attempt(look);
      },
    });
    cells.el.style.setProperty("--vt-side", `max(14rem, ${26 * Math.max(rows, columns)}px)`);
    const places = overlay(width, height);
    cells.el.append(places);

    const vector = new PatchGrid({
      grid: [p1, p2 * channels],
      label: "The numbers in their order",
      move: (place) => {
        number = place;
        card.attempt(look);
      },
      pick: (place) => {
        number = place;
        card.attempt(look);
      },
      hover: (place) => {
        pointed = place;
        card.attempt(point);
      },
    });
    vector.el.style.setProperty("--vt-side", `${26 * p2 * channels}px`);
    const taken = element("div", { class: "vt-taken" });
    taken.style.aspectRatio = `${p2} / ${p1}`;
    const titles = { piece: label(), row: label(), number: label("vt-number") };
    const before = element("div", { class: "vt-vector-rows", "aria-hidden": "true" });
    before.append(...count(p1, (row) => element("span", {}, `p1 = ${row}`)));
    const above = (tag, n, each, name) => {
      const line = element("div", { class: "vt-vector-columns", "aria-hidden": "true" });
      line.append(element("span", {}, tag), ...count(n, (i) => element("span", {}, name(i))));
      line.style.gridTemplateColumns = `3.4rem repeat(${n}, ${26 * each}px)`;
      return line;
    };
    card.figure.replaceChildren(
      element(
        "div",
        { class: "vt-column vt-cut" },
        element("p", { class: "vt-label" }, "the picture, and where the numbers come from"),
        element("div", { class: "vt-scroll" }, cells.el),
      ),
      element("div", { class: "vt-column" }, titles.piece, taken),
      element(
        "div",
        { class: "vt-column vt-vector-column" },
        titles.row,
        element(
          "div",
          { class: "vt-scroll" },
          above("p2 =", p2, channels, String),
          ...(channels === 3
            ? [above("c =", p2 * channels, 1, (i) => COLOURS[i % 3][0].toUpperCase())]
            : []),
          element("div", { class: "vt-vector" }, before, vector.el),
        ),
        titles.number,
      ),
    );

    card.controls.replaceChildren();
    const way = card.choice("cut by", Object.values(WAYS), () =>
      change({ way: Object.keys(WAYS)[way.selectedIndex] }),
    );
    card.button("surprise me", surprise);
    card.button("reset", () => {
      number = 0;
      change(start);
      look();
    });
    card.link(model, STATE);
    parts = { cells, places, vector, taken, titles, way };
  }

  function draw() {
    const patch = within("patch", model.get("patch"), rows * columns);
    const way = model.get("way");
    if (!Object.hasOwn(WAYS, way)) {
      throw new RangeError(`way is one of ${Object.keys(WAYS).join(", ")}, got ${way}`);
    }
    parts.cells.show({ selected: patch, name: whereIs });
    parts.way.selectedIndex = Object.keys(WAYS).indexOf(way);
    look();

    const from = count(length, (j) => source(patch, j));
    const own = from.filter(
      ({ row, column }) =>
        Math.floor(row / p1) * columns + Math.floor(column / p2) === patch,
    ).length;
    const kinds = [...new Set(from.map(({ channel }) => colour(channel)))];
    const only = channels === 1 ? "" : kinds[1] ? `, ${kinds.join(" and ")}` : `, ${kinds[0]} alone`;
    const lines = new Set(from.map(({ row }) => row)).size;
    card.say(
      way === "rearrange"
        ? `Row ${patch + 1}: all ${own} numbers are those of patch ${patch + 1}, pixel by pixel.`
        : `Row ${patch + 1}: ${own} of its ${length} numbers are those of patch ${patch + 1}. ` +
            `They come from ${lines} row${lines === 1 ? "" : "s"} of pixels${only}. ` +
            `The shape is right: (${rows * columns}, ${length}).`,
    );
    card.tabulate(
      `Row ${patch + 1} of the table, cut by ${way}`,
      ["number", "p1", "p2", "c", "value", "from row", "from column", "of"],
      () =>
        from.map((place, j) => {
          const { row, column, channel } = meant(j);
          return [
            j + 1,
            row,
            column,
            colour(channel),
            valueAt(place),
            place.row + 1,
            place.column + 1,
            colour(place.channel),
          ];
        }),
    );
  }

  // A row of the table: of the patch under the pointer, else of the one that was picked.
  function look() {
    const patch = hovered ?? model.get("patch");
    const from = count(length, (j) => source(patch, j));
    const values = from.map(valueAt);
    const { cells, titles, taken, vector } = parts;
    titles.piece.textContent = `row ${patch + 1}, as the model takes it: ${p1} × ${p2} pixels`;
    titles.row.replaceChildren(
      `row ${patch + 1} of ${rows * columns}: ${length} numbers, cut by `,
      element(
        "code",
        {},
        model.get("way") === "rearrange"
          ? "c (h p1) (w p2) -> (h w) (p1 p2 c)"
          : `view(${rows * columns}, ${length})`,
      ),
    );
    const planes = new Uint8Array(length); // (c, p1, p2), to be drawn
    values.forEach((value, j) => {
      const { row, column, channel } = meant(j);
      planes[(channel * p1 + row) * p2 + column] = value;
    });
    taken.replaceChildren(picture([channels, p1, p2], planes), overlay(p2, p1));
    vector.show({
      selected: number,
      name: (j) => `number ${j + 1}: ${values[j]}, ${origin(from[j])}`,
    });
    vector.cells.forEach((cell, j) => {
      cell.textContent = values[j];
      const [ground, ink] = colours(values[j], from[j].channel, channels);
      Object.assign(cell.style, { backgroundColor: ground, color: ink });
    });
    cells.el.dataset.way = model.get("way");
    point();
  }

  const origin = ({ row, column, channel }) =>
    `row ${row + 1}, column ${column + 1}, ${colour(channel)}`;

  // One number: its pixel in the picture, and the one that the model takes it for.
  function point() {
    const patch = hovered ?? model.get("patch");
    const j = pointed ?? number;
    const [from, to] = [source(patch, j), meant(j)];
    const { places, taken, titles } = parts;
    places.replaceChildren(...outline(patch), ...ring(from, width));
    taken.querySelector("svg").replaceChildren(...ring(to, p2));
    const isRight = model.get("way") === "rearrange";
    titles.number.textContent =
      `Number ${j + 1} is ${valueAt(from)}, at p1 = ${to.row}, p2 = ${to.column}` +
      (channels === 3 ? `, c = ${colour(to.channel)}` : "") +
      `. It ${isRight ? "is" : "was"} the picture’s ${origin(from)}.`;
  }

  // Around the pixels that a row's numbers come from: the edges that two of them do not share.
  function outline(patch) {
    if (model.get("way") === "rearrange" && patch === model.get("patch")) return []; // marked
    const pixels = new Set();
    for (let j = 0; j < length; j++) {
      const { row, column } = source(patch, j);
      pixels.add(row * width + column);
    }
    const edges = new Map();
    for (const pixel of pixels) {
      const [row, column] = [Math.floor(pixel / width), pixel % width];
      const [up, down] = [row, row + 1].map((y) => `M${column} ${y}h1`);
      const [left, right] = [column, column + 1].map((x) => `M${x} ${row}v1`);
      for (const edge of [up, down, left, right]) edges.set(edge, !edges.get(edge));
    }
    const d = [...edges].filter(([, isOdd]) => isOdd).map(([edge]) => edge);
    return ["vt-rim", "vt-outline"].map((name) => svg("path", { class: name, d: d.join("") }));
  }

  // The patches whose pixels differ most from each other.
  function surprise() {
    if (!surprises) {
      const spread = (patch) => {
        const values = count(length, (j) => {
          const { row, column, channel } = meant(j);
          const [top, left] = [Math.floor(patch / columns) * p1, (patch % columns) * p2];
          return valueAt({ row: top + row, column: left + column, channel });
        });
        const mean = values.reduce((a, b) => a + b, 0) / length;
        return values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
      };
      surprises = count(rows * columns, (patch) => ({ patch, spread: spread(patch) }));
      surprises.sort((a, b) => b.spread - a.spread);
      surprised = 0;
    }
    const next = () => surprises[surprised++ % surprises.length].patch;
    const first = next();
    change({ patch: first === model.get("patch") ? next() : first });
  }

  const redraw = () => card.attempt(draw);
  const rebuild = () => card.attempt(() => (build(), draw()));
  build();
  draw();
  for (const name of STATE) model.on(`change:${name}`, redraw);
  for (const name of ["picture", "patch_size"]) model.on(`change:${name}`, rebuild);
  return () => {
    for (const name of STATE) model.off(`change:${name}`, redraw);
    for (const name of ["picture", "patch_size"]) model.off(`change:${name}`, rebuild);
    el.replaceChildren();
  };
}

function count(n, make) {
  return Array.from({ length: n }, (_, i) => make(i));
}

function label(...names) {
  return element("p", { class: ["vt-label", ...names].join(" ") });
}

// A layer over a picture, in units of its pixels.
function overlay(width, height) {
  return svg("svg", {
    class: "vt-overlay",
    viewBox: `0 0 ${width} ${height}`,
    preserveAspectRatio: "none",
    "aria-hidden": "true",
  });
}

// A pixel, marked so that it is found: by a ring around it, where there are many.
function ring({ row, column }, width) {
  return ["vt-rim", "vt-outline"].map((name) =>
    width > 20
      ? svg("circle", { class: name, cx: column + 0.5, cy: row + 0.5, r: 1.6 })
      : svg("rect", { class: name, x: column, y: row, width: 1, height: 1 }),
  );
}

// A number's colour, in the channel that it is taken from, and one that can be read on it.
function colours(value, channel, channels) {
  const rgb = [0, 1, 2].map((c) => (channels === 1 || c === channel ? value : 0));
  const light = rgb.map((level) => (level / 255) ** 2.2);
  const luminance = 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2];
  return [`rgb(${rgb.join(" ")})`, luminance > 0.18 ? "#000" : "#fff"];
}

export default { render, state: STATE };
