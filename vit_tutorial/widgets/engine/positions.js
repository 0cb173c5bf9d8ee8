// Where each patch was: every kind of position embedding, as in positions.py.
// A kind reads the ViT's grid, numPrefix, config and weights.

const POSITIONS = {
  none: () => null,
  learned: ({ weights }) => weights.pos_embedding,
  learned_2d: (vit) =>
    rowsAndColumns(vit, vit.weights.pos_rows, vit.weights.pos_columns),
  sincos_2d: (vit) => {
    const axes = vit.grid.map((side) => sincos(side, vit.config.dim));
    return rowsAndColumns(vit, ...axes);
  },
};

// What each token gets, (n, D), or null.
// Throws a RangeError for a kind that is not in the table.
export function positionTable(vit) {
  const kind = vit.config.position;
  if (!Object.hasOwn(POSITIONS, kind)) {
    const known = Object.keys(POSITIONS).join(", ");
    throw new RangeError(
      `this page adds positions of the kinds ${known}; got ${kind}`,
    );
  }
  return POSITIONS[kind](vit);
}

// One half for the column, one for the row; the class token has no position, so
// it gets zeros.
function rowsAndColumns({ grid, numPrefix, config: { dim } }, rows, columns) {
  const half = dim / 2;
  const table = new Float32Array((numPrefix + grid[0] * grid[1]) * dim);
  let i = numPrefix * dim;
  for (let row = 0; row < grid[0]; row++) {
    for (let column = 0; column < grid[1]; column++, i += dim) {
      table.set(columns.subarray(column * half, (column + 1) * half), i);
      table.set(rows.subarray(row * half, (row + 1) * half), i + half);
    }
  }
  return table;
}

// One axis of the 2-D sine-cosine positions: (length, dim/2).
function sincos(length, dim) {
  const quarter = dim / 4;
  const table = new Float32Array((length * dim) / 2);
  for (let i = 0; i < length; i++) {
    for (let d = 0; d < quarter; d++) {
      const angle = i * 10_000 ** -(d / Math.max(quarter - 1, 1));
      table[i * 2 * quarter + d] = Math.sin(angle);
      table[i * 2 * quarter + quarter + d] = Math.cos(angle);
    }
  }
  return table;
}
