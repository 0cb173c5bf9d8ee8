// A checkpoint that the reader brings: chosen or dropped, described, and opened
// once its size is agreed on. It is read in the page, and sent nowhere.

import { element } from "../../page/elements.js";
import { checkpointAmong } from "../../page/checkpoint.js";
import { described, HUBS } from "./any_vit_words.js";

const LARGE = 1e9; // bytes of memory: the reader is asked first

export class Bring {
  // use(checkpoint, found): look into it; (null, …) is the figure's own model.
  constructor({ looks, own, use }) {
    Object.assign(this, { looks, own, use });
    const button = (text, onclick) =>
      element("button", { type: "button", onclick }, text);
    this.button = button("Open a checkpoint", () =>
      this.turn(this.panel.hidden),
    );
    this.back = button("Back to the book’s model", () => this.giveBack());
    this.file = element("input", {
      ...{ type: "file", multiple: "", accept: ".safetensors,.json" },
      onchange: () => this.open([...this.file.files]),
    });
    this.about = element("span", { class: "vt-label vt-about" });
    this.note = element("p", { class: "vt-note", role: "alert", hidden: "" });
    this.asked = element("div", { class: "vt-controls", hidden: "" });
    this.panel = element(
      "div",
      { class: "vt-bring", hidden: "" },
      element(
        "label",
        { class: "vt-control" },
        "A ViT’s model.safetensors, with its config.json and " +
          "preprocessor_config.json if you have them: choose them or drop them " +
          "anywhere on the figure",
        this.file,
      ),
      element(
        "p",
        { class: "vt-label" },
        "The page reads timm’s, Hugging Face’s, torchvision’s and this book’s " +
          "names, Ti to L, and the file stays on your computer. You find such " +
          `files at huggingface.co, for instance under ${HUBS}.`,
      ),
    );
    const line = { class: "vt-controls" };
    this.el = element(
      "div",
      { class: "vt-brought" },
      element("div", line, this.button, this.back, this.about),
      this.panel,
      this.asked,
      this.note,
    );
  }

  turn(isOpen) {
    this.panel.hidden = !isOpen;
    this.button.setAttribute("aria-expanded", isOpen);
  }

  giveBack() {
    this.latest = null;
    this.use(null, this.own);
    this.button.focus({ preventScroll: true });
  }

  async open(files) {
    this.hide();
    const latest = (this.latest = {});
    const name = files[0]?.name ?? "";
    try {
      const checkpoint = await checkpointAmong(files);
      if (this.latest === latest) await this.read(checkpoint, {}, latest);
    } catch ({ message }) {
      if (this.latest === latest) this.refuse(name, message);
    }
  }

  // The same file in another way: { heads, side }.
  async again(choices) {
    const latest = (this.latest = {});
    this.hide();
    try {
      await this.read(this.checkpoint, choices, latest);
    } catch ({ message }) {
      if (this.latest === latest)
        this.refuse(this.checkpoint.file.name, message);
    }
  }

  async read(checkpoint, choices, latest) {
    const asked = { ...checkpoint, ...choices };
    const found = await this.looks.describe(asked);
    if (this.latest !== latest) return;
    const accept = () => {
      this.hide();
      this.checkpoint = asked;
      this.turn(false);
      this.use(asked, found);
    };
    if (found.bytes <= LARGE || this.checkpoint?.file === checkpoint.file)
      accept();
    else this.ask(found, accept);
  }

  // Before much memory is taken.
  ask({ bytes }, accept) {
    const button = (text, onclick) =>
      element("button", { type: "button", onclick }, text);
    const gigabytes = (bytes / 1e9).toFixed(1);
    this.asked.replaceChildren(
      element(
        "span",
        { role: "status" },
        `Opening it takes about ${gigabytes} GB of memory.`,
      ),
      button("Open it", accept),
      button("Cancel", () => this.hide()),
    );
    this.asked.hidden = false;
    this.asked.querySelector("button").focus({ preventScroll: true });
  }

  refuse(name, message) {
    const isWhole = /^(“|There|A )/.test(message);
    this.note.textContent = isWhole
      ? message
      : `“${name}” cannot be opened: ${message}.`;
    this.note.hidden = false;
    this.turn(true);
  }

  hide() {
    this.note.hidden = true;
    this.asked.hidden = true;
  }

  show(checkpoint, found) {
    this.back.hidden = checkpoint === null;
    this.about.textContent = described(checkpoint, found);
  }
}
