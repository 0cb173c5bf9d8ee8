// The arithmetic of the models that run in a page, four numbers at a time.
// `python .ci/kernels.py` compiles it into kernels.wasm.
//
// Matrices are float32, row by row, and lie in WebAssembly's memory. A read may
// run past a row's end, by seven numbers at most, so memory.js leaves as many
// free behind the last matrix; a write never does. A result may replace what it
// comes from, except of `transpose`, of `pool`, and of a product's factors.

#include <wasm_simd128.h>

#define KERNEL(name) __attribute__((export_name(#name))) void name

typedef float f4 __attribute__((vector_size(16)));
typedef int i4 __attribute__((vector_size(16)));
typedef float anywhere __attribute__((vector_size(16), aligned(4)));

static inline f4 load(const float *from) { return *(const anywhere *)from; }

static inline f4 splat(float value) { return (f4){value, value, value, value}; }

static inline f4 larger(f4 a, f4 b) {
  return (f4)wasm_f32x4_pmax((v128_t)a, (v128_t)b);
}

static inline float sum(f4 x) { return (x[0] + x[1]) + (x[2] + x[3]); }

// The one to three numbers at a row's end, and `fill` for the others.
static __attribute__((noinline)) f4 take_end(const float *from, int left,
                                             float fill) {
  f4 found = splat(fill);
  found[0] = from[0];
  if (left > 1) found[1] = from[1];
  if (left > 2) found[2] = from[2];
  return found;
}

static __attribute__((noinline)) void put_end(float *to, f4 values, int left) {
  if (left > 0) to[0] = values[0];
  if (left > 1) to[1] = values[1];
  if (left > 2) to[2] = values[2];
}

static inline f4 take(const float *from, int left, float fill) {
  return left >= 4 ? load(from) : take_end(from, left, fill);
}

static inline void put(float *to, f4 values, int left) {
  if (left >= 4) *(anywhere *)to = values;
  else put_end(to, values, left);
}

// e^x for x up to 0, right to 1e-7 of its value. Below -87, where float32 runs
// out, it is exactly 0.
static inline f4 exponential(f4 x) {
  f4 n = (f4)wasm_f32x4_nearest((v128_t)(x * 1.44269504f));
  f4 r = x - n * 0.693359375f + n * 2.12194440e-4f; // x = n ln 2 + r
  f4 power = splat(1.0f / 5040);                    // Taylor's series of e^r
  power = power * r + 1.0f / 720;
  power = power * r + 1.0f / 120;
  power = power * r + 1.0f / 24;
  power = power * r + 1.0f / 6;
  power = power * r + 0.5f;
  power = power * r + 1.0f;
  power = power * r + 1.0f;
  i4 two_to_n = ((i4)wasm_i32x4_trunc_sat_f32x4((v128_t)n) + 127) << 23;
  return (f4)((i4)(power * (f4)two_to_n) & (x > -87.0f));
}

// Four rows and eight columns of a product: every number that is read is used
// several times, which is what makes it fast. At the lower edge the last row
// stands in for those beyond it, and nothing else is written.
static inline void block(int rows, int columns, int length, const float *a,
                         int a_row, int a_column, const float *b, int b_row,
                         float *c, int c_row, const float *added,
                         int added_row) {
  const float *row[4];
  f4 sums[4][2];
  for (int r = 0; r < 4; r++) {
    int there = r < rows ? r : rows - 1;
    row[r] = a + there * a_row;
    sums[r][0] = added ? load(added + there * added_row) : splat(0);
    sums[r][1] = added ? load(added + there * added_row + 4) : splat(0);
  }
  for (; length > 0; length--, b += b_row) {
    f4 left = load(b), right = load(b + 4);
    for (int r = 0; r < 4; r++) {
      sums[r][0] += *row[r] * left;
      sums[r][1] += *row[r] * right;
      row[r] += a_column;
    }
  }
  for (int r = 0; r < 4; r++) {
    if (r < rows) put(c + r * c_row, sums[r][0], columns);
    if (r < rows) put(c + r * c_row + 4, sums[r][1], columns - 4);
  }
}

// c = a b + added: (rows, length) times (length, columns). Steps between rows,
// and along a row of a, are free: a may be transposed (a_row = 1), and its rows
// may overlap. What is added may be one row for all, a bias (added_row = 0), or
// c itself.
KERNEL(product)(int rows, int columns, int length, const float *a, int a_row,
                int a_column, const float *b, int b_row, float *c, int c_row,
                const float *added, int added_row) {
  for (int j = 0; j < columns; j += 8)
    for (int i = 0; i < rows; i += 4)
      block(rows - i, columns - j, length, a + i * a_row, a_row, a_column,
            b + j, b_row, c + i * c_row + j, c_row,
            added ? added + i * added_row + j : 0, added_row);
}

KERNEL(add)(float *out, const float *x, const float *y, int count) {
  for (int i = 0; i < count; i += 4)
    put(out + i, load(x + i) + load(y + i), count - i);
}

