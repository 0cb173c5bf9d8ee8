// When does it learn what? A recorded run, epoch by epoch: accuracy, accuracy
// by class, and how similar the position embeddings have become.

import { Figure, live } from "../page/live.js";
import { askFirst } from "../page/guess.js";
import { PatchGrid } from "../page/patch_grid.js";
import { Surprises } from "../page/surprises.js";
import { answers, markKey } from "../page/answers.js";
import { column, element, label } from "../page/elements.js";
import { signed, signedLegend } from "../page/colours.js";
import { percent, setting, whereIs } from "../page/words.js";
import { within } from "../page/checks.js";
import { Plot } from "./playback_plot.js";
import { RecordedRun } from "./playback_run.js";

const ACCURACY = "its accuracy"; // what can be guessed
const POSITIONS = "positions that know rows and columns";
const PACE = 600; // milliseconds an epoch, when it is played

class Playback extends Figure {
  static question = "When does it learn what?";
  static state = ["epoch", "position"];
  static inputs = ["run"];

  timer = null; // while it plays

  begin() {
    askFirst(
      this.card,
      "As a ViT trains from scratch, what is nearly complete first?",
      [ACCURACY, POSITIONS, "both in the same epoch"],
      () => decide(this.run),
    );
  }

  build() {
    this.stop();
    this.run = new RecordedRun(this.get("run"));
    this.surprises = null;
    const columns = [
      new Curves(this.run),
      new ClassBars(this.run),
      new PositionMap(this.run, (position) => this.change({ position })),
    ];
    this.card.figure.replaceChildren(...columns.map(({ el }) => el));
    this.parts = [...columns, this.buildControls()];
  }

  buildControls() {
    const { card } = this;
    card.controls.replaceChildren();
    this.playButton = card.button("Play", () =>
      this.timer === null ? this.play() : this.stop(),
    );
    const slider = card.slider("epoch", {
      min: 0,
      max: this.run.last,
      step: 1,
      oninput: ({ target }) => this.goTo(Number(target.value)),
    });
    card.button("Surprise me", () => this.surprise());
    this.addResetAndLink();
    return {
      show({ epoch }) {
        slider.show(epoch, epoch ? `${epoch}` : "0, before training");
      },
    };
  }

  draw() {
    const { epoch, position } = this.state();
    within("epoch", epoch, this.run.last + 1);
    within("position", position, this.run.grid[0] * this.run.grid[1]);
    for (const part of this.parts) part.show({ epoch, position });
    if (this.timer === null) this.tell();
    this.tabulate();
  }

  // Say what has come of it until this epoch.
  tell(more = "") {
    this.card.say(outcome(this.run, this.get("epoch")) + more);
  }

  tabulate() {
    const { run } = this;
    const orNone = (written, number) =>
      number === null ? "–" : written(number);
    this.card.tabulate(
      "After every epoch. Similarity gap: the mean cosine of two positions " +
        "in one row or column, minus that of others",
      ["epoch", "training", "held out", "similarity gap", ...run.names],
      () =>
        run.structure.map((number, epoch) => [
          epoch,
          orNone(share, run.training[epoch]),
          orNone(share, run.heldOut[epoch]),
          sign(number),
          ...run.byClass[epoch].map((each) => orNone(percent, each)),
        ]),
    );
  }

  // From the first epoch where the last is shown, else on from here.
  play() {
    this.playButton.textContent = "Pause";
    this.timer = setInterval(() => this.advance(), PACE);
    if (this.get("epoch") >= this.run.last) this.change({ epoch: 0 });
    this.card.say("The run is playing; its results follow when it stops.");
  }

  advance() {
    const epoch = Math.min(this.get("epoch") + 1, this.run.last);
    this.change({ epoch });
    if (epoch === this.run.last) this.stop();
  }

  stop() {
    if (this.timer === null) return;
    this.end();
    this.playButton.textContent = "Play";
    this.card.attempt(() => this.tell());
  }

  end() {
    clearInterval(this.timer);
    this.timer = null;
  }

  // Where the reader chooses, it stops playing.
  goTo(epoch) {
    this.stop();
    this.change({ epoch });
  }

  reset() {
    this.stop();
    super.reset();
  }

  // The epochs in which a class lost most: accuracy does not rise all the time.
  surprise() {
    this.surprises ??= new Surprises(this.run.falls(), ({ lost }) => lost);
    const { epoch, lost, name, from, to } = this.surprises.next();
    this.goTo(epoch);
    if (lost <= 0) return;
    const fall = `fell from ${percent(from)} to ${percent(to)}`;
    this.tell(` In this epoch, class ${name} ${fall}.`);
  }
}

