// What one token attends to, in every layer and every head: a grid of small
// maps, a row for each head and a column for each layer, so that depth runs
// from left to right, as in the paper's Figure 7.

import { PatchGrid } from "./patch_grid.js";
import { element } from "./elements.js";
import { paint } from "./maps.js";

export class HeadMaps {
  #shownLayer;

  // depth, heads: how many maps. grid: [rows, columns] of the patches.
  // move(layer, head): the keyboard has come to a map; pick(layer, head): a map
  // was clicked or confirmed.
  constructor({ depth, heads, grid: [rows, columns], label, move, pick }) {
    this.depth = depth;
    this.table = new PatchGrid({
      grid: [heads, depth],
      label,
      move: move && ((index) => move(...this.#at(index))),
      pick: (index) => pick(...this.#at(index)),
    });
    this.canvases = this.table.cells.map((cell) => {
      const size = { width: columns, height: rows };
      const canvas = element("canvas", { ...size, "aria-hidden": "true" });
      cell.append(canvas);
      return canvas;
    });
    this.heads = numbered("vt-maps-heads", "head", heads);
    this.el = element(
      "div",
      { class: "vt-maps" },
      numbered("vt-maps-layers", "layer", depth),
      this.heads,
      this.table.el,
    );
  }

  // chosen: the [layer, head] that is marked, or null. isOff(layer, head),
  // name(layer, head). shares(layer, head): what each patch is given, in the
  // order of the patches; null for one that is not there. Each map is coloured
  // from 0 to its own highest share; where nothing is given, it stays hatched.
  show({ chosen = null, isOff, name, shares }) {
    this.table.show({
      selected: chosen && chosen[1] * this.depth + chosen[0],
      name: (index) => name(...this.#at(index)),
    });
    this.table.cells.forEach((cell, index) => {
      const [layer, head] = this.#at(index);
      cell.title = name(layer, head);
      cell.dataset.off = isOff(layer, head);
      const given = shares(layer, head);
      const highest = Math.max(...given);
      const shown = highest > 0 ? given : given.map(() => null);
      paint(this.canvases[index], shown, highest);
    });
    if (chosen) this.#follow(...chosen);
  }

  #at(index) {
    return [index % this.depth, Math.floor(index / this.depth)];
  }

  // Where the maps scroll in their box: until the chosen layer is in sight.
  #follow(layer, head) {
    if (layer === this.#shownLayer) return;
    this.#shownLayer = layer;
    const cell = this.table.cells[head * this.depth + layer];
    const [{ left, right }, box] = [cell, this.el].map((each) =>
      each.getBoundingClientRect(),
    );
    const hidden = box.left + this.heads.offsetWidth; // behind the heads' names
    if (right > box.right) this.el.scrollLeft += right - box.right + 4;
    else if (left < hidden) this.el.scrollLeft -= hidden - left + 8;
  }
}

function numbered(kind, what, count) {
  const names = Array.from({ length: count }, (_, i) =>
    element("span", {}, `${what} ${i + 1}`),
  );
  return element("div", { class: kind, "aria-hidden": "true" }, ...names);
}
