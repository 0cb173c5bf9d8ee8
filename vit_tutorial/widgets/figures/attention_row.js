// Where does one number of attention come from? One query, one key, and the road from the two
// vectors to a share: product, scale, temperature, exponential, sum.

import { Card } from "../page/card.js";
import { badge, PatchGrid } from "../page/patch_grid.js";
import { element, picture } from "../page/elements.js";
import { cividis, legend } from "../page/colours.js";
import { bars } from "../page/answers.js";
import { digits, percent, setting } from "../page/words.js";
import { within } from "../page/checks.js";
import { ViT, softmax } from "../engine/vit.js";
import { fromBase64 } from "../engine/dequantise.js";

const STATE = ["layer", "head", "query", "key", "temperature"];

function render({ model, el }) {
  const card = new Card(el, "Where does one number of attention come from?");
  card.rounded();
  const start = Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  let vit, layers, tokens, prefix, parts;
  let hovered = null; // the token under the pointer, for a look at its number
  let surprises = null;
  let surprised = 0;

  const change = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const nameOf = (token) => (token < prefix ? "the class token" : `patch ${token - prefix + 1}`);
  const whereIs = (token) => {
    const [row, column] = [
      Math.floor((token - prefix) / vit.grid[1]),
      (token - prefix) % vit.grid[1],
    ];
    return `patch ${token - prefix + 1}, row ${row + 1}, column ${column + 1}`;
  };

  // Everything that the model, the picture or the sizes decide, made anew when those change.
  function build() {
    vit = new ViT(model.get("vit"));
    const { shape, pixels } = model.get("picture");
    const bytes = fromBase64(pixels);
    layers = vit.forward(bytes).layers;
    prefix = vit.numPrefix;
    tokens = prefix + vit.grid[0] * vit.grid[1];
    surprises = null;

    const asks = new PatchGrid({
      grid: vit.grid,
      label: "Which patch asks",
      behind: picture(shape, bytes),
      move: (place) => change({ query: prefix + place }),
      pick: (place) => change({ query: prefix + place }),
    });
    const answers = new PatchGrid({
      grid: vit.grid,
      label: "Which patch answers",
      move: (place) => change({ key: prefix + place }),
      pick: (place) => change({ key: prefix + place }),
      hover: (place) => {
        hovered = place === null ? null : prefix + place;
        card.attempt(open);
      },
    });
    const classAsks = badge(() => change({ query: 0 }));
    const classAnswers = badge(() => change({ key: 0 }));
    const scale = element("span");
    const opened = element("div", { class: "vt-opened" });
    const column = (title, token, grid, ...below) =>
      element(
        "div",
        { class: "vt-column" },
        element("p", { class: "vt-label" }, title),
        element("div", { class: "vt-tokens" }, ...(prefix ? [token.el] : []), grid.el),
        ...below,
      );
    card.figure.replaceChildren(
      column("who asks (query)", classAsks, asks),
      column("what it takes from each (key)", classAnswers, answers, scale),
      opened,
    );

    card.controls.replaceChildren();
    const count = (n, what) => Array.from({ length: n }, (_, i) => `${what} ${i + 1}`);
    const layer = card.choice("layer", count(vit.config.depth, "layer"), () =>
      change({ layer: layer.selectedIndex }),
    );
    const head = card.choice("head", count(vit.config.heads, "head"), () =>
      change({ head: head.selectedIndex }),
    );
    const temperature = card.slider("temperature", {
      min: -2,
      max: 2,
      step: 0.25,
      oninput: (event) => change({ temperature: 2 ** event.target.value }),
    });
    card.button("surprise me", surprise);
    card.button("reset", () => change(start));
    card.link(model, STATE);
    parts = { asks, answers, classAsks, classAnswers, scale, opened, layer, head, temperature };
  }

  // One row of attention, step by step, in double precision.
  function row(layer, head, query, temperature) {
    const d = vit.config.dim_head;
    const vector = (t, token) =>
      t.subarray((head * tokens + token) * d, (head * tokens + token + 1) * d);
    const { q, k } = layers[layer];
    const asking = vector(q, query);
    const products = Array.from({ length: tokens }, (_, key) =>
      Array.from(vector(k, key), (number, i) => number * asking[i]),
    );
    const scores = products.map((each) => each.reduce((a, b) => a + b, 0)); // q · k
    const scaled = scores.map((score) => score / Math.sqrt(d));
    const heated = scaled.map((score) => score / temperature);
    const exponentials = heated.map(Math.exp);
    const weights = softmax(Float64Array.from(heated));
    return {
      asking,
      keyOf: (key) => vector(k, key),
      products,
      scores,
      scaled,
      heated,
      exponentials,
      weights,
    };
  }

  function draw() {
    const [layer, head, query, key, temperature] = STATE.map((name) => model.get(name));
    within("layer", layer, vit.config.depth);
    within("head", head, vit.config.heads);
    within("query", query, tokens);
    within("key", key, tokens);
    if (!(temperature > 0)) throw new RangeError(`temperature is positive, got ${temperature}`);
    const now = row(layer, head, query, temperature);
    const highest = Math.max(...now.weights);
    const name = (prefix_) => (place) => `${prefix_}${whereIs(prefix + place)}`;
    parts.asks.show({ selected: query < prefix ? null : query - prefix, name: name("") });
    parts.classAsks.show({ selected: query < prefix, name: "class token asks" });
    parts.answers.show({
      selected: key < prefix ? null : key - prefix,
      colour: (place) => cividis(now.weights[prefix + place] / highest),
      name: (place) => `${whereIs(prefix + place)}: ${percent(now.weights[prefix + place])}`,
    });
    parts.classAnswers.show({
      selected: key < prefix,
      name: `class token answers: ${percent(now.weights[0])}`,
      colour: cividis(now.weights[0] / highest),
    });
    parts.scale.replaceChildren(legend(percent(highest)));
    parts.layer.selectedIndex = layer;
    parts.head.selectedIndex = head;
    parts.temperature.show(Math.log2(temperature), setting(temperature));
    open();

    const heard = effective(now.weights);
    const before = effective(row(layer, head, query, 1).weights);
    const subject = nameOf(query).replace(/^./, (letter) => letter.toUpperCase());
    card.say(
      `${subject} takes ${percent(now.weights[key])} from ${query === key ? "itself" : nameOf(key)}. ` +
        `It hears ${heard.toFixed(1)} of ${tokens} tokens` +
        (temperature === 1 ? "." : ` (${before.toFixed(1)} at temperature 1).`),
    );
    card.tabulate(
      `What ${nameOf(query)} takes: layer ${layer + 1}, head ${head + 1}, temperature ${setting(temperature)}`,
      ["token", "q · k", `÷ √${vit.config.dim_head}`, "÷ temperature", "exp", "share"],
      () =>
        Array.from({ length: tokens }, (_, token) => [
          nameOf(token),
          ...[now.scores, now.scaled, now.heated, now.exponentials].map((list) =>
            digits(list[token]),
          ),
          percent(now.weights[token]),
        ]),
    );
  }

  // The one number, opened: of the token under the pointer, else of the one that was picked.
  function open() {
    const [layer, head, query, picked, temperature] = STATE.map((name) => model.get(name));
    const key = hovered ?? picked;
    const now = row(layer, head, query, temperature);
    const d = vit.config.dim_head;
    const limit = (numbers) => Math.max(...Array.from(numbers, Math.abs)) || 1;
    const strip = (name, numbers, meaning) =>
      element(
        "div",
        { class: "vt-strip" },
        element("span", {}, name),
        bars(
          numbers,
          limit(numbers),
          `${meaning}: ${d} numbers, the largest ${digits(limit(numbers))} in size`,
        ),
      );
    const total = now.exponentials.reduce((a, b) => a + b, 0);
    const steps = [
      ["q · k, the sum", digits(now.scores[key])],
      [`÷ √${d}`, digits(now.scaled[key])],
      [`÷ temperature ${setting(temperature)}`, digits(now.heated[key])],
      ["exp", digits(now.exponentials[key])],
      [`÷ ${digits(total)}, the sum over ${tokens} tokens`, percent(now.weights[key])],
    ];
    parts.opened.replaceChildren(
      element("p", { class: "vt-label" }, `${nameOf(query)} asks, ${nameOf(key)} answers`),
      element(
        "div",
        { class: "vt-strips" },
        strip("q", now.asking, `query of ${nameOf(query)}`),
        strip("k", now.keyOf(key), `key of ${nameOf(key)}`),
        strip("q × k", now.products[key], "their products"),
      ),
      element(
        "ol",
        { class: "vt-steps" },
        ...steps.map(([what, number]) =>
          element("li", {}, element("span", {}, what), element("strong", {}, number)),
        ),
      ),
    );
  }

  // The rows that hear the fewest tokens, one after the other, each from its strongest key.
  function surprise() {
    if (!surprises) {
      surprises = [];
      for (let layer = 0; layer < vit.config.depth; layer++) {
        for (let head = 0; head < vit.config.heads; head++) {
          for (let query = 0; query < tokens; query++) {
            const first = (head * tokens + query) * tokens;
            const weights = layers[layer].attention.subarray(first, first + tokens);
            const key = weights.indexOf(Math.max(...weights));
            surprises.push({ layer, head, query, key, heard: effective(weights) });
          }
        }
      }
      surprises.sort((a, b) => a.heard - b.heard);
    }
    const { layer, head, query, key } = surprises[surprised++ % surprises.length];
    change({ layer, head, query, key });
  }

  const redraw = () => card.attempt(draw);
  const rebuild = () => card.attempt(() => (build(), draw()));
  build();
  draw();
  for (const name of STATE) model.on(`change:${name}`, redraw);
  for (const name of ["vit", "picture"]) model.on(`change:${name}`, rebuild);
  return () => {
    for (const name of STATE) model.off(`change:${name}`, redraw);
    for (const name of ["vit", "picture"]) model.off(`change:${name}`, rebuild);
    el.replaceChildren();
  };
}

// How many tokens a row hears: the exponential of its entropy.
function effective(weights) {
  let entropy = 0;
  for (const weight of weights) if (weight > 0) entropy -= weight * Math.log(weight);
  return Math.exp(entropy);
}

export default { render, state: STATE };
