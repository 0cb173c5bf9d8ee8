// When does it learn what? A recorded run, epoch by epoch: accuracy, accuracy by class, and how
// alike the position embeddings have become.

import { Card } from "../page/card.js";
import { PatchGrid } from "../page/patch_grid.js";
import { element, svg } from "../page/elements.js";
import { signed, signedLegend } from "../page/colours.js";
import { percent, setting } from "../page/words.js";
import { within } from "../page/checks.js";
import { fromBase64 } from "../engine/dequantise.js";

const STATE = ["epoch", "position"];
const PACE = 600; // milliseconds an epoch, when it is played
const [LEFT, RIGHT, HIGH] = [38, 234, 74]; // of a plot, in its own units

function render({ model, el }) {
  const card = new Card(el, "When does it learn what?");
  const start = Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  let run, last, alike, structure, jumps, parts;
  let timer = null;
  let surprised = 0;

  const change = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const choose = (changes) => {
    stop();
    change(changes);
  };
  const x = (epoch) => LEFT + ((RIGHT - LEFT) * epoch) / last;

  // Everything that the run decides, made anew when it changes.
  function build() {
    run = model.get("run");
    last = run.held_out.length;
    alike = similarities(run);
    structure = alike.map((each) => rowAndColumn(each, run.grid));
    jumps = null;
    const top = Math.max(Math.ceil(10 * Math.max(...structure)), 1) / 10;

    const bars = element("ul", { class: "vt-answers" });
    const accuracy = plot(
      `Accuracy by epoch: on held-out pictures up to ${percent(run.held_out[last - 1])}, on training pictures up to ${percent(run.training[last - 1])}`,
      1,
      ["0", "100%"],
      [
        { values: run.training, first: 1, name: "training", class: "vt-play-training" },
        { values: run.held_out, first: 1, name: "held out", class: "vt-play-held-out" },
      ],
    );
    const positions = plot(
      `How much more alike positions of a row or column are, by epoch: from ${sign(structure[0])} to ${sign(structure[last])}`,
      top,
      ["0", setting(top)],
      [{ values: structure, first: 0, name: "", class: "vt-play-structure" }],
    );
    const map = new PatchGrid({
      grid: run.grid,
      label: "Similarity with each position",
      move: (position) => change({ position }),
      pick: (position) => change({ position }),
    });
    const title = element("p", { class: "vt-label" });
    const label = (text) => element("p", { class: "vt-label" }, text);
    card.figure.replaceChildren(
      element(
        "div",
        { class: "vt-play-plots" },
        label("accuracy"),
        accuracy.root,
        label("row and column: more alike by"),
        positions.root,
        element("p", { class: "vt-label vt-play-axis" }, `epoch 0 to ${last}`),
      ),
      element(
        "div",
        { class: "vt-column" },
        label("held-out pictures right, by class"),
        bars,
        element(
          "p",
          { class: "vt-label" },
          element("span", { class: "vt-play-key", "aria-hidden": "true" }),
          ` after epoch ${last}`,
        ),
      ),
      element("div", { class: "vt-column" }, title, map.el, signedLegend(1)),
    );

    card.controls.replaceChildren();
    const play = card.button("play", () => (timer === null ? begin() : stop()));
    const epoch = card.slider("epoch", {
      min: 0,
      max: last,
      step: 1,
      oninput: (event) => choose({ epoch: Number(event.target.value) }),
    });
    card.button("surprise me", surprise);
    card.button("reset", () => choose(start));
    card.link(model, STATE);
    parts = { bars, title, map, play, epoch, marks: [accuracy.mark, positions.mark] };
  }

  // From the first epoch where the last is shown, else on from here; the reader's to stop.
  function begin() {
    parts.play.textContent = "pause";
    timer = setInterval(() => {
      change({ epoch: Math.min(model.get("epoch") + 1, last) });
      if (model.get("epoch") >= last) stop();
    }, PACE);
    if (model.get("epoch") >= last) change({ epoch: 0 });
    card.say("It plays; what it comes to is said when it stops.");
  }

  function stop() {
    if (timer === null) return;
    clearInterval(timer);
    timer = null;
    parts.play.textContent = "play";
    card.attempt(tell);
  }

  function draw() {
    const epoch = within("epoch", model.get("epoch"), last + 1);
    const position = within("position", model.get("position"), run.grid[0] * run.grid[1]);
    const shares = epoch ? run.by_class[epoch - 1] : run.class_names.map(() => null);
    const best = epoch ? shares.indexOf(Math.max(...shares)) : null;
    parts.bars.replaceChildren(
      ...run.class_names.map((name, i) =>
        bar(name, shares[i], run.by_class[last - 1][i], i === best),
      ),
    );
    parts.title.textContent = `position ${position + 1} and all others`;
    const value = (place) => alike[epoch][position][place];
    parts.map.show({
      selected: position,
      colour: (place) => signed(value(place)),
      name: (place) =>
        `position ${place + 1}, row ${Math.floor(place / run.grid[1]) + 1}, ` +
        `column ${(place % run.grid[1]) + 1}: ${sign(value(place))}`,
    });
    for (const mark of parts.marks) mark.setAttribute("transform", `translate(${x(epoch)} 0)`);
    parts.epoch.show(epoch, epoch ? `${epoch}` : "0, before training");
    if (timer === null) tell();
    card.tabulate(
      "After every epoch; more alike: the mean cosine of two positions of one row or column, less that of others",
      ["epoch", "training", "held out", "more alike", ...run.class_names],
      () =>
        structure.map((number, e) => [
          e,
          ...(e ? [share(run.training[e - 1]), share(run.held_out[e - 1])] : ["–", "–"]),
          sign(number),
          ...run.class_names.map((_, i) => (e ? percent(run.by_class[e - 1][i]) : "–")),
        ]),
    );
  }

  // What has come of it until this epoch, in words.
  function tell(more = "") {
    const epoch = model.get("epoch");
    const alikeness =
      `Positions in a row or column are more alike than others by ${sign(structure[epoch])}` +
      (epoch < last ? `, at the end by ${sign(structure[last])}.` : ".");
    if (epoch === 0) {
      card.say(`Before training, no accuracy was measured. ${alikeness}`);
      return;
    }
    const shares = run.by_class[epoch - 1];
    const [most, least] = [Math.max(...shares), Math.min(...shares)];
    const named = (number) => run.class_names[shares.indexOf(number)];
    card.say(
      `After epoch ${epoch} of ${last}, ${share(run.held_out[epoch - 1])} of the held-out pictures are right: ` +
        `most of class ${named(most)} (${percent(most)}), fewest of ${named(least)} (${percent(least)}). ${alikeness}${more}`,
    );
  }

  // The epochs after which a class lost most, against the one before: learning is no straight road.
  function surprise() {
    if (!jumps) {
      jumps = run.by_class
        .map((shares, e) => ({
          epoch: e + 1,
          drop: e ? Math.max(...shares.map((now, i) => run.by_class[e - 1][i] - now)) : -1,
        }))
        .sort((a, b) => b.drop - a.drop);
      surprised = 0;
    }
    const { epoch } = jumps[surprised++ % jumps.length];
    choose({ epoch });
    if (epoch < 2) return;
    const [before, now] = [run.by_class[epoch - 2], run.by_class[epoch - 1]];
    const most = now
      .map((share, i) => ({ i, lost: before[i] - share }))
      .sort((a, b) => b.lost - a.lost)[0];
    if (most.lost > 0) {
      const [name, from, to] = [run.class_names[most.i], before[most.i], now[most.i]];
      tell(` In this one epoch class ${name} fell from ${percent(from)} to ${percent(to)}.`);
    }
  }

  const redraw = () => card.attempt(draw);
  const rebuild = () => card.attempt(() => (stop(), build(), draw()));
  build();
  draw();
  card.guess("A new ViT goes through its training pictures again and again. What will it have first?", [
    "most of its accuracy",
    "positions that know rows and columns",
    "both at the same time",
  ]);
  for (const name of STATE) model.on(`change:${name}`, redraw);
  model.on("change:run", rebuild);
  return () => {
    clearInterval(timer);
    for (const name of STATE) model.off(`change:${name}`, redraw);
    model.off("change:run", rebuild);
    el.replaceChildren();
  };

  // Curves from 0 to `top` over the epochs, and a mark to be moved to one of them.
  function plot(label, top, [low, high], curves) {
    const y = (value) => 6 + HIGH * (1 - Math.min(Math.max(value / top, 0), 1));
    const text = (at, height, words, more = {}) =>
      svg("text", { x: at, y: height, class: "vt-play-text", ...more }, words);
    const mark = svg("line", { class: "vt-play-mark", x1: 0, x2: 0, y1: 2, y2: HIGH + 10 });
    const root = svg("svg", {
      class: "vt-play-plot",
      viewBox: `0 0 240 ${HIGH + 14}`,
      role: "img",
      "aria-label": label,
    });
    root.append(
      ...[0, top].map((value) =>
        svg("line", { class: "vt-play-line", x1: LEFT, x2: RIGHT, y1: y(value), y2: y(value) }),
      ),
      text(LEFT - 4, y(0) + 4, low, { "text-anchor": "end" }),
      text(LEFT - 4, y(top) + 6, high, { "text-anchor": "end" }),
      mark,
      ...curves.map(({ values, first, class: look }) =>
        svg("polyline", {
          class: look,
          points: values.map((value, i) => `${x(i + first)},${y(value)}`).join(" "),
        }),
      ),
    );
    curves
      .filter(({ name }) => name)
      .forEach(({ name, class: look }, i) => {
        const height = y(0) - 22 + 15 * i;
        root.append(
          svg("polyline", { class: look, points: `140,${height - 4} 164,${height - 4}` }),
          text(169, height, name),
        );
      });
    return { root, mark };
  }
}

