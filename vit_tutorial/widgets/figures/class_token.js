// Where does the prediction come from? Two models, one that reads a class token
// and one that reads the mean of the patches: how much each patch contributes
// to the prediction, and what the prediction is, layer by layer.

import { Figure, live } from "../page/live.js";
import { askFirst } from "../page/guess.js";
import { PatchGrid } from "../page/patch_grid.js";
import { Surprises } from "../page/surprises.js";
import { answers, bestAnswer } from "../page/answers.js";
import { cividis, legend } from "../page/colours.js";
import { column, element, label, picture } from "../page/elements.js";
import { capitalised, percent, whereIs } from "../page/words.js";
import { within } from "../page/checks.js";
import { unpackPictures } from "../page/page_model.js";
import { ViT } from "../engine/vit.js";
import {
  Readings,
  difference,
  sharesOfPatches,
} from "./class_token_readings.js";

const POOLINGS = ["cls", "mean"];
const READ = { cls: "the class token", mean: "the mean of the patches" };

class ClassToken extends Figure {
  static question = "Where does the prediction come from?";
  static state = ["picture", "pooling", "layer"];
  static inputs = ["cls_vit", "mean_vit", "pictures"];

  begin() {
    this.card.rounded();
    askFirst(
      this.card,
      "Before layer 1, does the prediction from the class token depend on the " +
        "image?",
      ["it does", "it does not"],
      () => decide(this.readings),
    );
  }

  build() {
    const vits = {
      cls: new ViT(this.get("cls_vit")),
      mean: new ViT(this.get("mean_vit")),
    };
    const { grid } = vits.cls;
    this.pictures = unpackPictures(this.get("pictures"));
    this.readings = new Readings(vits, this.pictures);
    this.surprises = null;
    this.picked = null; // the patch whose share is told

    const columns = [
      new ImageColumn(grid),
      new PatchShares(grid, (place) => this.pick(place)),
      new Prediction(this.readings),
      new LayerTable(this.readings, `${this.card.id}-road`),
    ];
    this.card.figure.replaceChildren(...columns.map(({ el }) => el));
    this.parts = [...columns, this.buildControls()];
  }

  buildControls() {
    const { card } = this;
    card.controls.replaceChildren();
    const names = this.pictures.map(({ name }) => name);
    const chosen = card.choice("image", names, () => {
      this.change({ picture: chosen.selectedIndex });
    });
    const ways = POOLINGS.map((pooling) => READ[pooling]);
    const read = card.choice("read from", ways, () => {
      this.change({ pooling: POOLINGS[read.selectedIndex] });
    });
    const slider = card.slider("layer", {
      min: 0,
      max: this.readings.depth,
      step: 1,
      oninput: ({ target }) => this.change({ layer: Number(target.value) }),
    });
    card.button("Surprise me", () => this.surprise());
    this.addResetAndLink();
    return {
      show({ picture, pooling, layer }) {
        chosen.selectedIndex = picture;
        read.selectedIndex = POOLINGS.indexOf(pooling);
        slider.show(layer, when(layer));
      },
    };
  }

  draw() {
    const state = this.checkedState();
    const { picture, pooling, layer } = state;
    const reading = this.readings.of[picture];
    const now = {
      ...state,
      reading,
      image: this.pictures[picture],
      answer: reading[pooling][layer],
      picked: this.picked,
    };
    for (const part of this.parts) part.show(now);
    this.card.say(outcome(this.readings, now));
    this.tabulate(reading);
  }

  checkedState() {
    const state = this.state();
    within("picture", state.picture, this.pictures.length);
    within("layer", state.layer, this.readings.depth + 1);
    if (!POOLINGS.includes(state.pooling)) {
      const got = JSON.stringify(state.pooling);
      throw new RangeError(`pooling is “cls” or “mean”, got ${got}`);
    }
    return state;
  }

