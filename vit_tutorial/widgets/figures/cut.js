// An image cut into the rows of a table, one a patch: what each number of a row
// is taken for, and where it comes from.

const COLOURS = ["red", "green", "blue"];

// A place is { row, column, channel }, of the image or of one patch.
export class Cut {
  // way: "rearrange" gives row i the pixels of patch i; "view" reads the image
  // as it lies in memory, a channel after the other, and starts a new row after
  // every p1*p2*c numbers.
  constructor([channels, height, width], bytes, [p1, p2], way) {
    Object.assign(this, { channels, height, width, bytes, p1, p2, way });
    this.rows = height / p1;
    this.columns = width / p2;
    this.patches = this.rows * this.columns;
    this.length = p1 * p2 * channels;
  }

  // The place in a patch for which the model takes number j: "p1 p2 c".
  meant(j) {
    return {
      row: Math.floor(j / (this.p2 * this.channels)),
      column: Math.floor(j / this.channels) % this.p2,
      channel: j % this.channels,
    };
  }

  // The place in the image from which number j of a patch's row comes.
  source(patch, j) {
    const { height, width } = this;
    if (this.way === "rearrange") {
      const { row, column, channel } = this.meant(j);
      const [top, left] = this.corner(patch);
      return { row: top + row, column: left + column, channel };
    }
    const address = patch * this.length + j;
    return {
      row: Math.floor(address / width) % height,
      column: address % width,
      channel: Math.floor(address / (width * height)),
    };
  }

  corner(patch) {
    return [
      Math.floor(patch / this.columns) * this.p1,
      (patch % this.columns) * this.p2,
    ];
  }

  // All numbers of a patch's row: their places in the image, and their values.
  sources(patch) {
    return Array.from({ length: this.length }, (_, j) => this.source(patch, j));
  }

  values(patch) {
    return this.sources(patch).map((place) => this.valueAt(place));
  }

  valueAt({ row, column, channel }) {
    return this.bytes[(channel * this.height + row) * this.width + column];
  }

  // The patch that a place of the image lies in.
  patchAt({ row, column }) {
    return (
      Math.floor(row / this.p1) * this.columns + Math.floor(column / this.p2)
    );
  }

  colour(channel) {
    return this.channels === 1 ? "grey" : COLOURS[channel];
  }

  nameOf({ row, column, channel }) {
    const at = `pixel row ${row + 1}, column ${column + 1}`;
    return `${at}, ${this.colour(channel)}`;
  }
}

// The outline of some pixels, as an SVG path: those edges that no two of them
// share.
export function outline(places) {
  const pixels = new Set(places.map(({ row, column }) => `${row},${column}`));
  const isOdd = new Map(); // of an edge: it belongs to one pixel, not to two
  for (const pixel of pixels) {
    const [row, column] = pixel.split(",").map(Number);
    for (const edge of [
      `M${column} ${row}h1`,
      `M${column} ${row + 1}h1`,
      `M${column} ${row}v1`,
      `M${column + 1} ${row}v1`,
    ]) {
      isOdd.set(edge, !isOdd.get(edge));
    }
  }
  return [...isOdd.keys()].filter((edge) => isOdd.get(edge)).join("");
}
