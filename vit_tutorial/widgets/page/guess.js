// A guess, asked for before a figure is shown.

import { element } from "./elements.js";

// Ask for a guess before the figure is shown. `then` hears the answer's
// number, or null for "Show me"; whatever it was, the figure is shown from
// then on, and the guess stays in sight.
export function askFirst(card, question, answers, then = () => {}) {
  const hidden = [card.figure, card.controls, card.outcome, card.details];
  const answer = (number) => {
    for (const part of hidden) part.hidden = false;
    const kept =
      number === null
        ? []
        : [element("p", {}, `Your guess: ${answers[number]}.`)];
    asked.replaceChildren(...kept);
    asked.hidden = !kept.length;
    const focus = card.controls.querySelector("button, input, select");
    focus?.focus({ preventScroll: true });
    then(number);
  };
  const buttons = answers.map((text, number) =>
    element(
      "button",
      { type: "button", onclick: () => answer(number) },
      text,
    ),
  );
  const asked = element(
    "div",
    { class: "vt-guess" },
    element("p", {}, question),
    element(
      "div",
      { class: "vt-controls" },
      ...buttons,
      element(
        "button",
        { type: "button", onclick: () => answer(null) },
        "Show me",
      ),
    ),
  );
  for (const part of hidden) part.hidden = true;
  card.root.insertBefore(asked, card.figure);
}
