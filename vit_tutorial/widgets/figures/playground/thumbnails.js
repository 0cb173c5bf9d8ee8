// The images to choose from, and the reader's own; those that the model gets
// wrong carry a mark.

import { element, picture } from "../../page/elements.js";
import { OWN } from "./playground_state.js";

export class Thumbnails {
  // pictures: as unpackPictures returns them. name: of the group, for the page
  // alone. choose(index): one of them, or OWN.
  constructor({ pictures, size, name, choose }) {
    this.size = size;
    const thumb = (index, what, ...shown) => {
      const radio = element("input", {
        type: "radio",
        name,
        "aria-label": what,
        onchange: () => choose(index),
      });
      const el = element(
        "label",
        { class: "vt-thumb", title: what },
        radio,
        ...shown,
      );
      return { index, radio, el };
    };
    this.ownShown = element("span", { class: "vt-thumb-own" });
    this.thumbs = [
      ...pictures.map(({ shape, bytes, name: what }, index) =>
        thumb(index, what, picture(shape, bytes)),
      ),
      thumb(OWN, "your own image", this.ownShown),
    ];
    this.el = element(
      "div",
      { class: "vt-thumbs", role: "radiogroup", "aria-label": "image" },
      ...this.thumbs.map(({ el }) => el),
    );
  }

  // chosen: an index, or OWN. own: the bytes of the reader's, all 0 if there is
  // none yet.
  show(chosen, own) {
    for (const { index, radio } of this.thumbs) {
      radio.checked = index === chosen;
    }
    this.ownShown.replaceChildren(picture([1, ...this.size], own));
  }

  // Mark an image that the model gets wrong.
  mark(index, question) {
    const { el, radio } = this.thumbs[index];
    const what = `${radio.ariaLabel}: ${question}`;
    radio.ariaLabel = el.title = what;
    el.append(element("span", { class: "vt-thumb-mark" }, "?"));
  }
}
