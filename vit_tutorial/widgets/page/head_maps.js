// Where one token looks, in every layer and every head: a grid of small maps.

import { PatchGrid } from "./patch_grid.js";
import { element } from "./elements.js";
import { paint } from "./maps.js";

export class HeadMaps {
  // depth, heads: how many maps. grid: [rows, columns] of the patches. pick(layer, head): a map was
  // clicked, or confirmed by keyboard.
  constructor({ depth, heads, grid: [rows, columns], label, pick }) {
    this.heads = heads;
    this.columns = columns;
    this.table = new PatchGrid({
      grid: [depth, heads],
      label,
      pick: (index) => pick(Math.floor(index / heads), index % heads),
    });
    this.canvases = this.table.cells.map((cell) => {
      const canvas = element("canvas", {
        width: columns,
        height: rows,
        "aria-hidden": "true",
      });
      cell.append(canvas);
      return canvas;
    });
    const numbers = (count) =>
      Array.from({ length: count }, (_, i) =>
        element("span", {}, String(i + 1)),
      );
    this.el = element(
      "div",
      { class: "vt-heads" },
      element("span", { class: "vt-heads-corner" }, "layer ╲ head"),
      element("div", { class: "vt-heads-across" }, ...numbers(heads)),
      element("div", { class: "vt-heads-down" }, ...numbers(depth)),
      this.table.el,
    );
    this.el.style.setProperty("--vt-heads", heads);
    this.el.style.setProperty("--vt-depth", depth);
  }

  // places: where the patches are that have a token. shares(layer, head): how much each of those is
  // given, in the same order. name(layer, head): what a map is called. Each map is coloured from 0
  // to its own highest share; where there is no token, or nothing is given, it stays hatched.
  show({ places, shares, name }) {
    this.canvases.forEach((canvas, index) => {
      const given = shares(Math.floor(index / this.heads), index % this.heads);
      const highest = Math.max(...given);
      const pixels = Array(canvas.width * canvas.height).fill(null);
      if (highest > 0) places.forEach((place, i) => (pixels[place] = given[i]));
      paint(canvas, pixels, highest);
    });
    const at = (index) => [Math.floor(index / this.heads), index % this.heads];
    this.table.show({ name: (index) => name(...at(index)) });
    this.table.cells.forEach((cell, index) => {
      cell.title = name(...at(index));
      cell.dataset.number = at(index)
        .map((number) => number + 1)
        .join("·");
    });
  }
}
