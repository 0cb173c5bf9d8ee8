// What both modules of kernels share: four numbers at a time, the ends of rows,
// and the mathematics that a gradient needs as much as its function.
//
// Matrices are float32, row by row, and lie in WebAssembly's memory. A read may
// run past a row's end, by seven numbers at most, so memory.js leaves as many
// free behind the last matrix; a write never does.

#include <wasm_simd128.h>

#define KERNEL(name) __attribute__((export_name(#name))) void name

typedef float f4 __attribute__((vector_size(16)));
typedef int i4 __attribute__((vector_size(16)));
typedef float anywhere __attribute__((vector_size(16), aligned(4)));

static inline f4 load(const float *from) { return *(const anywhere *)from; }

static inline f4 splat(float value) { return (f4){value, value, value, value}; }

// A constant, four times. The compiler would put it into each round of a loop,
// where making it takes longer than the arithmetic; one that it cannot look
// into stands in front of the loop.
static inline f4 constant(float value) {
  f4 four = splat(value);
  __asm__("" : "+r"(four));
  return four;
}

static inline f4 larger(f4 a, f4 b) {
  return (f4)wasm_f32x4_pmax((v128_t)a, (v128_t)b);
}

static inline float sum(f4 x) { return (x[0] + x[1]) + (x[2] + x[3]); }

// The up to three numbers at a row's end, and `fill` for the others.
static inline f4 take_end(const float *from, int left, float fill) {
  i4 inside = (i4){0, 1, 2, 3} < left;
  return (f4)(((i4)load(from) & inside) | ((i4)splat(fill) & ~inside));
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
// out, it is exactly 0. x = n ln 2 + r: a number of the size of 2^23 has no
// digits behind the point, so adding one rounds, and leaves n in the last bits.
static inline f4 exponential(f4 x) {
  f4 large = constant(1.5f * (1 << 23)), one = constant(1);
  f4 bits = x * constant(1.44269504f) + large;
  f4 n = bits - large;
  f4 r = x - n * constant(0.693359375f) + n * constant(2.12194440e-4f);
  f4 power = constant(1.0f / 5040); // Taylor's series of e^r
  power = power * r + constant(1.0f / 720);
  power = power * r + constant(1.0f / 120);
  power = power * r + constant(1.0f / 24);
  power = power * r + constant(1.0f / 6);
  power = power * r + constant(0.5f);
  power = power * r + one;
  power = power * r + one;
  i4 two_to_n = ((i4)bits + 127) << 23;
  return (f4)((i4)(power * (f4)two_to_n) & (x > constant(-87)));
}

// A row's mean, and what its deviations are multiplied with to give a variance
// of 1.
static inline void moments(const float *x, int columns, float eps, float *mean,
                           float *scale) {
  f4 total = splat(0), squares = splat(0);
  for (int j = 0; j < columns; j += 4) total += take(x + j, columns - j, 0);
  *mean = sum(total) / columns;
  for (int j = 0; j < columns; j += 4) {
    f4 away = take(x + j, columns - j, *mean) - *mean;
    squares += away * away;
  }
  *scale = 1 / __builtin_sqrtf(sum(squares) / columns + eps);
}

// Phi(-size), the normal distribution beyond a size of 0 or more, from its bell
// e^(-size^2 / 2): erfc(size / sqrt 2) / 2 by Abramowitz and Stegun (1964),
// formula 7.1.26, wrong by less than 1e-7.
static inline f4 beyond(f4 size, f4 bell) {
  f4 one = constant(1);
  f4 t = one / (one + constant(0.3275911f * 0.70710678f) * size);
  f4 series = t * constant(1.061405429f) - constant(1.453152027f);
  series = series * t + constant(1.421413741f);
  series = series * t - constant(0.284496736f);
  series = series * t + constant(0.254829592f);
  return series * t * constant(0.5f) * bell;
}
