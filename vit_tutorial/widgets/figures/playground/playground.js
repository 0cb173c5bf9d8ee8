// What would you need to see to know it is a sneaker? A picture, what is left of it, and at once
// what the model answers, how the answer forms, and where each head looks.

import { Bring } from "./bring.js";
import { Card } from "../../page/card.js";
import { PatchGrid } from "../../page/patch_grid.js";
import { badge } from "../../page/token_grid.js";
import { element, picture } from "../../page/elements.js";
import { legend } from "../../page/colours.js";
import { answers, strongest } from "../../page/answers.js";
import { percent, setting } from "../../page/words.js";
import { shuffled } from "../../page/shuffle.js";
import { Challenge } from "./challenge.js";
import { Pad } from "./drawing.js";
import { fewestPatches } from "./fewest_patches.js";
import { HeadMaps } from "../../page/head_maps.js";
import { classNames, probabilities, unpackPictures } from "../../page/page_model.js";
import {
  OWN,
  SEEDS,
  UNTOUCHED,
  interventions,
  readState,
  toBase64,
  toggled,
} from "./playground_state.js";
import { ViT } from "../../engine/vit.js";

const LARGEST_IN_LINK = 4096; // bytes of a picture of one's own: more makes no address

// Its traits, declared as every figure's are (see live.js).
class Playground {
  static state = [
    "picture",
    "own",
    "dropped",
    "seed",
    "positions",
    "temperature",
    "heads_off",
    "query",
    "challenge",
  ];
  static inputs = ["vit", "pictures", "small"];
}

