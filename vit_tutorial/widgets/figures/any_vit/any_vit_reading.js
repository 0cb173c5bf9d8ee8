// What a model makes of a photo: the classes that it predicts; or, where it has
// no classifier, how alike its features are to those of the whole photo.

import { element, label } from "../../page/elements.js";
import { highestOf } from "../../page/answers.js";
import { percent } from "../../page/words.js";
import { classNames, probabilities } from "../../page/page_model.js";

const SHOWN = 5; // classes

export class Reading {
  // found: { config, isHeadless }, as `describe` gives it.
  constructor({ config, isHeadless = false }) {
    Object.assign(this, { config, isHeadless });
    this.names = classNames(config);
    this.title = label(isHeadless ? "features" : "prediction");
    this.first = element("div");
    this.second = label();
    this.layers = element("ol", { class: "vt-layers", start: 0 });
    const parts = [this.title, this.first, this.second, this.layers];
    this.el = element("div", { class: "vt-column vt-predicted" }, ...parts);
  }

  // What of the whole photo is followed when patches go: of its first class the
  // probability, or of its features the cosine similarity.
  // logits: of one stage. whole: the whole photo's pass.
  followed(logits, whole) {
    const last = whole.predictions.at(-1);
    if (this.isHeadless) return cosine(logits, last);
    return probabilities(logits)[highestOf(probabilities(last))];
  }

  // Its name: "P(tabby)"
  followedName(whole) {
    if (this.isHeadless) return "cosine similarity";
    return `P(${this.names[highestOf(probabilities(whole.predictions.at(-1)))]})`;
  }

  written(value) {
    return this.isHeadless
      ? value.toFixed(2).replace("-", "−")
      : percent(value);
  }

  // The best class in words, or what stands for it.
  best(pass, whole) {
    const last = pass.predictions.at(-1);
    if (this.isHeadless) {
      const alike = this.written(cosine(last, whole.predictions.at(-1)));
      return `features with a cosine similarity of ${alike} to the whole photo’s`;
    }
    const shares = probabilities(last);
    const first = highestOf(shares);
    return `${this.names[first]}, ${percent(shares[first])}`;
  }

  show({ now, whole }) {
    this.el.classList.toggle("vt-waiting", !now);
    if (!now) return;
    this.first.replaceChildren(
      this.isHeadless ? this.explanation() : this.bars(now, whole),
    );
    this.second.textContent = this.isHeadless
      ? "cosine similarity with the whole photo’s, by layer"
      : `${this.followedName(whole)} by layer · top class`;
    this.layers.replaceChildren(
      ...now.predictions.map((logits, layer) =>
        this.line(logits, layer, whole),
      ),
    );
  }

  explanation() {
    return element(
      "p",
      {},
      `This model has no classifier: it ends with ${this.config.dim} features ` +
        "of the class token.",
    );
  }

  // The highest classes, first the highest; a thin mark is the whole photo's.
  bars(now, whole) {
    const [shares, before] = [now, whole].map(({ predictions }) =>
      probabilities(predictions.at(-1)),
    );
    const highest = shares
      .map((_, i) => i)
      .sort((a, b) => shares[b] - shares[a])
      .slice(0, SHOWN);
    const lines = highest.map((i, rank) =>
      element(
        "li",
        { class: rank ? "vt-answer" : "vt-answer vt-answer-first" },
        element("span", { class: "vt-answer-name" }, this.names[i]),
        bar(shares[i], before[i]),
        element("span", { class: "vt-answer-share" }, percent(shares[i])),
      ),
    );
    return element("ul", { class: "vt-answers" }, ...lines);
  }

  // After one layer: a bar and a number for what is followed, and the class
  // that leads there.
  line(logits, layer, whole) {
    const value = this.followed(logits, whole);
    const leader = this.isHeadless
      ? ""
      : this.names[highestOf(probabilities(logits))];
    return element(
      "li",
      { class: "vt-layer" },
      element("span", {}, String(layer)),
      bar(value),
      element("span", { class: "vt-answer-share" }, this.written(value)),
      element("span", { class: "vt-leader" }, leader),
    );
  }
}

function bar(share, before) {
  const length = element("span", { class: "vt-answer-length" });
  length.style.width = `${Math.max(0, 100 * share)}%`;
  const attributes = { class: "vt-answer-bar", "aria-hidden": "true" };
  const root = element("span", attributes, length);
  if (before === undefined) return root;
  const mark = element("span", { class: "vt-answer-before" });
  mark.style.left = `${100 * before}%`;
  root.append(mark);
  return root;
}

function cosine(a, b) {
  let [dot, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return dot / Math.sqrt(aa * bb || 1);
}