  tabulate(reading) {
    const columns = POOLINGS.flatMap((pooling) =>
      reading[pooling].map((_, layer) => `${pooling}, ${when(layer)}`),
    );
    const all = POOLINGS.flatMap((pooling) => reading[pooling]);
    this.card.tabulate(
      `${reading.name}: probabilities, in percent`,
      ["class", ...columns],
      () =>
        this.readings.classes.map((name, i) => [
          name,
          ...all.map((shares) => (100 * shares[i]).toFixed(1)),
        ]),
    );
  }

  pick(place) {
    this.picked = place;
    this.redraw();
  }

  reset() {
    this.picked = null;
    super.reset();
  }

  // The pictures on which the two models differ most in the end.
  surprise() {
    const { depth } = this.readings;
    this.surprises ??= new Surprises(this.pictures.keys(), (index) =>
      difference(this.readings.of[index], depth),
    );
    this.change({ picture: this.surprises.next(), layer: depth });
  }
}

// The picture. It only shows: the grid beside it is the one to move in.
class ImageColumn {
  constructor(grid) {
    this.columns = grid[1];
    this.name = label();
    this.patches = new PatchGrid({
      grid,
      label: "The image",
      behind: element("canvas"),
    });
    this.patches.el.inert = true;
    this.patches.el.setAttribute("aria-hidden", true);
    this.el = column(this.name, this.patches.el);
  }

  show({ image: { shape, bytes, name }, picked }) {
    const canvas = this.patches.el.querySelector("canvas");
    canvas.replaceWith(picture(shape, bytes));
    this.name.textContent = `the image: ${name}`;
    this.patches.show({
      selected: picked,
      name: (place) => whereIs(place, this.columns),
    });
  }
}

// How much each patch contributes: what token 0 takes from it, the mean over
// the heads, or what it gives to the mean. pick(place): null for none.
class PatchShares {
  #shares; // of the patches
  #picked = null;
  #hovered = null;

