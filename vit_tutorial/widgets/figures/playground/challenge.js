// Predict, then reveal: a picture of which nothing is seen at first, and a guess after as few
// patches as the reader dares.

import { element } from "../../page/elements.js";
import { percent } from "../../page/words.js";

export class Challenge {
  // names: the classes. onguess(number): the reader's answer, null for "I give up". onagain():
  // another one, please.
  constructor({ names, onguess, onagain }) {
    this.names = names;
    this.onagain = onagain;
    this.needed = []; // of the guesses that were right; kept here, and nowhere else
    this.task = element("p", {}, "Click patches to uncover them, as few as you need. What is it?");
    this.answer = element(
      "select",
      { "aria-label": "It is" },
      ...names.map((name, number) => element("option", { value: number }, name)),
    );
    this.asking = element(
      "div",
      { class: "vt-controls" },
      this.answer,
      element(
        "button",
        { type: "button", onclick: () => onguess(this.answer.selectedIndex) },
        "that is my guess",
      ),
      element("button", { type: "button", onclick: () => onguess(null) }, "I give up"),
    );
    this.told = element("div", { role: "status" });
    this.el = element("div", { class: "vt-guess", hidden: "" }, this.task, this.asking, this.told);
  }

  ask() {
    this.el.hidden = this.asking.hidden = this.task.hidden = false;
    this.told.replaceChildren();
  }

  // guess: the reader's. said: { name, share } of the model, or null. truth: what it is called.
  tell({ guess, shown, said, truth }) {
    if (guess !== null && this.names[guess] === truth) this.needed.push(shown);
    const patches = shown === 1 ? "1 patch" : `${shown} patches`;
    const model = said ? `${said.name} (${percent(said.share)})` : "nothing, for it saw nothing";
    const lines = [
      `${guess === null ? "You gave up" : `You said: ${this.names[guess]}`}, after ${patches}.`,
      `The model, from the same ${patches}: ${model}.`,
      truth === null ? "Nobody has told this page what it is." : `It is: ${truth}.`,
    ];
    const kept = this.needed.length
      ? [`You were right after so many patches: ${this.needed.join(", ")}.`]
      : [];
    const again = element(
      "button",
      { type: "button", onclick: () => this.onagain() },
      "another one",
    );
    this.el.hidden = false;
    this.asking.hidden = this.task.hidden = true;
    this.told.replaceChildren(
      ...[lines.join(" "), ...kept].map((line) => element("p", {}, line)),
      element("div", { class: "vt-controls" }, again),
    );
    again.focus({ preventScroll: true }); // the button that was pressed is gone
  }

  hide() {
    this.el.hidden = true;
  }
}
