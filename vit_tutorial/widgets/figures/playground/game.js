// Guess before the model does: an image of which nothing is visible at first,
// and as few patches as the reader dares to uncover.

import { highestOf } from "../../page/answers.js";
import { element } from "../../page/elements.js";
import { percent } from "../../page/words.js";
import { shuffled } from "../../page/shuffle.js";
import { Undo } from "./undo.js";
import { UNTOUCHED } from "./playground_state.js";

const ROUNDS = 5; // of a day's game

export class Game {
  #rounds = []; // guessed so far: { patches, reader, model }: who was right
  #day = null; // of the day's game, which goes through `left`
  #left = [];
  #opened = []; // the patches of this round, in the reader's order

  constructor(figure) {
    this.figure = figure;
    const { names } = figure;
    const task = "Click patches to uncover them, as few as you need. ";
    this.task = element("p", {}, task + "What is it?");
    const label = { "aria-label": "It is" };
    const options = names.map((name) => element("option", {}, name));
    this.answer = element("select", label, ...options);
    const guess = () => this.guess(this.answer.selectedIndex);
    this.asking = element(
      "div",
      { class: "vt-controls" },
      this.answer,
      button("Guess", guess),
      button("Give up", () => this.guess(null)),
    );
    this.told = element("div", { role: "status" });
    this.copied = element("input", {
      type: "text",
      readonly: "",
      class: "vt-link",
      "aria-label": "Your result",
    });
    this.el = element(
      "div",
      { class: "vt-guess", hidden: "" },
      this.task,
      this.asking,
      this.told,
    );
  }

  hide() {
    this.el.hidden = true;
  }

  // A random image that is not in view; nothing of it is visible.
  ask() {
    this.#day = null;
    this.#rounds = [];
    this.#next();
  }

  // The same images for everybody, each day.
  askToday() {
    this.#day = new Date().toISOString().slice(0, 10);
    this.#rounds = [];
    const seed = Number(this.#day.replaceAll("-", ""));
    this.#left = shuffled(this.figure.pictures.length, seed).slice(0, ROUNDS);
    this.#next();
  }

  #next() {
    const { figure } = this;
    const { patches, pictures } = figure;
    const isShown = (index) => index === figure.get("picture");
    const others = [...pictures.keys()].filter((index) => !isShown(index));
    const random = others[Math.floor(Math.random() * others.length)] ?? 0;
    const picture = this.#day ? this.#left.shift() : random;
    const dropped = shuffled(patches, 0);
    this.#opened = [];
    this.told.replaceChildren();
    figure.enter("look", { ...UNTOUCHED, picture, dropped, challenge: true });
    figure.undo = new Undo(); // what was uncovered has been seen
    figure.image.grid.focus(Math.floor(patches / 2));
  }

  uncover(patch) {
    const { figure } = this;
    this.#opened.push(patch);
    const dropped = figure.get("dropped").filter((each) => each !== patch);
    figure.change({ dropped });
  }

  // While it asks, beside the image; then below, with what came of it.
  show({ isAsked }) {
    const { stage, controls } = this.figure;
    if (this.figure.small) return;
    const home = isAsked ? stage.watched : controls.panel;
    if (this.el.parentElement !== home) home.append(this.el);
    if (isAsked) this.el.hidden = false;
    this.asking.hidden = this.task.hidden = !isAsked;
  }

  // number: the reader's class, or null for giving up.
  guess(number) {
    const { figure } = this;
    const { dropped, image } = figure.view();
    const visible = figure.patches - dropped.length;
    const pass = figure.passes.of(image.bytes, { ...UNTOUCHED, dropped });
    const said = pass ? highestOf(pass.now) : null;
    const truth = image.label ?? null;
    this.#rounds.push({
      patches: visible,
      reader: truth !== null && number === truth,
      model: truth !== null && said === truth,
    });
    figure.told = figure.get("picture");
    figure.change({ challenge: false, dropped: [] });
    this.el.hidden = false;
    this.tell({ number, visible, pass, said, truth });
    this.buttons(dropped);
  }

  tell({ number, visible, pass, said, truth }) {
    const { names } = this.figure;
    const patches = visible === 1 ? "1 patch" : `${visible} patches`;
    const yours =
      number === null ? "You gave up" : `You guessed ${names[number]}`;
    const label =
      truth === null
        ? "There is no label for this image."
        : `${judged(number, truth)} label is ${names[truth]}.`;
    const model = pass
      ? `${names[said]} (${percent(pass.now[said])})`
      : "nothing";
    const lines = [
      `${label} ${yours} after ${patches}. From the same ${patches}, the ` +
        `model predicts ${model}.`,
      truth === null ? "" : this.score(),
    ];
    const shown = lines.filter(Boolean).map((line) => element("p", {}, line));
    this.told.replaceChildren(...shown);
  }

  score() {
    const right = (who) => this.#rounds.filter((round) => round[who]);
    const yours = right("reader");
    const used = yours.map(({ patches }) => patches).join(", ");
    const day = this.#day ? ` of ${this.#day}` : "";
    return (
      `Score${day}: you ${yours.length}, model ${right("model").length}, ` +
      `of ${this.#rounds.length}.` +
      (used ? ` Your correct guesses used ${used} patches.` : "")
    );
  }

  // hidden: the patches that were not visible when the reader guessed.
  buttons(hidden) {
    const { figure } = this;
    const isOver = this.#day && !this.#left.length;
    const replay = button("Replay", () => this.replay(hidden));
    const copy = button("Copy result", () => this.copy());
    const next = isOver ? [] : [button("Next image", () => this.#next())];
    const all = [...next, replay, copy];
    const line = element("div", { class: "vt-controls" }, ...all);
    this.told.append(line);
    line.firstChild.focus({ preventScroll: true }); // "Guess" is gone
    figure.undo = new Undo();
  }

  // Hide all again, then show the patches in the order in which the reader
  // uncovered them: one more with each press.
  replay(hidden) {
    const { figure } = this;
    const before = shuffled(figure.patches, 0).filter(
      (patch) => !hidden.includes(patch) && !this.#opened.includes(patch),
    );
    const seen = [...before, ...this.#opened];
    const gone = new Set(figure.get("dropped"));
    const next = gone.size ? seen.find((patch) => gone.has(patch)) : null;
    const dropped =
      next === null || next === undefined
        ? shuffled(figure.patches, 0)
        : [...gone].filter((patch) => patch !== next);
    figure.rearrange({ dropped });
  }

  async copy() {
    const squares = this.#rounds
      .map(({ reader, model, patches }) => {
        const mark = (isRight) => (isRight ? "🟩" : "⬛");
        return `${patches}: me ${mark(reader)} model ${mark(model)}`;
      })
      .join(" · ");
    const text = `Me against a Vision Transformer. ${this.score()} ${squares}`;
    try {
      await navigator.clipboard.writeText(text);
      this.figure.card.say("Your result is copied.");
    } catch {
      this.copied.value = text;
      this.told.append(this.copied);
      this.copied.select();
    }
  }
}

function judged(number, truth) {
  if (number === null) return "The";
  return number === truth ? "Right: the" : "Not quite: the";
}

function button(text, onclick) {
  return element("button", { type: "button", onclick }, text);
}
