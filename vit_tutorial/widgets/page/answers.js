// What a model answers, in words and as bars.

import { element } from "./elements.js";
import { percent } from "./words.js";

// The class with the highest share, by its number.
export function highestOf(shares) {
  return shares.indexOf(Math.max(...shares));
}

// "Sneaker 83%"
export function bestAnswer(names, shares) {
  const first = highestOf(shares);
  return `${names[first]} ${percent(shares[first])}`;
}

// What a model answers: a bar for each class, the highest marked. A share that
// was not measured (null) has none. `before`, where it is given, is what it
// answered at first, a thin line on each bar.
export function answers(names, shares, before = null) {
  const highest = highestOf(shares);
  const line = (name, i) =>
    element(
      "li",
      { class: i === highest ? "vt-answer vt-answer-first" : "vt-answer" },
      element("span", { class: "vt-answer-name" }, name),
      bar(shares[i], before?.[i]),
      element("span", { class: "vt-answer-share" }, written(shares[i])),
    );
  return element("ul", { class: "vt-answers" }, ...names.map(line));
}

function written(share) {
  return share === null ? "–" : percent(share);
}

function bar(share, before) {
  const root = element("span", {
    class: "vt-answer-bar",
    "aria-hidden": "true",
  });
  const length = element("span", { class: "vt-answer-length" });
  length.style.width = `${100 * share}%`;
  root.append(length);
  if (before !== undefined) {
    const mark = element("span", { class: "vt-answer-before" });
    mark.style.left = `${100 * before}%`;
    root.append(mark);
  }
  return root;
}

// What the thin lines mean: one of them on a piece of a bar, and words.
export function markKey(text) {
  const key = element("p", { class: "vt-label vt-mark-key" }, bar(1, 0.6));
  key.append(text);
  return key;
}

// The answers of a model, the ten that matter most where it knows more.
export function strongest(names, shares, before) {
  const weight = (i) => Math.max(shares[i], before[i]);
  const chosen = names
    .map((_, i) => i)
    .sort((a, b) => weight(b) - weight(a))
    .slice(0, 10)
    .sort((a, b) => a - b);
  const pick = (list) => chosen.map((i) => list[i]);
  return answers(pick(names), pick(shares), pick(before));
}