function render({ model, el }) {
  const card = new Card(el, "What would you need to see to know it is a sneaker?");
  card.rounded();
  card.root.classList.add("vt-playground");
  const state = () =>
    Object.fromEntries(Playground.state.map((name) => [name, model.get(name)]));
  const start = state();
  let vit, pictures, names, patches, small, parts;
  let passes; // the last forward passes, by what was asked of the model
  let mode = "look"; // or "draw", "bring"
  let hovered = null; // the token under the pointer
  let told = null; // the picture whose class has been told
  let chance = 0; // counts random halves, so that each is another one
  let surprised = 0;
  let [changing, frame] = [false, 0];

  // Change traits together, and draw once: now, or (`soon`) with the next frame at the latest.
  const change = (changes, soon = false) => {
    changing = true;
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
    changing = false;
    if (soon) frame ||= requestAnimationFrame(redraw);
    else redraw();
  };
  const read = () => readState(state(), vit, pictures.length);
  const nameOf = (token) =>
    token < vit.numPrefix ? "the class token" : `patch ${token - vit.numPrefix + 1}`;

  // Everything that the model and the pictures decide.
  function build() {
    vit = new ViT(model.get("vit"));
    small = model.get("small");
    patches = vit.grid[0] * vit.grid[1];
    pictures = unpackPictures(model.get("pictures"));
    names = classNames(vit.config);
    passes = new Map();
    parts = { ...pictureParts(), answers: element("div"), layers: element("div") };
    if (!small) Object.assign(parts, mapParts(), ownParts());
    const column = (title, ...below) =>
      element("div", { class: "vt-column" }, element("p", { class: "vt-label" }, title), ...below);
    card.figure.replaceChildren(
      element("div", { class: "vt-column" }, parts.title, parts.tokens, ...(parts.below ?? [])),
    );
    parts.prediction = small
      ? column("prediction", parts.answers)
      : column("prediction", parts.answers, parts.layersTitle, parts.layers);
    card.figure.append(parts.prediction, ...(small ? [] : [parts.looks]));
    controls();
  }

  function pictureParts() {
    const canvas = element("canvas", {
      width: vit.imageSize[1],
      height: vit.imageSize[0],
      class: "vt-picture",
      "aria-hidden": "true",
    });
    const grid = new PatchGrid({
      grid: vit.grid,
      label: "The picture, in patches",
      behind: canvas,
      move: (place) => small || change({ query: tokenAt(place) }),
      pick: (place) => {
        if (parts.click?.selectedIndex) change({ query: tokenAt(place) });
        else pick(patchAt(place));
      },
      hover: (place) => {
        if (small) return;
        hovered = place === null ? null : tokenAt(place);
        card.attempt(() => look(read()));
      },
    });
    const asks = badge(() => change({ query: 0 }));
    const tokens = element("div", { class: "vt-tokens" });
    tokens.append(...(vit.numPrefix && !small ? [asks.el] : []), grid.el);
    return { title: element("p", { class: "vt-label" }), canvas, grid, asks, tokens };
  }

  function mapParts() {
    const { depth, heads } = vit.config;
    const maps = new HeadMaps({
      depth,
      heads,
      grid: vit.grid,
      label: "Where it looks: a row for each head, a column for each layer",
      pick: (layer, head) =>
        change({ heads_off: toggled(model.get("heads_off"), [layer, head]) }),
    });
    const asking = element("p", { class: "vt-label" });
    const looks = element(
      "div",
      { class: "vt-column" },
      asking,
      maps.el,
      legend("each map’s own highest"),
    );
    const layersTitle = element("p", { class: "vt-label" });
    return { maps, asking, looks, layersTitle };
  }

  // What it takes to use a picture of one's own, and to be asked for one's guess.
  function ownParts() {
    const own = (bytes, soon) => change({ picture: OWN, own: toBase64(bytes) }, soon);
    const [height, width] = vit.imageSize;
    const pad = new Pad({ size: vit.imageSize, onchange: (bytes) => own(bytes, true) });
    const bring = new Bring({
      size: vit.imageSize,
      remarks: [
        `The model has learned from grey pictures of ${width} × ${height} pixels, ` +
          (vit.config.dataset === "fashion_mnist"
            ? "each of one piece of clothing, light on black. "
            : "and from no others. ") +
          `It answers with one of ${names.length} names, whatever it is shown: ` +
          "it has no “none of these”.",
        `Your picture is shrunk to ${width} × ${height} grey pixels in this page, and ` +
          (model.link
            ? `sent nowhere; a link that you copy ${large() ? "leaves it out" : "holds it"}.`
            : "goes to your notebook’s kernel."),
      ],
      onpicture: (bytes) => own(bytes),
    });
    const challenge = new Challenge({ names, onguess: guess, onagain: ask });
    const truth = element("p", { class: "vt-truth", role: "status" });
    const tellMe = element("button", { type: "button", onclick: tellTruth }, "what is it?");
    const line = element("div", { class: "vt-controls" }, tellMe, truth);
    parts.tokens.append(pad.surface);
    const below = [line, pad.el, bring.el, challenge.el];
    return { pad, bring, challenge, truth, tellMe, line, below };
  }

  function controls() {
    card.controls.replaceChildren();
    const row = (label, ...children) => {
      const title = label ? [element("span", { class: "vt-label" }, label)] : [];
      const each = children.map((child) => child.closest?.(".vt-control") ?? child);
      card.controls.append(element("div", { class: "vt-control-row" }, ...title, ...each));
      return card.controls.lastElementChild;
    };
    const last = () => {
      card.button("surprise me", surprise);
      card.button("reset", () => enter("look", start));
      card.link({ link: model.link && shareable, get: (name) => model.get(name) }, Playground.state);
    };
    const drop = (label, meaning, which) => {
      const button = card.button(label, () => change({ dropped: which() }));
      button.setAttribute("aria-label", `drop ${label}${meaning}`);
      if (meaning) button.title = `drop ${label}${meaning}`;
      return button;
    };
    const shuffle = () => change({ seed: (model.get("seed") % (SEEDS - 1)) + 1 }); // never 0, in order
    if (small) {
      card.button("shuffle", shuffle);
      last();
      return;
    }
    const options = [...pictures.map(({ name }) => name), "your own"];
    parts.choice = card.choice("picture", options, () =>
      enter("look", {
        picture: parts.choice.selectedIndex === pictures.length ? OWN : parts.choice.selectedIndex,
      }),
    );
    parts.draw = card.button("draw", () =>
      mode === "draw" ? enter("look") : enter("draw", { ...UNTOUCHED, picture: OWN }),
    );
    parts.bringOne = card.button("bring a picture", () =>
      enter(mode === "bring" ? "look" : "bring"),
    );
    parts.rows = [row("", parts.choice, parts.draw, parts.bringOne)];
    parts.click = card.choice("a click", ["drops or restores", "asks"], () => {});
    parts.rows.push(
      row(
        "drop",
        drop("none", "", () => []),
        drop("a random half", "", () => half(shuffled(patches, ++chance))),
        drop("by attention", ": the half that the last layer looks at most", () =>
          half(mostAttended()),
        ),
        parts.click,
      ),
    );
    parts.positions = card.checkbox("positions", () =>
      change({ positions: parts.positions.checked }),
    );
    parts.temperature = card.slider("temperature", {
      min: -2,
      max: 2,
      step: 0.25,
      oninput: (event) => change({ temperature: 2 ** event.target.value }, true),
    });
    const slider = card.controls.lastElementChild;
    parts.rows.push(
      row(
        "",
        card.button("shuffle", shuffle),
        card.button("in order", () => change({ seed: 0 })),
        parts.positions,
        slider,
      ),
    );
    card.button("challenge me", ask);
    last();
    const rest = [...card.controls.children].filter((child) => !parts.rows.includes(child));
    row("", ...rest);
  }

  const patchAt = (place) => shuffled(patches, model.get("seed"))[place];
  const tokenAt = (place) => vit.numPrefix + patchAt(place);
  const half = (ranked) => ranked.slice(0, Math.floor(patches / 2)).sort((a, b) => a - b);

  function pick(patch) {
    const dropped = model.get("dropped");
    if (model.get("challenge") && !small && !dropped.includes(patch)) return; // seen is seen
    change({ dropped: toggled(dropped, patch) });
  }

  // Another way to use the figure: look, draw, or bring a picture.
  function enter(next, changes = {}) {
    mode = next;
    parts.challenge?.hide();
    change({ challenge: false, ...changes });
    if (next === "draw") parts.pad.surface.focus({ preventScroll: true });
    if (next !== "look" || changes.challenge) parts.title.scrollIntoView({ block: "nearest" });
  }

  // A reader's own picture that is too large for an address stays behind.
  const large = () => vit.imageSize[0] * vit.imageSize[1] > LARGEST_IN_LINK;
  const shareable = (shared) =>
    model.link(
      large() ? { ...shared, own: "", picture: Math.max(shared.picture, 0) } : shared,
    );

  const shown = (state) =>
    state.picture === OWN
      ? { shape: [1, ...vit.imageSize], bytes: state.bytes, name: "your own picture" }
      : pictures[state.picture];

  // One forward pass, and no second one for the same question. Null: nothing is left to read.
  function run({ bytes }, changes) {
    if (!changes.keep.length && !vit.numPrefix) return null;
    const question = JSON.stringify([toBase64(bytes), changes]);
    if (!passes.has(question)) {
      const { predictions, layers, places } = vit.forward(bytes, changes);
      const stages = predictions.map(probabilities);
      if (passes.size > 3) passes.delete(passes.keys().next().value);
      passes.set(question, { stages, now: stages.at(-1), layers, places });
    }
    return passes.get(question);
  }

  // The patches in the order of what the last layer gives them, mean over its heads: by the class
  // token, or without one by all patches together.
  function mostAttended() {
    const { layers } = run(shown(read()), interventions(UNTOUCHED, patches));
    const { attention } = layers.at(-1);
    const tokens = vit.numPrefix + patches;
    const given = new Float64Array(patches);
    for (let head = 0; head < vit.config.heads; head++) {
      for (let query = 0; query < (vit.numPrefix || tokens); query++) {
        const row = (head * tokens + query) * tokens + vit.numPrefix;
        for (let patch = 0; patch < patches; patch++) given[patch] += attention[row + patch];
      }
    }
    return shuffled(patches, 0).sort((a, b) => given[b] - given[a]);
  }

  // The next picture that the model names with certainty, and no more of it than that takes.
  function surprise() {
    for (let tries = 0; tries < pictures.length; tries++) {
      const index = surprised++ % pictures.length;
      const { now } = run(pictures[index], interventions(UNTOUCHED, patches));
      const answer = now.indexOf(Math.max(...now));
      if (pictures[index].label != null && pictures[index].label !== answer) continue;
      const seen = fewestPatches(vit, pictures[index].bytes, answer);
      const dropped = shuffled(patches, 0).filter((patch) => !seen.includes(patch));
      enter("look", { ...UNTOUCHED, picture: index, dropped });
      return;
    }
  }

  function tellTruth() {
    told = model.get("picture");
    redraw();
    parts.grid.cells[parts.grid.at].focus({ preventScroll: true }); // the button is gone
  }

  const truthOf = ({ label }) => (label == null ? null : names[label]);

  // A challenge: some other picture, and nothing of it to be seen.
  function ask() {
    const others = pictures.map((_, i) => i).filter((i) => i !== model.get("picture"));
    const next = others[Math.floor(Math.random() * others.length)] ?? 0;
    const dropped = shuffled(patches, 0);
    enter("look", { ...UNTOUCHED, picture: next, dropped, challenge: true });
    parts.grid.focus(Math.floor(patches / 2));
  }

  function guess(number) {
    const state = read();
    const pass = run(shown(state), interventions(state, patches));
    const first = pass && pass.now.indexOf(Math.max(...pass.now));
    parts.challenge.tell({
      guess: number,
      shown: patches - state.dropped.length,
      said: pass && { name: names[first], share: pass.now[first] },
      truth: truthOf(shown(state)),
    });
    change({ challenge: false });
  }

  function draw() {
    const state = read();
    const { shape, bytes, name } = shown(state);
    const changes = interventions(state, patches);
    const asked = state.challenge && !small;
    drawPicture(shape, bytes, changes.order);
    parts.title.textContent = small ? "click patches away, and back" : name;
    parts.grid.el.hidden = mode === "draw";
    parts.prediction.hidden = asked;
    if (!small) {
      for (const part of [parts.looks, ...parts.rows, card.details]) part.hidden = asked;
      parts.pad.el.hidden = parts.pad.surface.hidden = mode !== "draw";
      parts.bring.el.hidden = mode !== "bring";
      parts.draw.textContent = mode === "draw" ? "done drawing" : "draw";
      parts.bringOne.setAttribute("aria-expanded", mode === "bring");
      if (mode === "draw") parts.pad.show(bytes);
      parts.choice.selectedIndex = state.picture === OWN ? pictures.length : state.picture;
      parts.positions.checked = state.positions;
      parts.temperature.show(Math.log2(state.temperature), setting(state.temperature));
      const known = truthOf(shown(state));
      if (told !== state.picture) told = null;
      parts.line.hidden = asked || known === null || !parts.challenge.el.hidden;
      parts.tellMe.hidden = told !== null;
      parts.truth.textContent = told !== null ? `It is: ${known}.` : "";
    }
    look(state);
    if (asked) {
      parts.challenge.ask();
      card.say(`${patches - state.dropped.length} of ${patches} patches to be seen.`);
    } else tell(state, run(shown(state), changes));
  }

  // The picture as the model gets it: its patches in their order.
  function drawPicture(shape, bytes, order) {
    const whole = picture(shape, bytes);
    const context = parts.canvas.getContext("2d");
    const [height, width] = vit.patchSize;
    const corner = (place) => [
      (place % vit.grid[1]) * width,
      Math.floor(place / vit.grid[1]) * height,
    ];
    order.forEach((patch, place) => {
      context.drawImage(whole, ...corner(patch), width, height, ...corner(place), width, height);
    });
  }

  // Who asks, and where it looks: all that hovering changes.
  function look(state) {
    const changes = interventions(state, patches);
    const gone = new Set(state.dropped);
    const token = hovered ?? state.query;
    const prefix = vit.numPrefix;
    const absent = gone.has(token - prefix);
    parts.grid.show({
      selected: small || token < prefix ? null : changes.order.indexOf(token - prefix),
      name: (place) => {
        const patch = changes.order[place];
        const [row, column] = [Math.floor(place / vit.grid[1]), place % vit.grid[1]];
        const where = `row ${row + 1}, column ${column + 1}`;
        return `patch ${patch + 1}, ${where}${gone.has(patch) ? ", dropped" : ""}`;
      },
    });
    parts.grid.cells.forEach((cell, place) => {
      cell.dataset.dropped = gone.has(changes.order[place]);
      cell.dataset.number = changes.order[place] + 1;
    });
    if (small) return;
    parts.asks.show({ selected: token < prefix, name: "the class token asks" });
    if (state.challenge) return;

    const pass = run(shown(state), changes);
    const places = pass?.places ?? [];
    const tokens = prefix + places.length;
    // A patch that is dropped asks nothing; whoever comes first asks in its place.
    const asking =
      absent || token < prefix
        ? 0
        : prefix + places.indexOf(changes.order.indexOf(token - prefix));
    const instead = asking < prefix ? 0 : prefix + changes.order[places[asking - prefix]];
    parts.asking.textContent =
      `where ${nameOf(absent ? instead : token)} looks` +
      (absent ? ` (${nameOf(token)} is dropped)` : "");
    const off = (layer, head) => state.heads_off.some(([l, h]) => l === layer && h === head);
    const shares = (layer, head) => {
      if (!pass) return [];
      const row = (head * tokens + asking) * tokens + prefix;
      return pass.layers[layer].attention.subarray(row, row + places.length);
    };
    parts.maps.show({
      isOff: off,
      shares: (layer, head) => {
        const given = shares(layer, head);
        const byPlace = Array(patches).fill(null);
        places.forEach((place, i) => (byPlace[place] = given[i]));
        return byPlace;
      },
      name: (layer, head) => {
        const given = shares(layer, head);
        const most = given.indexOf(Math.max(...given));
        const patch = changes.order[places[most]] + 1;
        const seen =
          most < 0
            ? "nothing to look at"
            : `most of a patch: ${percent(given[most])} to patch ${patch}`;
        return `layer ${layer + 1}, head ${head + 1}: ${off(layer, head) ? "off" : seen}`;
      },
    });
  }

  // What the model answers, after each layer and in the end, and what it was before.
  function tell(state, pass) {
    const whole = run(shown(state), interventions(UNTOUCHED, patches));
    const before = whole.now;
    if (!pass) {
      parts.answers.replaceChildren();
      parts.layers.replaceChildren();
      card.say(
        "No patch is left, and this model has no class token: there is nothing to answer from.",
      );
      card.tabulate("nothing to answer from", ["class"], () => []);
      return;
    }
    const { now, stages } = pass;
    const first = now.indexOf(Math.max(...now));
    const firstBefore = before.indexOf(Math.max(...before));
    const whatChanged = differences(state);
    parts.answers.replaceChildren(
      names.length > 10
        ? strongest(names, now, before)
        : answers(names, now, whatChanged.length ? before : null),
    );
    if (!small) {
      parts.layersTitle.textContent = `${names[first]} after each layer, and what leads there`;
      parts.layers.replaceChildren(layerAnswers(names, stages, first));
    }

    const was =
      (first === firstBefore ? "" : `${names[firstBefore]} `) + percent(before[firstBefore]);
    const empty = state.picture === OWN && !shown(state).bytes.some((byte) => byte);
    card.say(
      (empty ? "The picture is empty, and the model answers all the same. " : "") +
        `${names[first]} ${percent(now[first])}` +
        (whatChanged.length
          ? ` (was ${was}): ${whatChanged.join(", ")}.`
          : `, from all ${patches} patches.`),
    );
    card.tabulate(
      `Probabilities of the classes, in percent: ${whatChanged.join(", ") || "nothing changed"}`,
      ["class", "at first", "now", ...stages.map((_, i) => `after ${i} ${i === 1 ? "layer" : "layers"}`)],
      () =>
        names.map((name, i) => [
          name,
          ...[before, now, ...stages].map((shares) => (100 * shares[i]).toFixed(2)),
        ]),
    );
  }

  function differences({ dropped, seed, positions, temperature, heads_off }) {
    const count = heads_off.length;
    return [
      dropped.length && `${dropped.length} of ${patches} patches dropped`,
      seed && `shuffled (${seed})`,
      !positions && "no positions",
      count && `${count} of ${vit.config.depth * vit.config.heads} heads off`,
      temperature !== 1 && `temperature ${setting(temperature)}`,
    ].filter(Boolean);
  }

  function redraw() {
    if (changing) return;
    cancelAnimationFrame(frame);
    frame = 0;
    card.attempt(draw);
  }
  const rebuild = () => card.attempt(() => (build(), draw()));
  build();
  draw();
  for (const name of Playground.state) model.on(`change:${name}`, redraw);
  for (const name of Playground.inputs) model.on(`change:${name}`, rebuild);
  return () => {
    cancelAnimationFrame(frame);
    for (const name of Playground.state) model.off(`change:${name}`, redraw);
    for (const name of Playground.inputs) model.off(`change:${name}`, rebuild);
    el.replaceChildren();
  };
}

// How sure the model would be of its answer after each layer, and which class leads there.
function layerAnswers(names, stages, answer) {
  const line = (shares, layer) => {
    const leader = shares.indexOf(Math.max(...shares));
    const length = element("span", { class: "vt-answer-length" });
    length.style.width = `${100 * shares[answer]}%`;
    return element(
      "li",
      { class: leader === answer ? "vt-layer vt-answer-first" : "vt-layer" },
      element("span", {}, String(layer)),
      element("span", { class: "vt-answer-bar", "aria-hidden": "true" }, length),
      element("span", {}, `${names[leader]} ${percent(shares[leader])}`),
    );
  };
  return element("ol", { class: "vt-layers", start: 0 }, ...stages.map(line));
}

export default { render, state: Playground.state };
