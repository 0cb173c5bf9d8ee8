// How a photo is prepared for the model: resized, its centre cut out,
// normalised. Shown in a line, and changeable; and what a checkpoint's shapes
// do not tell, the number of heads.

import { element } from "../../page/elements.js";
import { INTERPOLATIONS } from "../../engine/resample.js";

const NORMAL = {
  "to −1 … 1": [0.5, 0.5],
  "by ImageNet’s mean and std": [
    [0.485, 0.456, 0.406],
    [0.229, 0.224, 0.225],
  ],
};
const CROPS = [1, 0.95, 0.9, 0.875];
const SIZES = [224, 256, 288, 336, 384, 448, 512, 518];

export class Preparation {
  // found: what `describe` found. change(): another preparation is chosen.
  // again({ heads, side }): the model is to be read in another way.
  constructor({ checkpoint, found, isOpen, change, again }) {
    const { config } = found;
    Object.assign(this, { config, change });
    const { channels } = config;
    const none = Array(channels).fill(0);
    const normal = {
      "as its config says": [
        config.mean ?? none,
        config.std ?? none.map(() => 1),
      ],
    };
    for (const [name, both] of Object.entries(NORMAL))
      normal[name] = both.map((each) =>
        Array.from(
          { length: channels },
          (_, c) => [each].flat()[c] ?? [each].flat()[0],
        ),
      );
    if (checkpoint && !Object.keys(checkpoint.beside).length) {
      normal["as such models usually have it"] = normal["as its config says"];
      delete normal["as its config says"];
    }
    this.normal = normal;
    this.line = element("span", { class: "vt-label" });
    const onclick = () => this.turn(!this.isOpen);
    this.button = element(
      "button",
      { type: "button", onclick },
      "Preprocessing",
    );
    this.panel = element("div", { class: "vt-controls vt-panel" });
    this.buildControls();
    if (checkpoint) this.buildReading(checkpoint, found, again);
    this.el = element(
      "div",
      { class: "vt-preparation" },
      element("div", { class: "vt-controls" }, this.button, this.line),
      this.panel,
    );
    this.turn(isOpen ?? false);
    this.reset();
  }

  turn(isOpen) {
    this.isOpen = isOpen;
    this.panel.hidden = !isOpen;
    this.button.setAttribute("aria-expanded", isOpen);
  }

  select(name, options, onchange) {
    const made = options.map((text) => element("option", {}, String(text)));
    const select = element("select", { name, onchange }, ...made);
    this.panel.append(element("label", { class: "vt-control" }, name, select));
    return select;
  }

  buildControls() {
    const change = () => {
      this.read();
      this.change();
    };
    const own = this.config.crop ?? 1;
    this.crops = [...new Set([own, ...CROPS])];
    const shares = this.crops.map((crop) => `${+(100 * crop).toFixed(1)}%`);
    this.crop = this.select("centre crop", shares, change);
    const fits = ["keep its shape", "squeeze it"];
    this.stretch = this.select("a long photo", fits, change);
    this.filter = this.select("resize", INTERPOLATIONS, change);
    this.normalise = this.select("normalise", Object.keys(this.normal), change);
  }

  // How the checkpoint itself is read.
  buildReading({ heads, side }, { config, trained }, again) {
    const inner = config.heads * config.dim_head;
    const divides = (n) => inner % n === 0 && inner / n >= 4;
    const counts = Array.from({ length: 32 }, (_, i) => i + 1).filter(divides);
    const choice = { heads: heads ?? config.heads, side };
    const heads_ = this.select("heads", counts, () =>
      again({ ...choice, heads: counts[heads_.selectedIndex] }),
    );
    heads_.selectedIndex = counts.indexOf(config.heads);
    const [patch] = config.patch_size;
    const sides = [...new Set([trained[0], ...SIZES])].filter(
      (n) => !(n % patch),
    );
    const side_ = this.select("image size", sides, () =>
      again({ ...choice, side: sides[side_.selectedIndex] }),
    );
    side_.selectedIndex = sides.indexOf(config.image_size[0]);
  }

  reset() {
    this.crop.selectedIndex = 0;
    this.stretch.selectedIndex = this.config.stretch ? 1 : 0;
    const { interpolation = "bicubic" } = this.config;
    this.filter.selectedIndex = INTERPOLATIONS.indexOf(interpolation);
    this.normalise.selectedIndex = Object.keys(this.normal).findIndex((name) =>
      name.startsWith("as "),
    );
    this.read();
  }

  // What the controls say now.
  read() {
    const crop = this.crops[this.crop.selectedIndex];
    const stretch = this.stretch.selectedIndex === 1;
    const interpolation = INTERPOLATIONS[this.filter.selectedIndex];
    const [mean, std] = this.normal[this.normalise.value];
    const size = [this.config.image_size].flat();
    const [height, width] = [size[0], size[1] ?? size[0]];
    const { channels } = this.config;
    this.now = {
      ...{ size: [height, width], channels, crop, stretch },
      ...{ interpolation, mean, std },
    };
    const to = Math.floor(Math.min(height, width) / crop + 1e-6);
    const resized = stretch ? "both sides" : "the shorter side";
    const written = (numbers) =>
      [...new Set(numbers)].map((each) => +each.toFixed(3)).join(", ");
    this.line.textContent =
      `${resized} to ${to}, ${interpolation}; the centre, ${height} × ${width}; ` +
      `mean ${written(mean)}; std ${written(std)}`;
  }
}
