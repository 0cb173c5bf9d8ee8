// A linear layer, y = x W^T + b, in the kernels' memory.

// Put a layer's weights there. A weight is turned to (in, out): then one load
// takes several outputs.
export function place(memory, weights, name, outputs) {
  const weight = weights[`${name}.weight`]; // (out, in)
  const bias = weights[`${name}.bias`];
  return {
    inputs: weight.length / outputs,
    outputs,
    width: outputs,
    weight: memory.put(transposed(weight, outputs)),
    bias: bias ? memory.put(bias) : 0,
  };
}

// Some outputs of a layer, as a layer.
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
  const { inputs: k, outputs, width, weight, bias } = layer;
  const [xRow, yRow] = [xStep ?? k, yStep ?? width];
  kernels.product(n, width, k, x, xRow, 1, weight, outputs, y, yRow, bias, 0);
}

// (rows, columns) -> (columns, rows)
export function transposed(matrix, rows) {
  const columns = matrix.length / rows;
  const turned = new Float32Array(matrix.length);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++)
      turned[j * rows + i] = matrix[i * columns + j];
  return turned;
}
