// The matrix product, where nearly all of a model's time goes. Whoever includes
// it says how times_plus(a, b, c) computes a b + c.

// Four rows and eight columns of a product: every number that is read is used
// several times, which is what makes it fast. At the lower edge the last row
// stands in for those beyond it, and nothing else is written. The loops over four
// rows are unrolled, so that all sums stay in registers.
static inline void block(int rows, int columns, int length, const float *a,
                         int a_row, int a_column, const float *b, int b_row,
                         float *c, int c_row, const float *added,
                         int added_row) {
  const float *row[4];
  f4 sums[4][2];
#pragma unroll
  for (int r = 0; r < 4; r++) {
    int there = r < rows ? r : rows - 1;
    row[r] = a + there * a_row;
    sums[r][0] = added ? load(added + there * added_row) : splat(0);
    sums[r][1] = added ? load(added + there * added_row + 4) : splat(0);
  }
  for (; length > 0; length--, b += b_row) {
    f4 left = load(b), right = load(b + 4);
#pragma unroll
    for (int r = 0; r < 4; r++) {
      sums[r][0] = times_plus(splat(*row[r]), left, sums[r][0]);
      sums[r][1] = times_plus(splat(*row[r]), right, sums[r][1]);
      row[r] += a_column;
    }
  }
#pragma unroll
  for (int r = 0; r < 4; r++) {
    if (r < rows) put(c + r * c_row, sums[r][0], columns);
    if (r < rows) put(c + r * c_row + 4, sums[r][1], columns - 4);
  }
}

// c = a b + added: (rows, length) times (length, columns). Steps between rows,
// and along a row of a, are free: a may be transposed (a_row = 1), and its rows
// may overlap. What is added may be one row for all, a bias (added_row = 0), or
// c itself. b_row = 8 says that b lies in panels, eight columns each, of which
// the next follows when the last has ended: a large matrix is then read from one
// end to the other, while wide rows would come from all over the memory for each
// panel, and drive each other out of the cache.
KERNEL(product)(int rows, int columns, int length, const float *a, int a_row,
                int a_column, const float *b, int b_row, float *c, int c_row,
                const float *added, int added_row) {
  int panel = b_row == 8 ? 8 * length : 8; // from one to the next
  for (int j = 0; j < columns; j += 8, b += panel)
    for (int i = 0; i < rows; i += 4)
      block(rows - i, columns - j, length, a + i * a_row, a_row, a_column,
            b, b_row, c + i * c_row + j, c_row,
            added ? added + i * added_row + j : 0, added_row);
}
