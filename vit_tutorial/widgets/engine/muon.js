// Muon (Jordan et al., 2024), as PyTorch has it: momentum, made orthogonal.

const MOMENTUM = 0.95;
const STEPS = 5; // of Newton and Schulz's iteration
const [A, B, C] = [3.4445, -4.775, 2.0315]; // its polynomial, ax + bx³ + cx⁵
const EPS = 1e-7;

export function muonSizes(parameters) {
  const shapes = parameters.map(({ shape }) => shape);
  const whole = Math.max(0, ...shapes.map(([rows, columns]) => rows * columns));
  const gram = Math.max(0, ...shapes.map((shape) => Math.min(...shape) ** 2));
  return { x: whole, y: whole, gram, square: gram };
}

export class Muon {
  #memory;
  #weights;
  #names;
  #at;

  constructor(memory, weights, names) {
    this.#memory = memory;
    this.#weights = weights;
    this.#names = names;
    const parameters = names.map((name) => ({ shape: weights.shape(name) }));
    this.#at = memory.takeAll(muonSizes(parameters));
  }

  step(rate, decay) {
    const { blend } = this.#memory.kernels;
    for (const name of this.#names) {
      const [outputs, inputs] = this.#weights.shape(name);
      const count = outputs * inputs;
      const kinds = ["weights", "gradients", "first"];
      const [weight, gradient, momentum] = kinds.map((kind) =>
        this.#weights.address(kind, name),
      );
      blend(momentum, momentum, MOMENTUM, gradient, 1 - MOMENTUM, count);
      // Nesterov's: as if the next gradient were this one
      blend(this.#at.x, momentum, MOMENTUM, gradient, 1 - MOMENTUM, count);
      const update = this.#orthogonal(inputs, outputs);
      const size = rate * Math.sqrt(Math.max(1, outputs / inputs));
      blend(weight, weight, 1 - rate * decay, update, -size, count);
    }
  }

  // The matrix at x with singular values near 1: an address. Each iteration
  // maps them by the polynomial, which is odd, so X (a + b G + c G²) does it,
  // where G = X^T X; the fewer columns X has, the smaller G.
  #orthogonal(rows, columns) {
    const { kernels } = this.#memory;
    const { product, blend, transpose } = kernels;
    let { x, y } = this.#at;
    const { gram, square } = this.#at;
    const wide = columns > rows;
    if (wide) {
      transpose(y, x, rows, columns, columns);
      [x, y] = [y, x];
    }
    const [long, short] = wide ? [columns, rows] : [rows, columns];
    const multiply = (rows, length, a, aRow, b, c) => {
      const aColumn = aRow === 1 ? short : 1;
      product(rows, short, length, a, aRow, aColumn, b, short, c, short, 0, 0);
    };
    this.#shrink(x, rows * columns);
    for (let i = 0; i < STEPS; i++) {
      multiply(short, long, x, 1, x, gram); // G = X^T X
      multiply(short, short, gram, short, gram, square);
      blend(gram, gram, B, square, C, short * short);
      const values = this.#memory.view(gram, short * short);
      for (let d = 0; d < values.length; d += short + 1) values[d] += A;
      multiply(long, short, x, short, gram, y);
      [x, y] = [y, x];
    }
    if (!wide) return x;
    transpose(y, x, columns, rows, rows);
    return y;
  }

  // No singular value is above 1 then, as the iteration needs.
  #shrink(x, count) {
    const values = this.#memory.view(x, count);
    const factor = 1 / Math.max(norm(values), EPS);
    this.#memory.kernels.blend(x, x, factor, x, 0, count);
  }
}

// The root of the sum of all squares.
export function norm(values) {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] * values[i];
  return Math.sqrt(sum);
}
