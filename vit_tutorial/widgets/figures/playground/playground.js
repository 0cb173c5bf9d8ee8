// How few patches does the model need? An image, what is left of
// it, and at once what the model predicts, how the prediction forms, and where
// each head attends.

import { Figure, live } from "../../page/live.js";
import { Background, Work } from "../../page/background.js";
import { setStage } from "../../page/stage.js";
import { nameOf } from "../../page/words.js";
import { shuffled } from "../../page/shuffle.js";
import { highestOf } from "../../page/answers.js";
import { classNames, unpackPictures } from "../../page/page_model.js";
import { ViT } from "../../engine/vit.js";
import { Controls } from "./playground_controls.js";
import { Counterfactual } from "./counterfactual.js";
import { Discoveries } from "./discoveries.js";
import { Game } from "./game.js";
import { OwnImage } from "./own_image.js";
import { Passes } from "./passes.js";
import { ShownImage } from "./shown_image.js";
import { ShownMaps } from "./shown_maps.js";
import { ShownPrediction } from "./shown_prediction.js";
import { Thumbnails } from "./thumbnails.js";
import { Undo, onUndoKeys } from "./undo.js";
import { outcome, tableOf } from "./playground_words.js";
import {
  OWN,
  UNTOUCHED,
  interventions,
  readState,
  toggled,
  withOrWithout,
} from "./playground_state.js";

class Playground extends Figure {
  static question = "How few patches does the model need?";
  static state = [
    "picture",
    "own",
    "dropped",
    "seed",
    "positions",
    "temperature",
    "heads_off",
    "query",
    "challenge",
  ];
  static inputs = ["vit", "pictures", "small"];
  static images = ["own"];

  #frame = 0;
  #soon = false;

  begin() {
    this.card.rounded();
    const [undo, redo] = [() => this.travel("undo"), () => this.travel("redo")];
    onUndoKeys(this.card.root, { undo, redo });
  }

