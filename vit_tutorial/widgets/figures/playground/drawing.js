// A pad to draw an image on, pixel by pixel: with a mouse, a finger, or the keyboard. `surface` is
// where one draws, `el` what belongs below it.

import { element } from "../../page/elements.js";

const INK = 180; // about as light as clothes are in the images

export class Pad {
  // onchange(bytes): something was drawn or wiped.
  constructor({ size: [height, width], onchange }) {
    Object.assign(this, { height, width, onchange });
    this.bytes = new Uint8Array(height * width);
    this.pen = { x: width >> 1, y: height >> 1 };
    this.down = false; // for the keyboard: whether moving the pen draws
    this.erasing = false;
    this.thick = Math.max(1, Math.round(width / 14));
    this.canvas = element("canvas", { width, height, class: "vt-picture", "aria-hidden": "true" });
    this.mark = element("span", { class: "vt-pen", "aria-hidden": "true" });
    this.surface = element(
      "div",
      {
        class: "vt-grid vt-pad",
        tabindex: 0,
        role: "application",
        "aria-label":
          `Drawing, ${height} by ${width} pixels. Arrow keys move the pen, ` +
          "with Shift by four pixels; Space puts it down and lifts it.",
        onkeydown: (event) => this.key(event),
        onpointerdown: (event) => this.press(event),
        onpointermove: (event) => this.drag(event),
      },
      this.canvas,
      this.mark,
    );
    this.surface.style.setProperty("--vt-rows", height);
    this.surface.style.setProperty("--vt-columns", width);
    this.where = element("p", { class: "vt-label", "aria-live": "polite" });
    const eraser = element("input", {
      type: "checkbox",
      onchange: () => (this.erasing = eraser.checked),
    });
    const pen = element(
      "select",
      { "aria-label": "pen", onchange: () => (this.thick = Number(pen.value)) },
      ...[1, this.thick, 2 * this.thick].map((size, i) =>
        element("option", { value: size }, ["thin", "medium", "thick"][i]),
      ),
    );
    pen.value = this.thick;
    this.el = element(
      "div",
      { class: "vt-drawing" },
      this.where,
      element(
        "div",
        { class: "vt-controls" },
        element("label", { class: "vt-control" }, "pen", pen),
        element("label", { class: "vt-control" }, eraser, "erase"),
        element("button", { type: "button", onclick: () => this.clear() }, "Clear"),
      ),
    );
    this.show(this.bytes);
  }

  show(bytes) {
    this.bytes = Uint8Array.from(bytes);
    const context = this.canvas.getContext("2d");
    if (!context) throw new Error("this browser does not draw on a canvas");
    const image = context.createImageData(this.width, this.height);
    this.bytes.forEach((byte, i) => image.data.set([byte, byte, byte, 255], 4 * i));
    context.putImageData(image, 0, 0);
    const { x, y } = this.pen;
    this.mark.style.left = `${(100 * x) / this.width}%`;
    this.mark.style.top = `${(100 * y) / this.height}%`;
    this.mark.dataset.down = this.down;
    const pen = this.down ? "down" : "up";
    this.where.textContent = `The pen is ${pen}, in row ${y + 1}, column ${x + 1}.`;
  }

  clear() {
    this.show(new Uint8Array(this.height * this.width));
    this.onchange(this.bytes);
  }

  press(event) {
    if (event.button) return;
    event.preventDefault();
    this.surface.focus({ preventScroll: true });
    this.surface.setPointerCapture(event.pointerId);
    this.pen = this.pixel(event);
    this.draw(this.pen);
  }

  drag(event) {
    if (!(event.buttons & 1) || !this.surface.hasPointerCapture(event.pointerId)) return;
    this.draw(this.pixel(event));
  }

  pixel({ clientX, clientY }) {
    const box = this.surface.getBoundingClientRect();
    const at = (offset, length, count) =>
      Math.min(Math.max(Math.floor((offset / length) * count), 0), count - 1);
    return {
      x: at(clientX - box.left, box.width, this.width),
      y: at(clientY - box.top, box.height, this.height),
    };
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key === " ") this.down = !this.down;
    else if (!steps[event.key]) return;
    event.preventDefault();
    const far = event.shiftKey ? 4 : 1;
    const [right, below] = (steps[event.key] ?? [0, 0]).map((step) => step * far);
    const to = {
      x: Math.min(Math.max(this.pen.x + right, 0), this.width - 1),
      y: Math.min(Math.max(this.pen.y + below, 0), this.height - 1),
    };
    if (this.down) this.draw(to);
    else {
      this.pen = to;
      this.show(this.bytes);
    }
  }

  // A line from the pen to a pixel, a blot at every step.
  draw(to) {
    const bytes = Uint8Array.from(this.bytes);
    const { x, y } = this.pen;
    const steps = Math.max(Math.abs(to.x - x), Math.abs(to.y - y), 1);
    for (let step = 0; step <= steps; step++) {
      const part = step / steps;
      this.blot(bytes, Math.round(x + part * (to.x - x)), Math.round(y + part * (to.y - y)));
    }
    this.pen = to;
    this.show(bytes);
    this.onchange(this.bytes);
  }

  blot(bytes, x, y) {
    const first = -((this.thick - 1) >> 1);
    for (let row = y + first; row < y + first + this.thick; row++) {
      for (let column = x + first; column < x + first + this.thick; column++) {
        if (row < 0 || row >= this.height || column < 0 || column >= this.width) continue;
        bytes[row * this.width + column] = this.erasing ? 0 : INK;
      }
    }
  }
}