// The cosine of every two positions after every epoch, [epoch][position][place].
function similarities({ grid, similarity }) {
  const n = grid[0] * grid[1];
  const bytes = new Int8Array(fromBase64(similarity).buffer);
  const each = (n * (n - 1)) / 2;
  return Array.from({ length: bytes.length / each }, (_, epoch) => {
    const table = Array.from({ length: n }, () => new Float64Array(n).fill(1));
    let at = epoch * each;
    for (let i = 0; i < n; i++) {
      for (let j = i + 1; j < n; j++) table[i][j] = table[j][i] = bytes[at++] / 100;
    }
    return table;
  });
}

// How much more alike two positions of one row or column are than two others: means of cosines.
function rowAndColumn(table, [rows, columns]) {
  const [sums, counts] = [
    [0, 0],
    [0, 0],
  ];
  for (let i = 0; i < rows * columns; i++) {
    for (let j = 0; j < i; j++) {
      const row = Math.floor(i / columns) === Math.floor(j / columns);
      const kind = row || i % columns === j % columns ? 0 : 1;
      sums[kind] += table[i][j];
      counts[kind] += 1;
    }
  }
  return sums[0] / counts[0] - sums[1] / counts[1];
}

// A class and how much of it is right; a line where that ends. Nothing measured: no bar.
function bar(name, right, end, isBest) {
  const length = element("span", { class: "vt-answer-length" });
  length.style.width = `${100 * (right ?? 0)}%`;
  const mark = element("span", { class: "vt-answer-before" });
  mark.style.left = `${100 * end}%`;
  return element(
    "li",
    { class: isBest ? "vt-answer vt-answer-first" : "vt-answer" },
    element("span", { class: "vt-answer-name" }, name),
    element("span", { class: "vt-answer-bar", "aria-hidden": "true" }, length, mark),
    element("span", { class: "vt-answer-share" }, right === null ? "–" : percent(right)),
  );
}

function share(number) {
  return `${(100 * number).toFixed(1)}%`;
}

function sign(number) {
  const text = Math.abs(number).toFixed(2);
  return `${Number(text) === 0 ? "" : number < 0 ? "−" : "+"}${text}`;
}

export default { render, state: STATE };
