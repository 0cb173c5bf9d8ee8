// Where does one attention weight come from? One query, one key, and the way
// from the two vectors to the weight: product, scale, temperature, exponential,
// sum.

import { Figure, live } from "../page/live.js";
import { TokenGrid } from "../page/token_grid.js";
import { Surprises } from "../page/surprises.js";
import { column, element, label, picture } from "../page/elements.js";
import { cividis, legend } from "../page/colours.js";
import { highestOf } from "../page/answers.js";
import { bars } from "../page/bars.js";
import { heard, rowOf } from "../page/rollout.js";
import {
  capitalised,
  nameOf,
  percent,
  setting,
  whereIs,
} from "../page/words.js";
import { digits } from "../page/digits.js";
import { within } from "../page/checks.js";
import { softmax } from "../engine/softmax.js";
import { ViT } from "../engine/vit.js";
import { fromBase64 } from "../engine/dequantise.js";

class AttentionRow extends Figure {
  static question = "Where does one attention weight come from?";
  static state = ["layer", "head", "query", "key", "temperature"];
  static inputs = ["vit", "picture"];

  hovered = null; // the token under the pointer, for a look at its weight

  begin() {
    this.card.rounded();
  }

  build() {
    this.vit = new ViT(this.get("vit"));
    const { shape, pixels } = this.get("picture");
    const bytes = fromBase64(pixels);
    this.layers = this.vit.inside(bytes).layers;
    this.prefix = this.vit.numPrefix;
    this.tokens = this.prefix + this.vit.grid[0] * this.vit.grid[1];
    this.surprises = null;
    this.buildFigure(picture(shape, bytes));
    this.buildControls();
  }

  buildFigure(image) {
    const ask = (query) => this.change({ query });
    const answer = (key) => this.change({ key });
    this.asks = new TokenGrid({
      vit: this.vit,
      label: "Query patch",
      behind: image,
      move: ask,
      pick: ask,
    });
    this.answers = new TokenGrid({
      vit: this.vit,
      label: "Key patch",
      move: answer,
      pick: answer,
      hover: (token) => {
        this.hovered = token;
        this.card.attempt(() => this.open(this.row()));
      },
    });
    this.scale = element("span");
    this.opened = element("div", { class: "vt-opened" });
    this.card.figure.replaceChildren(
      column(label("the token that attends (query)"), this.asks.el),
      column(
        label("its attention weight for each key"),
        this.answers.el,
        this.scale,
      ),
      this.opened,
    );
  }

  buildControls() {
    const { card } = this;
    const { depth, heads } = this.vit.config;
    const numbered = (what, count) =>
      Array.from({ length: count }, (_, i) => `${what} ${i + 1}`);
    card.controls.replaceChildren();
    this.layer = card.choice("layer", numbered("layer", depth), () =>
      this.change({ layer: this.layer.selectedIndex }),
    );
    this.head = card.choice("head", numbered("head", heads), () =>
      this.change({ head: this.head.selectedIndex }),
    );
    this.temperature = card.slider("temperature", {
      min: -2,
      max: 2,
      step: 0.25,
      oninput: (event) => this.change({ temperature: 2 ** event.target.value }),
    });
    card.button("Surprise me", () => this.surprise());
    this.addResetAndLink();
  }

  // One row of attention, step by step, in double precision.
  row({ layer, head, query, temperature } = this.state()) {
    const d = this.vit.config.dim_head;
    const { q, k } = this.layers[layer];
    const vector = (all, token) => {
      const start = (head * this.tokens + token) * d;
      return all.subarray(start, start + d);
    };
    const asking = vector(q, query);
    const keys = Array.from({ length: this.tokens }, (_, key) =>
      vector(k, key),
    );
    const products = keys.map((key) =>
      Array.from(key, (number, i) => number * asking[i]),
    );
    const scores = products.map((each) => each.reduce((a, b) => a + b, 0)); // q · k
    const scaled = scores.map((score) => score / Math.sqrt(d));
    const heated = scaled.map((score) => score / temperature);
    const exponentials = heated.map(Math.exp);
    const weights = softmax(Float64Array.from(heated));
    return {
      asking,
      keys,
      products,
      scores,
      scaled,
      heated,
      exponentials,
      weights,
    };
  }

  draw() {
    this.check();
    const { layer, head, temperature } = this.state();
    const row = this.row();
    this.drawGrids(row);
    this.layer.selectedIndex = layer;
    this.head.selectedIndex = head;
    this.temperature.show(Math.log2(temperature), setting(temperature));
    this.open(row);
    this.say(row);
    this.tabulate(row);
  }

