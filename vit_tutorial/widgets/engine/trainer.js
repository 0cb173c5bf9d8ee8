// A ViT that trains in a page, as train.py trains one: a recipe, and a step at
// a time.

import { judge, Learner, passSizes } from "./learner.js";
import { gridOf } from "./learned_positions.js";
import { optimizerSizes, Optimizers } from "./optimizers.js";
import { grouped, parametersOf } from "./parameters.js";
import { Random } from "./random.js";
import { TrainingMemory } from "./training_memory.js";
import { Weights, weightSizes } from "./weights.js";

export class Trainer {
  #images;
  #labels;
  #places; // of all patches
  #random;
  #weights;
  #learner;
  #optimizers;
  #order; // of the epoch's images
  #failed; // why the run goes no further

  // config: a ViT's, with the mean and std of the data. recipe: as recipes.py
  // has them; what it says of data sets plays no part. images: bytes, c * H * W
  // of each; labels: a number each. The same seed gives the same run.
  // Throws a RangeError for what does not fit, and an Error where the browser
  // cannot run it (see memory.js).
  constructor({ config, recipe, images, labels, seed = 0 }) {
    checkRun(config, recipe, images, labels);
    this.config = config;
    this.recipe = recipe;
    this.#images = images;
    this.#labels = labels;
    this.#places = range(placesOf(config));
    this.#random = new Random(seed);
    const order = grouped(parametersOf(config), recipe);
    const memory = new TrainingMemory(
      weightSizes(order.parameters),
      optimizerSizes(order),
      ...passSizes(config),
    );
    this.#weights = new Weights(memory, order.parameters);
    this.#learner = new Learner(memory, config, this.#weights);
    this.#optimizers = new Optimizers(memory, this.#weights, recipe, order);
    this.#weights.draw(this.#random);
    this.#begin();
  }

