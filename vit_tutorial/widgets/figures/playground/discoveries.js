// Discoveries that a reader can set up in place. Each is looked for on the
// image and the model at hand; one that isn't there is not offered.

import { highestOf } from "../../page/answers.js";
import { element, label } from "../../page/elements.js";
import { shuffled } from "../../page/shuffle.js";
import { UNTOUCHED, interventions } from "./playground_state.js";
import { addPatches, removePatches } from "./fewest_patches.js";

const FOOLED = 12; // patches to remove at most
const SUFFICE = 6; // patches to keep at most
const OUTSIDE = 0.1; // of an object's brightness: its edges may be cut off
const HOT = 4; // a temperature

export class Discoveries {
  constructor(figure) {
    this.figure = figure;
    this.el = element("div", { class: "vt-discoveries vt-controls" });
  }

  clear() {
    this.el.replaceChildren(label("Try"));
  }

  // Look for all of them, and offer each as it is found. many: as Work gives it
  // (background.js).
  async of(bytes, many) {
    const look = new Look(this.figure, bytes, many);
    for (const search of SEARCHES) {
      const found = await search(look);
      if (found) this.offer(found);
    }
  }

  // The Worker failed: nothing more can be found.
  fail({ message }) {
    this.el.append(label(`The discoveries cannot be computed: ${message}.`));
  }

  offer([text, changes]) {
    const { figure } = this;
    const set = () =>
      figure.rearrange({ ...UNTOUCHED, ...changes(figure.get("seed")) });
    const button = { type: "button", onclick: set };
    this.el.append(element("button", button, text));
  }
}

// An image, and what the model makes of it.
class Look {
  constructor({ vit, names, passes }, bytes, many) {
    Object.assign(this, { vit, names, bytes, many });
    this.all = shuffled(passes.patches, 0);
    this.answer = highestOf(passes.whole(bytes).now);
    this.light = this.all.map((patch) => this.lightOf(patch));
    this.black = this.all.filter((patch) => !this.light[patch]);
  }

  // The sum of a patch's bytes.
  lightOf(patch) {
    const { vit, bytes } = this;
    const [height, width] = vit.patchSize;
    const left = (patch % vit.grid[1]) * width;
    const top = Math.floor(patch / vit.grid[1]) * height;
    let sum = 0;
    for (let y = top; y < top + height; y++) {
      const row = y * vit.imageSize[1] + left;
      sum = bytes.subarray(row, row + width).reduce((a, b) => a + b, sum);
    }
    return sum;
  }

  without(patches) {
    return this.all.filter((patch) => !patches.includes(patch));
  }

  // The probabilities in a changed state, or null where nothing is left to
  // read.
  async now(changes) {
    const state = { ...UNTOUCHED, ...changes };
    const asked = interventions(state, this.all.length);
    if (!asked.keep.length && !this.vit.numPrefix) return null;
    const [now] = await this.many(this.bytes, [asked]);
    return now;
  }

  async stays(changes) {
    const now = await this.now(changes);
    return now && highestOf(now) === this.answer;
  }
}

// Each search returns [what the button says, the changes that it makes], or
// nothing.
const SEARCHES = [
  async function suffice(look) {
    const { many, bytes, answer, all } = look;
    const [seen, p] = await addPatches(many, bytes, all, answer, SUFFICE);
    const { length } = seen;
    if (p <= 0.5 || length > all.length / 2) return null;
    const dropped = look.without(seen);
    const patches = length === 1 ? "patch" : "patches";
    return [`Keep only ${length} ${patches}`, () => ({ dropped })];
  },
  async function fool({ many, bytes, answer, all }) {
    const dropped = await removePatches(many, bytes, all, answer, FOOLED);
    return dropped && [`Remove ${dropped.length} to fool it`, () => ({ dropped })];
  },
  async function background(look) {
    const dropped = look.without(look.black);
    if (!look.black.length || (await look.stays({ dropped }))) return null;
    return ["Keep only the background", () => ({ dropped })];
  },
  async function foreground(look) {
    const dropped = look.black;
    if (!dropped.length || !(await look.stays({ dropped }))) return null;
    return ["Remove the background", () => ({ dropped })];
  },
  // Of all bands of rows with the object in them, the one from which the model
  // is surest of something else.
  async function band(look) {
    const { many, bytes, vit, names, all, light, answer } = look;
    const [rows, columns] = vit.grid;
    const sum = (patches) => patches.reduce((a, patch) => a + light[patch], 0);
    const bands = [];
    for (let top = 1; top < rows; top++) {
      for (let bottom = top + 1; bottom < rows; bottom++) {
        const keep = all.slice(top * columns, bottom * columns);
        if (sum(keep) > (1 - OUTSIDE) * sum(all)) bands.push({ keep });
      }
    }
    const found = await many(bytes, bands);
    const surest = (now) => (highestOf(now) === answer ? 0 : Math.max(...now));
    const scores = found.map(surest);
    const best = scores.indexOf(Math.max(...scores));
    if (!(scores[best] > 0.5)) return null;
    const dropped = look.without(bands[best].keep);
    const name = names[highestOf(found[best])];
    const what = `Remove ${dropped.length} patches above and below: ${name}`;
    return [what, () => ({ dropped })];
  },
  async function order(look) {
    const apart = (a, b) => Math.max(...a.map((p, i) => Math.abs(p - b[i])));
    const [positions, seed] = [false, 1];
    if (await look.stays({ seed })) return null;
    const still = await look.now({ positions });
    if (apart(still, await look.now({ positions, seed })) > 1e-3) return null;
    const next = (now) => ({ positions, seed: now + 1 });
    return ["Shuffle without positions", next];
  },
  async function oneHead(look) {
    const { depth, heads } = look.vit.config;
    for (let index = 0; index < depth * heads; index++) {
      const heads_off = [[Math.floor(index / heads), index % heads]];
      if (await look.stays({ heads_off })) continue;
      return ["Switch off one head", () => ({ heads_off })];
    }
    return null;
  },
  async function heat(look) {
    const changes = { temperature: HOT };
    if (await look.stays(changes)) return null;
    return ["Blur its attention", () => changes];
  },
  async function nothing(look) {
    const dropped = look.all;
    const now = await look.now({ dropped });
    if (!now || Math.max(...now) < 2 / now.length) return null;
    return ["Remove everything", () => ({ dropped })];
  },
];
