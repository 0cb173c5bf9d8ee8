// How numbers become probabilities, for what figures read off a model; the
// model's own softmax is a kernel (kernels.c).

// In place: divide the scores, then exponentials that sum to 1. The largest is
// taken off first, which changes no weight and keeps exp from overflowing.
export function softmax(scores, divisor = 1) {
  let largest = -Infinity;
  for (let i = 0; i < scores.length; i++)
    largest = Math.max(largest, scores[i]);
  let sum = 0;
  for (let i = 0; i < scores.length; i++) {
    scores[i] = Math.exp((scores[i] - largest) / divisor);
    sum += scores[i];
  }
  for (let i = 0; i < scores.length; i++) scores[i] /= sum;
  return scores;
}
