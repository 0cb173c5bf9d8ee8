// Who minds a shift? One picture, moved or with its patches shuffled, read by a ViT and by a CNN,
// both trained on few pictures or on many.

import { Card } from "../page/card.js";
import { element, picture } from "../page/elements.js";
import { answers } from "../page/answers.js";
import { percent } from "../page/words.js";
import { within } from "../page/checks.js";
import { shuffled } from "../page/shuffle.js";
import { CNN } from "../engine/cnn.js";
import { classNames, probabilities, unpackPictures } from "../page/page_model.js";
import { ViT } from "../engine/vit.js";

const STATE = ["picture", "right", "down", "seed", "size"];
const MODELS = ["vit_few", "cnn_few", "vit_many", "cnn_many"];
const FARTHEST = 4; // pixels
const SEEDS = 1000;

function render({ model, el }) {
  const card = new Card(el, "Who minds a shift?");
  card.rounded();
  const start = Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  let pairs, pictures, names, parts, known, surprises, surprised;

  const change = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };

  // Everything that the models and the pictures decide, made anew when those change.
  function build() {
    const [vitFew, cnnFew, vitMany, cnnMany] = MODELS.map((name) => model.get(name));
    pairs = [
      [new ViT(vitFew), new CNN(cnnFew)],
      [new ViT(vitMany), new CNN(cnnMany)],
    ];
    const { config } = pairs[0][0];
    names = classNames(config);
    pictures = unpackPictures(model.get("pictures"));
    known = new Map();
    [surprises, surprised] = [[], 0];

    const shown = element("div", { class: "vt-shift-picture", role: "img" });
    const many = element("p", { class: "vt-shift-average" });
    const columns = ["the ViT", "the CNN"].map((label) => {
      const list = element("div");
      const root = element("div", {}, element("p", { class: "vt-label" }, label), list);
      return { root, list };
    });
    const before = element(
      "p",
      { class: "vt-legend" },
      element("span", { class: "vt-shift-mark", "aria-hidden": "true" }),
      "what it said of the picture as it was",
    );
    card.figure.replaceChildren(
      element("div", {}, element("p", { class: "vt-label" }, "what both see"), shown),
      element(
        "div",
        { class: "vt-shift-answers" },
        ...columns.map(({ root }) => root),
        before,
        many,
      ),
    );

    card.controls.replaceChildren();
    const which = card.choice(
      "picture",
      pictures.map(({ name }) => name),
      () => change({ picture: which.selectedIndex }),
    );
    const size = card.choice(
      "trained on",
      model.get("sizes").map((count) => `${count.toLocaleString("en")} pictures`),
      () => change({ size: size.selectedIndex }),
    );
    const slider = (label, name) =>
      card.slider(label, {
        min: -FARTHEST,
        max: FARTHEST,
        step: 1,
        oninput: (event) => change({ [name]: Number(event.target.value) }),
      });
    const [right, down] = [slider("right", "right"), slider("down", "down")];
    const torn = card.checkbox("shuffle patches", () => change({ seed: torn.checked ? 1 : 0 }));
    card.button("another order", () => change({ seed: (model.get("seed") % (SEEDS - 1)) + 1 }));
    card.button("surprise me", surprise);
    card.button("reset", () => change(start));
    card.link(model, STATE);
    parts = { shown, columns, many, which, size, right, down, torn };
  }

  // What both models of a pair make of a picture: the shares of the classes.
  function read(size, index, right, down, seed) {
    const key = [size, index, right, down, seed].join();
    if (!known.has(key)) {
      const [vit, cnn] = pairs[size];
      const { shape, bytes } = pictures[index];
      const pixels = rearranged(moved(bytes, shape, right, down), shape, vit, seed);
      const shares = [vit.forward(pixels), cnn.forward(pixels, shape)].map(({ logits }) =>
        probabilities(logits),
      );
      known.set(key, { pixels, shares });
    }
    return known.get(key);
  }

  function draw() {
    const [index, right, down, seed, size] = STATE.map((name) => model.get(name));
    within("picture", index, pictures.length);
    within("seed", seed, SEEDS);
    within("size", size, pairs.length);
    for (const [name, value] of Object.entries({ right, down })) {
      if (!Number.isInteger(value) || Math.abs(value) > FARTHEST) {
        throw new RangeError(`${name} is one of ${-FARTHEST} to ${FARTHEST}, got ${value}`);
      }
    }
    const { name, shape } = pictures[index];
    const before = read(size, index, 0, 0, 0).shares;
    const { pixels, shares: now } = read(size, index, right, down, seed);
    const what = where(right, down, seed);

    parts.shown.replaceChildren(picture(shape, pixels), gridOver(pairs[0][0].grid));
    parts.shown.style.aspectRatio = `${shape[2]} / ${shape[1]}`;
    parts.shown.setAttribute("aria-label", `${name}, ${what}`);
    parts.columns.forEach(({ list }, i) =>
      list.replaceChildren(answers(names, now[i], before[i])),
    );
    parts.which.selectedIndex = index;
    parts.size.selectedIndex = size;
    parts.right.show(right, pixelsOf(right, "right", "left"));
    parts.down.show(down, pixelsOf(down, "down", "up"));
    parts.torn.checked = seed > 0;
    parts.many.textContent = onMany(size, right, down, seed);

    const asItIs = !(right || down || seed);
    card.say(
      `${capital(what)}: ` +
        ["the ViT", "the CNN"].map((who, i) => verdict(who, now[i], before[i], asItIs)).join("; ") +
        ".",
    );
    card.tabulate(
      `${name}, ${what}; trained on ${model.get("sizes")[size].toLocaleString("en")} pictures`,
      ["share", "ViT", "ViT before", "CNN", "CNN before"],
      () => [
        ...names.map((each, i) => [
          each,
          ...[0, 1].flatMap((m) => [percent(now[m][i]), percent(before[m][i])]),
        ]),
        ...measured(size),
      ],
    );
  }

  // "the ViT changes its mind: sneaker 56%, was ankle boot 81%"
  function verdict(who, now, before, asItIs) {
    const [first, was] = [now, before].map((shares) => shares.indexOf(Math.max(...shares)));
    const [said, earlier] = [
      `${names[first]} ${percent(now[first])}`,
      `${names[was]} ${percent(before[was])}`,
    ];
    if (asItIs) return `${who} says ${said}`;
    if (first === was) return `${who} stays with ${said} (was ${percent(before[was])})`;
    return `${who} changes its mind: ${said}, was ${earlier}`;
  }

  // What was measured on many pictures, for the shift or the shuffling that is shown.
  function onMany(size, right, down, seed) {
    const averages = model.get("averages")[size];
    if (!averages) return "";
    const pixels = Math.max(Math.abs(right), Math.abs(down));
    const what = seed
      ? "with their patches shuffled"
      : pixels
        ? `moved by ${pixels} in one direction`
        : "as they are";
    const share = ({ shift, shuffle }) => percent(seed ? shuffle : shift[pixels]);
    return (
      `Of ${model.get("held_out").toLocaleString("en")} held-out pictures ${what}, this ViT gets ` +
      `${share(averages.vit)} right and this CNN ${share(averages.cnn)}` +
      (seed || pixels
        ? ` (as they are: ${percent(averages.vit.shift[0])} and ${percent(averages.cnn.shift[0])}).`
        : ".")
    );
  }

  function measured(size) {
    const averages = model.get("averages")[size];
    if (!averages) return [];
    const { vit, cnn } = averages;
    const row = (what, of) => [
      what,
      ...[vit, cnn].flatMap((each) => [percent(of(each)), percent(each.shift[0])]),
    ];
    const many = model.get("held_out").toLocaleString("en");
    return [
      ...vit.shift.map((_, by) => row(`${many} pictures right, moved by ${by}`, (e) => e.shift[by])),
      row(`${many} pictures right, shuffled`, (each) => each.shuffle),
    ];
  }

  // Among pictures that both take for the same, and the farthest shifts, those on which the two
  // answers then differ most, one after the other.
  function surprise() {
    const size = model.get("size");
    surprises[size] ??= strongest(size);
    const { picture, right, down } = surprises[size][surprised++ % surprises[size].length];
    change({ picture, right, down, seed: 0 });
  }

  function strongest(size) {
    const found = [];
    const steps = [-FARTHEST, 0, FARTHEST];
    const first = (shares) => shares.indexOf(Math.max(...shares));
    pictures.forEach((_, picture) => {
      const [vit, cnn] = read(size, picture, 0, 0, 0).shares.map(first);
      for (const right of steps) {
        for (const down of steps) {
          if (!right && !down) continue;
          const [one, other] = read(size, picture, right, down, 0).shares;
          const apart = one.reduce((sum, share, i) => sum + Math.abs(share - other[i]), 0) / 2;
          found.push({ picture, right, down, apart: apart + (vit === cnn ? 1 : 0) });
        }
      }
    });
    return found.sort((a, b) => b.apart - a.apart);
  }

  const redraw = () => card.attempt(draw);
  const rebuild = () => card.attempt(() => (build(), draw()));
  build();
  draw();
  if (model.get("averages").length) {
    const [few] = model.get("sizes");
    card.guess(
      `Two models, trained on ${few.toLocaleString("en")} pictures, read ` +
        `${model.get("held_out").toLocaleString("en")} others, all moved by ${FARTHEST} pixels. ` +
        "Which of the two loses more of its right answers?",
      ["the ViT", "the CNN", "both lose about as many"],
    );
  }
  const rebuilding = [...MODELS, "pictures", "sizes"];
  const redrawing = [...STATE, "averages", "held_out"];
  for (const name of redrawing) model.on(`change:${name}`, redraw);
  for (const name of rebuilding) model.on(`change:${name}`, rebuild);
  return () => {
    for (const name of redrawing) model.off(`change:${name}`, redraw);
    for (const name of rebuilding) model.off(`change:${name}`, rebuild);
    el.replaceChildren();
  };
}

