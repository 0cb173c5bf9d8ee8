// What does each head attend to? One token's maps of all layers and heads at
// once, and one of them large. Patches can be removed and heads switched off:
// the maps and the prediction follow.

import { Figure, live } from "../page/live.js";
import { HeadMaps } from "../page/head_maps.js";
import { Surprises } from "../page/surprises.js";
import { TokenGrid } from "../page/token_grid.js";
import { column, element, label, picture } from "../page/elements.js";
import { bestAnswer, highestOf, strongest } from "../page/answers.js";
import { capitalised, nameOf, percent, whereIs } from "../page/words.js";
import { within } from "../page/checks.js";
import { classNames, unpackPictures } from "../page/page_model.js";
import { ViT } from "../engine/vit.js";
import { ChosenMap, titled } from "./where_it_looks_chosen.js";
import { Readings } from "./where_it_looks_readings.js";

class WhereItLooks extends Figure {
  static question = "What does each head attend to?";
  static state = ["picture", "layer", "head", "query", "dropped", "heads_off"];
  static inputs = ["vit", "pictures"];

  begin() {
    this.card.rounded();
  }

  build() {
    this.card.root.classList.add("vt-where");
    this.vit = new ViT(this.get("vit"));
    this.pictures = unpackPictures(this.get("pictures"));
    this.classes = classNames(this.vit.config);
    this.prefix = this.vit.numPrefix;
    this.count = this.vit.grid[0] * this.vit.grid[1];
    this.readings = new Readings(this.vit, this.pictures);
    this.surprises = null;
    this.chosen = new ChosenMap(this.vit, (token) => this.ask(token));
    this.shown = {}; // what the elements show that do not change with a move
    this.card.figure.replaceChildren(
      this.buildAsking(),
      this.buildMaps(),
      this.chosen.el,
      this.buildPrediction(),
    );
    this.buildControls();
  }

  // The token that attends.
  buildAsking() {
    this.asks = new TokenGrid({
      vit: this.vit,
      label: "The patch that attends; Space removes or restores it",
      behind: element("canvas"),
      move: (token) => this.ask(token),
      pick: (token) => this.pick(token),
      hover: (token) => token !== null && this.ask(token),
    });
    this.asking = label();
    const hint = label("point to choose, click to remove", "vt-below");
    return column(this.asking, this.asks.el, hint);
  }

  buildMaps() {
    const { depth, heads } = this.vit.config;
    const choose = (layer, head) => this.change({ layer, head });
    this.maps = new HeadMaps({
      depth,
      heads,
      grid: this.vit.grid,
      label:
        "All maps, a row for each head, a column for each layer; " +
        "Space switches the head off or on",
      move: choose,
      pick: choose,
    });
    this.maps.el.addEventListener("keydown", ({ key }) => {
      if (key === " " || key === "Enter") this.toggleHead();
    });
    const title = label(
      "all maps: a row for each head, a column for each layer",
    );
    const all = column(title, this.maps.el);
    all.classList.add("vt-all");
    return all;
  }

  buildPrediction() {
    this.answer = element("div");
    this.layers = element("ol", { class: "vt-layers", start: 0 });
    return element(
      "div",
      { class: "vt-answered" },
      column(label("prediction (mark: unchanged model)"), this.answer),
      column(label("prediction after layer"), this.layers),
    );
  }

  buildControls() {
    const { card } = this;
    card.controls.replaceChildren();
    const names = this.pictures.map(({ name }) => name);
    this.choice = card.choice("image", names, () =>
      this.change({ picture: this.choice.selectedIndex }),
    );
    this.off = card.checkbox("", () => this.toggleHead());
    this.offLabel = this.off.nextSibling;
    card.button("Restore all", () => this.change({ dropped: [] }));
    card.button("Surprise me", () => card.attempt(() => this.surprise()));
    this.addResetAndLink();
  }

  // Let another token attend, if it is there.
  ask(query) {
    const { query: before, dropped } = this.state();
    if (query !== before && !dropped.includes(query - this.prefix)) {
      this.change({ query });
    }
  }

