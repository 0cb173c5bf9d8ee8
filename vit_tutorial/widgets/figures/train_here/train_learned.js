// What the weights have become: how alike the positions are, and the filters of
// the patch embedding.

import { column, element, label } from "../../page/elements.js";
import { signed, signedLegend } from "../../page/colours.js";
import { Similarity } from "../similarity.js";

const COLOURS = Array.from({ length: 201 }, (_, i) =>
  signed(i / 100 - 1)
    .match(/\d+/g)
    .map(Number),
);
const ACROSS = 8; // filters in a row

export class Learned {
  constructor() {
    this.positions = new Tiles("position similarity");
    this.filters = new Tiles("patch filters");
    const both = element(
      "div",
      { class: "vt-train-tiles" },
      this.positions.el,
      this.filters.el,
    );
    this.el = column(both, signedLegend(1));
  }

  // vit: of the engine.
  show(vit) {
    this.#showPositions(vit);
    this.#showFilters(vit);
  }

  // A tile for each position, in its place: its cosine with all of them.
  #showPositions(vit) {
    const [rows, columns] = vit.grid;
    if (!vit.positions()) {
      this.positions.none("This model has no positions.");
      return;
    }
    const similarity = new Similarity(vit);
    const n = rows * columns;
    let structure = 0;
    for (let i = 0; i < n; i++) structure += similarity.structure(i) / n;
    const sign = structure < 0 ? "−" : "+";
    this.positions.show({
      grid: vit.grid,
      tile: vit.grid,
      value: (tile, pixel) => similarity.of(tile, pixel),
      words:
        "Cosine similarity of every position with all others. A row or a " +
        "column is more alike than the rest, on average by " +
        `${sign}${Math.abs(structure).toFixed(2)}.`,
    });
  }

  // A tile for each dimension: the patch that it answers to most, from -1 to 1
  // of the largest weight of all.
  #showFilters(vit) {
    const weight = vit.weights["to_patch_embedding.1.weight"];
    const { dim } = vit.config;
    const size = weight.length / dim;
    const largest = weight.reduce((most, w) => Math.max(most, Math.abs(w)), 0);
    this.filters.show({
      grid: [Math.ceil(dim / ACROSS), ACROSS],
      tile: vit.patchSize,
      value: (tile, pixel) => weight[tile * size + pixel] / (largest || 1),
      words:
        `The weights of the patch embedding: ${dim} filters of ` +
        `${vit.patchSize.join(" × ")} pixels.`,
    });
  }
}

// Small maps side by side on one canvas, a pixel of room between two of them.
class Tiles {
  constructor(title) {
    this.canvas = element("canvas", { role: "img" });
    this.note = label();
    this.el = column(label(title), this.canvas, this.note);
  }

  none(note) {
    this.note.textContent = note;
    this.canvas.hidden = true;
  }

  // grid, tile: [rows, columns] of tiles, and of pixels in one. value(tile,
  // pixel): from -1 to 1.
  show({ grid: [rows, columns], tile: [high, wide], value, words }) {
    const { canvas } = this;
    this.note.textContent = "";
    canvas.hidden = false;
    canvas.setAttribute("aria-label", words);
    canvas.title = words;
    canvas.width = columns * (wide + 1) - 1;
    canvas.height = rows * (high + 1) - 1;
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height);
    for (let y = 0, i = 0; y < canvas.height; y++) {
      for (let x = 0; x < canvas.width; x++, i += 4) {
        const [down, right] = [y % (high + 1), x % (wide + 1)];
        if (down === high || right === wide) continue;
        const row = Math.floor(y / (high + 1));
        const which = row * columns + Math.floor(x / (wide + 1));
        const number = value(which, down * wide + right);
        if (!Number.isFinite(number)) continue;
        const level = Math.round(100 * Math.min(Math.max(number, -1), 1));
        image.data.set(COLOURS[level + 100], i);
        image.data[i + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
  }
}
