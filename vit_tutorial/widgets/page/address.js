// A figure's state in the page's address, short and readable:
//
//   #vt=2&figure=playground&picture=3&dropped=0-13.35-48
//
// The version of this form, the figure, its number among those of its kind on
// the page (0 is left out), and what differs from the figure's beginning. All
// of it is in the fragment, which a browser sends to no server: a drawing stays
// with those who have the link.

import { read, write } from "./address_values.js";

const VERSION = "2";
const OURS = ["vt", "figure", "number", "state"];
const PAUSE = 400; // milliseconds without a change, before the address follows

export class Address {
  #name;
  #number;
  #settable;
  #images;

  // beginning: the figure's state without a link. state: the traits that a link
  // may set; the model and the images are the page's own. images: those of them
  // that hold an image.
  constructor(element, beginning = {}, { state = [], images = [] } = {}) {
    const name = element.dataset.figure;
    const alike = [...document.querySelectorAll(`[data-figure="${name}"]`)];
    this.#name = name;
    this.#number = String(alike.indexOf(element));
    this.beginning = beginning;
    this.#settable = state;
    this.#images = images;
  }

  get isAskedFor() {
    const asked = asking();
    const number = asked.get("number") ?? "0";
    return asked.get("figure") === this.#name && number === this.#number;
  }

  // The figure's state as the page's address asks for it.
  asked() {
    const asked = asking();
    const version = asked.get("vt");
    if (version !== VERSION && version !== "1")
      throw new Error(`it has version ${version}`);
    const changes =
      version === VERSION
        ? [...asked].filter(([trait]) => !OURS.includes(trait))
        : Object.entries(fromJson(asked.get("state")));
    const state = { ...this.beginning };
    for (const [trait, given] of changes) {
      if (!Object.hasOwn(state, trait))
        throw new Error(`there is no “${trait}” here`);
      if (!this.#settable.includes(trait))
        throw new Error(`a link cannot set “${trait}”`);
      const kind = this.#kindOf(trait);
      const value = version === VERSION ? read(kind, given) : given;
      if (value === undefined || kindOf(value) !== kindOf(state[trait]))
        throw new Error(`“${trait}” has the wrong type`);
      state[trait] = value;
    }
    return state;
  }

  // The link to this page with the figure in a state.
  linkTo(shared) {
    const address = new URL(location.href);
    address.search = "";
    address.hash = this.#fragment(this.#differences(shared));
    return address.href;
  }

  // Let the page's own address follow the state: a reload, a bookmark or a copy
  // of the address then brings it back.
  follow(shared) {
    const address = new URL(location.href);
    const { searchParams } = address;
    if (searchParams.has("figure"))
      for (const name of OURS) searchParams.delete(name);
    const differences = this.#differences(shared);
    address.hash = differences.length ? this.#fragment(differences) : "";
    writeSoon(address.href);
  }

  #differences(shared) {
    const written = (trait, value) => write(this.#kindOf(trait), value);
    const begun = (trait) => written(trait, this.beginning[trait]);
    return Object.entries(shared)
      .map(([trait, value]) => [trait, written(trait, value)])
      .filter(([trait, text]) => text !== begun(trait));
  }

  #fragment(differences) {
    const number = this.#number === "0" ? [] : [["number", this.#number]];
    const head = [["vt", VERSION], ["figure", this.#name], ...number];
    return String(new URLSearchParams([...head, ...differences]));
  }

  #kindOf(trait) {
    const isImage = this.#images.includes(trait);
    return isImage ? "image" : kindOf(this.beginning[trait]);
  }
}

// What the page's address asks for. Older links have it in the query string,
// and still work.
function asking() {
  const inFragment = new URLSearchParams(location.hash.slice(1));
  return inFragment.has("figure")
    ? inFragment
    : new URLSearchParams(location.search);
}

// The state in a link of the first version.
function fromJson(text) {
  let state;
  try {
    state = JSON.parse(text);
  } catch {
    // told below
  }
  if (kindOf(state) !== "object") throw new Error("its state is damaged");
  return state;
}

function kindOf(value) {
  if (value === null) return "nothing";
  return Array.isArray(value) ? "list" : typeof value;
}

let next = null; // the address to write
let timer = 0;
let isHeld = false; // a pointer is down: the reader drags, or is about to

// Follow links into this page, and know when the reader drags.
export function watchAddress() {
  const holding = { pointerdown: true, pointerup: false, pointercancel: false };
  for (const [event, held] of Object.entries(holding)) {
    const hear = () => {
      isHeld = held;
      if (next !== null) writeSoon(next);
    };
    addEventListener(event, hear, true);
  }
  // Another link into a page that is open already: all is built anew, and the
  // page shows the figure instead of where the reader was.
  const rebuild = () => {
    if (!/[#&]figure=/.test(location.hash)) return;
    history.scrollRestoration = "manual";
    location.reload();
  };
  addEventListener("hashchange", rebuild);
}

function writeSoon(address) {
  next = address;
  clearTimeout(timer);
  if (!isHeld) timer = setTimeout(writeNow, PAUSE);
}

// In place of the entry in the history, so that "back" still leads back. Some
// browsers refuse it for a file; "Copy link" is left then.
function writeNow() {
  try {
    history.replaceState(history.state, "", next);
  } catch {
    // the address stays as it is
  }
  next = null;
}
