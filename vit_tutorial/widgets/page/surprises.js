// What "surprise me" shows: the strongest case first, then the next, and after
// the weakest the strongest again.
export class Surprises {
  #cases;
  #next = 0;

  constructor(cases, strength) {
    this.#cases = [...cases].sort((a, b) => strength(b) - strength(a));
  }

  // The next case; one that is shown already surprises nobody.
  next(isShown = () => false) {
    const found = this.#turn();
    return isShown(found) ? this.#turn() : found;
  }

  #turn() {
    return this.#cases[this.#next++ % this.#cases.length];
  }
}
