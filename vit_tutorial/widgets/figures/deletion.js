// Do the maps tell the truth? Patches are removed in the order that a map
// gives: does the prediction go?

import { Figure, live } from "../page/live.js";
import { askFirst } from "../page/guess.js";
import { Background, Work } from "../page/background.js";
import { PatchGrid } from "../page/patch_grid.js";
import { Surprises } from "../page/surprises.js";
import { strongest } from "../page/answers.js";
import { legend } from "../page/colours.js";
import { column, element, label, picture } from "../page/elements.js";
import { paint } from "../page/maps.js";
import { percent, whereIs } from "../page/words.js";
import { within } from "../page/checks.js";
import { classNames, unpackPictures } from "../page/page_model.js";
import { ViT } from "../engine/vit.js";
import { Plots } from "./deletion_plots.js";
import { DeletionTest, METHODS } from "./deletion_test.js";

const SAID = {
  "last layer": "the last layer’s attention",
  rollout: "rollout",
  contrast: "contrast",
  "at random": "the random order",
};

class Deletion extends Figure {
  static question = "Do the maps tell the truth?";
  static state = ["picture", "method", "fraction"];
  static inputs = ["vit", "pictures"];

  settle = () => {}; // the guess, when the curves are there

  begin() {
    this.card.rounded();
    this.card.root.classList.add("vt-deletion");
    const index = this.get("picture");
    const { shape, bytes, name } = this.pictures[index];
    const test = this.testOf(index);
    const question =
      "We remove patches of this image, the most important first. Which order " +
      "destroys the prediction fastest?";
    this.settle = askFirst(
      this.card,
      element(
        "span",
        { class: "vt-guess-picture" },
        picture(shape, bytes),
        question,
      ),
      METHODS,
      () => decide(test, name),
    );
  }

  end() {
    this.background.end();
  }

  build() {
    this.background?.end();
    this.background = new Background(this.get("vit"));
    this.work = new Work(this.background, (error) => this.fail(error));
    this.vit = new ViT(this.get("vit"));
    if (!this.vit.numPrefix) {
      throw new Error("the orders need a class token; this model has none");
    }
    this.count = this.vit.grid[0] * this.vit.grid[1];
    this.pictures = unpackPictures(this.get("pictures"));
    this.classes = classNames(this.vit.config);
    this.tests = new Map(); // by picture
    this.surprises = null;
    this.isSearching = false; // for surprises
    this.computing = null; // the picture whose curves are computed

    this.plots = new Plots(this.classes, `${this.card.id}-order`, (method) =>
      this.change({ method }),
    );
    const columns = [
      new Patches(this.vit.grid, (place) => this.removeUpTo(place)),
      new OrderMap(this.vit.grid),
      new Prediction(this.classes),
      this.plots,
    ];
    this.card.figure.replaceChildren(...columns.map(({ el }) => el));
    this.parts = [...columns, this.buildControls()];
  }

  buildControls() {
    const { card, count } = this;
    card.controls.replaceChildren();
    const names = this.pictures.map(({ name }) => name);
    const chosen = card.choice("image", names, () => {
      this.change({ picture: chosen.selectedIndex });
    });
    const slider = card.slider("remove", {
      min: 0,
      max: count,
      step: 1,
      oninput: ({ target }) =>
        this.change({ fraction: Number(target.value) / count }),
    });
    card.button("Surprise me", () => card.attempt(() => this.surprise()));
    this.addResetAndLink();
    return {
      show({ index, gone }) {
        chosen.selectedIndex = index;
        slider.show(gone, percent(gone / count));
      },
    };
  }

  draw() {
    const { picture: index, method, fraction } = this.checkedState();
    const gone = Math.round(fraction * this.count);
    const test = this.testOf(index);
    const left = test.left(method, gone);
    if (this.computing !== index) this.compute(index);
    const image = this.pictures[index];
    const now = { index, image, method, gone, test, left };
    for (const part of this.parts) part.show(now);
    this.card.say(outcome(this.classes, now));
    this.tabulate(image.name, test);
    this.settle();
  }

  checkedState() {
    const state = this.state();
    within("picture", state.picture, this.pictures.length);
    if (!METHODS.includes(state.method)) {
      throw new RangeError(
        `method is one of ${METHODS.join(", ")}; got ${state.method}`,
      );
    }
    if (!(state.fraction >= 0 && state.fraction <= 1)) {
      throw new RangeError(
        `fraction is a share from 0 to 1, got ${state.fraction}`,
      );
    }
    return state;
  }

  testOf(index) {
    if (!this.tests.has(index)) {
      const test = new DeletionTest(this.vit, this.pictures[index], index + 1);
      this.tests.set(index, test);
    }
    return this.tests.get(index);
  }

  // Compute all curves of a picture, in the Worker. It comes first, so a search
  // for surprises is dropped.
  compute(index) {
    this.computing = index;
    this.isSearching = false;
    this.work.start((many) => this.curves(many, this.testOf(index)));
  }

  async curves(many, test) {
    await test.computeAreas(many);
    this.redraw();
    await test.computeCurves(many);
    this.redraw();
  }

  // The Worker failed. What needs one pass goes on, and the next change asks it
  // again.
  fail(error) {
    if (this.isSearching) {
      this.card.say(`The surprise cannot be computed: ${error.message}.`);
    }
    this.computing = null;
    this.isSearching = false;
    this.plots.fail(error);
  }

  removeUpTo(place) {
    const { picture, method } = this.state();
    const rank = this.testOf(picture).rank[method][place];
    this.change({ fraction: (rank + 1) / this.count });
  }

