// Which model does a shift hurt more? One image, moved or with its patches
// shuffled, read by a ViT and by a CNN, both trained on few images or on many.

import { Figure, live } from "../page/live.js";
import { askFirst } from "../page/guess.js";
import { Surprises } from "../page/surprises.js";
import { answers, bestAnswer, highestOf, markKey } from "../page/answers.js";
import { element, label, picture } from "../page/elements.js";
import { rearranged } from "../page/patches.js";
import { shuffled } from "../page/shuffle.js";
import { capitalised, grouped, percent } from "../page/words.js";
import { within } from "../page/checks.js";
import {
  classNames,
  probabilities,
  unpackPictures,
} from "../page/page_model.js";
import { CNN } from "../engine/cnn.js";
import { ViT } from "../engine/vit.js";

const FARTHEST = 4; // pixels
const SEEDS = 1000;
const READERS = ["the ViT", "the CNN"];
const EQUALLY = "both equally, within 1 point";

class Shift extends Figure {
  static question = "Which model does a shift hurt more?";
  static state = ["picture", "right", "down", "seed", "size"];
  static inputs = [
    "vit_few",
    "cnn_few",
    "vit_many",
    "cnn_many",
    "sizes",
    "pictures",
    "averages",
    "held_out",
  ];

  begin() {
    this.card.rounded();
    if (!this.get("averages").length) return;
    askFirst(
      this.card,
      `Two models, trained on ${grouped(this.get("sizes")[0])} images, ` +
        `classify ${grouped(this.get("held_out"))} others, all moved by ` +
        `${FARTHEST} pixels. Which one’s accuracy falls more?`,
      [...READERS, EQUALLY],
      () => decide(this.get("averages")[0]),
    );
  }

  build() {
    const pairs = [
      [new ViT(this.get("vit_few")), new CNN(this.get("cnn_few"))],
      [new ViT(this.get("vit_many")), new CNN(this.get("cnn_many"))],
    ];
    const [vit] = pairs[0];
    this.names = classNames(vit.config);
    this.pictures = unpackPictures(this.get("pictures"));
    this.predictions = new Predictions(pairs, this.pictures);
    this.surprises = pairs.map(() => null);
    this.buildFigure(vit.grid);
    this.buildControls();
  }

  buildFigure(grid) {
    this.seen = new Seen(grid);
    this.results = READERS.map(() => element("div"));
    this.many = element("p", { class: "vt-shift-average" });
    const columns = this.results.map((result, i) =>
      element("div", {}, label(READERS[i]), result),
    );
    const key = markKey("probability for the original image");
    this.card.figure.replaceChildren(
      element("div", {}, label("what both models see"), this.seen.el),
      element("div", { class: "vt-shift-answers" }, ...columns, key, this.many),
    );
  }

  buildControls() {
    const { card } = this;
    card.controls.replaceChildren();
    const names = this.pictures.map(({ name }) => name);
    this.choice = card.choice("image", names, () =>
      this.change({ picture: this.choice.selectedIndex }),
    );
    const sizes = this.get("sizes").map((size) => `${grouped(size)} images`);
    this.size = card.choice("trained on", sizes, () =>
      this.change({ size: this.size.selectedIndex }),
    );
    this.right = this.slider("right");
    this.down = this.slider("down");
    this.shuffle = card.checkbox("shuffle patches", () =>
      this.change({ seed: this.shuffle.checked ? 1 : 0 }),
    );
    card.button("Shuffle again", () =>
      this.change({ seed: (this.get("seed") % (SEEDS - 1)) + 1 }),
    );
    card.button("Surprise me", () => this.surprise());
    this.addResetAndLink();
  }

  slider(name) {
    return this.card.slider(name, {
      min: -FARTHEST,
      max: FARTHEST,
      step: 1,
      oninput: (event) => this.change({ [name]: Number(event.target.value) }),
    });
  }

  draw() {
    this.check();
    const state = this.state();
    const before = this.predictions.of({ ...state, ...AS_IT_IS }).shares;
    const { pixels, shares: now } = this.predictions.of(state);
    const { name, shape } = this.pictures[state.picture];
    this.seen.show(picture(shape, pixels), shape, `${name}, ${where(state)}`);
    this.results.forEach((result, i) =>
      result.replaceChildren(answers(this.names, now[i], before[i])),
    );
    this.showControls();
    this.many.textContent = this.measured().sentence(state);
    this.card.say(summary(this.names, state, now, before));
    this.tabulate(`${name}, ${where(state)}`, now, before);
  }

