// What "Surprise me" shows: the strongest case first, then the next, and after
// the weakest the strongest again.
export class Surprises {
  #cases;
  #next = 0;

  constructor(cases, strength) {
    const measured = Array.from(cases, (each) => [strength(each), each]);
    measured.sort(([a], [b]) => b - a);
    this.#cases = measured.map(([, each]) => each);
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