  constructor(grid, pick) {
    this.columns = grid[1];
    this.title = label();
    this.token = element(
      "span",
      { class: "vt-badge vt-reads", role: "img" },
      "cls",
    );
    this.scale = element("span");
    this.told = label("", "vt-told");
    this.patches = new PatchGrid({
      grid,
      label: "How much each patch contributes to the prediction",
      move: pick,
      pick: (place) => pick(place === this.#picked ? null : place),
      hover: (place) => {
        this.#hovered = place;
        this.tell();
      },
    });
    const tokens = { class: "vt-tokens" };
    this.el = column(
      this.title,
      element("div", tokens, this.token, this.patches.el),
      this.scale,
      this.told,
    );
  }

  show({ reading, pooling, layer, picked }) {
    const nothing = pooling === "cls" && !layer; // token 0 took nothing yet
    this.#shares = sharesOfPatches(reading, pooling, layer);
    this.#picked = picked;
    this.title.textContent = nothing
      ? "token 0: nothing attended to yet"
      : pooling === "cls"
        ? `token 0’s attention weights, layer ${layer}`
        : "each patch’s weight in the mean";
    this.patches.show({
      selected: picked,
      colour: (place) =>
        nothing
          ? "transparent"
          : cividis(this.#shares[place] / reading.highest),
      name: (place) => this.named(place),
    });
    this.showToken(reading, pooling, layer);
    this.scale.replaceChildren(legend(percent(reading.highest)));
    this.tell();
  }

  showToken(reading, pooling, layer) {
    const isRead = pooling === "cls";
    this.token.style.visibility = isRead ? "" : "hidden"; // its place stays
    const own = layer
      ? `, attends to itself: ${percent(reading.taken[layer - 1][0])}`
      : "";
    this.token.setAttribute("aria-label", `class token${own}`);
  }

  // The weight of the patch under the pointer, else of the one that was picked.
  tell() {
    const place = this.#hovered ?? this.#picked;
    this.told.textContent =
      place === null ? "pick a patch to see its weight" : this.named(place);
  }

  named(place) {
    return `${whereIs(place, this.columns)}: ${percent(this.#shares[place])}`;
  }
}

// The prediction that is read now.
class Prediction {
  constructor({ classes }) {
    this.classes = classes;
    this.heading = label();
    this.bars = element("div");
    this.el = column(this.heading, this.bars);
  }

  show({ layer, answer }) {
    this.heading.textContent = `prediction ${when(layer)}`;
    this.bars.replaceChildren(answers(this.classes, [...answer]));
  }
}

// What both models predict after every layer, side by side.
class LayerTable {
  constructor(readings, id) {
    this.readings = readings;
    this.title = label("both models’ predictions, layer by layer");
    this.title.id = id;
    this.el = element("div", {
      class: "vt-road",
      role: "region",
      tabindex: 0,
      "aria-label": "Both models’ predictions, layer by layer",
    });
  }

  show({ reading, pooling, layer }) {
    const names = ["after layer", "class token", "mean"];
    const head = names.map((name, i) =>
      element("th", { scope: "col" }, name, ...(i ? [this.widest()] : [])),
    );
    const rows = reading.cls.map((_, i) => {
      const isLast = i === this.readings.depth;
      return element(
        "tr",
        { class: isLast ? "vt-final" : null },
        element("th", { scope: "row" }, String(i)),
        ...POOLINGS.map((way) =>
          this.cell(reading, reading[way][i], way === pooling && i === layer),
        ),
      );
    });
    const table = element(
      "table",
      { "aria-labelledby": this.title.id },
      element("thead", {}, element("tr", {}, ...head)),
      element("tbody", {}, ...rows),
    );
    this.el.replaceChildren(this.title, table);
  }

  // What a column has room for, and nobody sees: each of its cells, whichever
  // class comes first.
  widest() {
    const cells = this.readings.classes.map((name) => `${name} 100% ✓`);
    const unseen = { class: "vt-widest", "aria-hidden": "true" };
    return element("span", unseen, cells.join("\n"));
  }

  cell(reading, shares, isCurrent) {
    const name = this.readings.named(shares);
    const mark = name === reading.name ? " ✓" : "";
    return element(
      "td",
      { "aria-current": isCurrent ? "true" : null },
      `${name} ${percent(Math.max(...shares))}${mark}`,
    );
  }
}

function when(layer) {
  return layer ? `after layer ${layer}` : "before layer 1";
}

function outcome(readings, { reading, pooling, layer, answer }) {
  const name = readings.named(answer);
  const words =
    `${when(layer)}, the prediction from ${READ[pooling]} is ` +
    `${name}, ${percent(Math.max(...answer))}`;
  const said = capitalised(words);
  const all = readings.of.map((each) => each[pooling][layer]);
  if (!layer) return said + acrossImages(readings, all);
  if (!readings.classes.includes(reading.name)) return `${said}.`;
  const right = readings.of.filter(
    (each, i) => readings.named(all[i]) === each.name,
  );
  const truth = name === reading.name ? "right" : `label: ${reading.name}`;
  return (
    `${said} (${truth}). Read this way, the model gets ${right.length} of ` +
    `${all.length} images right.`
  );
}

// Whether a prediction before the first layer depends on the image.
function acrossImages(readings, all) {
  if (isSame(all)) return `: the same for all ${all.length} images.`;
  const different = new Set(all.map((shares) => readings.named(shares))).size;
  return (
    `. It differs from image to image: ${different} of ` +
    `${readings.classes.length} classes occur.`
  );
}

// The guess, about the prediction from token 0 before the first layer.
function decide({ of, classes }) {
  const all = of.map(({ cls }) => cls[0]);
  const images = `all ${all.length} images`;
  if (!isSame(all)) {
    return { right: "it does", why: `it is not the same for ${images}` };
  }
  return {
    right: "it does not",
    why:
      "token 0 has not attended to any patch yet, so the prediction is " +
      `${bestAnswer(classes, all[0])} for ${images}`,
  };
}

function isSame(all) {
  return all.every((shares) =>
    shares.every((share, i) => Math.abs(share - all[0][i]) < 1e-6),
  );
}

export default live(ClassToken);
