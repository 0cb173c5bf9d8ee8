// Work that takes many passes, done in a Worker: the page goes on meanwhile.

import { probabilities } from "./page_model.js";

const PATIENCE = 60_000; // milliseconds, then a Worker that is silent is dead

let code; // where the Worker's script is

// A Worker with a model of its own. It is made when it is first asked, and anew
// after it has failed.
export class Background {
  #payload;
  #worker = null;
  #waiting = []; // questions, the first that was asked first
  #asked = null; // the question that the Worker has
  #timer;

  constructor(payload) {
    this.#payload = payload;
  }

  // name: one of ANSWERS in worker.js; given: what it takes. A question that
  // nobody wants any longer is never answered.
  ask(name, given, isWanted) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ name, given, isWanted, resolve, reject });
      this.#next();
    });
  }

  // One question at a time, so that one that is outdated meanwhile costs
  // nothing.
  #next() {
    if (this.#asked) return;
    this.#waiting = this.#waiting.filter(({ isWanted }) => isWanted());
    this.#asked = this.#waiting.shift();
    if (!this.#asked) return;
    const { name, given } = this.#asked;
    const model = this.#worker ? null : this.#payload;
    try {
      this.#worker ??= this.#begin();
      this.#worker.postMessage({ model, name, given });
    } catch {
      this.#settle({ error: "this browser gives the page no Worker" });
      return;
    }
    const error = "the page’s Worker does not answer";
    const silent = () => this.#settle({ error });
    this.#timer = setTimeout(silent, PATIENCE);
  }

  // A page that was opened by double-click may load no script into a Worker. So
  // the Worker gets the script that is here: `whole` is the function in which
  // bundle.py puts all of it, this module too.
  #begin() {
    code ??= URL.createObjectURL(new Blob([`(${whole})();`]));
    const worker = new Worker(code);
    const settle = (found) => worker === this.#worker && this.#settle(found);
    worker.onmessage = ({ data }) => settle(data);
    const error = "the page’s Worker has stopped";
    worker.onerror = () => settle({ error });
    return worker;
  }

  #settle({ answer, error }) {
    const { isWanted, resolve, reject } = this.#asked;
    if (!answer) this.end();
    clearTimeout(this.#timer);
    this.#asked = null;
    if (isWanted()) answer ? resolve(answer) : reject(new Error(error));
    this.#next();
  }

  end() {
    clearTimeout(this.#timer);
    this.#worker?.terminate();
    this.#worker = null;
  }
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
