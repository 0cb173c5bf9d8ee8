// A figure's life, the same for all of them. It is built from its inputs (a
// model, images, a recorded run) and drawn from its state; it is drawn again
// when the state changes, and built anew when an input does.

import { Card } from "./card.js";

// What a figure extends. It declares what it asks and what it lives from, once,
// for the page and for Python, which reads the two lists here (bundle.py):
//
//   static question = "…"        the card's heading
//   static state = ["layer"]     what a reader changes; a link holds it
//   static inputs = ["vit"]      what the state has to fit
//   static images = ["own"]      what of the state is an image (a link packs it)
//
// State and inputs together are the traits of its Python class.
export class Figure {
  static question = "";
  static state = [];
  static inputs = [];
  static images = [];

  #changing = false;

  constructor(model, el) {
    this.model = model;
    this.card = new Card(el, this.constructor.question);
    const own = model.address?.beginning; // of the page, without a link
    this.start = this.state(own && ((name) => own[name])); // for "Reset"
  }

  build() {} // everything that the inputs decide: elements, controls, models
  draw() {} // everything that the state decides
  begin() {} // once, after the first drawing: a guess to ask for
  end() {} // once, when the figure goes: a timer to clear

  get(trait) {
    return this.model.get(trait);
  }

  // The state, as an object: const { layer, head } = this.state();
  state(valueOf = (name) => this.get(name)) {
    const names = this.constructor.state;
    return Object.fromEntries(names.map((name) => [name, valueOf(name)]));
  }

  // What of the state a link holds.
  shared() {
    return this.state();
  }

  // Change several traits, then draw once.
  change(changes) {
    this.#changing = true;
    for (const [name, value] of Object.entries(changes)) {
      this.model.set(name, value);
    }
    this.#changing = false;
    this.model.save_changes();
    this.model.address?.follow(this.shared());
    this.redraw();
  }

  // What "Reset" does.
  reset() {
    this.change(this.start);
  }

  // The controls that come last in every figure.
  addResetAndLink() {
    const { card, model } = this;
    card.button("Reset", () => this.reset());
    if (!model.address) return; // a notebook has none
    card.link(() => model.address.linkTo(this.shared()));
  }

  redraw() {
    if (!this.#changing) this.card.attempt(() => this.draw());
  }

  rebuild() {
    this.card.attempt(() => {
      this.build();
      this.draw();
    });
  }
}

// What a figure's module exports: how host.js and anywidget bring it to life.
export function live(Kind) {
  const render = ({ model, el }) => mount(Kind, model, el);
  const { state, images } = Kind;
  return { render, state, images };
}

// Build and draw a figure, and follow its traits. Returns what takes it away.
// What fails at first is thrown: the page then keeps the still image.
function mount(Kind, model, el) {
  const figure = new Kind(model, el);
  figure.build();
  figure.draw();
  figure.begin();
  const followed = [
    ...Kind.state.map((name) => [`change:${name}`, () => figure.redraw()]),
    ...Kind.inputs.map((name) => [`change:${name}`, () => figure.rebuild()]),
  ];
  for (const [event, listener] of followed) model.on(event, listener);
  return () => {
    figure.end();
    for (const [event, listener] of followed) model.off(event, listener);
    el.replaceChildren();
  };
}
