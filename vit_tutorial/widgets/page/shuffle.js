// The order that a seed stands for, the same in every browser and in Python
// (shuffle.py).

// The same random numbers in [0, 1) for the same seed, in every browser
// (mulberry32).
export function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

// The numbers from 0 to n - 1 in an order that the seed decides (Fisher and
// Yates); 0: in theirs.
export function shuffled(n, seed) {
  const order = Array.from({ length: n }, (_, i) => i);
  if (seed === 0) return order;
  const random = randomNumbers(seed);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
