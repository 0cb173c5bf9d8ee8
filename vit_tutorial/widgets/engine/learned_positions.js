// What training needs of each kind of position embedding in positions.js: the
// parameters behind the table, and how the table's gradient reaches them.

const KINDS = {
  none: { shapes: () => ({}) },
  learned: {
    shapes: (n, _, dim) => ({ pos_embedding: [1, n, dim] }),
    back: (table, { pos_embedding }) => {
      for (let i = 0; i < table.length; i++) pos_embedding[i] += table[i];
    },
  },
  learned_2d: {
    shapes: (_, [rows, columns], dim) => ({
      pos_rows: [rows, dim / 2],
      pos_columns: [columns, dim / 2],
    }),
    back: (table, { pos_rows, pos_columns }, [rows, columns], dim) => {
      const half = dim / 2;
      let i = table.length - rows * columns * dim; // behind the class token
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++, i += dim) {
          for (let d = 0; d < half; d++) {
            pos_columns[column * half + d] += table[i + d];
            pos_rows[row * half + d] += table[i + half + d];
          }
        }
      }
    },
  },
  sincos_2d: { shapes: () => ({}) },
};

// [{ name, shape }] of a config's kind.
// Throws a RangeError for a kind that is not in the table.
export function positionParameters(config) {
  const grid = gridOf(config);
  const n = (config.pool === "cls" ? 1 : 0) + grid[0] * grid[1];
  const { position, dim } = config;
  if (!Object.hasOwn(KINDS, position)) {
    const known = Object.keys(KINDS).join(", ");
    throw new RangeError(
      `this page trains positions of the kinds ${known}; got ${position}`,
    );
  }
  const shapes = KINDS[position].shapes(n, grid, dim);
  return Object.entries(shapes).map(([name, shape]) => ({ name, shape }));
}

// Add a table's gradient, (n, D), to those of the parameters behind it; views,
// by their names.
export function positionsBack(config, table, gradients) {
  const { position, dim } = config;
  KINDS[position].back?.(table, gradients, gridOf(config), dim);
}

// (rows, columns) of patches
export function gridOf({ image_size, patch_size }) {
  const [height, width = height] = [image_size].flat();
  const [p1, p2 = p1] = [patch_size].flat();
  return [height / p1, width / p2];
}
