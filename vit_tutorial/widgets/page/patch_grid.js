// A grid of patches to point at.

import { element } from "./elements.js";

// A grid of patches over an image, or over nothing: one tab stop, arrow keys
// move in it, Space and Enter pick. `move` hears where the keyboard is, `pick`
// what was clicked or confirmed, `hover` which patch the pointer is over (null:
// none); a finger that passes over a patch does not point at it.
export class PatchGrid {
  constructor({ grid: [rows, columns], label, behind, move, pick, hover }) {
    this.columns = columns;
    this.at = 0;
    this.cells = Array.from({ length: rows * columns }, (_, place) =>
      element("div", {
        role: "gridcell",
        class: "vt-cell",
        tabindex: place ? -1 : 0,
      }),
    );
    const lines = Array.from({ length: rows }, (_, row) => {
      const cells = this.cells.slice(row * columns, (row + 1) * columns);
      return element("div", { role: "row", class: "vt-row" }, ...cells);
    });
    const table = element(
      "div",
      { role: "grid", class: "vt-cells", "aria-label": label },
      ...lines,
    );
    this.el = element("div", { class: "vt-grid" }, behind ?? "", table);
    this.el.style.setProperty("--vt-rows", rows);
    this.el.style.setProperty("--vt-columns", columns);
    this.listenToClicks(table, pick);
    this.listenToKeys(table, move, pick);
    this.listenToPointer(table, hover);
  }

  placeOf({ target }) {
    return this.cells.indexOf(target.closest("[role=gridcell]"));
  }

  listenToClicks(table, pick) {
    table.addEventListener("click", (event) => {
      const place = this.placeOf(event);
      if (place < 0) return;
      this.focus(place);
      pick?.(place);
    });
  }

  listenToKeys(table, move, pick) {
    table.addEventListener("keydown", (event) => {
      const place = this.placeOf(event);
      if (place < 0 || event.altKey || event.metaKey) return;
      if (event.key === " " || event.key === "Enter") {
        event.preventDefault();
        pick?.(place);
        return;
      }
      const next = this.neighbour(place, event);
      if (next === undefined) return;
      event.preventDefault();
      if (next === place) return;
      this.focus(next);
      move?.(next);
    });
  }

  listenToPointer(table, hover) {
    if (!hover) return;
    let over = null;
    const tell = (place) => {
      if (place !== over) hover((over = place));
    };
    // A move, and not "pointerover": a grid that comes to lie under a pointer
    // at rest, as after a guess, is not pointed at.
    table.addEventListener("pointermove", (event) => {
      if (event.pointerType === "touch") return;
      const place = this.placeOf(event);
      tell(place < 0 ? null : place);
    });
    table.addEventListener("pointerleave", () => tell(null));
  }

  neighbour(place, { key, ctrlKey }) {
    const column = place % this.columns;
    const last = this.cells.length - 1;
    switch (key) {
      case "ArrowLeft":
        return column ? place - 1 : place;
      case "ArrowRight":
        return column < this.columns - 1 ? place + 1 : place;
      case "ArrowUp":
        return place >= this.columns ? place - this.columns : place;
      case "ArrowDown":
        return place + this.columns <= last ? place + this.columns : place;
      case "Home":
        return ctrlKey ? 0 : place - column;
      case "End":
        return ctrlKey ? last : place - column + this.columns - 1;
    }
  }

  focus(place) {
    this.stop(place);
    this.cells[place].focus({ preventScroll: true });
  }

  // Where Tab enters the grid.
  stop(place) {
    this.cells[this.at].tabIndex = -1;
    this.cells[(this.at = place)].tabIndex = 0;
  }

  // selected: a place or null. colour(place), name(place): what a cell shows
  // and is called.
  show({ selected = null, colour, name }) {
    this.cells.forEach((cell, place) => {
      cell.setAttribute("aria-selected", place === selected);
      cell.setAttribute("aria-label", name(place));
      cell.dataset.number = place + 1;
      if (colour) cell.style.backgroundColor = colour(place);
    });
    if (selected !== null && !this.el.contains(document.activeElement))
      this.stop(selected);
  }
}
