// An image of the reader's own, drawn or uploaded.

import { element } from "../../page/elements.js";
import { Bring } from "./bring.js";
import { Pad } from "./drawing.js";
import { OWN, toBase64 } from "./playground_state.js";

const LARGEST_IN_LINK = 4096; // bytes of an own image: more makes no address

export class OwnImage {
  constructor(figure) {
    this.figure = figure;
    const size = figure.vit.imageSize;
    const own = (bytes) => ({ picture: OWN, own: toBase64(bytes) });
    this.pad = new Pad({
      size,
      onchange: (bytes) => figure.act(own(bytes), "stroke"),
    });
    for (const event of ["pointerup", "keyup"]) {
      this.pad.surface.addEventListener(event, () => figure.undo.rest());
    }
    this.bring = new Bring({
      size,
      remarks: this.remarks(figure),
      onpicture: (bytes) => figure.act(own(bytes)),
    });
    this.el = element("div", {}, this.pad.el, this.bring.el);
  }

  remarks({ vit: { config, imageSize }, names, model }) {
    const [height, width] = imageSize;
    const clothes = config.dataset === "fashion_mnist";
    const kept = this.isLarge ? "leaves it out" : "holds it";
    return [
      `The model was trained on grey images of ${width} × ${height} pixels` +
        (clothes ? ", each of one piece of clothing, light on black. " : ". ") +
        `It always predicts one of its ${names.length} classes: there is no ` +
        "“none of these”.",
      `Your image is shrunk to ${width} × ${height} grey pixels here, ` +
        (model.link
          ? `and sent nowhere; a link that you copy ${kept}.`
          : "and goes to your notebook’s kernel."),
    ];
  }

  get isLarge() {
    const [height, width] = this.figure.vit.imageSize;
    return height * width > LARGEST_IN_LINK;
  }

  // What a link holds of the state: too large an own image stays behind.
  shareable(shared) {
    const picture = Math.max(shared.picture, 0);
    return this.isLarge ? { ...shared, own: "", picture } : shared;
  }

  show({ bytes }) {
    const { mode } = this.figure;
    this.pad.el.hidden = this.pad.surface.hidden = mode !== "draw";
    this.bring.el.hidden = mode !== "upload";
    if (mode === "draw") this.pad.show(bytes);
  }
}
