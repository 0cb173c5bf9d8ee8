// Train a Vision Transformer, here: choose the data, the model and the recipe,
// and watch what it learns while it does.

import { Figure, live } from "../../page/live.js";
import { setStage } from "../../page/stage.js";
import { Training } from "../../page/training.js";
import { unpackPictures } from "../../page/page_model.js";
import { element } from "../../page/elements.js";
import { within } from "../../page/checks.js";
import { ViT } from "../../engine/vit.js";
import { Choices, checkChoices, chosen } from "./train_choices.js";
import { Controls } from "./train_controls.js";
import { Curves } from "./train_curves.js";
import { Guide } from "./train_guide.js";
import { Attention, Mistakes } from "./train_images.js";
import { Learned } from "./train_learned.js";
import { recordedRun } from "./train_recorded.js";
import { MOST, Runs } from "./train_runs.js";
import { untrained } from "./train_setup.js";
import { TakeAway } from "./train_take_away.js";
import { outcome, tableOf } from "./train_words.js";

const SEEDS = 2 ** 31;
const LOADING = "loading the images …";
const SHORTER = 1000; // steps, where a machine is a phone

class TrainHere extends Figure {
  static question = "Train a Vision Transformer, here";
  static state = [
    "images",
    "shuffled",
    "flip",
    "shift",
    "patch_size",
    "dim",
    "depth",
    "heads",
    "position",
    "pool",
    "optimizer",
    "rate",
    "batch_size",
    "steps",
    "warm_up",
    "seed",
    "picture",
  ];
  static inputs = ["pictures", "facts"];

  #hidden = () => this.followTab();

