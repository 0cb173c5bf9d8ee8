// A guess, asked for before a figure is shown, and its verdict.

import { element } from "./elements.js";
import { capitalised } from "./words.js";

// Ask for a guess before the figure is shown. Whatever it was, the figure is
// shown from then on, and above it the guess, whether it was right, and why;
// after "Show me" only why. decide() takes that from what the figure computes:
// { right, why }, the answer that is right (a list, where several are) and the
// reason in one line. Where a figure does not know it yet, decide() returns
// null, and the figure calls what askFirst returns when it may know more.
export function askFirst(card, question, answers, decide) {
  const hidden = [card.figure, card.controls, card.outcome, card.details];
  const told = element("p", { class: "vt-verdict", role: "status" });
  let settle = () => {}; // from an answer until its verdict
  const answer = (guess) => {
    for (const part of hidden) part.hidden = false;
    asked.replaceChildren(told);
    settle = () => {
      const found = decide();
      if (found) settle = () => {};
      told.replaceChildren(...line(guess, found));
    };
    settle();
    focusFirst(card.root);
  };
  const button = (text, guess = text) =>
    element("button", { type: "button", onclick: () => answer(guess) }, text);
  const asked = element(
    "div",
    { class: "vt-guess" },
    element("p", {}, question),
    element(
      "div",
      { class: "vt-controls" },
      ...answers.map((text) => button(text)),
      button("Show me", null),
    ),
    told,
  );
  for (const part of hidden) part.hidden = true;
  card.root.insertBefore(asked, card.figure);
  return () => settle();
}

// Let whoever goes by keyboard go on with what was asked about: the first part
// of the figure that takes the focus, or else the first control.
function focusFirst(root) {
  const parts = root.querySelectorAll('button, input, select, [tabindex="0"]');
  [...parts].find((part) => {
    part.focus({ preventScroll: true }); // what only shows, is inert, takes none
    return part.matches(":focus");
  });
}

// "Your guess: 16 times. Right: …", as far as it is known.
function line(guess, found) {
  if (!guess) return found ? [`${capitalised(found.why)}.`] : [];
  const kept = `Your guess: ${guess}.`;
  if (!found) return [kept];
  const isRight = [found.right].flat().includes(guess);
  const verdict = element("strong", {}, isRight ? "Right:" : "Not quite:");
  return [`${kept} `, verdict, ` ${found.why}.`];
}
