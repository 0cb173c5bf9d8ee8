// What happens to one token, layer by layer? The stages of equations 1 to 4:
// what comes in, what each step adds, what goes out, and what the head would
// predict at that point.

import { Figure, live } from "../page/live.js";
import { askFirst } from "../page/guess.js";
import { TokenGrid } from "../page/token_grid.js";
import { Surprises } from "../page/surprises.js";
import { answers } from "../page/answers.js";
import { bars } from "../page/bars.js";
import { column, element, label, picture } from "../page/elements.js";
import { nameOf, percent, whereIs } from "../page/words.js";
import { digits } from "../page/digits.js";
import { within } from "../page/checks.js";
import { classNames, unpackPictures } from "../page/page_model.js";
import { ViT } from "../engine/vit.js";
import { lengthChart } from "./encoder_walk_chart.js";
import {
  Walk,
  largest,
  length,
  shapesAt,
  shownAt,
  stagesOf,
  sumStage,
} from "./encoder_walk_stages.js";

class EncoderWalk extends Figure {
  static question = "What happens to one token, layer by layer?";
  static state = ["picture", "token", "stage"];
  static inputs = ["vit", "pictures"];

  begin() {
    this.card.rounded();
    const { walk } = this;
    const token = this.get("token");
    askFirst(
      this.card,
      "Each step adds a vector to the token. Does the norm of the token grow " +
        "every time?",
      ["every time", "not every time"],
      () => decide(walk, token),
    );
  }

  build() {
    this.vit = new ViT(this.get("vit"));
    this.pictures = unpackPictures(this.get("pictures"));
    this.stages = stagesOf(this.vit.config.depth);
    this.classes = classNames(this.vit.config);
    this.walk = null; // of the picture that is shown

    const columns = [
      new TokenColumn(this.vit, (token) => this.change({ token })),
      new StageColumn(),
      new LengthsColumn(),
      new PredictionColumn(this.classes, readFrom(this.vit)),
    ];
    this.card.figure.replaceChildren(...columns.map(({ el }) => el));
    this.parts = [...columns, this.buildControls()];
  }

  buildControls() {
    const { card } = this;
    card.controls.replaceChildren();
    const slider = this.buildSlider();
    const back = card.button("Back", () => this.move(-1));
    const next = card.button("Next", () => this.move(1));
    const names = this.pictures.map(({ name }) => name);
    const chosen = card.choice("image", names, () => {
      this.change({ picture: chosen.selectedIndex });
    });
    card.button("Surprise me", () => this.surprise());
    this.addResetAndLink();
    const last = this.stages.length - 1;
    return {
      show({ at, stage, index }) {
        slider.show(at, stage.name);
        back.setAttribute("aria-disabled", at === 0);
        next.setAttribute("aria-disabled", at === last);
        chosen.selectedIndex = index;
      },
    };
  }

  buildSlider() {
    const slider = this.card.slider("stage", {
      min: 0,
      max: this.stages.length - 1,
      step: 1,
      oninput: ({ target }) => this.change({ stage: Number(target.value) }),
    });
    this.card.controls.lastElementChild.classList.add("vt-walk-slider");
    return slider;
  }

  draw() {
    const { picture: index, token, stage: at } = this.checkedState();
    if (this.walk?.index !== index) this.walkThrough(index);
    const { walk } = this;
    const stage = this.stages[at];
    const shown = shownAt(walk, stage, token);
    const prediction = walk.prediction(stage.done);
    const image = this.pictures[index];
    const now = { index, image, token, at, stage, shown, prediction, walk };
    for (const part of this.parts) part.show(now);
    const end = stage.kind === "head" ? ` ${this.best(prediction)}.` : "";
    this.card.say(shown.outcome + end);
    this.tabulate(image.name, token);
  }

  checkedState() {
    const state = this.state();
    const { grid, numPrefix } = this.vit;
    within("picture", state.picture, this.pictures.length);
    within("token", state.token, numPrefix + grid[0] * grid[1]);
    within("stage", state.stage, this.stages.length);
    return state;
  }

  walkThrough(index) {
    this.walk = new Walk(this.vit, this.pictures[index].bytes);
    this.walk.index = index;
    this.surprises = null;
  }

  best(shares) {
    const highest = Math.max(...shares);
    return `${this.classes[shares.indexOf(highest)]}, ${percent(highest)}`;
  }

  tabulate(image, token) {
    const { walk } = this;
    const name = nameOf(token, walk.prefix);
    this.card.tabulate(
      `${image}, ${name}: norms, and what the head would predict from ` +
        readFrom(this.vit),
      [
        "after",
        "norm of what is added",
        "norm of the stream",
        "prediction",
        "probability",
      ],
      () => walk.streams.map((_, done) => this.row(done, token)),
    );
  }

  // The table's row after so many steps.
  row(done, token) {
    const { walk, classes } = this;
    const shares = walk.prediction(done);
    const highest = Math.max(...shares);
    return [
      nameOfStep(done),
      done ? digits(length(walk.addedBy(done - 1, token))) : "",
      digits(length(walk.at(done, token))),
      classes[shares.indexOf(highest)],
      percent(highest),
    ];
  }

