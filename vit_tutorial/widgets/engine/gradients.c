// The arithmetic of training beside that of kernels.c: the gradients of its
// functions, and the steps that weights take. `python .ci/kernels.py` compiles
// it into gradients.wasm, which only pages that train load.
//
// A product's gradients are products themselves, so none stands here. What
// comes from above, the gradient of a function's output, is called dy.

#include "shared.h"

// GELU in place, and its slope: Phi(x) + x phi(x), where phi is the normal
// distribution's density.
KERNEL(gelu_with_slope)(float *x, float *slope, int count) {
  for (int i = 0; i < count; i += 4) {
    f4 value = load(x + i);
    f4 size = (f4)wasm_f32x4_abs((v128_t)value);
    f4 bell = exponential(size * size * -0.5f);
    f4 tail = beyond(size, bell);
    i4 positive = value > 0;
    f4 below = (f4)(((i4)(1 - tail) & positive) | ((i4)tail & ~positive));
    put(slope + i, below + value * bell * 0.39894228f, count - i);
    put(x + i, larger(value, splat(0)) - size * tail, count - i);
  }
}

KERNEL(multiply)(float *out, const float *x, const float *y, int count) {
  for (int i = 0; i < count; i += 4)
    put(out + i, load(x + i) * load(y + i), count - i);
}

// Softmax's, in place of dy: each row of weights w comes from scores whose
// gradient is scale w (dy - sum(w dy)).
KERNEL(softmax_back)(float *dy, const float *w, int rows, int columns,
                     float scale) {
  for (; rows > 0; rows--, dy += columns, w += columns) {
    f4 total = splat(0);
    for (int j = 0; j < columns; j += 4)
      total += take(dy + j, columns - j, 0) * take(w + j, columns - j, 0);
    float mean = sum(total);
    for (int j = 0; j < columns; j += 4)
      put(dy + j, (load(dy + j) - mean) * load(w + j) * scale, columns - j);
  }
}

// LayerNorm's, all three added to what is there. What a row loses by being
// normed is its gradient's mean, and the part along the row itself.
KERNEL(norm_back)(float *dx, const float *dy, const float *x, int rows,
                  int columns, const float *weight, float *dweight,
                  float *dbias, float eps) {
  for (; rows > 0; rows--, dx += columns, dy += columns, x += columns) {
    float mean, scale;
    moments(x, columns, eps, &mean, &scale);
    f4 total = splat(0), along = splat(0);
    for (int j = 0; j < columns; j += 4) {
      int left = columns - j;
      f4 normal = (take(x + j, left, mean) - mean) * scale;
      f4 above = take(dy + j, left, 0);
      f4 inner = above * take(weight + j, left, 0);
      total += inner;
      along += inner * normal;
      put(dweight + j, load(dweight + j) + above * normal, left);
      put(dbias + j, load(dbias + j) + above, left);
    }
    float shift = sum(total) / columns, stretch = sum(along) / columns;
    for (int j = 0; j < columns; j += 4) {
      f4 normal = (load(x + j) - mean) * scale;
      f4 inner = load(dy + j) * load(weight + j);
      f4 change = (inner - shift - normal * stretch) * scale;
      put(dx + j, load(dx + j) + change, columns - j);
    }
  }
}

// Add a matrix's rows to one row: the gradient of a bias.
KERNEL(add_rows)(float *out, const float *x, int rows, int columns,
                 int x_row) {
  for (int j = 0; j < columns; j += 4) {
    f4 total = load(out + j);
    for (int i = 0; i < rows; i++) total += load(x + i * x_row + j);
    put(out + j, total, columns - j);
  }
}

// a x + b y
KERNEL(blend)(float *out, const float *x, float a, const float *y, float b,
              int count) {
  for (int i = 0; i < count; i += 4)
    put(out + i, load(x + i) * a + load(y + i) * b, count - i);
}

// A step of AdamW (Loshchilov and Hutter, 2019). keep: what decay leaves of a
// weight. mean and square: the running means of the gradient and of its square,
// which begin at 0; `rate` and `root` make up for that.
KERNEL(adamw)(float *weight, const float *gradient, float *mean, float *square,
              int count, float keep, float beta1, float beta2, float rate,
              float root, float eps) {
  for (int i = 0; i < count; i += 4) {
    f4 g = load(gradient + i);
    f4 m = load(mean + i) * beta1 + g * (1 - beta1);
    f4 s = load(square + i) * beta2 + g * g * (1 - beta2);
    f4 size = (f4)wasm_f32x4_sqrt((v128_t)s) / root + eps;
    put(mean + i, m, count - i);
    put(square + i, s, count - i);
    put(weight + i, load(weight + i) * keep - m / size * rate, count - i);
  }
}
