// What attention maps sum up to: rows, and rollout through all layers.

// One token's row of a map, (heads, n, n).
export function rowOf(attention, n, head, token) {
  const start = (head * n + token) * n;
  return attention.subarray(start, start + n);
}

// How many tokens a row hears: the exponential of its entropy.
export function heard(row) {
  let entropy = 0;
  for (const weight of row)
    if (weight > 0) entropy -= weight * Math.log(weight);
  return Math.exp(entropy);
}

// What the class token takes from each token of the first layer, through all
// layers: its row of attention_rollout, which is followed back from the last
// layer, row times matrix.
export function rollout(layers, heads, n) {
  let row = new Float64Array(n);
  row[0] = 1;
  for (const { attention } of [...layers].reverse()) {
    const before = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      const fused = new Float64Array(n); // the heads' mean, rescaled to sum to 1
      let sum = 0;
      for (let head = 0; head < heads; head++) {
        rowOf(attention, n, head, i).forEach((weight, j) => {
          fused[j] += weight;
          sum += weight;
        });
      }
      if (!sum) {
        before[i] += row[i]; // all heads off: the residual connection alone
        continue;
      }
      for (let j = 0; j < n; j++)
        before[j] += row[i] * 0.5 * (fused[j] / sum + (i === j ? 1 : 0));
    }
    row = before;
  }
  return row;
}