// (rows, columns) -> (columns, rows), 4 x 4 numbers at a time.
KERNEL(transpose)(float *out, const float *x, int rows, int columns) {
  for (int i = 0; i < rows; i += 4)
    for (int j = 0; j < columns; j += 4) {
      const float *from = x + i * columns + j;
      f4 a = load(from);
      f4 b = load(from + (rows - i > 1 ? columns : 0));
      f4 c = load(from + (rows - i > 2 ? 2 * columns : 0));
      f4 d = load(from + (rows - i > 3 ? 3 * columns : 0));
      f4 ab[2] = {__builtin_shufflevector(a, b, 0, 4, 1, 5),
                  __builtin_shufflevector(a, b, 2, 6, 3, 7)};
      f4 cd[2] = {__builtin_shufflevector(c, d, 0, 4, 1, 5),
                  __builtin_shufflevector(c, d, 2, 6, 3, 7)};
      float *to = out + j * rows + i;
      for (int pair = 0; pair < 2; pair++, to += 2 * rows) {
        f4 first = __builtin_shufflevector(ab[pair], cd[pair], 0, 1, 4, 5);
        f4 second = __builtin_shufflevector(ab[pair], cd[pair], 2, 3, 6, 7);
        int left = columns - j - 2 * pair;
        if (left > 0) put(to, first, rows - i);
        if (left > 1) put(to + rows, second, rows - i);
      }
    }
}

// Each row: e^(scale x), over their sum. The largest is taken off first, which
// changes no weight and keeps exponentials from overflowing.
KERNEL(softmax)(float *x, int rows, int columns, float scale) {
  for (; rows > 0; rows--, x += columns) {
    f4 most = splat(-__builtin_inff());
    for (int j = 0; j < columns; j += 4)
      most = larger(most, take(x + j, columns - j, -__builtin_inff()));
    most = larger(most, __builtin_shufflevector(most, most, 2, 3, 0, 1));
    most = larger(most, __builtin_shufflevector(most, most, 1, 0, 3, 2));
    f4 total = splat(0);
    for (int j = 0; j < columns; j += 4) {
      f4 score = take(x + j, columns - j, -__builtin_inff());
      f4 share = exponential((score - most) * scale);
      total += share;
      put(x + j, share, columns - j);
    }
    f4 inverse = splat(1 / sum(total));
    for (int j = 0; j < columns; j += 4)
      put(x + j, load(x + j) * inverse, columns - j);
  }
}

// LayerNorm: each row to mean 0 and variance 1, then scaled and shifted.
KERNEL(norm)(float *out, const float *x, int rows, int columns,
             const float *weight, const float *bias, float eps) {
  for (; rows > 0; rows--, x += columns, out += columns) {
    f4 total = splat(0), squares = splat(0);
    for (int j = 0; j < columns; j += 4) total += take(x + j, columns - j, 0);
    float mean = sum(total) / columns;
    for (int j = 0; j < columns; j += 4) {
      f4 away = take(x + j, columns - j, mean) - mean;
      squares += away * away;
    }
    float scale = 1 / __builtin_sqrtf(sum(squares) / columns + eps);
    for (int j = 0; j < columns; j += 4) {
      f4 normal = (load(x + j) - mean) * scale;
      put(out + j, normal * load(weight + j) + load(bias + j), columns - j);
    }
  }
}

// GELU in place: x Phi(x) = max(x, 0) - |x| Phi(-|x|), whose last factor is
// erfc(|x| / sqrt 2) / 2 by Abramowitz and Stegun (1964), formula 7.1.26, wrong
// by less than 1e-7.
KERNEL(gelu)(float *x, int count) {
  for (int i = 0; i < count; i += 4) {
    f4 value = load(x + i);
    f4 size = (f4)wasm_f32x4_abs((v128_t)value);
    f4 t = 1.0f / (1.0f + 0.3275911f * 0.70710678f * size);
    f4 tail = t * 1.061405429f - 1.453152027f;
    tail = tail * t + 1.421413741f;
    tail = tail * t - 0.284496736f;
    tail = tail * t + 0.254829592f;
    tail = tail * t * 0.5f * exponential(size * size * -0.5f);
    put(x + i, larger(value, splat(0)) - size * tail, count - i);
  }
}

// ReLU in place.
KERNEL(rectify)(float *x, int count) {
  for (int i = 0; i < count; i += 4)
    put(x + i, larger(load(x + i), splat(0)), count - i);
}

// The largest of every 2 x 2 places, channel by channel: two rows of places
// make one of `width` places.
KERNEL(pool)(float *out, const float *upper, const float *lower, int width,
             int channels) {
  for (; width > 0; width--, out += channels) {
    for (int c = 0; c < channels; c += 4) {
      f4 left = larger(load(upper + c), load(lower + c));
      f4 right = larger(load(upper + channels + c), load(lower + channels + c));
      put(out + c, larger(left, right), channels - c);
    }
    upper += 2 * channels, lower += 2 * channels;
  }
}
