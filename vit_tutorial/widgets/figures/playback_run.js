// A recorded run, with what has to be computed of it: how alike its position
// embeddings have become, and in which epochs a class was unlearned.

import { fromBase64 } from "../engine/dequantise.js";

// Epoch e is after e times through the training set, 0 before training. There
// no accuracy was measured, only the similarities.
export class RecordedRun {
  constructor({ grid, similarity, ...log }) {
    this.grid = grid;
    this.names = log.class_names;
    this.last = log.held_out.length;
    this.training = [null, ...log.training]; // accuracy by epoch
    this.heldOut = [null, ...log.held_out];
    this.byClass = [this.names.map(() => null), ...log.by_class];
    this.alike = similarities(grid, similarity);
    this.structure = this.alike.map((table) => rowAndColumn(table, grid));
  }

  // For every epoch, the class that lost most accuracy in it, if any did.
  falls() {
    return this.byClass.slice(1).map((shares, i) => {
      const epoch = i + 1;
      if (epoch === 1) return { epoch, lost: -1 }; // nothing to compare with
      const before = this.byClass[epoch - 1];
      const losses = shares.map((share, c) => before[c] - share);
      const lost = Math.max(...losses);
      const c = losses.indexOf(lost);
      return {
        epoch,
        lost,
        name: this.names[c],
        from: before[c],
        to: shares[c],
      };
    });
  }
}

// The cosine of every two positions after every epoch,
// [epoch][position][place]; packed are those above each table's diagonal.
function similarities([rows, columns], packed) {
  const n = rows * columns;
  const bytes = new Int8Array(fromBase64(packed).buffer);
  const each = (n * (n - 1)) / 2;
  return Array.from({ length: bytes.length / each }, (_, epoch) => {
    const table = Array.from({ length: n }, () => new Float64Array(n).fill(1));
    let at = epoch * each;
    for (let i = 0; i < n; i++) {
      for (let j = i + 1; j < n; j++) {
        table[i][j] = table[j][i] = bytes[at++] / 100;
      }
    }
    return table;
  });
}

// How much more alike two positions of one row or column are than two others:
// the difference of the mean cosines.
function rowAndColumn(table, [rows, columns]) {
  const together = { sum: 0, count: 0 };
  const apart = { sum: 0, count: 0 };
  for (let i = 0; i < rows * columns; i++) {
    for (let j = 0; j < i; j++) {
      const isRow = Math.floor(i / columns) === Math.floor(j / columns);
      const isColumn = i % columns === j % columns;
      const kind = isRow || isColumn ? together : apart;
      kind.sum += table[i][j];
      kind.count += 1;
    }
  }
  return together.sum / together.count - apart.sum / apart.count;
}
