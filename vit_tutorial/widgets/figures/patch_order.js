// Does order matter? An image, its patches in a different order, and what two
// models predict for either: one trained with position embeddings, one without.

import { Figure, live } from "../page/live.js";
import { askFirst } from "../page/guess.js";
import { PatchGrid } from "../page/patch_grid.js";
import { Surprises } from "../page/surprises.js";
import { answers, bestAnswer, highestOf, markKey } from "../page/answers.js";
import { column, element, label, picture } from "../page/elements.js";
import { rearranged } from "../page/patches.js";
import { shuffled } from "../page/shuffle.js";
import { percent } from "../page/words.js";
import { digits } from "../page/digits.js";
import { within } from "../page/checks.js";
import {
  classNames,
  probabilities,
  unpackPictures,
} from "../page/page_model.js";
import { ViT } from "../engine/vit.js";

const SEEDS = 2 ** 31;
const TRIED = [1, 2, 3]; // the orders of an image that may surprise
const WITH = "the one with positions";
const WITHOUT = "the one without positions";
const ROUNDING = 1e-4; // a logit that changes by less: float32 rounding

class PatchOrder extends Figure {
  static question = "Does order matter?";
  static state = ["picture", "seed", "positions"];
  static inputs = ["with_positions", "without", "pictures"];

  settle = () => {}; // the guess, when something is shuffled
  lastSeed = 0; // of the latest shuffle, from which "shuffle again" goes on

  begin() {
    this.card.root.classList.add("vt-order");
    this.card.rounded();
    this.settle = askFirst(
      this.card,
      "We shuffle the patches of an image. Which model’s logits change?",
      [WITH, WITHOUT, "both", "neither"],
      () => {
        const { picture, seed, positions } = this.state();
        if (!seed || !positions) return null; // not shuffled, or without both
        return decide(this.predictions.compare(picture, seed, positions));
      },
    );
  }

  build() {
    const vits = ["with_positions", "without"].map(
      (name) => new ViT(this.get(name)),
    );
    this.pictures = unpackPictures(this.get("pictures"));
    this.names = classNames(vits[0].config);
    this.predictions = new Predictions(vits, this.pictures);
    this.surprises = null;

    this.pair = new Pair(vits[0]);
    this.results = vits.map(() => new Result(this.names));
    const columns = this.results.map(({ el }) => el);
    const key = markKey("probability before shuffling");
    this.card.figure.replaceChildren(
      this.pair.el,
      element("div", { class: "vt-order-pair" }, key, ...columns),
    );
    this.buildControls();
  }

  buildControls() {
    const { card } = this;
    card.controls.replaceChildren();
    card.button("Shuffle again", () =>
      this.change({ seed: (this.lastSeed % (SEEDS - 1)) + 1 }),
    );
    card.button("Restore order", () => this.change({ seed: 0 }));
    const names = this.pictures.map(({ name }) => name);
    this.choice = card.choice("image", names, () =>
      this.change({ picture: this.choice.selectedIndex }),
    );
    this.adding = card.checkbox("position embeddings in the first model", () =>
      this.change({ positions: this.adding.checked }),
    );
    card.button("Surprise me", () => this.surprise());
    this.addResetAndLink();
  }

  reset() {
    this.pair.mark(null);
    super.reset();
  }

  draw() {
    this.check();
    const { picture, seed, positions } = this.state();
    this.lastSeed = seed || this.lastSeed;
    const both = this.predictions.compare(picture, seed, positions);
    this.pair.show(this.pictures[picture], seed);
    this.choice.selectedIndex = picture;
    this.adding.checked = positions;
    const off = positions ? "" : ", now off";
    this.results[0].show(`trained with positions${off}`, both[0]);
    this.results[1].show("trained without positions", both[1]);
    this.card.say(summary(this.names, seed, positions, both));
    this.tabulate(this.pictures[picture].name, seed, both);
    this.settle();
  }

  check() {
    const { picture, seed, positions } = this.state();
    within("picture", picture, this.pictures.length);
    within("seed", seed, SEEDS);
    if (typeof positions !== "boolean") {
      throw new RangeError(`positions is true or false, got ${positions}`);
    }
  }

  tabulate(name, seed, both) {
    const order = seed ? `shuffled (seed ${seed})` : "once more in order";
    const columns = ["with", "without"].flatMap((model) => [
      `${model}: in order`,
      seed ? "shuffled" : "once more",
      "change",
    ]);
    const logitsOf = (c) =>
      both
        .flatMap(({ before, after, changes }) => [
          before.logits[c],
          after.logits[c],
          changes[c],
        ])
        .map(digits);
    this.card.tabulate(
      `Logits for ${name}, in order and ${order}`,
      ["class", ...columns],
      () => this.names.map((each, c) => [each, ...logitsOf(c)]),
    );
  }

  // The images whose prediction by the first model suffers most, each in the
  // order that does it.
  surprise() {
    this.surprises ??= new Surprises(
      this.pictures.map((_, picture) => this.mostHarmful(picture)),
      ({ lost }) => lost,
    );
    const { picture, seed } = this.surprises.next();
    this.change({ picture, seed, positions: true });
  }

  mostHarmful(picture) {
    const tried = TRIED.map((seed) => {
      const [{ before, after }] = this.predictions.compare(picture, seed, true);
      const best = highestOf(before.shares);
      return { picture, seed, lost: before.shares[best] - after.shares[best] };
    });
    return tried.reduce((a, b) => (b.lost > a.lost ? b : a));
  }
}

