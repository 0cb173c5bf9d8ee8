// What the model makes of single images: where it attends in one of them, and
// which of the held-out ones it gets wrong.

import { element, label, picture } from "../../page/elements.js";
import { bestAnswer, highestOf } from "../../page/answers.js";
import { probabilities } from "../../page/page_model.js";
import { paint } from "../../page/maps.js";

const SHOWN = 6; // mistakes

export class Attention {
  // pictures: as unpackPictures returns them. choose(index). name: of the
  // group of inputs, for the page alone.
  constructor({ pictures, names, choose, name }) {
    Object.assign(this, { pictures, names });
    const radio = (index) =>
      element("input", {
        type: "radio",
        name,
        "aria-label": pictures[index].name,
        onchange: () => choose(index),
      });
    this.radios = pictures.map((_, index) => radio(index));
    const thumbs = pictures.map(({ shape, bytes, name: title }, index) =>
      element(
        "label",
        { class: "vt-train-thumb", title },
        this.radios[index],
        picture(shape, bytes),
      ),
    );
    this.title = label();
    this.said = label();
    this.maps = element("div", { class: "vt-train-maps", role: "img" });
    this.el = element(
      "div",
      { class: "vt-column vt-train-attention" },
      this.title,
      element(
        "div",
        {
          class: "vt-train-thumbs",
          role: "radiogroup",
          "aria-label": "The image",
        },
        ...thumbs,
      ),
      this.maps,
      this.said,
    );
  }

  show(vit, index) {
    const { bytes, name } = this.pictures[index];
    this.radios.forEach((radio, i) => (radio.checked = i === index));
    const { heads, depth } = vit.config;
    const who = vit.numPrefix ? "the class token attends" : "patches attend";
    this.title.textContent = `where ${who}`;
    const { layers, logits } = vit.forward(bytes);
    const answer = bestAnswer(this.names, probabilities(logits));
    const isUntrained = logits.every((logit) => logit === logits[0]);
    this.said.textContent = isUntrained
      ? `untrained: ten classes, each 10% (label: ${name})`
      : `${answer} (label: ${name})`;
    const canvases = [];
    for (let head = 0; head < heads; head++) {
      for (const { attention } of layers) {
        canvases.push(mapOf(vit, attention, head));
      }
    }
    this.maps.style.setProperty("--vt-layers", depth);
    this.maps.style.setProperty("--vt-heads", heads);
    this.maps.replaceChildren(...canvases);
    this.maps.setAttribute(
      "aria-label",
      `Attention maps of ${name}: a row for each of ${heads} heads, a column ` +
        `for each of ${depth} layers`,
    );
  }
}

// What one head attends to, a pixel a patch: as the class token does, or the
// patches on average.
function mapOf(vit, attention, head) {
  const [height, width] = vit.grid;
  const prefix = vit.numPrefix;
  const n = prefix + height * width;
  const rows = prefix ? 1 : n;
  const shares = Array(height * width).fill(0);
  for (let row = 0; row < rows; row++) {
    const start = (head * n + row) * n + prefix;
    shares.forEach((_, i) => (shares[i] += attention[start + i] / rows));
  }
  const canvas = element("canvas", { width, height });
  paint(canvas, shares, Math.max(...shares));
  return canvas;
}

export class Mistakes {
  constructor(names) {
    this.names = names;
    this.title = label("held-out mistakes");
    this.list = element("ul", { class: "vt-train-mistakes" });
    this.el = element("div", { class: "vt-column" }, this.title, this.list);
  }

  // wrong: numbers of held-out images. heldOut: { images, labels }.
  show(vit, wrong, { images, labels }) {
    const size = images.length / labels.length;
    const [height, width] = vit.imageSize;
    const line = (index) => {
      const bytes = images.subarray(index * size, (index + 1) * size);
      const said = this.names[highestOf([...vit.logits(bytes)])];
      const frame = { class: "vt-train-mistake" };
      return element(
        "li",
        {},
        element("span", frame, picture([1, height, width], bytes)),
        element(
          "span",
          {},
          `label ${this.names[labels[index]]}, predicted ${said}`,
        ),
      );
    };
    this.list.replaceChildren(...wrong.slice(0, SHOWN).map(line));
  }

  clear() {
    this.list.replaceChildren();
  }
}