  check() {
    const { picture, right, down, seed, size } = this.state();
    within("picture", picture, this.pictures.length);
    within("seed", seed, SEEDS);
    within("size", size, this.surprises.length);
    for (const [name, value] of Object.entries({ right, down })) {
      if (!Number.isInteger(value) || Math.abs(value) > FARTHEST) {
        throw new RangeError(
          `${name} is one of ${-FARTHEST} to ${FARTHEST}, got ${value}`,
        );
      }
    }
  }

  showControls() {
    const { picture, right, down, seed, size } = this.state();
    this.choice.selectedIndex = picture;
    this.size.selectedIndex = size;
    this.right.show(right, pixelsOf(right, "right", "left"));
    this.down.show(down, pixelsOf(down, "down", "up"));
    this.shuffle.checked = seed > 0;
  }

  measured() {
    const averages = this.get("averages")[this.get("size")];
    return new Measured(averages, this.get("held_out"));
  }

  tabulate(what, now, before) {
    const { size } = this.state();
    const all = [now[0], before[0], now[1], before[1]];
    const shares = (i) => all.map((each) => percent(each[i]));
    this.card.tabulate(
      `${what}; trained on ${grouped(this.get("sizes")[size])} images`,
      ["probability", "ViT", "ViT before", "CNN", "CNN before"],
      () => [
        ...this.names.map((name, i) => [name, ...shares(i)]),
        ...this.measured().rows(),
      ],
    );
  }

  // Of images that both models take for the same, moved as far as they can be,
  // those on which the two predictions then differ most.
  surprise() {
    const { size } = this.state();
    this.surprises[size] ??= new Surprises(
      this.predictions.farthest(size),
      ({ apart }) => apart,
    );
    const { picture, right, down } = this.surprises[size].next();
    this.change({ picture, right, down, seed: 0 });
  }
}

const AS_IT_IS = { right: 0, down: 0, seed: 0 };

// The image as both models see it, under the grid of its patches.
class Seen {
  constructor([rows, columns]) {
    this.lines = element("div", {
      class: "vt-shift-lines",
      "aria-hidden": "true",
    });
    this.lines.style.backgroundSize = `${100 / columns}% ${100 / rows}%`;
    this.el = element("div", { class: "vt-shift-picture", role: "img" });
  }

  show(image, [, height, width], name) {
    this.el.replaceChildren(image, this.lines);
    this.el.style.aspectRatio = `${width} / ${height}`;
    this.el.setAttribute("aria-label", name);
  }
}

// What both models of a pair predict for an image, moved and shuffled.
class Predictions {
  #known = new Map();

  constructor(pairs, pictures) {
    this.pairs = pairs;
    this.pictures = pictures;
  }

  // The pixels that were read, and the shares of the classes, the ViT's first.
  of({ size, picture, right, down, seed }) {
    const key = [size, picture, right, down, seed].join();
    if (!this.#known.has(key)) {
      const [vit, cnn] = this.pairs[size];
      const { shape, bytes } = this.pictures[picture];
      const order = shuffled(vit.grid[0] * vit.grid[1], seed);
      const shifted = moved(bytes, shape, right, down);
      const pixels = rearranged(shifted, shape, vit.patchSize, order);
      const read = [vit.forward(pixels), cnn.forward(pixels, shape)];
      const shares = read.map(({ logits }) => probabilities(logits));
      this.#known.set(key, { pixels, shares });
    }
    return this.#known.get(key);
  }

  // Every image moved as far as it can be, and how far `apart` a pair's
  // predictions then are: by 1 more where the pair agreed at first.
  farthest(size) {
    const steps = [-FARTHEST, 0, FARTHEST];
    const shifts = steps.flatMap((right) => steps.map((down) => [right, down]));
    return this.pictures.flatMap((_, picture) => {
      const [vit, cnn] = this.of({ size, picture, ...AS_IT_IS }).shares;
      const agreed = highestOf(vit) === highestOf(cnn) ? 1 : 0;
      return shifts
        .filter(([right, down]) => right || down)
        .map(([right, down]) => {
          const shift = { size, picture, right, down, seed: 0 };
          const apart = agreed + distance(...this.of(shift).shares);
          return { picture, right, down, apart };
        });
    });
  }
}