  #begin() {
    this.taken = 0; // steps
    this.#failed = null;
    this.#weights.keep();
    this.#optimizers.reset();
  }

  // How many steps the run has.
  get steps() {
    return this.recipe.epochs * this.stepsAnEpoch;
  }

  get stepsAnEpoch() {
    const { repeats, batch_size } = this.recipe;
    return Math.floor((repeats * this.#labels.length) / batch_size);
  }

  // Learn from the next batch: { loss, correct }, its mean loss and how many of
  // its images are predicted right. Returns null where the run is over.
  // Throws a RangeError where the loss is no number any more: the weights are
  // then the last whose loss was one, and the run goes no further.
  step() {
    if (this.taken >= this.steps) return null;
    const done = (this.taken + 0.5) / this.steps; // mid-step
    return this.learn(this.#draw(done), done);
  }

  // The same from a batch of the caller's: [{ pixels, label, kept }], and how
  // each image is changed (see examples.js); as many patches are kept of each.
  // done: the share of the run that is over.
  learn(batch, done) {
    if (this.#failed) throw new RangeError(this.#failed);
    const found = this.#learner.learn(batch, this.recipe.label_smoothing);
    if (Number.isFinite(found.loss)) this.#weights.keep();
    else this.#fail();
    if (!this.#optimizers.step(done)) this.#fail();
    this.taken++;
    return found;
  }

  #fail() {
    this.#weights.comeBack();
    this.#failed =
      `the loss is no longer a number in step ${this.taken + 1}: a lower ` +
      "learning rate, or a longer warm-up, would help; the last good weights " +
      "are kept";
    throw new RangeError(this.#failed);
  }

  // The next batch, changed as the recipe says.
  #draw(done) {
    const { repeats, batch_size, flip, shift } = this.recipe;
    const random = this.#random;
    const number = this.taken % this.stepsAnEpoch;
    if (number === 0) {
      const count = this.#labels.length;
      this.#order = range(repeats).flatMap(() => random.shuffled(count));
    }
    const start = number * batch_size;
    const patches = this.#places.length;
    const shown = countKept(patches, this.recipe, done);
    const some = () => random.shuffled(patches).slice(0, shown);
    const moved = () => random.below(2 * shift + 1) - shift;
    return this.#order.slice(start, start + batch_size).map((i) => ({
      pixels: imageAt(this.#images, i, this.config),
      label: this.#labels[i],
      kept: shown === patches ? this.#places : some(),
      flip: flip && random.uniform() < 0.5,
      down: moved(),
      right: moved(),
    }));
  }

  // How the model does on images as they are: the mean cross-entropy, the
  // accuracy, and which ones it gets wrong.
  evaluate(images, labels) {
    checkImages(this.config, images, labels);
    const logits = this.predict(images);
    const { num_classes } = this.config;
    const wrong = [];
    let loss = 0;
    labels.forEach((label, i) => {
      const row = logits.subarray(i * num_classes, (i + 1) * num_classes);
      const { predicted, logSum } = judge(row);
      loss += (logSum - row[label]) / labels.length;
      if (predicted !== label) wrong.push(i);
    });
    return { loss, accuracy: 1 - wrong.length / labels.length, wrong };
  }

  // The logits of images, (count, classes).
  predict(images) {
    const count = images.length / bytesOf(this.config);
    const batch = range(count).map((i) => ({
      pixels: imageAt(images, i, this.config),
      kept: this.#places,
    }));
    return this.#learner.predict(batch);
  }

  // The weights, under a checkpoint's names, in its order of numbers.
  weights() {
    return this.#weights.read();
  }

  // The gradients of the last batch's loss, after clipping: the same names.
  gradients() {
    return this.#weights.read("gradients");
  }

  // The model as it is, for `new ViT(...)`.
  model() {
    const tensors = Object.fromEntries(
      parametersOf(this.config).map(({ name, shape }) => [name, shape]),
    );
    return { config: this.config, tensors, weights: this.weights() };
  }

  // Begin the run anew from these weights.
  // Throws a RangeError that names what does not fit.
  load(weights) {
    this.#weights.load(weights);
    this.#begin();
  }
}

// How many patches an image shows at a moment of the run, as in
// patch_dropout.py.
function countKept(patches, { drop_patches }, done) {
  return patches - Math.round(drop_patches * (1 - done) * patches);
}

function imageAt(images, i, config) {
  const size = bytesOf(config);
  return images.subarray(i * size, (i + 1) * size);
}

function bytesOf({ image_size, channels }) {
  const [height, width = height] = [image_size].flat();
  return channels * height * width;
}

function placesOf(config) {
  const [rows, columns] = gridOf(config);
  return rows * columns;
}

function range(n) {
  return Array.from({ length: n }, (_, i) => i);
}

function checkRun(config, recipe, images, labels) {
  const { image_size, patch_size } = config;
  if (!gridOf(config).every(Number.isInteger)) {
    throw new RangeError(
      `patches of ${patch_size} pixels do not divide images of ${image_size}`,
    );
  }
  checkImages(config, images, labels);
  const { batch_size, repeats, shift, erase } = recipe;
  const shown = repeats * labels.length;
  if (!(batch_size >= 1 && batch_size <= shown)) {
    throw new RangeError(
      `a batch has 1 to ${shown} images, those of an epoch; got ${batch_size}`,
    );
  }
  const side = Math.min(...[image_size].flat());
  if (shift >= side) {
    throw new RangeError(`shift is less than ${side} pixels, got ${shift}`);
  }
  if (erase) throw new RangeError("a page erases no squares; use erase 0");
  if (config.dropout || config.emb_dropout) {
    throw new RangeError("a page trains without dropout; use dropout 0");
  }
  const patches = placesOf(config);
  if (countKept(patches, recipe, 0) < 1) {
    throw new RangeError(
      `drop_patches ${recipe.drop_patches} would show none of the ${patches} ` +
        "patches at first; use less",
    );
  }
}

function checkImages(config, images, labels) {
  const size = bytesOf(config);
  if (!labels.length || images.length !== size * labels.length) {
    throw new RangeError(
      `${labels.length} labels need as many images of ${size} bytes, ` +
        `got ${images.length} bytes`,
    );
  }
  const last = config.num_classes - 1;
  const wrong = labels.find((label) => !(label >= 0 && label <= last));
  if (wrong !== undefined) {
    throw new RangeError(`labels are numbers from 0 to ${last}; got ${wrong}`);
  }
}
