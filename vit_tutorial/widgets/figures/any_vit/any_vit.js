// Look inside any ViT: the book's at first, then one that the reader brings as
// a file, on photos. Where each token attends, how the prediction forms, and
// what each patch is worth.

import { Figure, live } from "../../page/live.js";
import { Looks } from "../../page/checkpoint.js";
import { setStage } from "../../page/stage.js";
import { unpackPictures } from "../../page/page_model.js";
import { AttendingMaps } from "./any_vit_maps.js";
import { Bring } from "./any_vit_bring.js";
import { Passes } from "./any_vit_passes.js";
import { Photos } from "./any_vit_photos.js";
import { Preparation } from "./any_vit_preparation.js";
import { Reading } from "./any_vit_reading.js";
import { ShownPhoto } from "./any_vit_photo.js";
import { Worth } from "./any_vit_worth.js";
import { readState, shapeOf, toggled, withOrWithout } from "./any_vit_state.js";
import { outcome, tableOf } from "./any_vit_words.js";

class AnyViT extends Figure {
  static question = "What does a ViT make of your photo?";
  static state = [
    "picture",
    "query",
    "dropped",
    "layer",
    "head",
    "overlay",
    "smooth",
  ];
  static inputs = ["vit", "pictures", "photos"];

  // While a checkpoint is open, the state is the page's alone, `local`: neither
  // a link nor a kernel has that model.
  get(trait) {
    return this.local?.[trait] ?? super.get(trait);
  }

  change(changes) {
    if (!this.local) return super.change(changes);
    Object.assign(this.local, changes);
    this.redraw();
  }

  begin() {
    const { root } = this.card;
    const take = (given) => {
      const files = [...(given?.files ?? [])];
      if (!files.length) return;
      const isPhoto = (file) => /^image|hei[cf]$/i.test(file.type || file.name);
      if (files.some(isPhoto)) this.photos.open(files.filter(isPhoto));
      else this.bring.open(files);
    };
    root.addEventListener("dragover", (event) => event.preventDefault());
    root.addEventListener("drop", (event) => {
      event.preventDefault();
      take(event.dataTransfer);
    });
    root.addEventListener("paste", (event) => take(event.clipboardData));
  }

  end() {
    this.looks.end();
    this.photos.end();
  }

  build() {
    this.looks?.end();
    this.photos?.end();
    this.looks = new Looks(this.get("vit"));
    this.photos = new Photos({
      pictures: unpackPictures(this.get("pictures")),
      photos: this.get("photos"),
      name: this.card.newId(),
      choose: (picture) => this.choose(picture),
      show: (photo) => this.showOwn(photo),
    });
    const own = { config: this.get("vit").config };
    this.bring = new Bring({
      ...{ looks: this.looks, own },
      use: (checkpoint, found) => {
        this.use(checkpoint, found);
        this.redraw();
      },
    });
    this.own = null; // the reader's photo, in place of the chosen one
    this.use(null, own);
  }

  // Look into a model: a checkpoint as `describe` found it, or null and the
  // figure's own.
  use(checkpoint, found) {
    this.looks.use(checkpoint);
    this.checkpoint = checkpoint;
    this.local = checkpoint && { ...AnyViT.untouched, picture: this.first() };
    this.reading = new Reading(found);
    this.vit = shapeOf(found.config);
    this.found = found;
    this.preparation = new Preparation({
      ...{ checkpoint, found, isOpen: this.preparation?.isOpen },
      change: () => this.redraw(),
      again: (choices) => this.bring.again(choices),
    });
    this.passes = new Passes(this.looks, this.vit);
    this.hovered = null; // the token under the pointer
    this.worth = new Worth(this);
    const focused = document.activeElement?.name;
    this.buildParts();
    if (focused) this.card.root.querySelector(`[name="${focused}"]`)?.focus();
  }

  static untouched = {
    ...{ query: 0, dropped: [], layer: 0, head: 0 },
    ...{ overlay: "rollout", smooth: false },
  };

  // A checkpoint's first photo: the one that is shown, unless it is one of the
  // figure's own small images.
  first() {
    const shown = this.get("picture");
    const { length } = this.get("pictures");
    const hasPhotos = this.get("photos").length > 0;
    return shown < length && hasPhotos ? length : shown;
  }

  buildParts() {
    const { vit, card } = this;
    card.root.classList.add("vt-any");
    const isFine = vit.grid[0] * vit.grid[1] > 49;
    card.root.classList.toggle("vt-many", isFine); // a finger needs more room
    card.root.classList.toggle("vt-deep", vit.config.depth > 6);
    card.controls.replaceChildren();
    this.image = new ShownPhoto({
      vit,
      pick: (place) => this.pick(place),
      move: (place) => this.change({ query: vit.numPrefix + place }),
      hover: (place) => this.hover(place),
      drag: this.drag(),
      ask: () => this.change({ query: 0 }),
    });
    this.maps = new AttendingMaps({
      vit,
      newId: () => card.newId(),
      choose: (layer, head) => this.change({ layer, head, overlay: "head" }),
      lay: (overlay) => this.change({ overlay }),
      smooth: (smooth) => this.change({ smooth }),
    });
    this.stage = setStage(card, {
      above: [this.bring.el, this.photos.el, this.preparation.el],
      watched: [this.image.el, this.reading.el],
      beside: [this.maps.el],
    });
    this.buildControls();
  }

