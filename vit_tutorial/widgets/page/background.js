// Work that takes many passes, done in a Worker: the page goes on meanwhile.

import { clearAway } from "../engine/memory.js";
import { probabilities } from "./page_model.js";
import { codeOf } from "./parts.js";

const PATIENCE = 60_000; // milliseconds, then a Worker that is silent is dead

const addresses = new Map(); // of Workers' scripts, by their parts

// A Worker with a model of its own. It is made when it is first asked, and anew
// after it has failed.
export class Background {
  #payload;
  #part;
  #worker = null;
  #waiting = []; // questions, the first that was asked first
  #asked = null; // the question that the Worker has
  #timer;

  // part: the module that answers there, beside worker.js, if there is one.
  constructor(payload, part = null) {
    this.#payload = payload;
    this.#part = part;
  }

  // name: one of the ANSWERS of these modules; given: what it takes. A question
  // that nobody wants any longer is never answered.
  ask(name, given, isWanted) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ name, given, isWanted, resolve, reject });
      this.#next();
    });
  }

  // One question at a time, so that one that is outdated meanwhile costs
  // nothing.
  async #next() {
    if (this.#asked) return;
    this.#waiting = this.#waiting.filter(({ isWanted }) => isWanted());
    const asked = (this.#asked = this.#waiting.shift());
    if (!asked) return;
    const { name, given } = asked;
    const isOver = () => this.#asked !== asked; // it was ended meanwhile
    try {
      const address = this.#worker ? null : await addressWith(this.#part);
      if (isOver()) return;
      this.#worker ??= this.#begin(address);
      const model = address ? this.#payload : null;
      this.#worker.postMessage({ model, name, given });
    } catch ({ message }) {
      if (!isOver()) this.#settle({ error: message });
      return;
    }
    const error = "the page’s Worker does not respond";
    const silent = () => this.#settle({ error });
    this.#timer = setTimeout(silent, PATIENCE);
  }

  #begin(address) {
    let worker;
    try {
      worker = new Worker(address);
    } catch {
      throw new Error("this browser allows no Worker on this page");
    }
    const settle = (found) => worker === this.#worker && this.#settle(found);
    worker.onmessage = ({ data }) => settle(data);
    const error = "the page’s Worker has stopped";
    worker.onerror = () => settle({ error });
    return worker;
  }

  #settle({ answer, error, isFull }) {
    const asked = this.#asked;
    const { isWanted, resolve, reject } = asked;
    clearTimeout(this.#timer);
    this.#asked = null;
    if (!answer) this.end();
    if (isFull && !asked.isAgain) {
      clearAway();
      this.#waiting.unshift({ ...asked, isAgain: true });
      return this.#next();
    }
    if (isWanted()) answer ? resolve(answer) : reject(new Error(error));
    this.#next();
  }

  end() {
    clearTimeout(this.#timer);
    this.#asked = null;
    this.#worker?.terminate();
    this.#worker = null;
  }
}

// A page that was opened by double-click may load no script into a Worker. So
// the Worker gets the script that is here: `whole` is the function in which
// bundle.py puts all of it, this module too, and it takes a part's code.
async function addressWith(part) {
  if (!addresses.has(part)) {
    const code = part && (await codeOf(part));
    const script = new Blob([`(${whole})(${code ?? ""});`]);
    addresses.set(part, URL.createObjectURL(script));
  }
  return addresses.get(part);
}

// Work that is begun anew when its figure changes: only the latest counts.
export class Work {
  #latest = null;

  // failed(error): the Worker did.
  constructor(background, failed) {
    Object.assign(this, { background, failed });
  }

  // Begin an async function, work(many): `await many(pixels, [changes, …])`
  // gives the probabilities of many passes. What was begun before hears no
  // answer any more, and so ends where it waits.
  start(work) {
    const latest = (this.#latest = {});
    const isWanted = () => this.#latest === latest;
    const many = async (...given) => {
      const answer = await this.background.ask("logits", given, isWanted);
      return answer.map(probabilities);
    };
    work(many).catch((error) => isWanted() && this.failed(error));
  }

  stop() {
    this.#latest = null;
  }
}
