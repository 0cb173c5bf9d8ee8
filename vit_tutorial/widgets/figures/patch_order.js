// Does order matter? One picture, its patches in another order, and what two models answer to
// either: one trained with position embeddings, one without.

import {
  Card,
  PatchGrid,
  answers,
  digits,
  element,
  percent,
  picture,
  shuffled,
  within,
} from "../page/card.js";
import { classNames, probabilities, unpackPictures } from "../page/page_model.js";
import { ViT } from "../engine/vit.js";

const STATE = ["picture", "seed", "positions"];
const MODELS = ["with_positions", "without"];
const SEEDS = 2 ** 31;
const ROUNDING = 1e-4; // logits that differ by less differ by what float32 rounds off

function render({ model, el }) {
  const card = new Card(el, "Does order matter?");
  card.rounded();
  card.root.classList.add("vt-order");
  const start = Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  let vits, pictures, names, n, columns, parts, order, inOrder, surprises;
  let marked = null; // a patch of the picture, shown in both orders
  let hovered = null;
  let latest = 0; // the last seed that was not 0, so that "shuffle again" goes on from there
  let surprised = 0;

  const change = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };

  // Everything that the models and the pictures decide, made anew when those change.
  function build() {
    vits = MODELS.map((name) => new ViT(model.get(name)));
    pictures = unpackPictures(model.get("pictures"));
    const { config, grid } = vits[0];
    names = classNames(config);
    n = grid[0] * grid[1];
    columns = grid[1];
    inOrder = new Map();
    marked = hovered = surprises = null;

    const left = element("div", { class: "vt-column" });
    const right = element("div", { class: "vt-column" });
    const results = vits.map(() => ({
      title: element("p", { class: "vt-label" }),
      list: element("div"),
      moved: element("p", { class: "vt-order-change" }),
    }));
    card.figure.replaceChildren(
      element("div", { class: "vt-order-pair" }, left, right),
      element(
        "div",
        { class: "vt-order-pair" },
        ...results.map(({ title, list, moved }) =>
          element("div", { class: "vt-column" }, title, list, moved),
        ),
      ),
    );

    card.controls.replaceChildren();
    card.button("shuffle again", () => change({ seed: (latest % (SEEDS - 1)) + 1 }));
    card.button("in order", () => change({ seed: 0 }));
    const which = card.choice(
      "picture",
      pictures.map(({ name }) => name),
      () => change({ picture: which.selectedIndex }),
    );
    const positions = card.checkbox("the first model adds its positions", () =>
      change({ positions: positions.checked }),
    );
    card.button("surprise me", surprise);
    card.button("reset", () => {
      marked = null;
      change(start);
      card.attempt(mark);
    });
    card.link(model, STATE);
    parts = { left, right, results, which, positions, grids: null, shown: null };
  }

  // What a model makes of a picture in an order.
  function read(vit, bytes, seed, positions) {
    const { logits } = vit.forward(bytes, { order: shuffled(n, seed), positions });
    return { logits, shares: probabilities(logits) };
  }

  function readBoth(which, seed, positions) {
    return vits.map((vit, i) => {
      const added = i === 1 || positions; // the switch is the first model's
      const key = [which, i, added].join();
      if (!inOrder.has(key)) inOrder.set(key, read(vit, pictures[which].bytes, 0, added));
      const before = inOrder.get(key);
      const after = seed ? read(vit, pictures[which].bytes, seed, added) : before;
      const changes = Array.from(after.logits, (logit, c) => logit - before.logits[c]);
      return { before, after, changes, largest: Math.max(...changes.map(Math.abs)) };
    });
  }

  // The two pictures in their grids; on a click or a key a patch is marked in both.
  function drawPictures(which, seed) {
    const shown = `${which},${seed}`;
    if (parts.shown === shown) return;
    parts.shown = shown;
    const { shape, bytes } = pictures[which];
    const grid = (label, pixels, patchOf) =>
      new PatchGrid({
        grid: vits[0].grid,
        label,
        behind: picture(shape, pixels),
        move: (place) => {
          marked = patchOf(place);
          card.attempt(mark);
        },
        pick: (place) => {
          marked = patchOf(place);
          card.attempt(mark);
        },
        hover: (place) => {
          hovered = place === null ? null : patchOf(place);
          card.attempt(mark);
        },
      });
    hovered = null;
    parts.grids = [
      grid("The picture as it is", bytes, (place) => place),
      grid("What the models receive", moved(bytes, shape), (place) => order[place]),
    ];
    const label = (text) => element("p", { class: "vt-label" }, text);
    parts.left.replaceChildren(label("as it is"), parts.grids[0].el);
    parts.right.replaceChildren(
      label(seed ? "what the models receive" : "what the models receive: the same"),
      parts.grids[1].el,
    );
    mark();
  }

  function mark() {
    const patch = hovered ?? marked;
    const at = (place) => `row ${Math.floor(place / columns) + 1}, column ${(place % columns) + 1}`;
    const name = (patch, place) => `patch ${patch + 1}, now in ${at(place)}`;
    const places = [];
    order.forEach((patch, place) => (places[patch] = place));
    parts.grids[0].show({ selected: patch, name: (place) => name(place, places[place]) });
    parts.grids[1].show({
      selected: patch === null ? null : places[patch],
      name: (place) => `patch ${order[place] + 1}, from ${at(order[place])}`,
    });
  }

  // A picture's bytes with its patches in the order.
  function moved(bytes, [channels, height, width]) {
    const [p1, p2] = vits[0].patchSize;
    const out = new Uint8Array(bytes.length);
    const corner = (place) => [Math.floor(place / columns) * p1, (place % columns) * p2];
    order.forEach((patch, place) => {
      const [[top, left], [fromTop, fromLeft]] = [corner(place), corner(patch)];
      for (let c = 0; c < channels; c++) {
        for (let y = 0; y < p1; y++) {
          const from = (c * height + fromTop + y) * width + fromLeft;
          out.set(bytes.subarray(from, from + p2), (c * height + top + y) * width + left);
        }
      }
    });
    return out;
  }

  function draw() {
    const [which, seed, positions] = STATE.map((name) => model.get(name));
    within("picture", which, pictures.length);
    within("seed", seed, SEEDS);
    if (typeof positions !== "boolean") {
      throw new RangeError(`positions is true or false, got ${positions}`);
    }
    latest = seed || latest;
    order = shuffled(n, seed);
    const both = readBoth(which, seed, positions);
    drawPictures(which, seed);
    parts.which.selectedIndex = which;
    parts.positions.checked = positions;
    const titles = [
      positions ? "trained with positions" : "trained with positions, switched off",
      "trained without positions",
    ];
    both.forEach(({ before, after, largest }, i) => {
      const { title, list, moved } = parts.results[i];
      title.textContent = titles[i];
      list.replaceChildren(answers(names, after.shares, before.shares));
      moved.replaceChildren(
        "largest change of a logit: ",
        element("strong", {}, digits(largest)),
        largest && largest < ROUNDING ? " (rounding)" : "",
      );
    });

    const first = positions ? "With positions" : "With its positions switched off";
    card.say(
      seed
        ? `${first}: ${tell(both[0])}. Without: ${tell(both[1])}.`
        : `In order. ${first}: ${best(both[0].after)}. Without: ${best(both[1].after)}.`,
    );
    card.tabulate(
      `Logits for ${pictures[which].name}, in order and ${seed ? `shuffled (seed ${seed})` : "again in order"}`,
      [
        "class",
        ...["with", "without"].flatMap((model) => [
          `${model}: in order`,
          seed ? "shuffled" : "again",
          "change",
        ]),
      ],
      () =>
        names.map((name, c) => [
          name,
          ...both.flatMap(({ before, after, changes }) =>
            [before.logits[c], after.logits[c], changes[c]].map(digits),
          ),
        ]),
    );
  }

  const first = ({ shares }) => shares.indexOf(Math.max(...shares));
  const best = (read) => `${names[first(read)]} ${percent(read.shares[first(read)])}`;
  const tell = ({ before, after, largest }) => {
    if (largest < ROUNDING) return `${best(after)}, as in order`;
    if (first(before) === first(after)) {
      return `still ${best(after)}, was ${percent(before.shares[first(before)])}`;
    }
    return `${best(after)}, was ${best(before)}`;
  };

  // The pictures whose answer the first model changes most, each in the order that does it.
  function surprise() {
    if (!surprises) {
      surprises = pictures.map((_, which) => {
        const each = [1, 2, 3].map((seed) => {
          const [{ before, after }] = readBoth(which, seed, true);
          const lost = before.shares[first(before)] - after.shares[first(before)];
          return { picture: which, seed, lost };
        });
        return each.reduce((a, b) => (b.lost > a.lost ? b : a));
      });
      surprises.sort((a, b) => b.lost - a.lost);
      surprised = 0;
    }
    const { picture, seed } = surprises[surprised++ % surprises.length];
    change({ picture, seed, positions: true });
  }

  const redraw = () => card.attempt(draw);
  const rebuild = () => card.attempt(() => (build(), draw()));
  build();
  draw();
  card.guess("The patches of a picture are shuffled. Whose answer changes?", [
    "that of a model with positions",
    "that of a model without",
    "both",
    "neither",
  ]);
  for (const name of STATE) model.on(`change:${name}`, redraw);
  for (const name of [...MODELS, "pictures"]) model.on(`change:${name}`, rebuild);
  return () => {
    for (const name of STATE) model.off(`change:${name}`, redraw);
    for (const name of [...MODELS, "pictures"]) model.off(`change:${name}`, rebuild);
    el.replaceChildren();
  };
}

export default { render, state: STATE };