// The image and what the models receive, each in a grid. A patch that is
// pointed at or picked in one is marked in both.
class Pair {
  #marked = null; // a patch of the image
  #hovered = null;

  constructor({ grid, patchSize }) {
    this.grid = grid;
    this.patchSize = patchSize;
    this.left = column();
    this.right = column();
    this.el = element("div", { class: "vt-order-pair" }, this.left, this.right);
  }

  show(image, seed) {
    if (image === this.image && seed === this.seed) return;
    [this.image, this.seed] = [image, seed];
    const { shape, bytes } = image;
    this.order = shuffled(this.grid[0] * this.grid[1], seed);
    const received = rearranged(bytes, shape, this.patchSize, this.order);
    this.before = this.patchGrid(
      "The original image",
      picture(shape, bytes),
      (place) => place,
    );
    this.after = this.patchGrid(
      "What the models receive",
      picture(shape, received),
      (place) => this.order[place],
    );
    this.left.replaceChildren(label("the original image"), this.before.el);
    this.right.replaceChildren(
      label(`what the models receive${seed ? "" : ": the same"}`),
      this.after.el,
    );
    this.#hovered = null;
    this.#outline();
  }

  patchGrid(name, behind, patchOf) {
    const pick = (place) => this.mark(patchOf(place));
    const hover = (place) => {
      this.#hovered = place === null ? null : patchOf(place);
      this.#outline();
    };
    return new PatchGrid({
      grid: this.grid,
      label: name,
      behind,
      move: pick,
      pick,
      hover,
    });
  }

  mark(patch) {
    this.#marked = patch;
    this.#outline();
  }

  #outline() {
    const patch = this.#hovered ?? this.#marked;
    const placeOf = (patch) => this.order.indexOf(patch);
    this.before.show({
      selected: patch,
      name: (patch) =>
        `patch ${patch + 1}, now in ${this.where(placeOf(patch))}`,
    });
    this.after.show({
      selected: patch === null ? null : placeOf(patch),
      name: (place) => {
        const patch = this.order[place];
        return `patch ${patch + 1}, from ${this.where(patch)}`;
      },
    });
  }

  where(place) {
    const [row, column] = [
      Math.floor(place / this.grid[1]),
      place % this.grid[1],
    ];
    return `row ${row + 1}, column ${column + 1}`;
  }
}

// What one model predicts, and how far its logits moved.
class Result {
  constructor(names) {
    this.names = names;
    this.title = label();
    this.list = element("div");
    this.moved = element("p", { class: "vt-order-change" });
    this.el = column(this.title, this.list, this.moved);
  }

  show(title, { before, after, largest }) {
    this.title.textContent = title;
    this.list.replaceChildren(answers(this.names, after.shares, before.shares));
    this.moved.replaceChildren(
      "largest change of a logit: ",
      element("strong", {}, digits(largest)),
      rounding(largest),
    );
  }
}

// What both models predict for an image, in order and shuffled.
class Predictions {
  #inOrder = new Map(); // for these are asked for with every shuffle

  constructor(vits, pictures) {
    this.vits = vits;
    this.pictures = pictures;
  }

  // positions: whether the first model adds its own.
  compare(picture, seed, positions) {
    return this.vits.map((vit, i) => {
      const added = i === 1 || positions;
      const before = this.inOrder(picture, i, added);
      const { bytes } = this.pictures[picture];
      const after = seed ? predict(vit, bytes, seed, added) : before;
      const changes = Array.from(
        after.logits,
        (logit, c) => logit - before.logits[c],
      );
      const largest = Math.max(...changes.map(Math.abs));
      return { before, after, changes, largest };
    });
  }

  inOrder(picture, i, added) {
    const key = [picture, i, added].join();
    if (!this.#inOrder.has(key)) {
      const { bytes } = this.pictures[picture];
      this.#inOrder.set(key, predict(this.vits[i], bytes, 0, added));
    }
    return this.#inOrder.get(key);
  }
}

// The guess: which logits changed.
function decide(both) {
  const [first, second] = both.map(({ largest }) => largest >= ROUNDING);
  const [one, other] = both.map(
    ({ largest }) => digits(largest) + rounding(largest),
  );
  return {
    right: first ? (second ? "both" : WITH) : second ? WITHOUT : "neither",
    why:
      `with positions a logit changes by up to ${one}, without them by up to ` +
      `${other}: only positions tell a ViT the order`,
  };
}

function rounding(change) {
  return change && change < ROUNDING ? " (rounding)" : "";
}

function predict(vit, bytes, seed, positions) {
  const order = shuffled(vit.grid[0] * vit.grid[1], seed);
  const { logits } = vit.forward(bytes, { order, positions });
  return { logits, shares: probabilities(logits) };
}

function summary(names, seed, positions, [one, other]) {
  const off = positions ? "" : ", now switched off,";
  const [first, second] = [one, other].map((each) =>
    seed ? verdict(names, each) : bestAnswer(names, each.after.shares),
  );
  return (
    `${seed ? "Shuffled" : "In order"}: the model with positions${off} ` +
    `predicts ${first}; the one without predicts ${second}.`
  );
}

// "Shirt 61% (was Coat 80%)"
function verdict(names, { before, after, largest }) {
  const now = bestAnswer(names, after.shares);
  if (largest < ROUNDING) return `${now}, as before`;
  if (highestOf(before.shares) === highestOf(after.shares)) {
    return `${now} (was ${percent(Math.max(...before.shares))})`;
  }
  return `${now} (was ${bestAnswer(names, before.shares)})`;
}

export default live(PatchOrder);