// A picture's bytes, moved; black comes in at the edges.
export function moved(bytes, [channels, height, width], right, down) {
  const out = new Uint8Array(bytes.length);
  for (let c = 0; c < channels; c++) {
    for (let y = Math.max(down, 0); y < Math.min(height + down, height); y++) {
      for (let x = Math.max(right, 0); x < Math.min(width + right, width); x++) {
        out[(c * height + y) * width + x] = bytes[(c * height + y - down) * width + x - right];
      }
    }
  }
  return out;
}

// The bytes with the patches in the order that the seed decides: place i shows patch order[i].
export function rearranged(bytes, [channels, height, width], { grid, patchSize }, seed) {
  if (!seed) return bytes;
  const [[rows, columns], [p1, p2]] = [grid, patchSize];
  const out = new Uint8Array(bytes.length);
  shuffled(rows * columns, seed).forEach((patch, place) => {
    const [from, to] = [patch, place].map(
      (i) => Math.floor(i / columns) * p1 * width + (i % columns) * p2,
    );
    for (let c = 0; c < channels; c++) {
      for (let y = 0; y < p1; y++) {
        const at = c * height * width + y * width;
        out.set(bytes.subarray(at + from, at + from + p2), at + to);
      }
    }
  });
  return out;
}

function where(right, down, seed) {
  const ways = [
    [right, "to the right", "to the left"],
    [down, "down", "up"],
  ];
  const steps = ways
    .filter(([by]) => by)
    .map(([by, plus, minus]) => `${Math.abs(by)} ${by > 0 ? plus : minus}`);
  const shift = steps.length ? `moved by ${steps.join(" and ")}` : "not moved";
  return shift + (seed ? ", its patches shuffled" : "");
}

function pixelsOf(by, plus, minus) {
  return by === 0 ? "0" : `${Math.abs(by)} ${by > 0 ? plus : minus}`;
}

function capital(text) {
  return text.replace(/^./, (letter) => letter.toUpperCase());
}

function gridOver([rows, columns]) {
  const lines = element("div", { class: "vt-shift-lines", "aria-hidden": "true" });
  lines.style.backgroundSize = `${100 / columns}% ${100 / rows}%`;
  return lines;
}

export default { render, state: STATE };
