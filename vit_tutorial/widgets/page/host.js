// In a page of the book: brings the figures to life, with no kernel and no
// network.
//
// A figure is an element with the class vt-live that holds a picture and the
// figure's state as JSON; its attribute data-figure names the module to draw
// it. The module is the one that a notebook's widget has, and what it is given
// here is the same as there: a model with get, set, on, off and save_changes,
// and an element to draw in.

const HERE = document.currentScript?.src || document.baseURI;

export function start(figures) {
  const all = [...document.querySelectorAll(".vt-live[data-figure]")];
  // Another link into a page that is open already: all is built anew.
  addEventListener(
    "hashchange",
    () => inFragment().has("figure") && location.reload(),
  );
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
    for (const [trait, value] of Object.entries(state)) {
      if (typeof value?.bundled === "string")
        state[trait] = await load(value.bundled);
    }
    element.append(el);
    const cleanup = await begin(figure, element, el, state);
    element.querySelector("img").hidden = true;
    return cleanup;
  } catch (error) {
    el.remove();
    note(element, `This figure stays a picture here: ${error.message}.`);
  }
}

// Draw with what the page's address says of this figure; where that does not
// fit, without it.
async function begin(figure, element, el, state) {
  const name = element.dataset.figure;
  const number = [
    ...document.querySelectorAll(`[data-figure="${name}"]`),
  ].indexOf(element);
  const link = (shared) => addressOf(name, number, shared);
  try {
    if (isAskedFor(element)) {
      const linked = linkedState(state, figure.state);
      return await figure.render({ model: new Model(linked, link), el });
    }
  } catch (error) {
    el.replaceChildren();
    note(
      element,
      `The link does not fit this figure, so it begins as it is: ${error.message}.`,
    );
  }
  return figure.render({ model: new Model(state, link), el });
}

// A figure's state in the page's address: the version of this form, the figure,
// its index among the figures of that kind on the page, and the state as JSON.
// They are in the fragment, which a browser sends to no server: a drawing stays
// with those who have the link.
const VERSION = "1";

function addressOf(name, number, shared) {
  const address = new URL(document.baseURI);
  address.search = "";
  address.hash = new URLSearchParams({
    vt: VERSION,
    figure: name,
    number,
    state: JSON.stringify(shared),
  });
  return address.href;
}

// What the page's address asks for. Older links have it in the query string,
// and still work.
function asking() {
  return inFragment().has("figure")
    ? inFragment()
    : new URLSearchParams(location.search);
}

function inFragment() {
  return new URLSearchParams(location.hash.slice(1));
}

function isAskedFor(element) {
  const asked = asking();
  const name = element.dataset.figure;
  const all = [...document.querySelectorAll(`[data-figure="${name}"]`)];
  return (
    asked.get("figure") === name &&
    asked.get("number") === String(all.indexOf(element))
  );
}

// What the address asks of a figure, put into its state. `settable` names all
// that a link may set; the model and the pictures are the page's own.
function linkedState(state, settable) {
  const asked = asking();
  if (asked.get("vt") !== VERSION)
    throw new Error(`it is of version ${asked.get("vt")}`);
  let changes;
  try {
    changes = JSON.parse(asked.get("state"));
  } catch {
    throw new Error("its state is damaged");
  }
  if (kind(changes) !== "object") throw new Error("its state is damaged");
  for (const [trait, value] of Object.entries(changes)) {
    if (!Object.hasOwn(state, trait))
      throw new Error(`there is no “${trait}” here`);
    if (!settable.includes(trait))
      throw new Error(`a link may not set “${trait}”`);
    if (kind(value) !== kind(state[trait]))
      throw new Error(`“${trait}” is something else here`);
  }
  return { ...state, ...changes };
}

function kind(value) {
  return Array.isArray(value)
    ? "list"
    : value === null
      ? "nothing"
      : typeof value;
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
  if (!loading.has(name)) {
    const address = new URL(`models/${encodeURIComponent(name)}.js`, HERE).href;
    loading.set(
      name,
      new Promise((resolve, reject) => {
        const script = document.createElement("script");
        const given = () => globalThis.vitTutorialModels?.[name];
        const gone = () =>
          reject(
            new Error(`the weights of the model “${name}” could not be loaded`),
          );
        script.src = address;
        script.onload = () => (given() ? resolve(given()) : gone());
        script.onerror = gone;
        document.head.append(script);
      }),
    );
  }
  return loading.get(name);
}

// What anywidget calls the model, with nobody at the other end.
export class Model {
  #state;
  #listeners = new Map();

  // link(shared): the address of this page with that state in it. A notebook's
  // model has none.
  constructor(state, link) {
    this.#state = { ...state };
    this.link = link;
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
