// What was trained is the reader's: to use in the playground, to save, to load
// again, and to make in Python. In a notebook it also goes to the kernel.

import { element } from "../../page/elements.js";
import { CHOICES, chosen } from "./train_choices.js";
import { configOf, recipeOf } from "./train_setup.js";

const MOST = 20; // megabytes of a file

export class TakeAway {
  constructor(figure) {
    this.figure = figure;
    const button = (text, work) =>
      element(
        "button",
        { type: "button", onclick: () => this.#attempt(work) },
        text,
      );
    const isPage = Boolean(figure.model.address); // a notebook has none
    const file = element("input", {
      type: "file",
      accept: ".safetensors",
      class: "vt-train-file",
      "aria-label": "Load a model: a file in safetensors",
      onchange: () => this.#load(file),
    });
    this.el = element(
      "div",
      { class: "vt-controls vt-train-take" },
      ...(isPage
        ? [button("Use it in the playground", () => this.#play())]
        : []),
      button("Save", () => this.#save()),
      element("label", { class: "vt-train-load" }, "Load", file),
      button("The same in Python", () => this.#tellCommand()),
    );
    this.panel = element("div", { class: "vt-train-panel", hidden: "" });
  }

  // Each is a part that has to come first.
  async #attempt(work) {
    try {
      await work();
    } catch ({ message }) {
      this.figure.card.say(`That does not work here: ${message}.`);
    }
  }

  // The model in view; without one, a line says so.
  get #model() {
    const { run, card } = this.figure;
    if (!run?.model) card.say("There is no model yet: press Train first.");
    return run?.model;
  }

  async #play() {
    const model = this.#model;
    if (!model) return;
    const { playgroundWith } = await import("./train_playground.js");
    const frame = playgroundWith(model, this.figure.get("pictures"));
    this.#show(frame);
  }

  #show(...children) {
    this.panel.replaceChildren(...children);
    this.panel.hidden = false;
    this.panel.scrollIntoView({ block: "nearest" });
  }

  // The choices in view as a command, to be copied.
  async #tellCommand() {
    const { card } = this.figure;
    const choices = chosen(this.figure.state());
    const { commandFor } = await import("../../page/command.js");
    const command = commandFor({
      config: configOf(choices, {}),
      recipe: recipeOf(choices),
      seed: choices.seed,
      count: choices.images,
    });
    const shuffled = choices.shuffled
      ? ", but on the true labels: it cannot shuffle them"
      : "";
    this.#show(
      element(
        "p",
        {},
        `This command trains a model with the same settings${shuffled}.`,
      ),
      element("code", {}, command),
    );
    try {
      await navigator.clipboard.writeText(command);
      card.say("The command is copied. Its random numbers differ.");
    } catch {
      card.say("Here is the command. Its random numbers differ.");
    }
  }

  async #save() {
    const model = this.#model;
    if (!model) return;
    const { toFile } = await import("../../page/trained_model.js");
    const bytes = await toFile(model);
    const { patch_size, dim, depth } = model.config;
    const name = `vit-${patch_size}-${dim}-${depth}.safetensors`;
    const href = URL.createObjectURL(new Blob([bytes]));
    element("a", { href, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(href), 10_000);
    this.figure.card.say(`Saved as ${name}: load_model reads it in Python.`);
  }

  // A file's model comes into view, to be used or to be trained further.
  async #load(input) {
    const [file] = input.files;
    input.value = "";
    if (!file) return;
    const { card } = this.figure;
    try {
      if (file.size > MOST * 2 ** 20) {
        throw new RangeError(`it is larger than ${MOST} megabytes`);
      }
      const { fromFile } = await import("../../page/trained_model.js");
      const like = { image_size: 28, channels: 1, num_classes: 10 };
      const model = await fromFile(await file.arrayBuffer(), like);
      await this.figure.open(choicesOf(model.config), model);
      card.say(`“${file.name}” is loaded: Train trains it further.`);
    } catch ({ message }) {
      card.say(`“${file.name}” cannot be opened: ${message}.`);
    }
  }

  // In a notebook, after every run: the weights as Python takes them.
  handOver({ model }) {
    if (!this.figure.model.send || !model) return;
    const { config, tensors, weights } = model;
    const names = Object.keys(tensors);
    const floats = names.map((name) => weights[name].slice().buffer);
    const shapes = names.map((name) => tensors[name]);
    this.figure.model.send({ trained: { config, names, shapes } }, {}, floats);
  }
}

// What the stage would choose to build this model. Throws a RangeError for one
// that it offers no choice for.
function choicesOf(config) {
  const changes = {};
  for (const { part, name, options } of CHOICES) {
    if (part !== "Model") continue;
    const [value] = [config[name]].flat();
    if (!options.includes(value)) {
      const known = options.join(", ");
      const found = `its ${name} is ${value}`;
      throw new RangeError(`${found}; here it is one of ${known}`);
    }
    changes[name] = value;
  }
  return changes;
}
