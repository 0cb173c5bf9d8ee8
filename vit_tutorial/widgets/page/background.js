// Work that takes long, done a few milliseconds at a time: in between, the page
// does what it has to.

const SLICE = 8; // milliseconds

export class Background {
  #waiting; // the timer of the next slice

  // attempt(work): does a slice of work that may fail.
  constructor(attempt) {
    this.attempt = attempt;
  }

  // Go through a generator that yields wherever it may be interrupted. What was
  // begun before is dropped.
  start(work) {
    this.stop();
    const slice = () => {
      this.attempt(() => {
        const until = performance.now() + SLICE;
        do {
          if (work.next().done) return;
        } while (performance.now() < until);
        this.#waiting = setTimeout(slice);
      });
    };
    this.#waiting = setTimeout(slice);
  }

  stop() {
    clearTimeout(this.#waiting);
  }
}
