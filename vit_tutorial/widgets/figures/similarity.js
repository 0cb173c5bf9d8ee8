// How alike a model's position embeddings are: the cosine of every two, and
// what it tells about the rows and columns of the image.

import { whereIs } from "../page/words.js";

export class Similarity {
  // Throws a RangeError for a model without positions.
  constructor(vit) {
    [this.rows, this.columns] = vit.grid;
    this.n = this.rows * this.columns;
    this.dim = vit.config.dim;
    this.cosines = cosines(vit); // (n, n)
  }

  // Of two positions, from -1 to 1.
  of(one, other) {
    return this.cosines[one * this.n + other];
  }

  rowOf(place) {
    return Math.floor(place / this.columns);
  }

  columnOf(place) {
    return place % this.columns;
  }

  nameOf(place) {
    return whereIs(place, this.columns, "position");
  }

  // 0: place is in the position's row, 1: in its column, 2: elsewhere.
  kindOf(place, position) {
    if (this.rowOf(place) === this.rowOf(position)) return 0;
    return this.columnOf(place) === this.columnOf(position) ? 1 : 2;
  }

  // Whether two positions share a side.
  areNeighbours(one, other) {
    const down = Math.abs(this.rowOf(one) - this.rowOf(other));
    const across = Math.abs(this.columnOf(one) - this.columnOf(other));
    return down + across === 1;
  }

  others(position) {
    const places = Array.from({ length: this.n }, (_, place) => place);
    return places.filter((place) => place !== position);
  }

  // The mean cosine of a position with each kind of others, how many those are,
  // and where chance would put it. Kinds of which there are none are left out.
  means(position) {
    const others = this.others(position);
    return [0, 1, 2]
      .map((kind) => {
        const places = others.filter((p) => this.kindOf(p, position) === kind);
        const count = places.length;
        const sum = places.reduce((sum, p) => sum + this.of(position, p), 0);
        return { kind, count, mean: sum / count, chance: this.chance(count) };
      })
      .filter(({ count }) => count);
  }

  // Where the mean of `count` cosines with one position lies, 19 times of 20,
  // if the n positions are independent random vectors of `dim` numbers. Single
  // cosines spread by 1/√dim. Since what all share is taken off, the n - 1 of
  // them nearly sum to -1, so that a mean over most of them spreads less, as it
  // does in a sample drawn from few without putting back.
  chance(count) {
    const others = this.n - 1;
    const left = others > 1 ? (others - count) / (others - 1) : 0;
    const spread = Math.sqrt(left / (this.dim * count));
    return [-1 / others - 1.96 * spread, -1 / others + 1.96 * spread];
  }

  // The position that is most like this one; null where there is no other.
  nearest(position) {
    const others = this.others(position);
    if (!others.length) return null;
    return others.reduce((best, place) =>
      this.of(position, place) > this.of(position, best) ? place : best,
    );
  }

  // How much more a position resembles its row and column than what is
  // elsewhere.
  structure(position) {
    const strength = [0, 0, 0];
    for (const { kind, mean } of this.means(position)) strength[kind] = mean;
    const [row, column, elsewhere] = strength;
    return (row + column) / 2 - elsewhere;
  }
}

// The cosine of every two positions, (n, n), after what all have in common was
// taken off: that says nothing about where.
function cosines(vit) {
  const { dim } = vit.config;
  const n = vit.grid[0] * vit.grid[1];
  const directions = positionsOf(vit); // (n, D)
  for (let d = 0; d < dim; d++) {
    let mean = 0;
    for (let i = d; i < directions.length; i += dim) mean += directions[i] / n;
    for (let i = d; i < directions.length; i += dim) directions[i] -= mean;
  }
  for (let start = 0; start < directions.length; start += dim) {
    const norm = Math.hypot(...directions.subarray(start, start + dim)) || 1;
    for (let d = 0; d < dim; d++) directions[start + d] /= norm;
  }
  const found = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let d = 0; d < dim; d++) {
        sum += directions[i * dim + d] * directions[j * dim + d];
      }
      found[i * n + j] = sum;
    }
  }
  return found;
}

// What a model adds to the tokens of the patches: (n, D), in double precision.
function positionsOf(vit) {
  const table = vit.positions();
  if (!table) throw new RangeError("this model has no positions to compare");
  return Float64Array.from(table.subarray(vit.numPrefix * vit.config.dim));
}
