// An image of the reader's own, drawn or uploaded.

import { element } from "../../page/elements.js";
import { toBase64 } from "../../page/packed_image.js";
import { Bring } from "./bring.js";
import { Pad } from "./drawing.js";
import { OWN } from "./playground_state.js";

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
    const kept = this.isLarge ? "leaves it out" : "holds it, in 16 greys";
    return [
      `The model was trained on grey images of ${width} × ${height} pixels` +
        (clothes ? ", each of one piece of clothing, light on black. " : ". ") +
        `It always predicts one of its ${names.length} classes: there is no ` +
        "“none of these”.",
      `Your image is shrunk to ${width} × ${height} grey pixels here, ` +
        (model.address
          ? `and sent nowhere; the page’s address ${kept}.`
          : "and goes to your notebook’s kernel."),
    ];
  }

  get isLarge() {
    const [height, width] = this.figure.vit.imageSize;
    return height * width > LARGEST_IN_LINK;
  }

  // What a link holds of the state: an own image that is too large stays
  // behind, and so does one that is not shown.
  shareable(state) {
    const isShown = state.picture === OWN;
    if (isShown && !this.isLarge) return state;
    return { ...state, own: "", picture: Math.max(state.picture, 0) };
  }

  show({ bytes }) {
    const { mode } = this.figure;
    this.pad.el.hidden = this.pad.surface.hidden = mode !== "draw";
    this.bring.el.hidden = mode !== "upload";
    if (mode === "draw") this.pad.show(bytes);
  }
}