  // A patch that attends already is removed, one that is removed comes back: so
  // a tap is enough.
  pick(query) {
    const { query: before, dropped } = this.state();
    const place = query - this.prefix;
    if (dropped.includes(place)) {
      const rest = dropped.filter((each) => each !== place);
      this.change({ dropped: rest, query });
    } else if (query !== before || place < 0) {
      this.change({ query });
    } else if (this.prefix || dropped.length < this.count - 1) {
      this.change({ dropped: [...dropped, place].sort((a, b) => a - b) });
    } else {
      this.card.say(
        "The last patch has to stay, because this model has no class token.",
      );
    }
  }

  // Switch the chosen head off, or on again.
  toggleHead() {
    const { layer, head, heads_off } = this.state();
    const others = heads_off.filter(([l, h]) => l !== layer || h !== head);
    const wasOff = others.length < heads_off.length;
    this.change({ heads_off: wasOff ? others : [...others, [layer, head]] });
  }

  check() {
    const { picture, layer, head, query, dropped, heads_off } = this.state();
    const { depth, heads } = this.vit.config;
    within("picture", picture, this.pictures.length);
    within("layer", layer, depth);
    within("head", head, heads);
    within("query", query, this.prefix + this.count);
    for (const place of dropped) within("a dropped patch", place, this.count);
    if (new Set(dropped).size < dropped.length) {
      throw new RangeError(`each dropped patch is named once, got ${dropped}`);
    }
    for (const pair of heads_off) {
      if (!Array.isArray(pair) || pair.length !== 2) {
        throw new RangeError(
          `a head that is off is a layer and a head, got ${pair}`,
        );
      }
      within("the layer of a head that is off", pair[0], depth);
      within("a head that is off", pair[1], heads);
    }
  }

  draw() {
    this.check();
    const view = this.view();
    this.drawAsking(view);
    this.drawMaps(view);
    this.chosen.show(view);
    this.drawPrediction(view);
    this.drawControls(view);
    this.say(view);
    this.tabulate(view);
  }

  // All that the parts are drawn from: the state; what the model makes of it;
  // who looks (`asking`, a token of the whole image, and `token`, its number
  // among those that are there); and that token's maps.
  view() {
    const state = this.state();
    const reading = this.readings.of(state);
    const isGone = state.dropped.includes(state.query - this.prefix);
    const first = this.prefix ? 0 : reading.places[0]; // who looks instead
    const asking = isGone ? first : state.query;
    const place = asking - this.prefix;
    const token = place < 0 ? 0 : reading.tokenOf[place];
    const { depth, heads } = this.vit.config;
    const maps = Array.from({ length: depth }, (_, layer) =>
      Array.from({ length: heads }, (_, head) =>
        reading.map(layer, head, token),
      ),
    );
    const chosen = maps[state.layer][state.head];
    return { ...state, reading, isGone, asking, token, maps, chosen };
  }

  drawAsking({ picture: index, asking, dropped }) {
    if (this.shown.picture !== index) {
      const { shape, bytes } = this.pictures[index];
      const { el } = this.asks.patches;
      el.querySelector("canvas").replaceWith(picture(shape, bytes));
      this.shown.picture = index;
    }
    const isDropped = (token) => dropped.includes(token - this.prefix);
    this.asks.show({
      selected: asking,
      name: (token) =>
        token < this.prefix
          ? "class token attends"
          : this.where(token) + (isDropped(token) ? ": removed" : ""),
    });
    this.asks.patches.cells.forEach((cell, place) => {
      cell.dataset.dropped = dropped.includes(place);
    });
    this.asking.textContent = `${this.name(asking)} attends`;
  }

  drawMaps({ layer, head, maps }) {
    this.maps.show({
      chosen: [layer, head],
      isOff: (layer, head) => maps[layer][head].isOff,
      name: (layer, head) => described(maps[layer][head]),
      shares: (layer, head) => maps[layer][head].shares,
    });
  }

