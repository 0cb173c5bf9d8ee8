// The product once more, for browsers with "relaxed" SIMD: where a processor
// multiplies and adds in one step, it may. That saves a third of the time on
// some, and rounds once in place of twice. `python .ci/kernels.py` compiles it
// into fused.wasm, whose product a page then uses in place of kernels.c's.

#include "shared.h"

static inline f4 times_plus(f4 a, f4 b, f4 c) {
  return (f4)wasm_f32x4_relaxed_madd((v128_t)a, (v128_t)b, (v128_t)c);
}

#include "product.h"
