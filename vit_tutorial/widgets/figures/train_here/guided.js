// The guided experiments, each a row: two runs that differ in one thing, a
// guess at what comes of it, and how the two runs themselves decide. Whether
// each verdict holds from seed to seed is measured by benchmarks/guided.py.

import { percentage } from "./train_curves.js";

// What a run has come to: { heldOut, learned, broken }: the accuracy on the
// held-out images, and on those that it learned from, over its last tenth.
export function resultOf({ batches, heldOut, broken }) {
  const last = batches.slice(-Math.ceil(batches.length / 10));
  const sum = last.reduce((sum, { accuracy }) => sum + accuracy, 0);
  const learned = last.length ? sum / last.length : 0;
  return { heldOut: heldOut.at(-1).accuracy, learned, broken };
}

const held = ({ heldOut }) => percentage(heldOut);
const lost = (first, second) => first.heldOut - second.heldOut;
// Which range a number is in: 0 below the first bound.
const rangeOf = (number, ...bounds) => bounds.filter((b) => number >= b).length;

// name: of the button. usual: the choices of both runs. arms: what each run is
// called and what it changes. moved: by how many pixels the held-out images
// are. right(first, second): the number of the guess that turned out right.
// found(first, second): one sentence with their numbers. why: one more.
export const EXPERIMENTS = [
  {
    name: "Take the positions away",
    question:
      "Two models learn from the same images. The second is never told where " +
      "its patches are. How many points of held-out accuracy does it lose?",
    guesses: ["less than 5 points", "5 to 20 points", "more than 20 points"],
    usual: { steps: 1000 },
    arms: [
      { name: "learned positions", changes: { position: "learned" } },
      { name: "no positions", changes: { position: "none" } },
    ],
    right: (first, second) => rangeOf(lost(first, second), 0.05, 0.2),
    found: (first, second) =>
      `${held(first)} of the held-out images are right with positions, ` +
      `${held(second)} without.`,
    why:
      "Without positions an image is a bag of patches. For clothes, the bag " +
      "alone says a lot.",
  },
  {
    name: "Shuffle the labels",
    question:
      "100 images swap their labels at random, so there is nothing left to " +
      "understand. What does a model do with these labels?",
    guesses: [
      "it learns nothing",
      "it learns them by heart, and nothing else",
      "it also does well on held-out images",
    ],
    usual: { images: 100, flip: false, shift: 0, steps: 1000 },
    arms: [
      { name: "true labels", changes: { shuffled: false } },
      { name: "shuffled labels", changes: { shuffled: true } },
    ],
    right: (_, { learned, heldOut }) =>
      heldOut > 0.3 ? 2 : learned > 0.9 ? 1 : 0,
    found: (first, second) =>
      `With shuffled labels it gets ${percentage(second.learned)} of its ` +
      `training images right, and ${held(second)} of the held-out ones; with ` +
      `true labels, ${held(first)} of those.`,
    why:
      "Thousands of weights can store 100 labels, true or not, so training " +
      "accuracy alone proves nothing.",
  },
  {
    name: "100 images or 6,000",
    question:
      "Both runs take equally many steps: one sees 100 images over and over, " +
      "one sees 6,000. How many points of held-out accuracy separate them?",
    guesses: ["less than 5 points", "5 to 20 points", "more than 20 points"],
    usual: { steps: 1000 },
    arms: [
      { name: "100 images", changes: { images: 100 } },
      { name: "6,000 images", changes: { images: 6000 } },
    ],
    right: (first, second) => rangeOf(lost(second, first), 0.05, 0.2),
    found: (first, second) =>
      `${held(first)} of the held-out images are right after training on 100 ` +
      `images, ${held(second)} after training on 6,000.`,
    why:
      "Both runs take the same number of steps. With few images, the model " +
      "learns those images rather than clothes.",
  },
  {
    name: "Too high a rate",
    question:
      "AdamW takes steps 40 times as long as usual: a learning rate of 0.2 " +
      "instead of 0.005. What is the result after the same number of steps?",
    guesses: [
      "a higher accuracy",
      "about the same, within 5 points",
      "more than 5 points less, or it breaks",
    ],
    usual: { steps: 1000, optimizer: "adamw" },
    arms: [
      { name: "rate 0.005", changes: { rate: 0.005 } },
      { name: "rate 0.2", changes: { rate: 0.2 } },
    ],
    right: (first, second) =>
      second.broken ? 2 : rangeOf(lost(first, second), -0.05, 0.05),
    found: (first, second) =>
      `${held(first)} of the held-out images are right at a rate of 0.005, ` +
      `${held(second)} at 0.2` +
      (second.broken ? ", where the loss stopped being a number." : "."),
    why:
      "The usual explanation is that steps this long overshoot: each undoes " +
      "part of the last one.",
  },
  {
    name: "No warm-up",
    question:
      "AdamW begins at its full learning rate of 0.01, without the short " +
      "rise at the start. How much held-out accuracy does that cost this " +
      "small model?",
    guesses: [
      "none: accuracy rises by more than 3 points",
      "it stays within 3 points",
      "more than 3 points",
    ],
    usual: { steps: 1000, optimizer: "adamw", rate: 0.01 },
    arms: [
      { name: "warm-up", changes: { warm_up: true } },
      { name: "no warm-up", changes: { warm_up: false } },
    ],
    right: (first, second) => rangeOf(lost(first, second), -0.03, 0.03),
    found: (first, second) =>
      `${held(first)} of the held-out images are right with a warm-up, ` +
      `${held(second)} without.`,
    why:
      "At this rate, this model trains about as well without it. A deeper " +
      "model may not; we haven't tried one here.",
  },
  {
    name: "Depth 1 or 4",
    question:
      "One layer or four, with equal steps. How many points of held-out " +
      "accuracy do the three additional layers bring?",
    guesses: ["no gain, or a loss", "up to 3 points", "more than 3 points"],
    usual: { steps: 1000 },
    arms: [
      { name: "depth 1", changes: { depth: 1 } },
      { name: "depth 4", changes: { depth: 4 } },
    ],
    right: (first, second) => rangeOf(lost(second, first), 0, 0.03),
    found: (first, second) =>
      `${held(first)} of the held-out images are right with one layer, ` +
      `${held(second)} with four.`,
    why:
      "More layers help here at equal steps. Each also adds weights and " +
      "time, so the two runs do not cost the same.",
  },
  {
    name: "Shift the held-out images",
    question:
      "The held-out images move 3 pixels to the right. How much does it help " +
      "to train on images that move at random, by up to 3 pixels?",
    guesses: ["less than 3 points", "3 to 10 points", "more than 10 points"],
    usual: { steps: 1000, flip: false },
    moved: 3,
    arms: [
      { name: "trained as they are", changes: { shift: 0 } },
      { name: "trained on moved ones", changes: { shift: 3 } },
    ],
    right: (first, second) => rangeOf(lost(second, first), 0.03, 0.1),
    found: (first, second) =>
      `${held(first)} of the moved images are right after training on images ` +
      `as they are, ${held(second)} after training on moved ones.`,
    why:
      "For a ViT, a moved edge falls into different patches. It has to see " +
      "that in training to learn that the class stays the same.",
  },
];

// Whether a guess was right, what the runs came to, and why.
export function verdict({ guesses, right, found, why }, guess, results) {
  const answer = right(...results);
  const start =
    guess === answer ? "Right:" : `Not quite: “${guesses[answer]}”.`;
  return `${start} ${found(...results)} ${why}`;
}