// Two plots: accuracy, and how much more similar positions of a row or column
// are than others.
class Curves {
  constructor(run) {
    this.plots = [accuracyPlot(run), structurePlot(run)];
    const [accuracy, structure] = this.plots;
    this.el = element(
      "div",
      { class: "vt-play-plots" },
      label("accuracy"),
      accuracy.el,
      label("row/column similarity gap"),
      structure.el,
      label(`epoch 0 to ${run.last}`, "vt-play-axis"),
    );
  }

  show({ epoch }) {
    for (const plot of this.plots) plot.show(epoch);
  }
}

function accuracyPlot({ training, heldOut, last }) {
  return new Plot({
    label:
      "Accuracy by epoch: on held-out images up to " +
      `${percent(heldOut[last])}, on training images up to ` +
      percent(training[last]),
    last,
    top: 1,
    ends: ["0", "100%"],
    curves: [
      {
        values: training.slice(1),
        first: 1,
        name: "training",
        look: "vt-play-training",
      },
      {
        values: heldOut.slice(1),
        first: 1,
        name: "held out",
        look: "vt-play-held-out",
      },
    ],
  });
}

function structurePlot({ structure, last }) {
  const top = Math.max(Math.ceil(10 * Math.max(...structure)), 1) / 10;
  return new Plot({
    label:
      "Similarity gap of positions in a row or column, by epoch: from " +
      `${sign(structure[0])} to ${sign(structure[last])}`,
    last,
    top,
    ends: ["0", setting(top)],
    curves: [{ values: structure, first: 0, look: "vt-play-structure" }],
  });
}

// How much of each class is right; a line where that ends.
class ClassBars {
  constructor(run) {
    this.run = run;
    this.bars = element("div");
    this.el = column(
      label("held-out accuracy, by class"),
      this.bars,
      markKey(`after epoch ${run.last}`),
    );
  }

  show({ epoch }) {
    const { names, byClass, last } = this.run;
    const bars = answers(names, byClass[epoch], byClass[last]);
    this.bars.replaceWith(bars);
    this.bars = bars;
  }
}

// How similar one position is to each of the others.
class PositionMap {
  constructor(run, choose) {
    this.run = run;
    this.title = label();
    this.map = new PatchGrid({
      grid: run.grid,
      label: "Similarity to each position",
      move: choose,
      pick: choose,
    });
    this.el = column(this.title, this.map.el, signedLegend(1));
  }

  show({ epoch, position }) {
    const alike = this.run.alike[epoch][position];
    const where = (place) => whereIs(place, this.run.grid[1], "position");
    this.title.textContent = `position ${position + 1} and all others`;
    this.map.show({
      selected: position,
      colour: (place) => signed(alike[place]),
      name: (place) => `${where(place)}: ${sign(alike[place])}`,
    });
  }
}

function outcome({ structure, heldOut, byClass, names, last }, epoch) {
  const alike =
    "Positions in one row or column are more similar than others by " +
    sign(structure[epoch]) +
    (epoch < last ? `, at the end by ${sign(structure[last])}.` : ".");
  if (epoch === 0) {
    return `Before training, no accuracy was measured. ${alike}`;
  }
  const shares = byClass[epoch];
  const named = (number) =>
    `${names[shares.indexOf(number)]} (${percent(number)})`;
  return (
    `After epoch ${epoch} of ${last}, held-out accuracy is ` +
    `${share(heldOut[epoch])}: highest on ${named(Math.max(...shares))}, ` +
    `lowest on ${named(Math.min(...shares))}. ${alike}`
  );
}

// The guess: what reaches 90% of its final value first.
function decide({ heldOut, structure, last }) {
  const reached = (values) =>
    values.findIndex((value) => value >= 0.9 * values[last]);
  const [accuracy, positions] = [heldOut, structure].map(reached);
  return {
    right:
      accuracy < positions
        ? ACCURACY
        : accuracy > positions
          ? POSITIONS
          : "both in the same epoch",
    why:
      "the row/column similarity gap reaches 90% of its final value in epoch " +
      `${positions}, held-out accuracy in epoch ${accuracy}`,
  };
}

function share(number) {
  return `${(100 * number).toFixed(1)}%`;
}

function sign(number) {
  const text = Math.abs(number).toFixed(2);
  return `${Number(text) === 0 ? "" : number < 0 ? "−" : "+"}${text}`;
}

export default live(Playback);
