// The image as the model gets it, in patches, and the token that attends.

import { PatchGrid } from "../../page/patch_grid.js";
import { badge } from "../../page/badge.js";
import { element, label, picture } from "../../page/elements.js";
import { rearranged } from "../../page/patches.js";
import { whereIs } from "../../page/words.js";
import { onDrag } from "./dragging.js";

export class ShownImage {
  // pick, move, hover: as PatchGrid's. drag: as onDrag's. ask(): the class
  // token is clicked. small: without it.
  constructor({ vit, small, pick, move, hover, drag, ask }) {
    this.vit = vit;
    this.prefix = vit.numPrefix;
    const [height, width] = vit.imageSize;
    const attributes = { width, height, "aria-hidden": "true" };
    this.canvas = element("canvas", { ...attributes, class: "vt-picture" });
    const behind = this.canvas;
    const named = { grid: vit.grid, label: "The image, in patches", behind };
    this.grid = new PatchGrid({ ...named, pick, move, hover });
    onDrag(this.grid, drag);
    this.title = label();
    this.badge = badge(ask);
    this.tokens = element("div", { class: "vt-tokens" });
    const first = this.prefix && !small ? [this.badge.el] : [];
    this.tokens.append(...first, this.grid.el);
    this.el = element(
      "div",
      { class: "vt-column vt-shown" },
      this.title,
      this.tokens,
    );
  }

  // order: the patch of each place. dropped: the patches that are removed.
  // asking: the token that attends, or null for none to be marked.
  show({ image: { shape, bytes }, order, dropped, asking }) {
    const gone = new Set(dropped);
    const { grid, patchSize } = this.vit;
    const shown = picture(shape, rearranged(bytes, shape, patchSize, order));
    this.canvas.getContext("2d").drawImage(shown, 0, 0);
    this.grid.show({
      selected:
        asking === null || asking < this.prefix
          ? null
          : order.indexOf(asking - this.prefix),
      name: (place) => {
        const [, where] = whereIs(place, grid[1]).split(/, (.*)/);
        const removed = gone.has(order[place]) ? ", removed" : "";
        return `patch ${order[place] + 1}, ${where}${removed}`;
      },
    });
    this.grid.cells.forEach((cell, place) => {
      cell.dataset.dropped = gone.has(order[place]);
      cell.dataset.number = order[place] + 1;
    });
    this.badge.show({
      selected: asking !== null && asking < this.prefix,
      name: "the class token attends",
    });
  }
}