  begin() {
    document.addEventListener("visibilitychange", this.#hidden);
    if (matchMedia("(pointer: coarse)").matches) this.shorten("on a phone");
    const { getBattery } = navigator; // not every browser tells
    getBattery?.call(navigator).then(({ charging }) => {
      if (!charging) this.shorten("on battery");
    });
  }

  // A shorter run to begin with, unless the reader has already chosen.
  shorten(where) {
    const isUsual = same(this.start, this.state());
    if (this.model.address?.isAskedFor || !isUsual || this.runs.length) return;
    this.change({ steps: SHORTER });
    this.card.say(`Press Train. The first run is shorter ${where}.`);
  }

  end() {
    document.removeEventListener("visibilitychange", this.#hidden);
    this.guide.leave();
    this.run?.leave();
    this.training.end();
  }

  build() {
    this.training?.end();
    this.training = new Training({ failed: (error) => this.run?.fail(error) });
    this.pictures = unpackPictures(this.get("pictures"));
    this.names = this.get("facts").class_names;
    this.runs = []; // the last one first
    this.run = null; // in view
    this.before = recordedRun(); // in grey, until there is one of the reader's
    this.note = ""; // in place of the pace
    this.buildParts();
  }

  buildParts() {
    const { card, names, pictures } = this;
    const newId = () => card.newId();
    card.root.classList.add("vt-train");
    this.controls = new Controls({
      train: () => this.press(),
      step: () => this.step(),
      again: () => this.startOver(),
      another: () => this.change({ seed: (this.get("seed") + 1) % SEEDS }),
    });
    this.choices = new Choices({
      change: (changes) => this.change(changes),
      newId,
    });
    const choose = (picture) => this.change({ picture });
    this.attention = new Attention({ pictures, names, choose, name: newId() });
    this.mistakes = new Mistakes(names);
    this.learned = new Learned();
    this.curves = new Curves({ newId });
    this.table = new Runs({
      usual: chosen(this.start),
      restore: (run) => this.restore(run),
    });
    this.guide = new Guide({
      usual: () => ({ ...chosen(this.start), seed: this.get("seed") }),
      train: (choices, moved) => this.trainGuided(choices, moved),
      say: (text) => card.say(text),
    });
    this.takeAway = new TakeAway(this);
    const column = element(
      "div",
      { class: "vt-train-seen" },
      ...[this.learned, this.attention, this.mistakes].map(({ el }) => el),
    );
    setStage(card, {
      above: [this.controls.el],
      watched: [this.curves.el],
      beside: [this.choices.el, column, this.table.el],
    });
    card.controls.replaceChildren(this.guide.el, this.takeAway.el);
    this.addResetAndLink();
    card.details.after(this.takeAway.panel);
  }

  draw() {
    const state = this.state();
    checkChoices(state);
    within("seed", state.seed, SEEDS);
    within("picture", state.picture, this.pictures.length);
    const isOther = (run) => same(run.choices, chosen(state)) === false;
    if (this.run && isOther(this.run)) this.retire();
    this.choices.show(state);
    this.drawRun();
    this.drawModel();
    this.tell();
  }

  // What every slice changes.
  drawRun() {
    this.controls.show(this.run, this.note);
    this.curves.show(this.run, this.before);
  }

  // What every look at the model changes, step by step.
  ofModel() {
    const { run } = this;
    const begun = () => untrained(chosen(this.state()), this.get("facts"));
    let vit;
    return [
      () => (vit = new ViT(run?.model ?? begun())),
      () => this.learned.show(vit),
      () => this.attention.show(vit, this.get("picture")),
      () =>
        run?.model
          ? this.mistakes.show(vit, run.wrong, run.unseen)
          : this.mistakes.clear(),
      () => this.table.show(this.runs.filter(({ taken }) => taken), run),
      () => this.card.tabulate(...tableOf(run)),
    ];
  }

  drawModel() {
    for (const draw of this.ofModel()) draw();
  }

  // The same while it trains: between two steps the page answers its reader.
  async followModel(run) {
    this.attempt(() => this.drawRun());
    for (const draw of this.ofModel()) {
      await new Promise((resolve) => setTimeout(resolve));
      if (this.run !== run) return;
      this.attempt(draw);
    }
  }

  tell() {
    if (this.guide.isOn) return;
    this.card.say(outcome(this.run));
  }

  // Train, or pause.
  press() {
    if (this.run?.isRunning) this.run.pause();
    else this.carryOn((run) => run.go());
  }

  step() {
    if (!this.run?.isRunning) this.carryOn((run) => run.step());
  }

  // Go on with the run in view; where it has ended, with a new one.
  async carryOn(work) {
    const run = this.run?.isOpen ? this.run : await this.beginRun();
    if (!run) return;
    await work(run);
    if (this.run === run) this.rest(run);
  }

  // A run with the choices in view; more: what else it begins with. Returns
  // null where there is none.
  async beginRun(moved = 0, more = {}) {
    if (this.note === LOADING) return null;
    this.showNote(LOADING);
    let begin;
    try {
      const { readyToTrain } = await import("./train_begin.js");
      begin = await readyToTrain(this.model);
    } catch ({ message }) {
      this.showNote("");
      this.card.say(`There is nothing to train on: ${message}.`);
      return null;
    }
    this.showNote("");
    this.retire();
    const run = begin({
      number: (this.runs[0]?.number ?? 0) + 1,
      ...{ choices: chosen(this.state()), moved, more },
      training: this.training,
      drawn: (run) => this.run === run && this.attempt(() => this.drawRun()),
      looked: (run) => this.run === run && this.followModel(run),
    });
    this.runs = [run, ...this.runs].slice(0, MOST);
    this.run = run;
    this.draw();
    return run;
  }

  attempt(work) {
    this.card.attempt(work);
  }

  // It is paused, over or broken: all there is to see of it, and to hand on.
  rest(run) {
    this.attempt(() => {
      this.drawRun();
      this.tell();
      this.takeAway.handOver(run);
    });
  }

  showNote(note) {
    this.note = note;
    this.controls.show(this.run, note);
  }

  // The run in view ends, and stays as a grey curve.
  retire() {
    this.run?.leave();
    if (this.run?.taken) this.before = this.run;
    this.run = null;
  }

  startOver() {
    this.retire();
    this.redraw();
  }

  reset() {
    this.guide.leave();
    this.retire();
    super.reset();
  }

  // A model from elsewhere, in view as a run that has not begun. changes: the
  // choices that fit it. model: { config, weights }.
  async open(changes, model) {
    this.guide.leave();
    this.retire();
    this.change(changes);
    const config = { ...this.get("facts"), ...model.config };
    const run = await this.beginRun(0, { ...model, config });
    await run?.begin();
    if (run?.broken) throw new RangeError(run.broken);
  }

  // Bring back what a run was, to look at and to use.
  restore(run) {
    if (run === this.run) return;
    this.guide.leave();
    this.retire();
    if (this.before === run) this.before = recordedRun();
    this.run = run;
    this.change(run.choices);
  }

  async trainGuided(choices, moved) {
    this.retire();
    this.change(choices);
    const run = await this.beginRun(moved);
    if (!run) return { state: "left" };
    run.go();
    await run.ended;
    if (this.run === run) this.rest(run);
    return run;
  }

  // Nothing runs in a tab that nobody sees; it goes on when it is seen again.
  followTab() {
    if (document.hidden) {
      this.waiting = this.run?.isRunning ? this.run : null;
      this.waiting?.pause();
      if (this.waiting) this.showNote("paused: this tab is hidden");
    } else if (this.waiting) {
      this.showNote("");
      if (this.run === this.waiting) this.carryOn((run) => run.go());
      this.waiting = null;
    }
  }
}

function same(one, other) {
  return Object.keys(one).every((name) => one[name] === other[name]);
}

export default live(TrainHere);
