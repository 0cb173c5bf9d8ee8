// How gradients become steps, as in optimizers.py: Muon moves the matrices of
// the encoder's blocks, AdamW everything else, at a rate that rises and falls.

import { Muon, muonSizes, norm } from "./muon.js";

const BETAS = [0.9, 0.98];
const EPS = 1e-8;

// groups: those of grouped(), in parameters.js.
export function optimizerSizes({ groups }) {
  return muonSizes(groups.blocks);
}

export class Optimizers {
  #memory;
  #weights;
  #recipe;
  #muon;
  #ranges; // of AdamW: { first, count, decay }
  #steps; // taken

  constructor(memory, weights, recipe, { groups }) {
    this.#memory = memory;
    this.#weights = weights;
    this.#recipe = recipe;
    const blocks = groups.blocks.map(({ name }) => name);
    this.#muon = new Muon(memory, weights, blocks);
    this.#ranges = ["others", "rest"]
      .filter((group) => groups[group].length)
      .map((group) => ({
        first: groups[group][0].name,
        count: weights.span(groups[group].map(({ name }) => name)),
        decay: group === "rest" ? 0 : recipe.weight_decay,
      }));
  }

  // Forget all gradients.
  reset() {
    this.#steps = 0;
    for (const kind of ["first", "second"]) this.#weights.view(kind).fill(0);
  }

  // Take a step along the gradients. done: the share of the run that is over.
  // Returns false, and takes none, where a gradient is no number any more.
  step(done) {
    const { lr, matrix_lr, weight_decay, warm_up, clip } = this.#recipe;
    const length = norm(this.#weights.view("gradients"));
    if (!Number.isFinite(length)) return false;
    if (clip !== null) this.#scale(Math.min(1, clip / (length + 1e-6)));
    const share = learningRate(done, warm_up);
    this.#steps++;
    for (const range of this.#ranges) this.#adamw(range, lr * share);
    this.#muon.step(matrix_lr * share, weight_decay);
    this.#weights.turn();
    return true;
  }

  #scale(factor) {
    if (factor === 1) return;
    const at = this.#weights.address("gradients");
    const count = this.#weights.view("gradients").length;
    this.#memory.kernels.blend(at, at, factor, at, 0, count);
  }

  #adamw({ first, count, decay }, rate) {
    const at = ["weights", "gradients", "first", "second"].map((kind) =>
      this.#weights.address(kind, first),
    );
    const [mean, square] = BETAS.map((beta) => 1 - beta ** this.#steps);
    const sizes = [rate / mean, Math.sqrt(square), EPS];
    const keep = 1 - rate * decay;
    this.#memory.kernels.adamw(...at, count, keep, ...BETAS, ...sizes);
  }
}

// The share of the highest rate: a rise, then half a cosine down. done: the
// share of the run that is over; warmUp: where the rise ends.
export function learningRate(done, warmUp) {
  if (done < warmUp) return done / warmUp;
  return 0.5 * (1 + Math.cos((Math.PI * (done - warmUp)) / (1 - warmUp)));
}
