// The photo as the model gets it, in patches, what lies over it, and the token
// that attends.

import { PatchGrid } from "../../page/patch_grid.js";
import { badge } from "../../page/badge.js";
import { element, label, picture } from "../../page/elements.js";
import { nameOf, whereIs } from "../../page/words.js";
import { onDrag } from "../playground/dragging.js";
import { paintSigned } from "./any_vit_worth.js";
import { paint } from "../../page/maps.js";

export class ShownPhoto {
  #shown; // the bytes on the canvas

  // pick, move, hover: as PatchGrid's. drag: as onDrag's. ask(): the class
  // token is clicked.
  constructor({ vit, pick, move, hover, drag, ask }) {
    this.vit = vit;
    const [height, width] = vit.imageSize;
    const [rows, columns] = vit.grid;
    const canvas = (size) =>
      element("canvas", {
        ...size,
        "aria-hidden": "true",
        class: "vt-picture",
      });
    this.canvas = canvas({ height, width });
    this.over = canvas({ height: rows, width: columns });
    this.over.classList.add("vt-over");
    const behind = element("div", {}, this.canvas, this.over);
    const named = { grid: vit.grid, label: "The photo, in patches", behind };
    this.grid = new PatchGrid({ ...named, pick, move, hover });
    this.grid.el.classList.toggle("vt-fine", rows * columns > 400);
    onDrag(this.grid, drag);
    this.title = label();
    this.badge = badge(ask);
    const first = vit.numPrefix ? [this.badge.el] : [];
    const tokens = element(
      "div",
      { class: "vt-tokens" },
      ...first,
      this.grid.el,
    );
    this.el = element(
      "div",
      { class: "vt-column vt-shown" },
      this.title,
      tokens,
    );
  }

  // overlay: { shares, highest, isSigned }, or null.
  show({ bytes, attending: { token }, dropped, smooth }, overlay) {
    const { numPrefix, grid, imageSize, config } = this.vit;
    if (bytes && bytes !== this.#shown) {
      const shown = picture([config.channels, ...imageSize], bytes);
      this.canvas.getContext("2d").drawImage(shown, 0, 0);
      this.#shown = bytes;
    }
    this.over.hidden = !overlay;
    this.over.classList.toggle("vt-smooth", smooth);
    if (overlay?.isSigned)
      paintSigned(this.over, overlay.shares, overlay.highest);
    else if (overlay) paint(this.over, overlay.shares, overlay.highest);
    const gone = new Set(dropped);
    const isPatch = token !== null && token >= numPrefix;
    this.grid.show({
      selected: isPatch ? token - numPrefix : null,
      name: (place) =>
        whereIs(place, grid[1]) + (gone.has(place) ? ", removed" : ""),
    });
    this.grid.cells.forEach((cell, place) => {
      cell.dataset.dropped = gone.has(place);
    });
    this.badge.show({
      selected: token !== null && !isPatch,
      name: "the class token attends",
    });
    this.title.textContent =
      token === null
        ? "nothing is left"
        : `${nameOf(token, numPrefix)} attends`;
  }
}
