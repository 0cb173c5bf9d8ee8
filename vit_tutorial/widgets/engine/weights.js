// A model's weights in the kernels' memory, and beside each what training keeps
// of it. Matrices lie turned to (in, out), as linear.js wants them; callers
// give and get them as a checkpoint has them, (out, in).

import { transposed } from "./linear.js";
import { isMatrix } from "./parameters.js";

// What there is of every weight. AdamW keeps two means, Muon one.
const KEPT = ["weights", "gradients", "first", "second", "turned", "good"];

// How many numbers it all needs.
export function weightSizes(parameters) {
  const count = parameters.reduce((sum, each) => sum + rounded(each), 0);
  return KEPT.map(() => count);
}

export class Weights {
  #memory;
  #count; // numbers of each kind
  #entries = {}; // { shape, draw, size, at } by name; at counts bytes
  #addresses; // where the first of each kind is

  // parameters: those of parametersOf(), in the order that they shall lie in.
  constructor(memory, parameters) {
    this.#memory = memory;
    let at = 0;
    for (const each of parameters) {
      this.#entries[each.name] = { ...each, size: sizeOf(each), at };
      at += 4 * rounded(each);
    }
    this.#count = at / 4;
    this.#addresses = Object.fromEntries(
      KEPT.map((kind) => [kind, memory.take(this.#count)]),
    );
  }

  // Where the numbers of one kind are of one weight, or of the first of many.
  address(kind, name) {
    return this.#addresses[kind] + (name ? this.#entries[name].at : 0);
  }

  shape(name) {
    return this.#entries[name].shape;
  }

  // The numbers themselves, of one weight or of all: see `view` of memory.js.
  view(kind, name) {
    const count = name ? this.#entries[name].size : this.#count;
    return this.#memory.view(this.address(kind, name), count);
  }

  // Of every weight, by its name.
  views(kind) {
    const names = Object.keys(this.#entries);
    const pairs = names.map((name) => [name, this.view(kind, name)]);
    return Object.fromEntries(pairs);
  }

  // How many numbers lie between the first's first and the last's last.
  span(names) {
    const [first, last] = [names[0], names.at(-1)].map(
      (name) => this.#entries[name],
    );
    return (last.at - first.at) / 4 + last.size;
  }

  // A linear layer, as linear.js and linear_back.js take it.
  linear(name) {
    const [weight, bias] = [`${name}.weight`, `${name}.bias`];
    const [outputs, inputs] = this.shape(weight);
    return {
      inputs,
      outputs,
      width: outputs,
      weight: this.address("weights", weight),
      bias: bias in this.#entries ? this.address("weights", bias) : 0,
      dWeight: this.address("gradients", weight),
      dBias: bias in this.#entries ? this.address("gradients", bias) : 0,
      turned: this.address("turned", weight),
    };
  }

  norm(name) {
    return {
      weight: this.address("weights", `${name}.weight`),
      bias: this.address("weights", `${name}.bias`),
      dWeight: this.address("gradients", `${name}.weight`),
      dBias: this.address("gradients", `${name}.bias`),
    };
  }

  // All of an encoder's layer.
  layer(number) {
    const at = `transformer.layers.${number}`;
    const join = `${at}.0.fn.to_out.0`; // one full head has none
    return {
      norm: this.norm(`${at}.0.norm`),
      qkv: this.linear(`${at}.0.fn.to_qkv`),
      join: `${join}.weight` in this.#entries ? this.linear(join) : null,
      mlpNorm: this.norm(`${at}.1.norm`),
      widen: this.linear(`${at}.1.fn.net.0`),
      narrow: this.linear(`${at}.1.fn.net.3`),
    };
  }

  // Begin anew, with values as vit.py draws them.
  draw(random) {
    for (const [name, { draw }] of Object.entries(this.#entries)) {
      const values = this.view("weights", name);
      for (let i = 0; i < values.length; i++) values[i] = draw(random);
    }
    this.turn();
  }

  // { name: numbers } of every weight, in a checkpoint's order of numbers.
  // Throws a RangeError that names what does not fit.
  load(named) {
    for (const [name, { size }] of Object.entries(this.#entries)) {
      if (named[name]?.length !== size) {
        throw new RangeError(
          `this model's ${name} has ${size} numbers, ` +
            `got ${named[name]?.length ?? "none"}`,
        );
      }
    }
    const unknown = Object.keys(named).find(
      (name) => !(name in this.#entries),
    );
    if (unknown) throw new RangeError(`this model has no ${unknown}`);
    for (const [name, { shape }] of Object.entries(this.#entries)) {
      const values = named[name];
      const turned = isMatrix(name, shape)
        ? transposed(values, shape[0])
        : values;
      this.view("weights", name).set(turned);
    }
    this.turn();
  }

  // The same, copied: the weights, or another kind.
  read(kind = "weights") {
    return Object.fromEntries(
      Object.entries(this.#entries).map(([name, { shape }]) => {
        const values = this.view(kind, name);
        return [
          name,
          isMatrix(name, shape)
            ? transposed(values, shape[1])
            : values.slice(),
        ];
      }),
    );
  }

  // Keep the weights as they are, to come back to.
  keep() {
    this.view("good").set(this.view("weights"));
  }

  comeBack() {
    this.view("weights").set(this.view("good"));
    this.turn();
  }

  // Turn the matrices for the way back: after every change of the weights.
  turn() {
    for (const [name, { shape }] of Object.entries(this.#entries)) {
      if (!isMatrix(name, shape)) continue;
      const [outputs, inputs] = shape;
      const [to, from] = ["turned", "weights"].map((kind) =>
        this.address(kind, name),
      );
      this.#memory.kernels.transpose(to, from, inputs, outputs, outputs);
    }
  }
}

function sizeOf({ shape }) {
  return shape.reduce((product, side) => product * side, 1);
}

// Numbers in whole fours. Those in between stay 0: no gradient reaches them.
function rounded(parameter) {
  return 4 * Math.ceil(sizeOf(parameter) / 4);
}
