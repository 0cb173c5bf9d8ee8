// In a page of the book: brings the figures to life, with no kernel and no
// network.
//
// A figure is an element with the class vt-live that holds a picture and the
// figure's state as JSON; its attribute data-figure names the module to draw
// it. The module is the one that a notebook's widget has, and what it is given
// here is the same as there: a model with get, set, on, off and save_changes,
// and an element to draw in.

import { Address, watchAddress } from "./address.js";
import { beside, loadScript } from "./scripts.js";

export function start(figures) {
  const all = [...document.querySelectorAll(".vt-live[data-figure]")];
  watchAddress();
  const isAskedFor = (element) => new Address(element).isAskedFor;
  all.find(isAskedFor)?.scrollIntoView({ block: "center" });
  if (!("IntersectionObserver" in globalThis)) {
    all.forEach((element) => mount(element, figures));
    return;
  }
  const cleanups = new Map();
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting && !cleanups.has(target)) {
          cleanups.set(target, mount(target, figures));
        } else if (!target.isConnected) {
          observer.unobserve(target); // it was taken out of the page, a last call
          cleanups.get(target)?.then((cleanup) => cleanup?.());
          cleanups.delete(target);
        }
      }
    },
    { rootMargin: "400px" }, // ready before it is seen
  );
  all.forEach((element) => observer.observe(element));
}

// Draw a figure in place of its picture. Where that fails, the picture stays,
// and a line says so.
async function mount(element, figures) {
  const el = document.createElement("div");
  el.className = "vt-mounted";
  try {
    const figure = figures[element.dataset.figure];
    if (!figure)
      throw new Error(`there is no figure called ${element.dataset.figure}`);
    const state = JSON.parse(
      element.querySelector("script[type='application/json']").textContent,
    );
    if (element.dataset.weight) await request(element);
    for (const [trait, value] of Object.entries(state)) {
      if (typeof value?.bundled === "string")
        state[trait] = await load(value.bundled);
    }
    element.append(el);
    const address = new Address(element, state, figure);
    const say = (text) => note(element, text);
    const cleanup = await begin(figure, address, el, say);
    element.querySelector("img").hidden = true;
    return cleanup;
  } catch (error) {
    el.remove();
    note(element, `This figure stays a still image here: ${error.message}.`);
  }
}

// Draw with what the page's address says of this figure; where that does not
// fit, without it.
async function begin(figure, address, el, note) {
  try {
    if (address.isAskedFor) {
      const model = new Model(address.asked(), address);
      return await figure.render({ model, el });
    }
  } catch (error) {
    el.replaceChildren();
    note(
      `The link does not fit, so the figure starts without it: ${error.message}.`,
    );
  }
  return figure.render({ model: new Model(address.beginning, address), el });
}

// Wait until the reader wants a figure whose model is heavy, unless a link has
// brought her to it.
async function request(element) {
  if (new Address(element).isAskedFor) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "vt-request";
  button.textContent = `Try it here (loads ${element.dataset.weight})`;
  element.append(button);
  await new Promise((wanted) => (button.onclick = wanted));
  button.remove();
}

function note(element, text) {
  const line = document.createElement("p");
  line.className = "vt-note";
  line.textContent = text;
  element.append(line);
}

const loading = new Map();

// A model's weights, by its name: a script beside this one, asked for once and
// when needed.
function load(name) {
  if (!loading.has(name)) loading.set(name, weightsOf(name));
  return loading.get(name);
}

async function weightsOf(name) {
  const address = beside(`models/${encodeURIComponent(name)}.js`);
  const what = `the weights of the model “${name}”`;
  await loadScript(address, what);
  const found = globalThis.vitTutorialModels?.[name];
  if (!found) throw new Error(`${what} could not be loaded`);
  return found;
}

// What anywidget calls the model, with nobody at the other end.
export class Model {
  #state;
  #listeners = new Map();

  // address: what of the state stands in the page's. A notebook's model has
  // none.
  constructor(state, address) {
    this.#state = { ...state };
    this.address = address;
  }

  get(name) {
    return this.#state[name];
  }

  set(name, value) {
    if (Object.is(this.#state[name], value)) return;
    this.#state[name] = value;
    for (const event of [`change:${name}`, "change"]) {
      for (const listener of [...(this.#listeners.get(event) ?? [])])
        listener(this, value);
    }
  }

  on(event, listener) {
    this.#listeners.set(event, [
      ...(this.#listeners.get(event) ?? []),
      listener,
    ]);
  }

  // As Backbone has it: without a listener all of the event's go, without an
  // event all of them.
  off(event, listener) {
    for (const name of event ? [event] : [...this.#listeners.keys()]) {
      const left = (this.#listeners.get(name) ?? []).filter(
        (each) => listener && each !== listener,
      );
      this.#listeners.set(name, left);
    }
  }

  save_changes() {}
}
