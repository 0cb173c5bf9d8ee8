// The playground's controls: what to do with the patches, the heads, the game.

import { element } from "../../page/elements.js";
import { Work } from "../../page/background.js";
import { highestOf } from "../../page/answers.js";
import { setting } from "../../page/words.js";
import { shuffled } from "../../page/shuffle.js";
import { addPatches } from "./fewest_patches.js";
import { OWN, SEEDS, UNTOUCHED } from "./playground_state.js";

export class Controls {
  #chance = 0; // counts random halves, so that each is a different one

  constructor(figure) {
    this.figure = figure;
    const { background, card, small } = figure;
    this.work = new Work(background, ({ message }) =>
      card.say(`The surprise cannot be computed: ${message}.`),
    );
    card.controls.replaceChildren();
    const button = (text, onclick) =>
      element("button", { type: "button", onclick }, text);
    this.undo = button("Undo", () => figure.travel("undo"));
    this.redo = button("Redo", () => figure.travel("redo"));
    const line = { class: "vt-controls" };
    const steps = element("div", line, this.undo, this.redo);
    this.above = [steps];
    this.panel = element("div", { class: "vt-panel" });
    card.controls.append(this.panel);
    this.rows = [];
    if (small) this.buildSmall();
    else this.buildAll(button, steps);
  }

  buildSmall() {
    const { figure } = this;
    const { card } = figure;
    const none = { dropped: [] };
    card.button("Restore all", () => figure.rearrange(none));
    card.button("Shuffle patches", () => this.shuffle());
    this.addLast();
  }

  buildAll(button, steps) {
    const { figure } = this;
    const { card } = figure;
    const turn = (mode, changes = {}) => {
      const isOn = figure.mode === mode;
      figure.enter(isOn ? "look" : mode, isOn ? {} : changes);
    };
    const drawing = { ...UNTOUCHED, picture: OWN };
    this.draw = button("Draw", () => turn("draw", drawing));
    this.upload = button("Upload image", () => turn("upload"));
    steps.prepend(this.draw, this.upload);
    this.tell = button("Show true label", () => this.tellTruth());
    const status = { class: "vt-truth", role: "status", tabindex: "-1" };
    this.truth = element("p", status);
    this.line = element("div", { class: "vt-controls" }, this.tell, this.truth);
    this.panel.append(figure.own.el, figure.game.el);
    this.row("", () => card.controls.append(figure.discoveries.el));
    this.row("Remove", () => this.addRemoving());
    this.row("", () => this.addLast(), true);
    this.row("", () => this.addOrder());
    const addGame = () => {
      card.controls.append(this.line);
      card.button("Challenge me", () => figure.game.ask());
      card.button("Today’s challenge", () => figure.game.askToday());
    };
    this.row("", addGame, true);
  }

  // Controls that belong together, made by `make`. always: also while a game is
  // on.
  row(text, make, always = false) {
    const { card } = this.figure;
    const before = new Set(card.controls.children);
    make();
    const all = [...card.controls.children];
    const made = all.filter((each) => !before.has(each));
    const title = text ? [element("span", { class: "vt-label" }, text)] : [];
    const row = element("div", { class: "vt-control-row" }, ...title, ...made);
    card.controls.append(row);
    if (!always) this.rows.push(row);
  }

