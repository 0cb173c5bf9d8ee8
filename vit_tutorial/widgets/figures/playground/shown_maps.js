// Where a token attends, in every layer and head.

import { HeadMaps } from "../../page/head_maps.js";
import { cividis, legend } from "../../page/colours.js";
import { column, element, label } from "../../page/elements.js";
import { paint } from "../../page/maps.js";
import { percent } from "../../page/words.js";

export class ShownMaps {
  // pick(layer, head): a map was clicked. restore(): all heads on again.
  constructor({ vit, pick, restore, redraw, newId }) {
    this.vit = vit;
    const { depth, heads } = vit.config;
    this.maps = new HeadMaps({
      depth,
      heads,
      grid: vit.grid,
      label: "Where it attends: a row for each head, a column for each layer",
      pick: (layer, head) => pick(layer, head, this.action.selectedIndex === 1),
    });
    this.selves = this.maps.table.cells.map((cell) => {
      const self = element("span", { class: "vt-self", "aria-hidden": "true" });
      if (vit.numPrefix) cell.append(self);
      return self;
    });
    const select = (text, options, onchange = () => {}) => {
      const id = newId();
      const made = options.map((option) => element("option", {}, option));
      const input = element("select", { id, onchange }, ...made);
      const name = element("label", { for: id }, text);
      return [input, element("span", { class: "vt-control" }, name, input)];
    };
    const scales = ["each map’s own", "shared by all maps"];
    const actions = ["switch it off", "keep only it"];
    const [scale, scaleLine] = select("Colours", scales, redraw);
    const [action, actionLine] = select("Click a head to", actions);
    Object.assign(this, { scale, action, title: label() });
    const all = { type: "button", onclick: restore };
    const allOn = element("button", all, "All heads on");
    this.legend = element("div");
    const note = vit.numPrefix ? [label("left edge: class token")] : [];
    const line = (...parts) => element("div", { class: "vt-controls" }, ...parts);
    this.el = column(
      this.title,
      this.maps.el,
      line(this.legend, ...note),
      line(actionLine, allOn),
      line(scaleLine),
    );
    this.el.classList.add("vt-attends");
  }

  // pass: of the model, or null. order: the patch of each place. asking: the
  // attending token's number among those that are there. isOff(layer, head).
  show({ pass, order, asking, isOff, title }) {
    this.title.textContent = title;
    const rows = (layer, head) => this.row(pass, asking, layer, head);
    this.maps.show({
      isOff,
      shares: (layer, head) => {
        const byPlace = Array(order.length).fill(null);
        const { patches } = rows(layer, head);
        pass?.places.forEach((place, i) => (byPlace[place] = patches[i]));
        return byPlace;
      },
      name: (layer, head) => {
        const off = isOff(layer, head);
        const row = rows(layer, head);
        const found = off ? "off" : this.strongest(row, pass, order);
        return `layer ${layer + 1}, head ${head + 1}: ${found}`;
      },
    });
    this.recolour(rows, pass);
  }

  // The attention weights of one map: what goes to the class token (`self`, 0
  // without one), and to each patch that is there.
  row(pass, asking, layer, head) {
    if (!pass) return { self: 0, patches: [] };
    const prefix = this.vit.numPrefix;
    const n = prefix + pass.places.length;
    const start = (head * n + asking) * n;
    const { attention } = pass.layers[layer];
    const weights = attention.subarray(start, start + n);
    return { self: prefix ? weights[0] : 0, patches: weights.subarray(prefix) };
  }

  strongest({ self, patches }, pass, order) {
    const own = this.vit.numPrefix ? `, class token ${percent(self)}` : "";
    const most = patches.indexOf(Math.max(...patches));
    if (most < 0) return `no patch is left${own}`;
    const patch = order[pass.places[most]] + 1;
    return `strongest: patch ${patch}, ${percent(patches[most])}${own}`;
  }

  // Colour all maps from 0 to their own largest weight, or to the largest of
  // all.
  recolour(rows, pass) {
    const { depth } = this.vit.config;
    const each = this.maps.canvases.map((_, index) =>
      rows(index % depth, Math.floor(index / depth)),
    );
    const largest = each.map((row) => Math.max(row.self, ...row.patches));
    const shared = Math.max(...largest);
    const isShared = this.scale.selectedIndex === 1;
    each.forEach(({ self, patches }, index) => {
      const highest = isShared ? shared : largest[index];
      this.selves[index].style.background = highest
        ? cividis(self / highest)
        : "";
      if (!highest) return;
      const canvas = this.maps.canvases[index];
      const byPlace = Array(canvas.width * canvas.height).fill(null);
      pass.places.forEach((place, i) => (byPlace[place] = patches[i]));
      paint(canvas, byPlace, highest);
    });
    const end = isShared ? percent(shared) : "map maximum";
    this.legend.replaceChildren(legend(end));
  }
}
