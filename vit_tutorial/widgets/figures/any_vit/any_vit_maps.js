// Where a token attends, in every layer and head, and which of it lies over the
// photo.

import { HeadMaps } from "../../page/head_maps.js";
import { element, label } from "../../page/elements.js";
import { legend } from "../../page/colours.js";
import { nameOf, percent } from "../../page/words.js";
import { rollout, rowOf } from "../../page/rollout.js";
import { OVERLAYS } from "./any_vit_state.js";

const CHOICES = {
  rollout: "rollout, all layers",
  head: "the chosen head",
  mean: "the chosen layer’s mean",
  none: "nothing",
};

export class AttendingMaps {
  #rollout = { pass: null, row: null };

  // choose(layer, head), lay(overlay), smooth(isOn): what a reader does.
  constructor({ vit, newId, choose, lay, smooth }) {
    this.vit = vit;
    const { depth, heads } = vit.config;
    this.maps = new HeadMaps({
      ...{ depth, heads, grid: vit.grid },
      label: "All heads: a row for each head, a column for each layer",
      ...{ move: choose, pick: choose },
    });
    this.maps.el.style.setProperty("--vt-depth", depth);
    this.title = label();
    this.legend = element("div");
    const id = newId();
    const onchange = () => lay(OVERLAYS[this.select.selectedIndex]);
    this.select = element(
      "select",
      { id, onchange },
      ...OVERLAYS.map((name) => element("option", {}, CHOICES[name])),
    );
    // Rollout follows the class token, and a model without one has none.
    this.select.options[0].disabled = !vit.numPrefix;
    const name = element("label", { for: id }, "Over the photo");
    this.smooth = element("input", {
      type: "checkbox",
      onchange: () => smooth(this.smooth.checked),
    });
    const smoothly = element(
      "label",
      { class: "vt-control" },
      this.smooth,
      "smooth",
    );
    this.el = element(
      "div",
      { class: "vt-column vt-attends" },
      this.title,
      this.maps.el,
      element(
        "div",
        { class: "vt-controls" },
        element("span", { class: "vt-control" }, name, this.select),
        smoothly,
        this.legend,
      ),
    );
  }

  show(view) {
    const { layer, head, overlay, smooth, attending } = view;
    this.select.selectedIndex = OVERLAYS.indexOf(overlay);
    this.smooth.checked = smooth;
    if (attending.token === null) return;
    const who = nameOf(attending.token, this.vit.numPrefix);
    this.title.textContent = `what ${who} attends to`;
    this.el.classList.toggle("vt-waiting", !view.now);
    if (!view.now) return;
    const row = (l, h) => this.#byPlace(view, this.#row(view, l, h));
    this.maps.show({
      chosen: [layer, head],
      isOff: () => false,
      shares: row,
      name: (l, h) => `layer ${l + 1}, head ${h + 1}: ${strongest(row(l, h))}`,
    });
    const over = this.overlay(view);
    this.legend.replaceChildren(
      ...(over ? [legend(percent(over.highest))] : []),
    );
  }

  // A token's attention weights in one map, one for each token that is there.
  #row({ now, attending }, layer, head) {
    const n = this.vit.numPrefix + now.places.length;
    return rowOf(now.attention[layer], n, head, attending.row);
  }

  // Those of the patches, by their places; null for one that is removed.
  #byPlace({ now }, row) {
    const { grid, numPrefix } = this.vit;
    const shares = Array(grid[0] * grid[1]).fill(null);
    now.places.forEach((place, i) => (shares[place] = row[numPrefix + i]));
    return shares;
  }

  // { shares, highest } of what the reader chose, or null.
  overlay(view) {
    const { overlay, layer, head, now, attending } = view;
    if (!now || overlay === "none" || attending.token === null) return null;
    const row = {
      head: () => this.#row(view, layer, head),
      mean: () => this.#mean(view, layer),
      rollout: () => this.#rolled(now),
    }[overlay]();
    if (!row) return null;
    const shares = this.#byPlace(view, row);
    return { shares, highest: Math.max(...shares) };
  }

  // A line for each map, for the table.
  rows(view) {
    const { depth, heads } = this.vit.config;
    return Array.from({ length: depth * heads }, (_, index) => {
      const [layer, head] = [Math.floor(index / heads), index % heads];
      const row = this.#row(view, layer, head);
      const shares = this.#byPlace(view, row);
      const highest = Math.max(...shares);
      const own = this.vit.numPrefix ? percent(row[0]) : "–";
      return [
        `layer ${layer + 1}, head ${head + 1}`,
        ...[percent(highest), `patch ${shares.indexOf(highest) + 1}`, own],
      ];
    });
  }

  #mean(view, layer) {
    const { heads } = this.vit.config;
    const rows = Array.from({ length: heads }, (_, h) =>
      this.#row(view, layer, h),
    );
    return rows[0].map(
      (_, i) => rows.reduce((sum, row) => sum + row[i], 0) / heads,
    );
  }

  #rolled(now) {
    if (!this.vit.numPrefix) return null;
    if (this.#rollout.pass !== now) {
      const { heads } = this.vit.config;
      const layers = now.attention.map((attention) => ({ attention }));
      const row = rollout(layers, heads, 1 + now.places.length);
      this.#rollout = { pass: now, row };
    }
    return this.#rollout.row;
  }
}

function strongest(shares) {
  const highest = Math.max(...shares);
  const place = shares.indexOf(highest);
  if (place < 0 || shares[place] === null) return "no patch is left";
  return `strongest: patch ${place + 1}, ${percent(highest)}`;
}
