// Which one is broken? Two models with the same weights read the same image;
// the code of one has a bug. What both predict, what both attend to, a guess,
// and what the bug was.

import { Figure, live } from "../page/live.js";
import { PatchGrid } from "../page/patch_grid.js";
import { answers, bestAnswer, highestOf } from "../page/answers.js";
import { column, element, label, picture } from "../page/elements.js";
import { digits } from "../page/digits.js";
import { legend } from "../page/colours.js";
import { paint } from "../page/maps.js";
import { heard, rowOf } from "../page/rollout.js";
import { randomNumbers } from "../page/shuffle.js";
import { percent, whereIs } from "../page/words.js";
import { within } from "../page/checks.js";
import {
  classNames,
  probabilities,
  unpackPictures,
} from "../page/page_model.js";
import { ViT } from "../engine/vit.js";
import { BUGS, range } from "./side_by_side_bugs.js";

const LETTERS = ["A", "B"];
const SEEDS = 2 ** 31;

class SideBySide extends Figure {
  static question = "Which one is broken?";
  static state = ["bug", "picture", "layer", "seed", "guess"];
  static inputs = ["vit", "pictures"];

  begin() {
    this.card.rounded();
  }

  build() {
    this.card.root.classList.add("vt-two");
    this.vit = new ViT(this.get("vit"));
    this.pictures = unpackPictures(this.get("pictures"));
    this.names = classNames(this.vit.config);
    this.readings = new Readings(this.vit, this.get("vit"), this.pictures);
    this.image = new PatchGrid({
      grid: this.vit.grid,
      label: "The image",
      behind: element("canvas"),
    });
    this.image.el.inert = true; // it only shows
    this.image.el.setAttribute("aria-hidden", true);
    this.title = label();
    this.sides = LETTERS.map(
      (letter) =>
        new Side(letter, this.vit, this.names, () =>
          this.change({ guess: letter }),
        ),
    );
    this.card.figure.replaceChildren(
      column(this.title, this.image.el, legend("highest")),
      element("div", { class: "vt-pair" }, ...this.sides.map(({ el }) => el)),
    );
    this.buildControls();
  }

  buildControls() {
    const { card } = this;
    card.controls.replaceChildren();
    this.cases = card.choice("bug", BUGS.map(caseName), () =>
      this.change({ bug: this.cases.selectedIndex, guess: "none" }),
    );
    const names = this.pictures.map(({ name }, i) => `${i + 1}: ${name}`);
    this.choice = card.choice("image", names, () =>
      this.change({ picture: this.choice.selectedIndex }),
    );
    this.slider = card.slider("layer", {
      min: 1,
      max: this.vit.config.depth,
      step: 1,
      oninput: ({ target }) => this.change({ layer: Number(target.value) - 1 }),
    });
    card.button("Next bug", () => {
      const { bug, seed } = this.state();
      this.change({
        bug: (bug + 1) % BUGS.length,
        seed: (seed + 1) % SEEDS,
        guess: "none",
      });
    });
    this.addResetAndLink();
  }

  check() {
    const { bug, picture, layer, seed, guess } = this.state();
    within("bug", bug, BUGS.length);
    within("picture", picture, this.pictures.length);
    within("layer", layer, this.vit.config.depth);
    within("seed", seed, SEEDS);
    if (!["none", ...LETTERS].includes(guess)) {
      throw new RangeError(`guess is one of none, A, B; got ${guess}`);
    }
  }

  draw() {
    this.check();
    const { bug, picture: index, layer, seed, guess } = this.state();
    const isOpen = guess !== "none";
    const broken = brokenSide(seed, bug);
    const both = LETTERS.map((letter) =>
      this.readings.of(index, letter === broken ? bug : null, layer),
    );
    const { shape, bytes, name } = this.pictures[index];
    const canvas = this.image.el.querySelector("canvas");
    canvas.replaceWith(picture(shape, bytes));
    this.title.textContent = `the image, labelled ${name}`;
    this.image.show({ name: (place) => whereIs(place, this.vit.grid[1]) });
    this.sides.forEach((side, i) => {
      const verdict = isOpen && (side.letter === broken ? "broken" : "right");
      side.show(both[i], layer, verdict, guess === side.letter);
    });
    [...this.cases.options].forEach((option, i) => {
      option.textContent = caseName(BUGS[i], i, isOpen && i === bug);
    });
    this.cases.selectedIndex = bug;
    this.choice.selectedIndex = index;
    this.slider.show(layer + 1, String(layer + 1));
    this.card.say(
      isOpen ? this.verdict(broken, both) : this.task(name, both),
    );
    this.tabulate(name, both);
  }

  // What to do, and what there is to see.
  task(name, both) {
    const [a, b] = both.map(({ shares }) => bestAnswer(this.names, shares));
    return `A predicts ${a}, B ${b}; the label says ${name}. Which is broken?`;
  }

