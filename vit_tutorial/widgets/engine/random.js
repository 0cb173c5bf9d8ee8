// Random numbers that a seed repeats: the generator sfc32 (Doty-Humphrey's
// PractRand), and what training draws from it.

export class Random {
  #state;

  constructor(seed) {
    this.#state = new Uint32Array([seed, seed / 2 ** 32, 0, 1]);
    for (let i = 0; i < 15; i++) this.uniform(); // mixes a small seed's bits
  }

  // from 0 up to 1, in steps of 2^-32
  uniform() {
    const s = this.#state;
    const [a, b, c, counter] = s;
    s[3] = counter + 1;
    s[0] = b ^ (b >>> 9);
    s[1] = c + (c << 3);
    const drawn = (a + b + counter) >>> 0;
    s[2] = ((c << 21) | (c >>> 11)) + drawn;
    return drawn / 2 ** 32;
  }

  // a whole number from 0 to n - 1
  below(n) {
    return Math.floor(this.uniform() * n);
  }

  // mean 0, variance 1, by Box and Muller (1958)
  normal() {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  // the numbers from 0 to n - 1 in a random order
  shuffled(n) {
    const order = Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }
}
