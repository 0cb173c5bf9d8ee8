// One run: begun, carried on slice by slice, paused, ended; and what was
// measured on the way.

import { UNTRAINED } from "./train_recorded.js";

const SLICE = 50; // milliseconds of computing between two drawings
const LOOK = 600; // milliseconds between two looks at the model, at least
const SPARE = 8; // times as long as a look takes, until the next
const SOME = 500; // held-out images of a look while it runs; at a rest, all

export class Run {
  state = "new"; // then "running", "paused", "over", "broken" or "left"
  batches = []; // { step, loss, accuracy } of each slice
  heldOut = [UNTRAINED]; // the same of each look
  taken = 0;
  images = 0;
  seconds = 0;
  model = null; // { config, tensors, weights }, as last looked at
  wrong = []; // numbers of held-out images, at the last look
  broken = null; // why it stopped
  ended; // a promise: over, broken or left
  #end;
  #loop;
  #next = 0; // when to look at the model again

  // choices: as in train_choices.js. given: what Training begins with.
  // drawn(run): something was measured. looked(run): the model was looked at.
  constructor({ number, choices, training, given, drawn, looked }) {
    Object.assign(this, { number, choices, training, drawn, looked });
    this.unseen = given.heldOut; // the images that are held out
    this.ended = new Promise((resolve) => (this.#end = resolve));
    this.#loop = training.begin(given).then(({ steps, stepsAnEpoch }) => {
      Object.assign(this, { steps, stepsAnEpoch });
    });
  }

  get epoch() {
    return this.taken / this.stepsAnEpoch;
  }

  get isOpen() {
    return ["new", "running", "paused"].includes(this.state);
  }

  get isRunning() {
    return this.state === "running";
  }

  // The measured accuracy on all held-out images, or on some of them.
  get accuracy() {
    return this.heldOut.at(-1).accuracy;
  }

  // Go on until it is paused, over or broken. Returns when it rests.
  go() {
    return this.#then(async () => {
      if (!this.isOpen) return;
      this.state = "running";
      while (this.state === "running") {
        await this.#slice({ milliseconds: SLICE });
        if (performance.now() > this.#next) await this.look(SOME);
      }
      await this.look();
    });
  }

  // Begin, and look at the model before its first step.
  begin() {
    return this.#then(() => this.look());
  }

  step() {
    return this.#then(async () => {
      if (!this.isOpen) return;
      this.state = "paused";
      await this.#slice({ milliseconds: Infinity, steps: 1 });
      await this.look();
    });
  }

  pause() {
    if (this.state === "running") this.state = "paused";
  }

  // Its choices are no longer those in view.
  leave() {
    if (this.isOpen) this.state = "left";
    this.#end();
  }

  // Something went wrong that is not the run's own.
  fail({ message }) {
    if (this.state === "left") return;
    Object.assign(this, { state: "broken", broken: message });
    this.drawn(this);
    this.#end();
  }

  // One thing after the other, whatever is pressed meanwhile.
  #then(work) {
    this.#loop = this.#loop
      .then(work)
      .then(() => this.isOpen || this.#end())
      .catch((error) => this.fail(error));
    return this.#loop;
  }

  async #slice(most) {
    const found = await this.training.slice(most);
    if (this.state === "left") return;
    const { taken, loss, accuracy, images, seconds, over, broken } = found;
    Object.assign(this, { taken, images, seconds });
    if (Number.isFinite(loss)) {
      this.batches.push({ step: taken, loss, accuracy });
    }
    if (broken) Object.assign(this, { broken, state: "broken" });
    else if (over) this.state = "over";
    this.drawn(this);
  }

  // Look at the model, and at how it does on held-out images.
  async look(count) {
    if (this.state === "left") return;
    const began = performance.now();
    const { heldOut, ...model } = await this.training.look(count);
    if (this.state === "left") return;
    const now = performance.now();
    this.#next = now + Math.max(LOOK, SPARE * (now - began));
    const { loss, accuracy, wrong } = heldOut;
    if (Number.isFinite(loss)) {
      const last = this.heldOut.at(-1);
      if (last.step === this.taken) this.heldOut.pop(); // some, now all
      this.heldOut.push({ step: this.taken, loss, accuracy });
    }
    Object.assign(this, { model, wrong, isWhole: count === undefined });
    this.looked(this);
  }
}