  verdict(broken, both) {
    const { bug, guess } = this.state();
    const { why, seen, caughtBy } = BUGS[bug];
    const own = LETTERS.indexOf(broken);
    const [wrong, right] = [both[own], both[1 - own]];
    const [said, instead] = [wrong, right].map(({ shares }) =>
      bestAnswer(this.names, shares),
    );
    const { config } = this.vit;
    const shown =
      seen?.(wrong, right) ?? `It predicts ${said}, the right one ${instead}.`;
    return (
      `${guess === broken ? "Right" : "Not quite"}: ${broken} is broken. ` +
      `${why(config)} ${shown} The property ${caughtBy} catches it.`
    );
  }

  tabulate(name, both) {
    this.card.tabulate(
      `Both models’ predictions for ${name}`,
      ["class", ...LETTERS.flatMap((letter) => [letter, `${letter}: logit`])],
      () =>
        this.names.map((each, c) => [
          each,
          ...both.flatMap(({ shares, logits }) => [
            percent(shares[c]),
            digits(logits[c]),
          ]),
        ]),
    );
  }
}

// The name of a bug until it is found.
function caseName({ bug }, index, isOpen) {
  return `${index + 1}${isOpen ? `: ${bug}` : ""}`;
}

// Which of the two the bug is in; the same in Python.
function brokenSide(seed, bug) {
  const random = randomNumbers(seed);
  const numbers = Array.from({ length: bug + 1 }, random);
  return LETTERS[numbers[bug] < 0.5 ? 0 : 1];
}

// One of the two models: a button to suspect it, its prediction, and what its
// class token attends to.
class Side {
  constructor(letter, { config, grid }, names, suspect) {
    this.letter = letter;
    this.names = names;
    this.title = element("p", { class: "vt-side-title" });
    this.button = element(
      "button",
      { type: "button", onclick: suspect },
      `${letter} is broken`,
    );
    this.bars = element("div");
    this.looks = label();
    const [height, width] = grid;
    this.maps = Array.from({ length: config.heads }, () =>
      element("canvas", { width, height, role: "img" }),
    );
    this.told = label();
    this.el = column(
      this.title,
      element("div", { class: "vt-controls" }, this.button),
      this.bars,
      this.looks,
      element("div", { class: "vt-side-maps" }, ...this.maps),
      this.told,
    );
  }

  // verdict: "right", "broken", or false before the guess.
  show({ shares, maps, sums, heard }, layer, verdict, isSuspected) {
    this.title.textContent = this.letter + (verdict ? `: ${verdict}` : "");
    this.button.setAttribute("aria-pressed", isSuspected);
    this.bars.replaceChildren(answers(this.names, shares));
    this.looks.textContent = `class token’s attention, layer ${layer + 1}`;
    this.maps.forEach((canvas, head) => {
      const map = maps[head];
      const first = highestOf(map);
      const most = `${percent(map[first])}, to patch ${first + 1}`;
      const name = `${this.letter}, head ${head + 1}: highest ${most}`;
      canvas.setAttribute("aria-label", name);
      canvas.title = name;
      paint(canvas, map, map[first]);
    });
    this.told.textContent =
      `weights sum to ${range(sums)}; attends to ${heard.toFixed(1)} of ` +
      `${maps[0].length + 1} tokens`;
  }
}

// What the models read from each image: each computed once, when it is shown.
class Readings {
  #passes = new Map();

  constructor(vit, payload, pictures) {
    this.vit = vit;
    this.pictures = pictures;
    this.payload = payload;
    this.models = []; // by their bug, made when they are shown first
  }

  // bug: null for the right model. Of that layer: maps, the class token's
  // weights for the patches, a row a head; patches, their sum; sums, over all
  // tokens; heard, how many tokens it effectively attends to.
  of(picture, bug, layer) {
    const { logits, layers } = this.#pass(picture, bug);
    const { attention } = layers[layer];
    const n = 1 + this.vit.grid[0] * this.vit.grid[1];
    const rows = Array.from({ length: this.vit.config.heads }, (_, head) =>
      rowOf(attention, n, head, 0),
    );
    const sums = rows.map(total);
    const maps = rows.map((row) => [...row.subarray(1)]);
    return {
      logits,
      shares: probabilities(logits),
      maps,
      sums,
      patches: mean(maps.map(total)),
      heard: mean(
        rows.map((row, head) => heard(row.map((each) => each / sums[head]))),
      ),
    };
  }

  #pass(picture, bug) {
    const key = `${picture} ${bug}`;
    if (!this.#passes.has(key)) {
      const { bytes } = this.pictures[picture];
      this.#passes.set(key, this.#model(bug)(bytes));
    }
    return this.#passes.get(key);
  }

  #model(bug) {
    if (bug === null) return (bytes) => this.vit.forward(bytes);
    return (this.models[bug] ??= BUGS[bug].make(this.vit, this.payload));
  }
}

function total(numbers) {
  return numbers.reduce((a, b) => a + b, 0);
}

function mean(numbers) {
  return total(numbers) / numbers.length;
}

export default live(SideBySide);
