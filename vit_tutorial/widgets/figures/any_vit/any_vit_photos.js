// The photos to choose from, one of the reader's own, and the camera.

import { element, picture } from "../../page/elements.js";
import { fromBase64 } from "../../engine/dequantise.js";
import { photoOf, readPhoto } from "../../page/photo.js";
import { Camera } from "../../page/photo_camera.js";

export class Photos {
  // pictures: images of the figure's own, as unpackPictures returns them.
  // photos: JPEG files in base64, { name, jpeg }. name: of the radio buttons,
  // for the page alone. choose(index): one of all these. show(photo): the
  // reader's own; returns a promise, for the camera to wait for.
  constructor({ pictures, photos, name, choose, show }) {
    this.show_ = show;
    this.first = pictures.length; // the first photo
    this.all = [
      ...pictures.map((each) => ({
        ...{ name: each.name, shown: picture(each.shape, each.bytes) },
        pixels: async () => photoOf(each),
      })),
      ...photos.map(fromJpeg),
    ];
    this.radios = this.all.map(({ name: what }, index) =>
      element("input", {
        ...{ type: "radio", name, "aria-label": what },
        onchange: () => this.stop() || choose(index),
      }),
    );
    const thumbs = this.all.map(({ name: title, shown }, index) =>
      element("label", { class: "vt-thumb", title }, this.radios[index], shown),
    );
    const group = {
      class: "vt-thumbs",
      role: "radiogroup",
      "aria-label": "photo",
    };
    this.file = element("input", {
      ...{ type: "file", accept: "image/*,.heic" },
      onchange: () => this.open(this.file.files),
    });
    this.camera = new Camera((photo) => show(own(photo)));
    const onclick = () => this.turnCamera();
    this.button = element(
      "button",
      { type: "button", onclick },
      "Use the camera",
    );
    this.note = element("p", { class: "vt-note", role: "alert", hidden: "" });
    this.el = element(
      "div",
      { class: "vt-photos" },
      element("div", group, ...thumbs),
      element(
        "div",
        { class: "vt-controls" },
        element("label", { class: "vt-control" }, "Your photo", this.file),
        this.button,
      ),
      this.note,
    );
  }

  get count() {
    return this.all.length;
  }

  at(index) {
    return this.all[index];
  }

  // Open a photo among files that were chosen, dropped or pasted.
  async open([file]) {
    const latest = (this.latest = {});
    this.stop();
    this.note.hidden = true;
    try {
      if (!file) throw new Error("There was no photo in that.");
      const photo = await readPhoto(file);
      if (this.latest === latest) this.show_(own(photo));
    } catch (error) {
      if (this.latest === latest) this.say(error);
    }
  }

  async turnCamera() {
    this.note.hidden = true;
    if (this.camera.isOn) return this.stop();
    try {
      await this.camera.start();
      this.button.textContent = "Stop the camera";
    } catch (error) {
      this.say(error);
    }
  }

  stop() {
    this.camera.stop();
    this.button.textContent = "Use the camera";
  }

  end() {
    this.camera.stop();
  }

  say({ message }) {
    this.note.textContent = message;
    this.note.hidden = false;
  }

  // chosen: an index, or null for the reader's own. isOwn: whether the figure's
  // own model looks, which has small images of its own.
  show(chosen, isOwn) {
    this.radios.forEach((radio, index) => {
      radio.checked = index === chosen;
      const isLeft = !isOwn && index < this.first && this.first < this.count;
      radio.parentElement.hidden = isLeft && !radio.checked;
    });
  }
}

// One that comes with the page; it is opened when it is first looked at.
function fromJpeg({ name, jpeg }) {
  const blob = new Blob([fromBase64(jpeg)], { type: "image/jpeg" });
  const src = `data:image/jpeg;base64,${jpeg}`;
  let opened;
  return {
    name,
    shown: element("img", { src, alt: "", class: "dark-light" }),
    pixels: () => (opened ??= readPhoto(blob)),
  };
}

function own(photo) {
  return { name: photo.name, pixels: async () => photo };
}
