// The way back through the layers that have weights.
//
// Those of a linear layer, y = x W + b, are products: dW = x^T dy, db = the sum
// of dy's rows, dx = dy W^T.

import { columns } from "./linear.js";

// Adds dW and db to what is there, so that a batch may come in parts; writes
// dx, or adds it. x, dy and dx are matrices of n rows: { at, step }, an address
// and how many numbers lie from row to row. A layer also has dWeight, dBias and
// its weight `turned` to (out, in).
export function linearBack({ kernels }, n, layer, x, dy, dx, add = false) {
  const { inputs, outputs, width, dWeight, dBias, turned } = layer;
  const { product, add_rows } = kernels;
  const dW = [dWeight, outputs, dWeight, outputs]; // added to what is there
  product(inputs, width, n, x.at, 1, x.step, dy.at, dy.step, ...dW);
  if (dBias) add_rows(dBias, dy.at, n, width, dy.step);
  if (!dx) return;
  const to = [dx.at, dx.step, add ? dx.at : 0, dx.step];
  product(n, inputs, width, dy.at, dy.step, 1, turned, inputs, ...to);
}

// Some outputs of a layer, with their gradients, as a layer.
export function part(layer, first, width) {
  const { inputs, dWeight, dBias, turned } = layer;
  return {
    ...columns(layer, first, width),
    dWeight: dWeight + 4 * first,
    dBias: dBias && dBias + 4 * first,
    turned: turned + 4 * first * inputs,
  };
}

// The same of a LayerNorm of n rows at x; dx is added to what is there.
export function normBack({ kernels }, { dim, eps }, norm, x, n, dy, dx) {
  const { weight, dWeight, dBias } = norm;
  kernels.norm_back(dx, dy, x, n, dim, weight, dWeight, dBias, eps);
}
