// The arithmetic of the models that run in a page, four numbers at a time
// (shared.h). `python .ci/kernels.py` compiles it into kernels.wasm.
//
// A result may replace what it comes from, except of `transpose`, of `pool`,
// and of a product's factors.

#include "shared.h"

static inline f4 times_plus(f4 a, f4 b, f4 c) { return a * b + c; }

#include "product.h"

KERNEL(add)(float *out, const float *x, const float *y, int count) {
  for (int i = 0; i < count; i += 4)
    put(out + i, load(x + i) + load(y + i), count - i);
}

// (rows, columns) -> (columns, rows), 4 x 4 numbers at a time; the rows of x
// may be parts of longer ones.
KERNEL(transpose)(float *out, const float *x, int rows, int columns,
                  int x_row) {
  for (int i = 0; i < rows; i += 4)
    for (int j = 0; j < columns; j += 4) {
      const float *from = x + i * x_row + j;
      f4 a = load(from);
      f4 b = load(from + (rows - i > 1 ? x_row : 0));
      f4 c = load(from + (rows - i > 2 ? 2 * x_row : 0));
      f4 d = load(from + (rows - i > 3 ? 3 * x_row : 0));
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
  const float nothing = -__builtin_inff();
  int left = columns & 3, whole = columns - left;
  for (; rows > 0; rows--, x += columns) {
    f4 most = take_end(x + whole, left, nothing);
    for (int j = 0; j < whole; j += 4) most = larger(most, load(x + j));
    most = larger(most, __builtin_shufflevector(most, most, 2, 3, 0, 1));
    most = larger(most, __builtin_shufflevector(most, most, 1, 0, 3, 2));
    f4 end = exponential((take_end(x + whole, left, nothing) - most) * scale);
    f4 total = end;
    for (int j = 0; j < whole; j += 4) {
      f4 share = exponential((load(x + j) - most) * scale);
      total += share;
      put(x + j, share, 4);
    }
    f4 inverse = splat(1 / sum(total));
    for (int j = 0; j < whole; j += 4) put(x + j, load(x + j) * inverse, 4);
    put_end(x + whole, end * inverse, left);
  }
}

// LayerNorm: each row to mean 0 and variance 1, then scaled and shifted.
KERNEL(norm)(float *out, const float *x, int rows, int columns,
             const float *weight, const float *bias, float eps) {
  for (; rows > 0; rows--, x += columns, out += columns) {
    float mean, scale;
    moments(x, columns, eps, &mean, &scale);
    for (int j = 0; j < columns; j += 4) {
      f4 normal = (load(x + j) - mean) * scale;
      put(out + j, normal * load(weight + j) + load(bias + j), columns - j);
    }
  }
}

// GELU in place: x Phi(x) = max(x, 0) - |x| Phi(-|x|).
KERNEL(gelu)(float *x, int count) {
  for (int i = 0; i < count; i += 4) {
    f4 value = load(x + i);
    f4 size = (f4)wasm_f32x4_abs((v128_t)value);
    f4 bell = exponential(size * size * -0.5f);
    put(x + i, larger(value, splat(0)) - size * beyond(size, bell), count - i);
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