  buildControls() {
    const { card } = this;
    this.click = card.choice("Click to", ["remove", "inspect"], () => {});
    card.button("Restore all", () => this.change({ dropped: [] }));
    card.controls.append(this.worth.button, this.worth.progress);
    this.addResetAndLink();
    this.link = [...card.controls.children].slice(-2);
  }

  reset() {
    this.own = null;
    this.photos.stop();
    this.click.selectedIndex = 0;
    if (this.checkpoint) this.use(null, this.bring.own);
    else this.preparation.reset();
    super.reset();
  }

  choose(picture) {
    this.own = null;
    this.change({ picture, dropped: [] });
  }

  // A photo of the reader's own. Returns a promise that is kept when a photo
  // has been looked at.
  showOwn(photo) {
    this.own = photo;
    const looked = new Promise((resolve) => (this.looked = resolve));
    this.redraw();
    return looked;
  }

  pick(place) {
    if (this.click.selectedIndex === 1) {
      this.change({ query: this.vit.numPrefix + place });
    } else {
      this.change({ dropped: toggled(this.get("dropped"), place) });
    }
  }

  // Removes patches where the first one is there, restores them where it isn't.
  drag() {
    let removes;
    const over = (place) => {
      const dropped = withOrWithout(this.get("dropped"), place, removes);
      this.change({ dropped });
    };
    const start = (place) => {
      if (this.click.selectedIndex === 1) return false;
      removes = !this.get("dropped").includes(place);
      over(place);
    };
    return { start, over, end: () => {} };
  }

  hover(place) {
    this.hovered = place === null ? null : this.vit.numPrefix + place;
    this.card.attempt(() => {
      const view = this.view();
      this.image.show(view, this.overlay(view));
      this.maps.show(view);
    });
  }

  // All that the parts are drawn from.
  view() {
    const { vit, passes } = this;
    const state = readState(this.state(), vit, this.photos.count);
    const { dropped } = state;
    const all = vit.grid[0] * vit.grid[1];
    const keep = Array.from({ length: all }, (_, i) => i).filter(
      (place) => !dropped.includes(place),
    );
    const photo = this.own ?? this.photos.at(state.picture);
    const asked = { photo, preparation: this.preparation.now, keep, all };
    const found = passes.found(asked); // { bytes, whole, now }, each once known
    return {
      ...state,
      ...found,
      asked,
      attending: this.attending(state, keep),
    };
  }

  // Who attends: { token, row, instead }. token: of the whole image; row: its
  // number among those that are there. Where the asked patch is removed, the
  // first token attends in its place.
  attending({ query, dropped }, keep) {
    const { numPrefix } = this.vit;
    const asked = this.hovered ?? query;
    const isGone = dropped.includes(asked - numPrefix);
    const first = numPrefix ? 0 : (keep[0] ?? null);
    const token = isGone ? first : asked;
    const row =
      token === null || token < numPrefix
        ? 0
        : numPrefix + keep.indexOf(token - numPrefix);
    return { token, row, instead: isGone ? asked : null };
  }

  draw() {
    const view = this.view();
    this.worth.stop();
    this.show(view);
    if (view.now === undefined) this.look(view.asked);
    else this.settle();
  }

  async look(asked) {
    const latest = (this.latest = {});
    this.card.root.setAttribute("aria-busy", "true");
    try {
      await this.passes.ask(asked, () => this.show(this.view()));
      if (this.latest === latest) this.settle();
    } catch (error) {
      if (this.latest === latest) this.fail(error);
    }
  }

  // Nothing is asked any more.
  settle() {
    this.latest = null;
    this.card.root.removeAttribute("aria-busy");
    this.looked?.();
  }

  show(view) {
    const { card } = this;
    this.photos.show(this.own ? null : view.picture, !this.checkpoint);
    this.bring.show(this.checkpoint, this.found);
    for (const part of this.link)
      part.style.display = this.checkpoint || this.own ? "none" : "";
    this.image.show(view, this.overlay(view));
    this.maps.show(view);
    this.reading.show(view);
    this.worth.show(view);
    card.say(outcome(this, view));
    card.tabulate(...tableOf(this, view));
  }

  // What lies over the photo: by place, and its colours; or null.
  overlay(view) {
    return this.worth.overlay ?? this.maps.overlay(view);
  }

  fail({ message }) {
    const { card } = this;
    this.settle();
    card.note.textContent = `The model cannot read this photo: ${message}`;
    card.note.hidden = false;
  }
}

export default live(AnyViT);
