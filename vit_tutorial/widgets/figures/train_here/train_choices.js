// What a reader chooses before training: the data, the model, the run. Plain
// values, for they come from links and kernels too, and are checked here.

import { element } from "../../page/elements.js";
import { grouped } from "../../page/words.js";

const POSITIONS = {
  none: "none",
  learned: "learned",
  learned_2d: "learned, 2-D",
  sincos_2d: "sine–cosine, 2-D",
};
const POOLS = { cls: "class token", mean: "mean of patches" };
const OPTIMIZERS = { muon: "Muon", adamw: "AdamW" };
const RATES = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2];
const STEPS = [300, 1000, 2000, 3000, 6000, 10_000];

// Each choice: its options, a word for each where it needs one, and the part of
// the stage that it stands in. Options that are true or false are a checkbox.
const choice = (part, name, label, options, word = String) => ({
  ...{ part, name, label, options, word },
});
const YES_NO = [false, true];
export const CHOICES = [
  choice("Data", "images", "images", [100, 500, 2000, 6000], grouped),
  choice("Data", "shuffled", "shuffle the labels", YES_NO),
  choice("Data", "flip", "flip", YES_NO),
  choice("Data", "shift", "shift", [0, 1, 2, 3], (pixels) => `± ${pixels} px`),
  choice("Model", "patch_size", "patch size", [4, 7], squared),
  choice("Model", "dim", "dim", [32, 48, 64]),
  choice("Model", "depth", "depth", [1, 2, 3, 4, 6]),
  choice("Model", "heads", "heads", [1, 2, 3, 4, 6, 8]),
  named("Model", "position", "positions", POSITIONS),
  named("Model", "pool", "pooling", POOLS),
  named("Run", "optimizer", "optimiser", OPTIMIZERS),
  choice("Run", "rate", "learning rate", RATES),
  choice("Run", "batch_size", "batch size", [16, 32, 64]),
  choice("Run", "steps", "steps", STEPS, grouped),
  choice("Run", "warm_up", "warm-up", YES_NO),
];

function named(part, name, label, words) {
  return choice(part, name, label, Object.keys(words), (key) => words[key]);
}

function squared(size) {
  return `${size} × ${size}`;
}

// Check the choices of a state. Throws a RangeError that names what does not
// fit.
export function checkChoices(state) {
  for (const { name, options } of CHOICES) {
    const value = state[name];
    if (options.includes(value)) continue;
    const known = options.join(", ");
    throw new RangeError(`${name} is one of ${known}; got ${value}`);
  }
  const { dim, heads } = state;
  if (dim % heads) {
    throw new RangeError(`${heads} heads do not divide ${dim} dimensions`);
  }
}

// Only what determines a run, of a state.
export function chosen(state) {
  const names = [...CHOICES.map(({ name }) => name), "seed"];
  return Object.fromEntries(names.map((name) => [name, state[name]]));
}

// Where two runs were chosen differently, in words; "" where they were not.
export function differences(choices, usual) {
  return CHOICES.filter(({ name }) => choices[name] !== usual[name])
    .map(({ name, label, options, word }) => {
      if (options !== YES_NO) return `${label} ${word(choices[name])}`;
      return name === "shuffled" ? "labels shuffled" : `no ${label}`;
    })
    .map((text) => text.replace("no flip", usual.flip ? "no flip" : "flip"))
    .join(", ");
}

// All of them as native inputs, part by part.
export class Choices {
  #inputs = {};

  // change(changes): the reader's. newId(): of a page's inputs.
  constructor({ change, newId }) {
    Object.assign(this, { change, newId });
    const parts = [...new Set(CHOICES.map(({ part }) => part))];
    const fieldset = (part) =>
      element(
        "fieldset",
        { class: "vt-train-part" },
        element("legend", {}, part),
        ...CHOICES.filter((each) => each.part === part).map((each) =>
          this.#control(each),
        ),
      );
    this.el = element(
      "div",
      { class: "vt-train-choices" },
      ...parts.map(fieldset),
    );
  }

  #control({ name, label, options, word }) {
    const id = this.newId();
    const isCheck = options === YES_NO;
    const read = () =>
      this.#choose(name, isCheck ? input.checked : options[input.value]);
    const input = isCheck
      ? element("input", { type: "checkbox", id, onchange: read })
      : element("select", { id, onchange: read });
    const made = isCheck ? [] : options;
    made.forEach((option, value) =>
      input.append(element("option", { value }, word(option))),
    );
    this.#inputs[name] = input;
    const text = element("label", { for: id }, label);
    const parts = isCheck ? [input, text] : [text, input];
    const kind = isCheck ? "vt-train-check" : "vt-train-select";
    return element("div", { class: kind }, ...parts);
  }

  // Heads divide the dimensions: a change of these may change those.
  #choose(name, value) {
    const changes = { [name]: value };
    if (name === "dim" && value % this.heads) changes.heads = 2;
    this.change(changes);
  }

  show(state) {
    this.heads = state.heads;
    for (const { name, options } of CHOICES) {
      const input = this.#inputs[name];
      if (options === YES_NO) input.checked = state[name];
      else input.value = options.indexOf(state[name]);
    }
    const heads = CHOICES.find(({ name }) => name === "heads").options;
    [...this.#inputs.heads.options].forEach((option, index) => {
      option.disabled = state.dim % heads[index] > 0;
    });
  }
}