  tabulate(image, test) {
    const { steps } = test;
    const shown = (probability) =>
      probability === undefined ? "…" : `${(100 * probability).toFixed(1)}%`;
    this.card.tabulate(
      `Probability of ${this.classes[test.first]} (${image}) by the share ` +
        "removed, and the area under the curve",
      ["order", "area", ...steps.map((gone) => percent(gone / test.count))],
      () =>
        METHODS.map((method) => [
          method,
          test.area(method)?.toFixed(3) ?? "…",
          ...steps.map((gone) => shown(test.probability(method, gone))),
        ]),
    );
  }

  // The pictures on which the last layer's attention falls behind contrast the
  // most. The first time, all of them have to be tested.
  surprise() {
    if (this.surprises) {
      const picture = this.surprises.next();
      this.change({ picture, method: "last layer" });
    } else if (!this.isSearching) {
      this.isSearching = true;
      this.card.say("Searching the images …");
      this.work.start((many) => this.search(many));
    }
  }

  async search(many) {
    const indices = [...this.pictures.keys()];
    for (const index of indices) {
      await this.testOf(index).computeAreas(many, ["last layer", "contrast"]);
    }
    this.surprises = new Surprises(indices, (index) => {
      const test = this.testOf(index);
      return test.area("last layer") - test.area("contrast");
    });
    this.isSearching = false;
    this.computing = null; // so that curves are gone on with
    this.surprise();
  }
}

// The picture, its removed patches hatched.
class Patches {
  constructor([rows, columns], removeUpTo) {
    this.count = rows * columns;
    this.columns = columns;
    this.title = label();
    this.patches = new PatchGrid({
      grid: [rows, columns],
      label: "The patches; Space removes all up to the current one",
      behind: element("canvas"),
      pick: removeUpTo,
    });
    const cls = element(
      "span",
      { class: "vt-badge vt-stays", "aria-hidden": "true" },
      "cls",
    );
    const tokens = { class: "vt-tokens" };
    this.el = column(this.title, element("div", tokens, cls, this.patches.el));
  }

  show({ image, method, gone, test }) {
    if (image !== this.image) {
      this.image = image;
      const shown = picture(image.shape, image.bytes);
      this.patches.el.firstChild.replaceWith(shown);
    }
    const [order, rank] = [test.order[method], test.rank[method]];
    this.title.textContent = `${gone} of ${this.count} patches removed`;
    this.patches.show({
      selected: gone ? order[gone - 1] : null,
      name: (place) =>
        `${whereIs(place, this.columns)}: number ${rank[place] + 1} in the ` +
        `order${rank[place] < gone ? ", removed" : ""}`,
    });
    this.patches.cells.forEach((cell, place) => {
      cell.dataset.dropped = rank[place] < gone;
    });
  }
}

// The map that gives the order.
class OrderMap {
  constructor([rows, columns]) {
    this.title = label();
    this.map = element("canvas", { width: columns, height: rows, role: "img" });
    const frame = element("div", { class: "vt-grid vt-order-map" }, this.map);
    frame.style.setProperty("--vt-rows", rows);
    frame.style.setProperty("--vt-columns", columns);
    this.scale = element("span");
    this.el = column(this.title, frame, this.scale);
  }

  show({ method, test }) {
    const scores = [...test.scores[method]];
    const highest = Math.max(...scores);
    const isShare = method === "last layer" || method === "rollout";
    const first = test.order[method].slice(0, 3).map((place) => place + 1);
    this.title.textContent = `the order: ${method}`;
    paint(this.map, scores, highest);
    this.map.setAttribute(
      "aria-label",
      `The map that gives the order, ${method}: highest at patches ` +
        first.join(", "),
    );
    this.scale.replaceChildren(
      legend(isShare ? percent(highest) : highest.toFixed(2)),
    );
  }
}

// What the model predicts from the patches that are left.
class Prediction {
  constructor(classes) {
    this.classes = classes;
    this.bars = element("ul");
    this.el = column(
      label("prediction (mark: with all patches)"),
      this.bars,
      label(
        "The chapter computes a fifth order, relevance, which needs gradients.",
        "vt-aside",
      ),
    );
    this.el.classList.add("vt-left-over");
  }

  show({ left, test }) {
    const bars = strongest(this.classes, left, test.before);
    this.bars.replaceWith(bars);
    this.bars = bars;
  }
}

function outcome(classes, { method, gone, test, left }) {
  const { first, before, count } = test;
  const now = left.indexOf(Math.max(...left));
  const changed =
    now === first
      ? ""
      : `; the model predicts ${classes[now]} ${percent(left[now])}`;
  return (
    `P(${classes[first]}) is ${percent(left[first])} (was ` +
    `${percent(before[first])}) with ${gone} of ${count} patches removed by ` +
    `${SAID[method]}${changed}. ${verdict(test)}`
  );
}

// Which orders have the smallest area, to the digits that are shown; null until
// all areas are there.
function fastest(test) {
  const areas = METHODS.map((method) => test.area(method)?.toFixed(2));
  if (areas.includes(undefined)) return null;
  const area = areas.reduce((a, b) => (b < a ? b : a));
  const methods = METHODS.filter((_, i) => areas[i] === area);
  const names = methods.map((method) => SAID[method]).join(" and ");
  const have = methods.length > 1 ? "have" : "has";
  return { methods, words: `${names} ${have} the smallest area, ${area}` };
}

function verdict(test) {
  const found = fastest(test);
  return found ? `On this image, ${found.words}.` : "";
}

// The guess, about one image.
function decide(test, image) {
  const found = fastest(test);
  return (
    found && {
      right: found.methods,
      why: `${found.words}, so the probability falls soonest (image: ${image})`,
    }
  );
}

export default live(Deletion);