  addRemoving() {
    const { figure } = this;
    const remove = (text, which) => {
      const act = () => figure.rearrange({ dropped: which() });
      const button = figure.card.button(text, act);
      button.setAttribute("aria-label", `remove ${text.toLowerCase()}`);
    };
    const half = (ranked) => {
      const first = ranked.slice(0, Math.floor(figure.patches / 2));
      return first.sort((a, b) => a - b);
    };
    const bytes = () => figure.view().image.bytes;
    const random = () => shuffled(figure.patches, ++this.#chance);
    remove("Random half", () => half(random()));
    remove("Most-attended half", () =>
      half(figure.passes.mostAttended(bytes())),
    );
    figure.card.button("Restore all", () => figure.rearrange({ dropped: [] }));
    const ways = ["remove", "inspect"];
    this.click = figure.card.choice("Click to", ways, () => {});
  }

  addOrder() {
    const { figure } = this;
    const { card } = figure;
    card.button("Shuffle patches", () => this.shuffle());
    card.button("Unshuffle", () => figure.rearrange({ seed: 0 }));
    this.positions = card.checkbox("positions", () =>
      figure.act({ positions: this.positions.checked }),
    );
    this.temperature = card.slider("temperature", {
      min: -2,
      max: 2,
      step: 0.25,
      oninput: ({ target }) =>
        figure.act({ temperature: 2 ** target.value }, "slide"),
    });
    const slider = card.controls.lastElementChild;
    slider.addEventListener("change", () => figure.undo.rest());
  }

  addLast() {
    const { figure } = this;
    const { card } = figure;
    card.button("Surprise me", () => this.surprise());
    figure.addResetAndLink();
    if (figure.model.address) card.button("Save as PNG", () => this.save());
  }

  get inspects() {
    return this.click?.selectedIndex === 1;
  }

  reset() {
    if (this.click) this.click.selectedIndex = 0;
  }

  shuffle() {
    const now = this.figure.get("seed");
    const seed = (now % (SEEDS - 1)) + 1; // never 0, in order
    this.figure.rearrange({ seed });
  }

  // An image that is not in view, and the few patches that the model needs.
  surprise() {
    const { figure } = this;
    const { passes, patches, pictures } = figure;
    const shown = figure.get("picture");
    const others = [...pictures.keys()].filter((index) => index !== shown);
    const picture = others[Math.floor(Math.random() * others.length)] ?? 0;
    const { bytes } = pictures[picture];
    const answer = highestOf(passes.whole(bytes).now);
    const all = shuffled(patches, 0);
    this.work.start(async (many) => {
      const [seen] = await addPatches(many, bytes, all, answer);
      const dropped = all.filter((patch) => !seen.includes(patch));
      figure.enter("look", { ...UNTOUCHED, picture, dropped });
    });
  }

  // Save the image, the prediction and the maps, named by the prediction.
  async save() {
    const { card, names, stage } = this.figure;
    const { pass } = this.figure.view();
    const first = pass ? `-${names[highestOf(pass.now)]}` : "";
    const name = `playground${first}`.toLowerCase().replace(/[^\w-]+/g, "-");
    try {
      const { saveImage } = await import("../../page/save_image.js");
      saveImage(card, [stage.watched, stage.beside], `${name}.png`);
    } catch ({ message }) {
      card.say(`The image cannot be saved: ${message}.`);
    }
  }

  tellTruth() {
    const { figure } = this;
    figure.told = figure.get("picture");
    figure.redraw();
    this.truth.focus({ preventScroll: true }); // the button is gone
  }

  show({ picture, positions, temperature, isAsked, image }) {
    const { figure } = this;
    const { mode, undo } = figure;
    this.work.stop(); // what is shown now is what the reader wants
    this.undo.setAttribute("aria-disabled", isAsked || !undo.canUndo);
    this.redo.setAttribute("aria-disabled", isAsked || !undo.canRedo);
    if (figure.small) return;
    for (const row of this.rows) row.hidden = isAsked;
    this.draw.textContent = mode === "draw" ? "Stop drawing" : "Draw";
    this.upload.setAttribute("aria-expanded", mode === "upload");
    this.positions.checked = positions;
    this.temperature.show(Math.log2(temperature), setting(temperature));
    if (figure.told !== picture) figure.told = null;
    const isKnown = image.label != null;
    this.line.hidden = isAsked || !isKnown || !figure.game.el.hidden;
    this.tell.hidden = figure.told !== null;
    this.truth.hidden = figure.told === null;
    this.truth.textContent =
      figure.told === null ? "" : `Label: ${figure.names[image.label]}.`;
  }
}
