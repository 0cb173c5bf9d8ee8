// A figure's life, the same for all of them. It is built from its inputs (a
// model, images, a recorded run) and drawn from its state; it is drawn again
// when the state changes, and built anew when an input does.

import { Card } from "./card.js";

// What a figure extends. It names, once, what it asks and what it lives from:
//
//   static question = "…"        the card's heading
//   static state = ["layer"]     traits that a reader changes; a link holds them
//   static inputs = ["vit"]      traits that everything else must fit
//
// and says how it is built, drawn and, where it holds on to something, ended.
export class Figure {
  static question = "";
  static state = [];
  static inputs = [];

  #changing = false;

  constructor(model, el) {
    this.model = model;
    this.card = new Card(el, this.constructor.question);
    this.start = this.state(); // what "reset" goes back to
  }

  build() {} // everything that the inputs decide
  draw() {} // everything that the state decides
  begin() {} // once, when it is there: a guess to ask for
  end() {} // once, when it goes: a timer to clear

  get(trait) {
    return this.model.get(trait);
  }

  // The state, as an object: const { layer, head } = this.state();
  state() {
    const names = this.constructor.state;
    return Object.fromEntries(names.map((name) => [name, this.get(name)]));
  }

  // Change several traits, then draw once.
  change(changes) {
    this.#changing = true;
    for (const [name, value] of Object.entries(changes)) {
      this.model.set(name, value);
    }
    this.#changing = false;
    this.model.save_changes();
    this.redraw();
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
  return { render: ({ model, el }) => mount(Kind, model, el), state: Kind.state };
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