  drawPrediction({ picture: index, reading }) {
    if (this.shown.reading === reading) return;
    this.shown.reading = reading;
    const before = this.readings.whole(index).answers.at(-1);
    this.answer.replaceChildren(
      strongest(this.classes, reading.answers.at(-1), before),
    );
    const lines = reading.answers.map((shares, layer) => {
      const first = highestOf(shares);
      return element(
        "li",
        {},
        element("span", {}, String(layer)),
        element("span", {}, this.classes[first]),
        element("strong", {}, percent(shares[first])),
      );
    });
    this.layers.replaceChildren(...lines);
  }

  drawControls({ picture: index, chosen }) {
    this.choice.selectedIndex = index;
    this.off.checked = chosen.isOff;
    this.offLabel.textContent = `switch off ${titled(chosen)}`;
  }

  say(view) {
    const { query, isGone, asking } = view;
    const instead = isGone
      ? `${capitalised(this.name(query))} is removed, so ${this.name(asking)} attends. `
      : "";
    this.card.say(instead + this.aboutMap(view) + this.aboutPrediction(view));
  }

  aboutMap({ asking, chosen }) {
    if (chosen.isOff) return `${capitalised(titled(chosen))} is off. `;
    if (chosen.first < 0) return "";
    const most = `patch ${chosen.first + 1} (${percent(chosen.highest)})`;
    return `${capitalised(this.name(asking))} attends most to ${most}. `;
  }

  aboutPrediction({ picture: index, reading, dropped, heads_off }) {
    const before = this.readings.whole(index).answers.at(-1);
    const [was, is] = [before, reading.answers.at(-1)].map((shares) =>
      bestAnswer(this.classes, shares),
    );
    const { depth, heads } = this.vit.config;
    const changes = [
      [dropped.length, this.count, "patches removed"],
      [heads_off.length, depth * heads, "heads off"],
    ]
      .filter(([number]) => number)
      .map(([number, all, what]) => `${number} of ${all} ${what}`);
    const since = changes.length
      ? ` (was ${was}) with ${changes.join(" and ")}`
      : "";
    return `The model predicts ${is}${since}.`;
  }

  tabulate({ picture: index, asking, maps }) {
    this.card.tabulate(
      `What ${this.name(asking)} attends to in ${this.pictures[index].name}`,
      [
        "map",
        "highest",
        "to",
        "effective tokens",
        "class token",
        "head’s distance, pixels",
      ],
      () => byHead(maps).map((map) => [titled(map), ...numbersOf(map)]),
    );
  }

  name(token) {
    return nameOf(token, this.prefix);
  }

  where(token) {
    return whereIs(token - this.prefix, this.vit.grid[1]);
  }

  // Of each image the map that attends to the fewest tokens, the narrowest of
  // all first.
  surprise() {
    this.surprises ??= new Surprises(
      this.readings.narrowest(),
      ({ fewest }) => -fewest,
    );
    const { picture, layer, head, query } = this.surprises.next();
    this.change({ picture, layer, head, query, dropped: [], heads_off: [] });
  }
}

// A map in a line.
function described(map) {
  if (map.isOff) return `${titled(map)}: off`;
  if (map.first < 0) return `${titled(map)}: no patch is left`;
  return (
    `${titled(map)}: highest ${percent(map.highest)}, to patch ` +
    `${map.first + 1}; attends to ${map.heard.toFixed(1)} tokens`
  );
}

// The maps in the order in which they are shown, row by row.
function byHead(maps) {
  return maps[0].flatMap((_, head) => maps.map((layer) => layer[head]));
}

function numbersOf(map) {
  if (map.isOff || map.first < 0) {
    return [map.isOff ? "off" : "–", "–", "–", "–", "–"];
  }
  return [
    percent(map.highest),
    `patch ${map.first + 1}`,
    map.heard.toFixed(1),
    percent(map.fromClass),
    map.distance.toFixed(1),
  ];
}

export default live(WhereItLooks);