  end() {
    cancelAnimationFrame(this.#frame);
    this.background.end();
  }

  build() {
    this.background?.end();
    this.vit = new ViT(this.get("vit"));
    this.small = this.get("small");
    this.patches = this.vit.grid[0] * this.vit.grid[1];
    this.pictures = unpackPictures(this.get("pictures"));
    this.names = classNames(this.vit.config);
    this.passes = new Passes(this.vit);
    this.undo = new Undo();
    this.mode = "look"; // or "draw", "upload"
    this.hovered = null; // the token under the pointer
    this.told = null; // the image whose label is shown
    this.background = new Background(this.get("vit"));
    this.work = new Work(this.background, (error) => this.fail(error));
    this.searched = null; // the image whose discoveries are known, or sought
    this.buildParts();
    this.unread = new Set(this.pictures.keys()); // not yet asked for mistakes
  }

  buildParts() {
    const { vit, small, card } = this;
    card.root.classList.add("vt-playground");
    this.image = new ShownImage({
      vit,
      small,
      pick: (place) => this.pick(place),
      move: (place) => small || this.change({ query: this.tokenAt(place) }),
      hover: (place) => this.hover(place),
      drag: this.drag(),
      ask: () => this.change({ query: 0 }),
    });
    this.prediction = new ShownPrediction(this.names, small);
    this.thumbnails = new Thumbnails({
      pictures: this.pictures,
      size: vit.imageSize,
      name: card.newId(),
      choose: (picture) => this.enter("look", { picture }),
    });
    this.maps = new ShownMaps({
      vit,
      pick: (layer, head, alone) => this.pickHead(layer, head, alone),
      restore: () => this.act({ heads_off: [] }),
      redraw: () => this.redraw(),
      newId: () => card.newId(),
    });
    this.counterfactual = new Counterfactual(this);
    this.discoveries = new Discoveries(this);
    this.own = new OwnImage(this);
    this.game = new Game(this);
    this.image.tokens.append(this.own.pad.surface);
    this.controls = new Controls(this);
    this.stage = setStage(card, {
      above: [this.thumbnails.el, ...this.controls.above],
      watched: [this.image.el, this.prediction.el],
      beside: small
        ? [this.discoveries.el]
        : [this.maps.el, this.counterfactual.el],
    });
  }

  // What a reader does, and can undo. gesture: the name of a drag or a slide
  // that it belongs to, which is undone as a whole, and drawn once a frame.
  act(changes, gesture = null) {
    const isNew = ([name, value]) => `${this.get(name)}` !== `${value}`;
    const isStep = Object.entries(changes).some(isNew);
    if (isStep) this.undo.keep(this.state(), gesture);
    this.#soon = gesture !== null;
    this.change(changes);
    this.#soon = false;
  }

  redraw() {
    if (this.#soon) {
      this.#frame ||= requestAnimationFrame(() => this.redraw());
      return;
    }
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    super.redraw();
  }

  // One step back, or forward again; which token attends is no step.
  travel(way) {
    const state = this.undo[way](this.state());
    if (!state || this.get("challenge")) return;
    this.game.hide();
    this.change({ ...state, query: this.get("query") });
  }

  shared() {
    return this.own.shareable(this.state());
  }

  // A drawing survives a reset.
  reset() {
    const own = this.get("own") || this.start.own;
    this.controls.reset();
    this.enter("look", { ...this.start, own });
  }

  // Use the figure in another way: look, draw, or upload an image.
  enter(mode, changes = {}) {
    this.mode = mode;
    this.game.hide();
    this.act({ challenge: false, ...changes });
    if (mode === "draw") this.own.pad.surface.focus({ preventScroll: true });
  }

  // Change what the patches are. A drawing is then shown as the model gets it.
  rearrange(changes, gesture = null) {
    this.mode = "look";
    this.act(changes, gesture);
  }

  patchAt(place) {
    return shuffled(this.patches, this.get("seed"))[place];
  }

  tokenAt(place) {
    return this.vit.numPrefix + this.patchAt(place);
  }

  pick(place) {
    const patch = this.patchAt(place);
    const dropped = this.get("dropped");
    if (this.get("challenge") && !this.small) {
      if (dropped.includes(patch)) this.game.uncover(patch);
    } else if (this.controls.inspects) {
      this.change({ query: this.tokenAt(place) });
    } else {
      this.rearrange({ dropped: toggled(dropped, patch) });
    }
  }

  // Removes patches where the first one is there, restores them where it isn't.
  drag() {
    let removes;
    const over = (place) => {
      const dropped = this.get("dropped");
      const changed = withOrWithout(dropped, this.patchAt(place), removes);
      this.rearrange({ dropped: changed }, "drag");
    };
    const start = (place) => {
      if (this.controls.inspects || this.get("challenge")) return false;
      removes = !this.get("dropped").includes(this.patchAt(place));
      over(place);
    };
    return { start, over, end: () => this.undo.rest() };
  }

  pickHead(layer, head, alone) {
    if (!alone) {
      const off = toggled(this.get("heads_off"), [layer, head]);
      return this.act({ heads_off: off });
    }
    const { depth, heads } = this.vit.config;
    const all = Array.from({ length: depth * heads }, (_, index) => [
      Math.floor(index / heads),
      index % heads,
    ]);
    const others = all.filter(([l, h]) => l !== layer || h !== head);
    this.act({ heads_off: others });
  }

  hover(place) {
    if (this.small) return;
    this.hovered = place === null ? null : this.tokenAt(place);
    this.card.attempt(() => this.drawAttending(this.view()));
  }

  shown(state) {
    const shape = [1, ...this.vit.imageSize];
    return state.picture === OWN
      ? { shape, bytes: state.bytes, name: "your own image" }
      : this.pictures[state.picture];
  }

  // All that the parts are drawn from.
  view() {
    const { vit, pictures, patches, small } = this;
    const state = readState(this.state(), vit, pictures.length);
    const image = this.shown(state);
    const { order } = interventions(state, patches);
    const isAsked = state.challenge && !small;
    const pass = isAsked ? null : this.passes.of(image.bytes, state);
    return { ...state, state, image, order, isAsked, pass };
  }

  draw() {
    const view = this.view();
    const { image, isAsked, pass } = view;
    const how = this.controls.inspects
      ? "click a patch to see what it attends to"
      : "drag to remove patches";
    const label = this.small
      ? "Click or drag to remove patches"
      : `${image.name} · ${how}`;
    this.image.title.textContent = isAsked ? "What is it?" : label;
    this.card.root.querySelector(".vt-question").textContent = isAsked
      ? "How few patches do you need?"
      : Playground.question;
    this.image.grid.el.hidden = this.mode === "draw";
    const seen = [this.prediction.el, this.maps.el, this.counterfactual.el];
    for (const part of [...seen, this.card.details]) part.hidden = isAsked;
    this.stage.above.style.visibility = isAsked ? "hidden" : "";
    this.drawAttending(view);
    this.thumbnails.show(view.picture, view.bytes);
    this.own.show(view);
    this.controls.show(view);
    this.game.show(view);
    this.discoveries.el.hidden = isAsked || this.mode !== "look";
    if (isAsked) {
      const left = this.patches - view.dropped.length;
      this.card.say(`${left} of ${this.patches} patches visible.`);
      return;
    }
    const before = this.passes.whole(image.bytes).now;
    this.prediction.show(pass?.stages, before, this.isTouched(view));
    this.counterfactual.follow(view);
    this.card.say(outcome(this, view, before));
    this.card.tabulate(...tableOf(this, view, before));
    this.search(image);
  }

  isTouched(state) {
    const names = Object.keys(UNTOUCHED);
    return names.some((name) => `${state[name]}` !== `${UNTOUCHED[name]}`);
  }

  // Who attends, and to what: all that hovering changes. Where a patch is
  // removed, the first token attends in its place.
  drawAttending({ image, order, dropped, query, heads_off, isAsked, pass }) {
    const prefix = this.vit.numPrefix;
    const token = this.hovered ?? query;
    const isGone = dropped.includes(token - prefix);
    const places = pass?.places ?? [];
    const patchOf = (place) => prefix + order[place];
    const instead = prefix || !places.length ? 0 : patchOf(places[0]);
    const asking = isGone ? instead : token;
    const marked = this.small || isAsked ? null : asking;
    this.image.show({ image, order, dropped, asking: marked });
    if (this.small || isAsked) return;
    const number = prefix + places.indexOf(order.indexOf(asking - prefix));
    this.maps.show({
      pass,
      order,
      asking: asking < prefix ? 0 : number,
      isOff: (layer, head) =>
        heads_off.some(([l, h]) => l === layer && h === head),
      title:
        `what ${nameOf(asking, prefix)} attends to` +
        (isGone ? ` (no ${nameOf(token, prefix)})` : ""),
    });
  }

  // Look for mistakes and discoveries, in the Worker.
  search({ bytes }) {
    const own = this.get("picture") === OWN ? this.get("own") : "";
    const searched = `${this.get("picture")} ${own}`;
    if (this.searched === searched || this.mode !== "look") return;
    this.searched = searched;
    this.discoveries.clear();
    this.card.root.setAttribute("aria-busy", "true");
    this.work.start((many) => this.searching(many, bytes));
  }

  async searching(many, bytes) {
    for (const index of this.unread) {
      const { bytes, label } = this.pictures[index];
      const [now] = await many(bytes, [{}]);
      this.unread.delete(index);
      const first = highestOf(now);
      if (label == null || first === label) continue;
      const question = `why does it predict ${this.names[first]}?`;
      this.thumbnails.mark(index, question);
    }
    await this.discoveries.of(bytes, many);
    this.card.root.removeAttribute("aria-busy");
  }

  // The Worker failed; the next change asks it again.
  fail(error) {
    this.searched = null;
    this.discoveries.fail(error);
    this.card.root.removeAttribute("aria-busy");
  }
}

export default live(Playground);
