// A guided experiment, as a reader goes through it: a guess, two runs, and what
// they say of the guess.

import { element, label } from "../../page/elements.js";

// What the buttons say. The part guided.js has the experiment behind each.
export const NAMES = [
  "Take the positions away",
  "Shuffle the labels",
  "100 images or 6,000",
  "Too high a rate",
  "No warm-up",
  "Depth 1 or 4",
  "Shift the held-out images",
];

export class Guide {
  #asked = null; // the experiment, until its verdict

  // usual(): the choices to begin with. train(choices, moved): makes a run, and
  // returns it when it has ended. say(text): to all readers.
  constructor({ usual, train, say }) {
    Object.assign(this, { usual, train, say });
    this.buttons = NAMES.map((name, number) =>
      button(name, () => this.ask(number)),
    );
    this.list = element(
      "div",
      { class: "vt-controls" },
      element("span", { class: "vt-label" }, "Guess, then see:"),
      ...this.buttons,
    );
    this.panel = element("div", { class: "vt-train-panel" });
    this.el = element("div", { class: "vt-train-guided" }, this.list);
  }

  get isOn() {
    return this.#asked !== null;
  }

  // First a guess.
  async ask(number) {
    try {
      this.guided ??= await import("./guided.js");
    } catch ({ message }) {
      this.say(`This experiment cannot be made here: ${message}.`);
      return;
    }
    const experiment = this.guided.EXPERIMENTS[number];
    this.#asked = experiment;
    const { question, guesses } = experiment;
    const answers = guesses.map((text, number) =>
      button(text, () => this.#run(experiment, number)),
    );
    const back = button("Cancel", () => this.#back(experiment));
    const line = { class: "vt-controls" };
    this.#show(label(question), element("div", line, ...answers, back));
    answers[0].focus({ preventScroll: true });
  }

  // Then both runs, one after the other, and the verdict.
  async #run(experiment, guess) {
    const { arms, usual, guesses, moved = 0 } = experiment;
    const guessed = `Your guess: ${guesses[guess]}.`;
    const { resultOf, verdict } = this.guided;
    const results = [];
    for (const [number, { name, changes }] of arms.entries()) {
      const stop = button("Stop", () => this.#back(experiment));
      this.#tell(`${guessed} Run ${number + 1} of 2: ${name}.`, stop);
      if (!number) stop.focus({ preventScroll: true });
      const choices = { ...this.usual(), ...usual, ...changes };
      const run = await this.train(choices, moved);
      if (this.#asked !== experiment) return;
      if (run.state !== "over" && !run.broken) return this.leave();
      results.push(resultOf(run));
    }
    const hasFocus = this.panel.contains(document.activeElement);
    const done = button("More experiments", () => this.#back(experiment));
    const words = verdict(experiment, guess, results);
    this.#asked = null;
    this.#tell(`${guessed} ${words}`, done);
    if (hasFocus) done.focus({ preventScroll: true });
  }

  #tell(text, action) {
    this.#show(element("p", {}, text), action);
    this.say(text);
  }

  #show(...children) {
    this.panel.replaceChildren(...children);
    this.el.replaceChildren(this.panel);
  }

  // To the list, and to the experiment's button in it.
  #back(experiment) {
    this.leave();
    this.buttons[NAMES.indexOf(experiment.name)].focus();
  }

  // Something else was pressed: the experiment is over.
  leave() {
    this.#asked = null;
    this.el.replaceChildren(this.list);
  }
}

function button(text, onclick) {
  return element("button", { type: "button", onclick }, text);
}
