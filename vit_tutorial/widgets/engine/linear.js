// A linear layer, y = x W^T + b, in the kernels' memory.

// Put a layer's weights there. A weight is turned to (in, out): then one load
// takes several outputs. Whole eights of outputs become panels, as product.h
// reads them fastest.
export function place(memory, weights, name, outputs) {
  const weight = weights[`${name}.weight`]; // (out, in)
  const bias = weights[`${name}.bias`];
  const row = outputs % 8 ? outputs : 8;
  return {
    inputs: weight.length / outputs,
    outputs,
    width: outputs,
    row,
    weight: memory.put(transposed(weight, outputs, row)),
    bias: bias ? memory.put(bias) : 0,
  };
}

// Some outputs of a layer that has no panels, as a layer.
export function columns({ weight, bias, ...sizes }, first, width) {
  return {
    ...sizes,
    width,
    weight: weight + 4 * first,
    bias: bias && bias + 4 * first,
  };
}

// (n, in) at x -> (n, width) at y. Rows may be further apart than their length.
export function linear({ kernels }, x, n, layer, y, xStep, yStep) {
  const { inputs: k, outputs, width, row = outputs, weight, bias } = layer;
  const [xRow, yRow] = [xStep ?? k, yStep ?? width];
  kernels.product(n, width, k, x, xRow, 1, weight, row, y, yRow, bias, 0);
}

// (rows, columns) -> (columns, rows); or panels of so many rows, each turned,
// one after the other.
export function transposed(matrix, rows, panel = rows) {
  const columns = matrix.length / rows;
  const turned = new Float32Array(matrix.length);
  let at = 0;
  for (let top = 0; top < rows; top += panel)
    for (let j = 0; j < columns; j++)
      for (let i = top; i < top + panel; i++)
        turned[at++] = matrix[i * columns + j];
  return turned;
}
