// A run of training in a Worker. The page asks for a slice of it, draws, and
// asks for the next: so it answers its reader meanwhile, and to pause is to ask
// no more.

import { Background } from "./background.js";

export class Training {
  #background = new Background(null, "training_worker");
  #failed;
  #ended = false;

  // failed(error): the Worker has, in the middle of a run. The question that it
  // had is never answered then.
  constructor({ failed }) {
    this.#failed = failed;
  }

  // Begin a run: as Trainer takes it (trainer.js), with the images that are
  // held out, { images, labels }, and weights to begin with, both if there are
  // any. What ran before is over.
  // Returns { steps, stepsAnEpoch }. Throws an Error that says what does not
  // fit, or what the browser refuses.
  begin(given) {
    return this.#ask("begin", given);
  }

  // Learn for so many milliseconds, or so many steps: whichever is over first.
  // Returns { taken, loss, accuracy, images, seconds, over }. loss, accuracy:
  // means over the slice's batches, null where the run was over before. The
  // rest is of the whole run: steps taken, images learned from, seconds of
  // computing, whether it is over. Where the loss is no number any more there
  // is also `broken`, a line that says what would help: the weights are then
  // the last good ones.
  slice(most) {
    return this.#askRunning("slice", most);
  }

  // The model as it is: { config, tensors, weights, heldOut }, of which
  // `new ViT(...)` makes one here. heldOut: { loss, accuracy, wrong, images },
  // over the first `count` of the held-out images (no count: all); `wrong` has
  // the numbers of those that it gets wrong.
  look(count) {
    return this.#askRunning("look", count);
  }

  // Begin the run anew from these weights, named as a checkpoint has them.
  // Throws an Error that says what does not fit; the run then stays as it is.
  async load(weights) {
    const { refused } = await this.#askRunning("load", weights);
    if (refused) throw new Error(refused);
  }

  // The model as it is, without a look at the held-out images.
  async model() {
    const { heldOut, ...model } = await this.look(0);
    return model;
  }

  end() {
    this.#ended = true;
    this.#background.end();
  }

  #ask(name, given) {
    return this.#background.ask(name, [given], () => !this.#ended);
  }

  #askRunning(name, given) {
    return new Promise((resolve) => {
      this.#ask(name, given).then(resolve, this.#failed);
    });
  }
}