// How many of the held-out images a pair gets right, moved and shuffled.
class Measured {
  // averages: undefined where nothing was measured.
  constructor(averages, heldOut) {
    this.averages = averages;
    this.images = `${grouped(heldOut)} images`;
    this.heldOut = `${grouped(heldOut)} held-out images`;
  }

  // For the shift or the shuffling that is shown.
  sentence({ right, down, seed }) {
    if (!this.averages) return "";
    const { vit, cnn } = this.averages;
    const pixels = Math.max(Math.abs(right), Math.abs(down));
    const what = seed
      ? "with their patches shuffled"
      : pixels
        ? `moved by ${pixels} in one direction`
        : "left unchanged";
    const [one, other] = [vit, cnn].map(({ shift, shuffle }) =>
      percent(seed ? shuffle : shift[pixels]),
    );
    const [first, second] = [vit, cnn].map(({ shift }) => percent(shift[0]));
    const before =
      seed || pixels ? ` (unchanged: ${first} and ${second})` : "";
    return (
      `Of ${this.heldOut} ${what}, this ViT gets ${one} right and this CNN ` +
      `${other}${before}.`
    );
  }

  rows() {
    if (!this.averages) return [];
    const { vit, cnn } = this.averages;
    const row = (what, share) => [
      `accuracy on ${this.images}, ${what}`,
      ...[share(vit), vit.shift[0], share(cnn), cnn.shift[0]].map(percent),
    ];
    return [
      ...vit.shift.map((_, by) => row(`moved by ${by}`, (e) => e.shift[by])),
      row("shuffled", ({ shuffle }) => shuffle),
    ];
  }
}

// An image's bytes, moved; black comes in at the edges.
function moved(bytes, [channels, height, width], right, down) {
  const out = new Uint8Array(bytes.length);
  const [top, bottom] = [Math.max(down, 0), Math.min(height + down, height)];
  const [left, end] = [Math.max(right, 0), Math.min(width + right, width)];
  for (let c = 0; c < channels; c++) {
    for (let y = top; y < bottom; y++) {
      const from = (c * height + y - down) * width - right;
      const line = bytes.subarray(from + left, from + end);
      out.set(line, (c * height + y) * width + left);
    }
  }
  return out;
}

// Half of what two distributions differ by: 0 for the same, 1 for disjoint.
function distance(one, other) {
  const differences = one.map((share, i) => Math.abs(share - other[i]));
  return differences.reduce((a, b) => a + b, 0) / 2;
}

// The guess, about the pair that was trained on fewer images.
function decide({ vit, cnn }) {
  const ends = [vit, cnn].map(({ shift }) => [shift[0], shift[FARTHEST]]);
  const [one, other] = ends.map(([before, now]) => 100 * (before - now));
  const [first, second] = ends.map((each) => each.map(percent).join(" to "));
  const more = one > other ? READERS[0] : READERS[1];
  return {
    right: Math.abs(one - other) < 1 ? EQUALLY : more,
    why:
      `the ViT loses ${one.toFixed(0)} points (${first}), the CNN ` +
      `${other.toFixed(0)} (${second})`,
  };
}

function summary(names, state, now, before) {
  const asItIs = !(state.right || state.down || state.seed);
  const verdicts = READERS.map((reader, i) =>
    asItIs
      ? `${reader} predicts ${bestAnswer(names, now[i])}`
      : `${reader} ${verdict(names, now[i], before[i])}`,
  );
  return `${capitalised(where(state))}: ${verdicts.join("; ")}.`;
}

// "now predicts sneaker 56% (was ankle boot 81%)"
function verdict(names, now, before) {
  const said = bestAnswer(names, now);
  if (highestOf(now) === highestOf(before)) {
    return `still predicts ${said} (was ${percent(Math.max(...before))})`;
  }
  return `now predicts ${said} (was ${bestAnswer(names, before)})`;
}

// What is done to the image: "moved by 3 to the right and 1 up".
function where({ right, down, seed }) {
  const ways = [
    [right, "to the right", "to the left"],
    [down, "down", "up"],
  ];
  const steps = ways
    .filter(([by]) => by)
    .map(([by, plus, minus]) => pixelsOf(by, plus, minus));
  const shift = steps.length ? `moved by ${steps.join(" and ")}` : "not moved";
  return shift + (seed ? ", its patches shuffled" : "");
}

function pixelsOf(by, plus, minus) {
  return by === 0 ? "0" : `${Math.abs(by)} ${by > 0 ? plus : minus}`;
}

export default live(Shift);
