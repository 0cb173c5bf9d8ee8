// Do the maps tell the truth? Patches are removed in the order that a map gives, and the
// probability of the answer that the model gave at first is watched.

import { Card } from "../page/card.js";
import { PatchGrid } from "../page/patch_grid.js";
import { element, picture, svg } from "../page/elements.js";
import { legend } from "../page/colours.js";
import { strongest } from "../page/answers.js";
import { paint, rollout, rowOf } from "../page/maps.js";
import { percent } from "../page/words.js";
import { within } from "../page/checks.js";
import { randomNumbers } from "../page/shuffle.js";
import { classNames, probabilities, unpackPictures } from "../page/page_model.js";
import { ViT } from "../engine/vit.js";

const STATE = ["picture", "method", "fraction"];
const METHODS = ["last layer", "rollout", "contrast", "at random"];
const SAID = {
  "last layer": "the last layer’s attention",
  rollout: "rollout",
  contrast: "contrast",
  "at random": "the random order",
};
const STEPS = 7; // the area under a curve is taken from every seventh of the picture
const SLICE = 8; // milliseconds of computing at a time; between, the page does what it has to
const [LEFT, TOP, WIDE, HIGH] = [30, 6, 124, 72]; // where a plot's lines lie

function render({ model, el }) {
  const card = new Card(el, "Do the maps tell the truth?");
  card.rounded();
  card.root.classList.add("vt-deletion");
  const start = Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  let vit, pictures, classes, count, parts;
  let tests; // by picture: its orders, and what has been computed of its curves
  let waiting = null; // for the next slice
  let surprises, surprised, searching;
  let changing = false;

  const change = (changes) => {
    changing = true;
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    changing = false;
    model.save_changes();
    redraw();
  };

  function build() {
    vit = new ViT(model.get("vit"));
    if (!vit.numPrefix) throw new Error("the orders are what a class token takes; here is none");
    pictures = unpackPictures(model.get("pictures"));
    classes = classNames(vit.config);
    [count, tests] = [vit.grid[0] * vit.grid[1], new Map()];
    [surprises, surprised, searching] = [null, 0, false];

    const patches = new PatchGrid({
      grid: vit.grid,
      label: "The patches; Space removes all up to this one",
      behind: element("canvas"),
      pick: (place) => change({ fraction: (at().rank[model.get("method")][place] + 1) / count }),
    });
    const map = element("canvas", { width: vit.grid[1], height: vit.grid[0], role: "img" });
    const frame = element("div", { class: "vt-grid vt-order-map" }, map);
    frame.style.setProperty("--vt-rows", vit.grid[0]);
    frame.style.setProperty("--vt-columns", vit.grid[1]);
    const scale = element("span");
    const label = (text = "") => element("p", { class: "vt-label" }, text);
    const [shown, ordered, asked] = [label(), label(), label()];
    const plots = METHODS.map(plot);
    const answer = element("div", { class: "vt-column vt-left-over" });
    const column = (...children) => element("div", { class: "vt-column" }, ...children);
    const cls = element("span", { class: "vt-badge vt-stays", "aria-hidden": "true" }, "cls");
    card.figure.replaceChildren(
      column(shown, element("div", { class: "vt-tokens" }, cls, patches.el)),
      column(ordered, frame, scale),
      answer,
      element(
        "div",
        { class: "vt-column vt-plots" },
        asked,
        element(
          "div",
          { class: "vt-orders", role: "radiogroup", "aria-label": "The order" },
          ...plots.map(({ el }) => el),
        ),
      ),
    );

    card.controls.replaceChildren();
    const choice = card.choice(
      "picture",
      pictures.map(({ name }) => name),
      () => change({ picture: choice.selectedIndex }),
    );
    const slider = card.slider("remove", {
      min: 0,
      max: count,
      step: 1,
      oninput: (event) => change({ fraction: Number(event.target.value) / count }),
    });
    card.button("surprise me", () => card.attempt(surprise));
    card.button("reset", () => change(start));
    card.link(model, STATE);
    parts = { patches, map, scale, shown, ordered, asked, plots, answer, choice, slider };
  }

  // One method: a choice, its name, and its curve among the others.
  function plot(method) {
    const input = element("input", {
      type: "radio",
      name: `${card.id}-order`,
      value: method,
      onchange: () => change({ method }),
    });
    const text = (x, y, anchor, words) =>
      svg("text", { x, y, "text-anchor": anchor, class: "vt-tick" }, words);
    const lines = METHODS.map((each) =>
      svg("path", { class: each === method ? "vt-curve vt-curve-own" : "vt-curve" }),
    );
    const now = svg("path", { class: "vt-curve-now" });
    const dot = svg("circle", { class: "vt-curve-dot", r: 3.5 });
    const drawing = svg(
      "svg",
      { viewBox: "0 0 160 100", "aria-hidden": "true" },
      svg("path", { class: "vt-axes", d: `M${LEFT} ${TOP}v${HIGH}h${WIDE}` }),
      text(LEFT - 3, TOP + 4, "end", "100%"),
      text(LEFT - 3, TOP + HIGH, "end", "0%"),
      text(LEFT, TOP + HIGH + 13, "middle", "0%"),
      text(LEFT + WIDE, TOP + HIGH + 13, "end", "100% removed"),
      now,
      ...lines.filter((_, i) => METHODS[i] !== method),
      lines[METHODS.indexOf(method)],
      dot,
    );
    const result = element("span", { class: "vt-order-result" });
    const el = element(
      "label",
      { class: "vt-order" },
      element("span", {}, input, method),
      drawing,
      result,
    );
    return { el, input, lines, now, dot, result };
  }

  // A picture's test: what the model answers, four scores for each patch, and curves to be filled.
  function at(index = model.get("picture")) {
    if (tests.has(index)) return tests.get(index);
    const { shape, bytes } = pictures[index];
    const { logits, layers } = vit.forward(bytes);
    const { heads } = vit.config;
    const last = new Float64Array(count);
    for (let head = 0; head < heads; head++) {
      const row = rowOf(layers.at(-1).attention, count + 1, head, 0);
      for (let place = 0; place < count; place++) last[place] += row[place + 1] / heads;
    }
    const random = randomNumbers(index + 1);
    const scores = {
      "last layer": last,
      rollout: rollout(layers, heads, count + 1).subarray(1),
      contrast: contrast(shape, bytes, vit.patchSize),
      "at random": Float64Array.from({ length: count }, random),
    };
    const before = probabilities(logits);
    const test = { index, scores, before, first: before.indexOf(Math.max(...before)) };
    [test.order, test.rank, test.left, test.area] = [{}, {}, {}, {}];
    for (const method of METHODS) {
      const by = scores[method]; // equal ones as they stand
      test.order[method] = [...by.keys()].sort((a, b) => by[b] - by[a] || a - b);
      test.rank[method] = [];
      test.order[method].forEach((place, i) => (test.rank[method][place] = i));
      test.left[method] = Array(count + 1); // probabilities, by how many patches are gone
      test.left[method][0] = before;
    }
    tests.set(index, test);
    return test;
  }

  // The probabilities when an order's first `gone` patches are removed; computed once.
  function left(test, method, gone) {
    const known = test.left[method];
    if (!known[gone]) {
      const keep = test.order[method].slice(gone);
      const answered = probabilities(vit.forward(pictures[test.index].bytes, { keep }).logits);
      if (keep.length) known[gone] = answered;
      else for (const each of METHODS) test.left[each][gone] = answered; // in any order
    }
    return known[gone];
  }

  const goneAfter = (step) => Math.floor((step * count) / STEPS + 0.5);

  // The area under a curve, from its sevenths, once they are there.
  function area(test, method) {
    if (test.area[method] === undefined) {
      let sum = 0;
      for (let step = 0; step <= STEPS; step++) {
        const known = test.left[method][goneAfter(step)];
        if (!known) return undefined;
        sum += known[test.first] * (step % STEPS ? 1 : 0.5);
      }
      test.area[method] = sum / STEPS;
    }
    return test.area[method];
  }

  // What is to be computed of a picture: the sevenths of all curves first, then all of them.
  function* missing(test) {
    for (const gones of [
      Array.from({ length: STEPS + 1 }, (_, step) => goneAfter(step)),
      Array.from({ length: count + 1 }, (_, gone) => gone),
    ]) {
      for (const method of METHODS) {
        for (const gone of gones) if (!test.left[method][gone]) yield [method, gone];
      }
      yield null; // something to show
    }
  }

  // Work through `jobs` in slices. `show` hears when there is something to show.
  function work(jobs, show) {
    clearTimeout(waiting);
    const slice = () => {
      waiting = null;
      card.attempt(() => {
        const until = performance.now() + SLICE;
        do {
          const { value, done } = jobs.next();
          if (done) return;
          if (value) left(...value);
          else show();
        } while (performance.now() < until);
        waiting = setTimeout(slice);
      });
    };
    waiting = setTimeout(slice);
  }

  function* curvesOf(test) {
    for (const job of missing(test)) yield job && [test, ...job];
  }

  function check() {
    within("picture", model.get("picture"), pictures.length);
    const [method, fraction] = ["method", "fraction"].map((name) => model.get(name));
    if (!METHODS.includes(method)) {
      throw new RangeError(`method is one of ${METHODS.join(", ")}; got ${method}`);
    }
    if (!(fraction >= 0 && fraction <= 1)) {
      throw new RangeError(`fraction is a share from 0 to 1, got ${fraction}`);
    }
  }

  function draw() {
    check();
    const [index, method, fraction] = STATE.map((name) => model.get(name));
    const gone = Math.round(fraction * count);
    const test = at(index);
    const now = left(test, method, gone);
    const { shape, bytes, name } = pictures[index];
    const { order, rank, before, first } = test;
    if (parts.index !== index) {
      parts.patches.el.firstChild.replaceWith(picture(shape, bytes));
      parts.choice.selectedIndex = parts.index = index;
      parts.asked.textContent = `up: probability of ${classes[first]}; across: patches removed`;
      searching = false; // this picture comes first
      work(curvesOf(test), draw);
    }
    parts.patches.show({
      selected: gone ? order[method][gone - 1] : null,
      name: (place) =>
        `patch ${place + 1}, row ${Math.floor(place / vit.grid[1]) + 1}, column ` +
        `${(place % vit.grid[1]) + 1}: number ${rank[method][place] + 1} in the order` +
        (rank[method][place] < gone ? ", removed" : ""),
    });
    parts.patches.cells.forEach((cell, place) => {
      cell.dataset.dropped = rank[method][place] < gone;
    });
    parts.shown.textContent = `${gone} of ${count} patches removed`;
    parts.ordered.textContent = `the order: ${method}`;
    const highest = Math.max(...test.scores[method]);
    paint(parts.map, [...test.scores[method]], highest);
    const strongestFirst = order[method].slice(0, 3).map((place) => place + 1);
    parts.map.setAttribute(
      "aria-label",
      `The map that gives the order, ${method}: highest at patches ${strongestFirst.join(", ")}`,
    );
    const isShare = method === "last layer" || method === "rollout";
    parts.scale.replaceChildren(legend(isShare ? percent(highest) : highest.toFixed(2)));
    parts.slider.show(gone, `${percent(gone / count)}`);
    parts.answer.replaceChildren(
      element("p", { class: "vt-label" }, "what it says (mark: of the whole)"),
      strongest(classes, now, before),
      element(
        "p",
        { class: "vt-label vt-aside" },
        "A fifth order, relevance, needs gradients; the chapter computes it.",
      ),
    );
    curves(test, method, gone);

    const then = now.indexOf(Math.max(...now));
    card.say(
      `${classes[first]} ${percent(now[first])}, was ${percent(before[first])}: ` +
        `${gone} of ${count} patches removed, by ${SAID[method]}` +
        (then === first ? ". " : `; the answer is ${classes[then]} ${percent(now[then])}. `) +
        verdict(test),
    );
    const steps = Array.from({ length: STEPS + 1 }, (_, step) => goneAfter(step));
    card.tabulate(
      `Probability of ${classes[first]} (${name}) by the share removed, and the area under it`,
      ["order", "area", ...steps.map((k) => percent(k / count))],
      () =>
        METHODS.map((each) => [
          each,
          area(test, each)?.toFixed(3) ?? "…",
          ...steps.map((k) => {
            const there = test.left[each][k];
            return there ? `${(100 * there[first]).toFixed(1)}%` : "…";
          }),
        ]),
    );
  }

  // Which orders have the smallest area, to the digits that are shown.
  function verdict(test) {
    const areas = METHODS.map((each) => area(test, each)?.toFixed(2));
    if (areas.includes(undefined)) return "";
    const smallest = areas.reduce((a, b) => (b < a ? b : a));
    const best = METHODS.filter((_, i) => areas[i] === smallest).map((each) => SAID[each]);
    const has = best.length > 1 ? "have" : "has";
    return `On this picture ${best.join(" and ")} ${has} the smallest area, ${smallest}.`;
  }

  function curves(test, method, gone) {
    const x = (k) => (LEFT + (WIDE * k) / count).toFixed(1);
    const y = (share) => (TOP + HIGH * (1 - share)).toFixed(1);
    const paths = METHODS.map((each) => {
      const points = [];
      if (area(test, each) !== undefined) {
        test.left[each].forEach((shares, k) => points.push(`${x(k)} ${y(shares[test.first])}`));
      }
      return points.length ? `M${points.join("L")}` : "";
    });
    parts.plots.forEach(({ el, input, lines, now, dot, result }, i) => {
      const each = METHODS[i];
      const here = test.left[each][gone]?.[test.first];
      input.checked = each === method;
      el.dataset.chosen = each === method;
      lines.forEach((line, j) => line.setAttribute("d", paths[j]));
      now.setAttribute("d", `M${x(gone)} ${TOP}v${HIGH}`);
      dot.setAttribute("visibility", here === undefined ? "hidden" : "visible");
      dot.setAttribute("cx", x(gone));
      if (here !== undefined) dot.setAttribute("cy", y(here));
      result.textContent =
        `area ${area(test, each)?.toFixed(2) ?? "…"}, here ` +
        (here === undefined ? "…" : percent(here));
    });
  }

  // The picture on which the last layer's attention falls behind contrast the most, then the next.
  function surprise() {
    if (surprises) {
      change({ picture: surprises[surprised++ % surprises.length], method: "last layer" });
      return;
    }
    if (searching) return;
    searching = true;
    card.say("Looking through the pictures …");
    const behind = (index) => area(at(index), "last layer") - area(at(index), "contrast");
    const all = pictures.map((_, index) => index);
    work(
      (function* () {
        for (const index of all) {
          for (const method of ["last layer", "contrast"]) {
            for (let step = 1; step <= STEPS; step++) yield [at(index), method, goneAfter(step)];
          }
        }
        yield null;
      })(),
      () => {
        surprises = all.sort((a, b) => behind(b) - behind(a));
        searching = false;
        parts.index = undefined; // its curves, too, are to be gone on with
        surprise();
      },
    );
  }

  // Ask before anything is shown: of which order the reader expects the most.
  function guess() {
    const { shape, bytes } = pictures[model.get("picture")];
    card.guess(
      element(
        "span",
        { class: "vt-guess-picture" },
        picture(shape, bytes),
        "Patches of this picture are removed, the most important first. Which order takes the " +
          "model’s answer away the fastest?",
      ),
      METHODS,
    );
  }

  const redraw = () => changing || card.attempt(draw);
  const rebuild = () => card.attempt(() => (build(), draw()));
  build();
  draw();
  guess();
  for (const name of STATE) model.on(`change:${name}`, redraw);
  for (const name of ["vit", "pictures"]) model.on(`change:${name}`, rebuild);
  return () => {
    clearTimeout(waiting);
    for (const name of STATE) model.off(`change:${name}`, redraw);
    for (const name of ["vit", "pictures"]) model.off(`change:${name}`, rebuild);
    el.replaceChildren();
  };
}

// How much the pixels of each patch differ: their standard deviation, from 0 to 1. The sums are
// whole numbers, so that equal patches come out equal.
function contrast([channels, height, width], pixels, [p1, p2]) {
  const columns = width / p2;
  const sums = Array.from({ length: (height / p1) * columns }, () => [0, 0]);
  for (let c = 0, i = 0; c < channels; c++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        const sum = sums[Math.floor(y / p1) * columns + Math.floor(x / p2)];
        sum[0] += pixels[i];
        sum[1] += pixels[i] ** 2;
      }
    }
  }
  const n = channels * p1 * p2;
  return Float64Array.from(
    sums,
    ([sum, squares]) => Math.sqrt((n * squares - sum ** 2) / Math.max(n * (n - 1), 1)) / 255,
  );
}

export default { render, state: STATE };
