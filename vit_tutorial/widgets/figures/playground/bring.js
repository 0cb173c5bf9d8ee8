// An image that the reader uploads: opened, shrunk and turned grey in the page,
// and sent nowhere.

import { element } from "../../page/elements.js";

const MOST = 20; // megabytes
const LONGEST = 8000; // pixels a side: more would take gigabytes once it is unpacked
const FINE = 8; // the image is first drawn so many times larger, then averaged

// Read a file as a grey image of height * width bytes, all of it, in the middle. Around it is the
// mean of its own edge. Returns { bytes, light }: light says that the edge is nearer white than
// black. Throws an Error with a line for the reader.
export async function readPicture(file, [height, width]) {
  const name = `“${file.name || "this"}”`;
  if (!file.type.startsWith("image/")) throw new Error(`${name} is not an image.`);
  if (file.size > MOST * 2 ** 20) {
    throw new Error(`${name} is larger than ${MOST} megabytes. Use a smaller copy.`);
  }
  const address = URL.createObjectURL(file);
  try {
    const image = new Image();
    await new Promise((resolve, reject) => {
      image.onload = resolve;
      image.onerror = () =>
        reject(new Error(`${name} cannot be opened: it is damaged, or of an unknown kind.`));
      image.src = address;
    });
    const [across, down] = [image.naturalWidth, image.naturalHeight];
    if (Math.max(across, down) > LONGEST) {
      throw new Error(
        `${name} is ${across} × ${down} pixels. The limit is ${LONGEST} a side: ` +
          "use a smaller copy.",
      );
    }
    return shrink(image, across || width, down || height, height, width);
  } finally {
    URL.revokeObjectURL(address);
  }
}

function shrink(image, across, down, height, width) {
  const scale = FINE * Math.min(width / across, height / down);
  const w = Math.max(1, Math.round(across * scale));
  const h = Math.max(1, Math.round(down * scale));
  const context = element("canvas", { width: w, height: h }).getContext("2d");
  if (!context) throw new Error("This browser does not draw on a canvas.");
  context.fillStyle = "white"; // behind what is transparent
  context.fillRect(0, 0, w, h);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, w, h);
  const { data } = context.getImageData(0, 0, w, h);
  const grey = (x, y) => {
    const i = 4 * (y * w + x);
    return 0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2];
  };

  let [edge, count] = [0, 0];
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x += y === 0 || y === h - 1 ? 1 : Math.max(w - 1, 1)) {
      edge += grey(x, y);
      count++;
    }
  }
  edge /= count;

  const bytes = new Uint8Array(height * width);
  const [left, top] = [Math.floor((FINE * width - w) / 2), Math.floor((FINE * height - h) / 2)];
  for (let i = 0; i < bytes.length; i++) {
    let sum = 0;
    for (let j = 0; j < FINE * FINE; j++) {
      const x = FINE * (i % width) + (j % FINE) - left;
      const y = FINE * Math.floor(i / width) + Math.floor(j / FINE) - top;
      sum += x >= 0 && x < w && y >= 0 && y < h ? grey(x, y) : edge;
    }
    bytes[i] = Math.round(sum / FINE ** 2);
  }
  return { bytes, light: edge > 127 };
}

// The panel: a file, chosen, dropped or pasted, and whether to invert its colours.
export class Bring {
  // remarks: lines on what the model knows, and on where the image goes. onpicture(bytes): here.
  constructor({ size, remarks, onpicture }) {
    Object.assign(this, { size, onpicture });
    this.bytes = null;
    this.file = element("input", {
      type: "file",
      accept: "image/*",
      onchange: () => this.file.files.length && this.open(this.file.files[0]),
    });
    this.invert = element("input", { type: "checkbox", disabled: "", onchange: () => this.hand() });
    this.note = element("p", { class: "vt-note", role: "alert", hidden: "" });
    this.el = element(
      "div",
      {
        class: "vt-bring",
        ondragover: (event) => event.preventDefault(),
        ondrop: (event) => {
          event.preventDefault();
          this.take(event.dataTransfer);
        },
        onpaste: (event) => this.take(event.clipboardData),
      },
      ...remarks.map((line) => element("p", {}, line)),
      element(
        "div",
        { class: "vt-controls" },
        element("label", { class: "vt-control" }, "An image: choose it or drop it here", this.file),
        element("label", { class: "vt-control" }, this.invert, "Invert colours"),
      ),
      this.note,
    );
  }

  take({ files }) {
    if (files.length) this.open(files[0]);
    else this.say("There was no image in that.");
  }

  // Read a file and hand its image on, unless another file was opened meanwhile.
  async open(file) {
    this.latest = file;
    try {
      const { bytes, light } = await readPicture(file, this.size);
      if (this.latest !== file) return;
      this.bytes = bytes;
      this.invert.disabled = false;
      this.invert.checked = light; // what the model knows is light on black
      this.note.hidden = true;
      this.hand();
    } catch (error) {
      if (this.latest === file) this.say(error.message);
    }
  }

  hand() {
    this.onpicture(this.invert.checked ? this.bytes.map((byte) => 255 - byte) : this.bytes);
  }

  say(text) {
    this.note.textContent = text;
    this.note.hidden = false;
  }
}