  move(by) {
    const stage = this.get("stage") + by;
    if (stage >= 0 && stage < this.stages.length) this.change({ stage });
  }

  // The steps that change a token most, each with that token.
  surprise() {
    this.surprises ??= new Surprises(
      this.walk.largestChanges(),
      ({ ratio }) => ratio,
    );
    const { step, token } = this.surprises.next();
    this.change({ token, stage: sumStage(step) });
  }
}

// The picture, to choose a token in.
class TokenColumn {
  constructor(vit, choose) {
    this.columns = vit.grid[1];
    this.prefix = vit.numPrefix;
    this.name = label();
    this.tokens = new TokenGrid({
      vit,
      label: "Token",
      behind: element("canvas"),
      move: choose,
      pick: choose,
    });
    this.el = column(this.name, this.tokens.el);
  }

  show({ image: { shape, bytes, name }, token }) {
    const { prefix, columns } = this;
    const canvas = this.tokens.el.querySelector("canvas");
    canvas.replaceWith(picture(shape, bytes));
    this.name.textContent = `${name}, and ${nameOf(token, prefix)}`;
    this.tokens.show({
      selected: token,
      name: (each) =>
        each < prefix ? "class token" : whereIs(each - prefix, columns),
    });
  }
}

// A stage's name, its shapes, and its numbers in strips.
class StageColumn {
  constructor() {
    this.name = element("p", { class: "vt-walk-stage" });
    this.shapes = label();
    this.strips = element("div", { class: "vt-strips" });
    this.check = label("", "vt-walk-check");
    this.el = element(
      "div",
      { class: "vt-walk-step" },
      this.name,
      this.shapes,
      this.strips,
      this.check,
    );
  }

  show({ walk, stage, shown }) {
    this.name.textContent = `${stage.name} (${stage.equation})`;
    this.shapes.textContent = shapesAt(walk, stage);
    this.strips.replaceChildren(...shown.strips.map(strip));
    this.check.textContent = shown.check;
  }
}

function strip({ name, numbers, meaning, limit }) {
  const title = element("span", {}, name);
  const row = { class: "vt-strip vt-walk-strip" };
  if (!numbers) {
    const later = element("span", { class: "vt-walk-later" }, "not yet");
    return element("div", row, title, later);
  }
  const most = largest(numbers);
  const words =
    `${meaning}: ${numbers.length} values, ` +
    `the largest ${digits(most)} in size`;
  const scale = `±${digits(limit ?? most)}`;
  return element(
    "div",
    row,
    title,
    bars(Array.from(numbers), limit ?? most, words),
    element("span", { class: "vt-walk-limit" }, scale),
  );
}

// How the token's norm changes from step to step.
class LengthsColumn {
  constructor() {
    this.el = element("div", { class: "vt-walk-lengths" });
  }

  show({ walk, token, stage: { kind, done } }) {
    const name = nameOf(token, walk.prefix);
    const isUnderWay = kind === "norm" || kind === "step";
    const chart = lengthChart({
      lengths: walk.streams.map((_, i) => length(walk.at(i, token))),
      added: walk.added.map((_, i) => length(walk.addedBy(i, token))),
      marked: kind === "patches" ? null : isUnderWay ? done + 1 : done,
      name,
    });
    const key = element(
      "p",
      { class: "vt-legend" },
      keyTo("vt-walk-key-line", "stream"),
      keyTo("vt-walk-key-attention", "A: attention adds"),
      keyTo("vt-walk-key-mlp", "M: MLP adds"),
    );
    const title = label(`the norm of ${name}, step by step`);
    this.el.replaceChildren(title, chart, key);
  }
}

function keyTo(look, name) {
  const sample = element("span", { class: look, "aria-hidden": "true" });
  return element("span", { class: "vt-walk-key" }, sample, name);
}

// What the head would predict at this stage.
class PredictionColumn {
  constructor(classes, from) {
    this.classes = classes;
    this.from = from;
    this.heading = label();
    this.bars = element("div");
    this.el = column(this.heading, this.bars);
  }

  show({ stage, image, prediction }) {
    this.heading.textContent =
      stage.kind === "head"
        ? `prediction from ${this.from} (label: ${image.name})`
        : `what the head would predict from ${this.from} here`;
    this.bars.replaceChildren(answers(this.classes, prediction));
  }
}

// What the head reads its prediction from.
function readFrom(vit) {
  return vit.numPrefix ? "the class token" : "the mean of the tokens";
}

// The guess, about one token.
function decide(walk, token) {
  const steps = walk.added.length;
  const shrinks = walk.shrinks(token);
  const norm = `the norm of ${nameOf(token, walk.prefix)}`;
  if (!shrinks) {
    const why = `in all ${steps} steps ${norm} grows`;
    return { right: "every time", why };
  }
  return {
    right: "not every time",
    why:
      `in ${shrinks} of ${steps} steps ${norm} shrinks, because the added ` +
      "vector points against the stream and cancels part of it",
  };
}

function nameOfStep(done) {
  if (!done) return "embedding";
  return `layer ${Math.ceil(done / 2)}, ${done % 2 ? "attention" : "MLP"}`;
}

export default live(EncoderWalk);
