// Discoveries that a reader can set up in place. Each is looked for on the
// image and the model at hand; one that isn't there is not offered.

import { highestOf } from "../../page/answers.js";
import { element, label } from "../../page/elements.js";
import { shuffled } from "../../page/shuffle.js";
import { UNTOUCHED } from "./playground_state.js";
import { greedy } from "./fewest_patches.js";

const FOOLED = 12; // patches to remove at most
const SUFFICE = 6; // patches to keep at most
const HOT = 4; // a temperature

export class Discoveries {
  constructor(figure) {
    this.figure = figure;
    this.el = element("div", { class: "vt-discoveries vt-controls" });
  }

  clear() {
    this.el.replaceChildren(label("Try"));
  }

  // Look for all of them, a pass at a time, and offer what was found.
  *of(bytes) {
    const { vit, passes } = this.figure;
    const look = new Look(vit, passes, bytes);
    for (const search of SEARCHES) {
      const found = yield* search(look);
      if (found) this.offer(found);
    }
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
  constructor(vit, passes, bytes) {
    Object.assign(this, { vit, passes, bytes });
    this.all = shuffled(passes.patches, 0);
    this.answer = highestOf(passes.whole(bytes).now);
    const [height, width] = vit.patchSize;
    const isBlack = (patch) => {
      const left = (patch % vit.grid[1]) * width;
      const top = Math.floor(patch / vit.grid[1]) * height;
      for (let y = top; y < top + height; y++) {
        const row = y * vit.imageSize[1] + left;
        if (bytes.subarray(row, row + width).some((byte) => byte)) return false;
      }
      return true;
    };
    this.black = this.all.filter(isBlack);
  }

  without(patches) {
    return this.all.filter((patch) => !patches.includes(patch));
  }

  // The probabilities in a changed state.
  now(changes) {
    return this.passes.of(this.bytes, { ...UNTOUCHED, ...changes })?.now;
  }

  stays(changes) {
    const now = this.now(changes);
    return now && highestOf(now) === this.answer;
  }
}

// Each search yields after a pass, and returns [what the button says, the
// changes that it makes], or nothing.
const SEARCHES = [
  function* suffice(look) {
    const { vit, bytes, answer, all } = look;
    const [seen, p] = yield* greedy.addingPatches(vit, bytes, answer, SUFFICE);
    const { length } = seen;
    if (p <= 0.5 || length > all.length / 2) return null;
    const dropped = look.without(seen);
    const patches = length === 1 ? "that suffices" : "that suffice";
    return [`Keep ${length} ${patches}`, () => ({ dropped })];
  },
  function* fool({ vit, bytes, answer }) {
    const dropped = yield* greedy.removingPatches(vit, bytes, answer, FOOLED);
    return dropped && [`Fool it in ${dropped.length}`, () => ({ dropped })];
  },
  function* background(look) {
    const dropped = look.without(look.black);
    if (!look.black.length || look.stays({ dropped }) !== false) return null;
    return ["Only the background", () => ({ dropped })];
  },
  function* foreground(look) {
    const dropped = look.black;
    if (!dropped.length || !look.stays({ dropped })) return null;
    return ["Without the background", () => ({ dropped })];
  },
  function* order(look) {
    const apart = (a, b) => Math.max(...a.map((p, i) => Math.abs(p - b[i])));
    const [positions, seed] = [false, 1];
    yield;
    if (look.stays({ seed })) return null;
    const still = look.now({ positions });
    if (apart(still, look.now({ positions, seed })) > 1e-3) return null;
    const next = (now) => ({ positions, seed: now + 1 });
    return ["Shuffle without positions", next];
  },
  function* oneHead(look) {
    const { depth, heads } = look.vit.config;
    for (let index = 0; index < depth * heads; index++) {
      const heads_off = [[Math.floor(index / heads), index % heads]];
      yield;
      if (look.stays({ heads_off })) continue;
      return ["Switch off one head", () => ({ heads_off })];
    }
    return null;
  },
  function* heat(look) {
    const changes = { temperature: HOT };
    yield;
    return look.stays(changes) ? null : ["Blur its attention", () => changes];
  },
  function* nothing(look) {
    const dropped = look.all;
    const now = look.now({ dropped });
    yield;
    if (!now || Math.max(...now) < 2 / now.length) return null;
    return ["Remove everything", () => ({ dropped })];
  },
];
