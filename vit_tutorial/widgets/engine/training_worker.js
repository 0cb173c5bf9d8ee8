// The Worker's side of a run: what training.js asks, beside the questions of
// worker.js.

import { Trainer } from "./trainer.js";

let run; // the Worker's one

export const ANSWERS = {
  begin(_, given) {
    run = new Run(given);
    const { steps, stepsAnEpoch } = run.trainer;
    return { steps, stepsAnEpoch };
  },
  slice: (_, most) => run.slice(most),
  look: (_, count) => run.look(count),
  load(_, weights) {
    try {
      run.load(weights);
      return {};
    } catch ({ message }) {
      return { refused: message }; // and the run is as it was
    }
  },
};

class Run {
  #heldOut;
  #images; // learned from
  #seconds; // spent on them

  constructor({ heldOut, weights, ...given }) {
    this.trainer = new Trainer(given);
    this.#heldOut = heldOut;
    if (weights) this.trainer.load(weights);
    this.#begin();
  }

  #begin() {
    this.#images = 0;
    this.#seconds = 0;
  }

  load(weights) {
    this.trainer.load(weights);
    this.#begin();
  }

  // Learn for so many milliseconds, or so many steps, whichever is over first;
  // at least one step.
  slice({ milliseconds, steps = Infinity }) {
    const { trainer } = this;
    const began = performance.now();
    const before = trainer.taken;
    const taken = () => trainer.taken - before;
    const sum = { loss: 0, correct: 0 };
    let [broken, passed] = [null, 0];
    do {
      try {
        const found = trainer.step();
        if (!found) break;
        sum.loss += found.loss;
        sum.correct += found.correct;
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        broken = error.message;
      }
      passed = performance.now() - began;
    } while (!broken && passed < milliseconds && taken() < steps);
    const count = taken();
    const images = count * trainer.recipe.batch_size;
    this.#images += images;
    this.#seconds += passed / 1000;
    return {
      taken: trainer.taken,
      loss: count ? sum.loss / count : null,
      accuracy: count ? sum.correct / images : null,
      images: this.#images,
      seconds: this.#seconds,
      over: trainer.taken === trainer.steps || broken !== null,
      ...(broken && { broken }),
    };
  }

  // The model as it is, and how it does on the first held-out images.
  look(count) {
    const { trainer } = this;
    const { images, labels } = this.#heldOut ?? { labels: [] };
    const some = labels.slice(0, count);
    if (!some.length) return { ...trainer.model(), heldOut: null };
    const bytes = (images.length / labels.length) * some.length;
    const heldOut = trainer.evaluate(images.subarray(0, bytes), some);
    return { ...trainer.model(), heldOut: { ...heldOut, images: some.length } };
  }
}