  check() {
    const { layer, head, query, key, temperature } = this.state();
    within("layer", layer, this.vit.config.depth);
    within("head", head, this.vit.config.heads);
    within("query", query, this.tokens);
    within("key", key, this.tokens);
    if (!(temperature > 0)) {
      throw new RangeError(`temperature is positive, got ${temperature}`);
    }
  }

  drawGrids({ weights }) {
    const { query, key } = this.state();
    const highest = Math.max(...weights);
    const where = (token) => whereIs(token - this.prefix, this.vit.grid[1]);
    this.asks.show({
      selected: query,
      name: (token) =>
        token < this.prefix ? "class token as query" : where(token),
    });
    this.answers.show({
      selected: key,
      colour: (token) => cividis(weights[token] / highest),
      name: (token) => {
        const name = token < this.prefix ? "class token as key" : where(token);
        return `${name}: ${percent(weights[token])}`;
      },
    });
    this.scale.replaceChildren(legend(percent(highest)));
  }

  // The one number, opened: of the token under the pointer, else of the one
  // that was picked.
  open(row) {
    const { query, key: picked } = this.state();
    const key = this.hovered ?? picked;
    const [asking, answering] = [this.name(query), this.name(key)];
    const strips = element(
      "div",
      { class: "vt-strips" },
      strip("q", row.asking, `query of ${asking}`),
      strip("k", row.keys[key], `key of ${answering}`),
      strip("q × k", row.products[key], "their products"),
    );
    const steps = this.stepsTo(key, row).map(([what, number]) =>
      element(
        "li",
        {},
        element("span", {}, what),
        element("strong", {}, number),
      ),
    );
    this.opened.replaceChildren(
      label(`query: ${asking}; key: ${answering}`),
      strips,
      element("ol", { class: "vt-steps" }, ...steps),
    );
  }

  stepsTo(key, { scores, scaled, heated, exponentials, weights }) {
    const { temperature } = this.state();
    const total = digits(exponentials.reduce((a, b) => a + b, 0));
    return [
      ["q · k, the sum", digits(scores[key])],
      [`÷ √${this.vit.config.dim_head}`, digits(scaled[key])],
      [`÷ temperature ${setting(temperature)}`, digits(heated[key])],
      ["exp", digits(exponentials[key])],
      [`÷ ${total}, the sum over ${this.tokens} tokens`, percent(weights[key])],
    ];
  }

  say({ weights }) {
    const { query, key, temperature } = this.state();
    const other = query === key ? "itself" : this.name(key);
    const atOne = this.row({ ...this.state(), temperature: 1 }).weights;
    const before =
      temperature === 1 ? "" : ` (${heard(atOne).toFixed(1)} at temperature 1)`;
    this.card.say(
      `${capitalised(this.name(query))} attends to ${other} with weight ` +
        `${percent(weights[key])}. It effectively attends to ` +
        `${heard(weights).toFixed(1)} of ${this.tokens} tokens${before}.`,
    );
  }

  tabulate({ scores, scaled, heated, exponentials, weights }) {
    const { layer, head, query, temperature } = this.state();
    const d = this.vit.config.dim_head;
    const steps = [scores, scaled, heated, exponentials];
    this.card.tabulate(
      `What ${this.name(query)} attends to: layer ${layer + 1}, head ${head + 1}, ` +
        `temperature ${setting(temperature)}`,
      ["token", "q · k", `÷ √${d}`, "÷ temperature", "exp", "weight"],
      () =>
        Array.from(weights, (weight, token) => [
          this.name(token),
          ...steps.map((numbers) => digits(numbers[token])),
          percent(weight),
        ]),
    );
  }

  name(token) {
    return nameOf(token, this.prefix);
  }

  // The rows that attend to the fewest tokens, one after the other, each from
  // its strongest key.
  surprise() {
    this.surprises ??= new Surprises(this.rows(), (row) => -row.heard);
    const { layer, head, query, key } = this.surprises.next();
    this.change({ layer, head, query, key });
  }

  *rows() {
    const { depth, heads } = this.vit.config;
    for (let layer = 0; layer < depth; layer++) {
      const { attention } = this.layers[layer];
      for (let head = 0; head < heads; head++) {
        for (let query = 0; query < this.tokens; query++) {
          const weights = rowOf(attention, this.tokens, head, query);
          const key = highestOf(weights);
          yield { layer, head, query, key, heard: heard(weights) };
        }
      }
    }
  }
}

// A vector as bars, with its name before it.
function strip(name, vector, meaning) {
  const largest = Math.max(...Array.from(vector, Math.abs));
  const size = `${vector.length} values, the largest ${digits(largest || 1)} in size`;
  const shown = bars(vector, largest || 1, `${meaning}: ${size}`);
  return element(
    "div",
    { class: "vt-strip" },
    element("span", {}, name),
    shown,
  );
}

export default live(AttentionRow);
