// The tokens of an image: its patches in a grid and, where the model has one,
// the class token beside it.

import { badge } from "./badge.js";
import { element } from "./elements.js";
import { PatchGrid } from "./patch_grid.js";

// `move`, `pick` and `hover` hear a token where PatchGrid's hear a patch: 0 is
// the class token, where there is one.
export class TokenGrid {
  constructor({ vit, label, behind, move, pick, hover }) {
    this.prefix = vit.numPrefix;
    const tokenAt = (place) => (place === null ? null : this.prefix + place);
    this.patches = new PatchGrid({
      grid: vit.grid,
      label,
      behind,
      move: move && ((place) => move(tokenAt(place))),
      pick: pick && ((place) => pick(tokenAt(place))),
      hover: hover && ((place) => hover(tokenAt(place))),
    });
    this.classToken = badge(() => pick?.(0));
    if (hover) {
      const { el } = this.classToken;
      el.addEventListener("pointerenter", ({ pointerType }) => {
        if (pointerType !== "touch") hover(0);
      });
      el.addEventListener("pointerleave", () => hover(null));
    }
    const first = this.prefix ? [this.classToken.el] : [];
    const parts = [...first, this.patches.el];
    this.el = element("div", { class: "vt-tokens" }, ...parts);
  }

  // selected: a token or null. colour(token), name(token): what it shows and
  // is called.
  show({ selected = null, colour, name }) {
    const { prefix } = this;
    this.patches.show({
      selected:
        selected === null || selected < prefix ? null : selected - prefix,
      colour: colour && ((place) => colour(prefix + place)),
      name: (place) => name(prefix + place),
    });
    if (!prefix) return;
    this.classToken.show({
      selected: selected === 0,
      colour: colour?.(0),
      name: name(0),
    });
  }
}
