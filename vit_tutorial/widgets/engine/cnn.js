// The small CNN of cnn.py in plain JavaScript: the same names, in the same order.
//
// Tensors are Float32Arrays, channel by channel, (c, H, W); sums are in double precision.

import { products } from "./vit.js";
import { dequantise } from "./dequantise.js";

const EPS = 1e-5; // what PyTorch's batch normalisation adds to a variance

export class CNN {
  // payload: { config, tensors, data }, as page_cnn() in packing.py makes it of a CNN.
  constructor({ config, tensors, data }) {
    this.config = config;
    this.weights = dequantise(tensors, data);
  }

  // Read one picture: bytes, c * H * W of them, channel by channel, of shape [c, H, W].
  // Returns { logits, maps }. maps: { shape, values }, what the last stage makes of the picture,
  // (c, H/4, W/4), rounded down; the answer is read from each map's mean.
  // Throws a RangeError that names what does not fit.
  forward(pixels, shape) {
    let x = this.normalised(pixels, shape);
    for (const name of ["0", "1", "pool", "3", "4", "pool", "6", "7"]) {
      x = name === "pool" ? pool(x) : this.convolution(x, `stages.${name}`);
    }
    const [channels, height, width] = x.shape;
    const places = height * width;
    const means = new Float32Array(channels);
    for (let c = 0; c < channels; c++) {
      let sum = 0;
      for (let i = c * places; i < (c + 1) * places; i++) sum += x.values[i];
      means[c] = sum / places;
    }
    const bias = this.weights["head.bias"];
    const logits = new Float32Array(bias.length);
    products(means, 1, this.weights["head.weight"], bias.length, channels, logits);
    for (let i = 0; i < bias.length; i++) logits[i] += bias[i];
    return { logits, maps: x };
  }

  normalised(pixels, [channels, height, width]) {
    const mean = this.config.mean ?? Array(channels).fill(0);
    const std = this.config.std ?? Array(channels).fill(1);
    const fits = channels === this.config.channels && Math.min(height, width) >= 4;
    if (!fits || pixels.length !== channels * height * width) {
      throw new RangeError(
        `this model reads pictures of ${this.config.channels} x H x W bytes, of 4 x 4 pixels or ` +
          `more, got ${pixels.length} for ${channels} x ${height} x ${width}`,
      );
    }
    const plane = height * width;
    const values = new Float32Array(pixels.length);
    for (let c = 0; c < channels; c++) {
      for (let i = c * plane; i < (c + 1) * plane; i++)
        values[i] = (pixels[i] / 255 - mean[c]) / std[c];
    }
    return { shape: [channels, height, width], values };
  }

  // 3 x 3 pixels at a time, batch normalisation with the statistics of training, cut at zero.
  convolution(x, name) {
    const [, height, width] = x.shape;
    const weight = this.weights[`${name}.0.weight`]; // (o, c, 3, 3)
    const [scale, shift, mean, variance] = ["weight", "bias", "running_mean", "running_var"].map(
      (key) => this.weights[`${name}.1.${key}`],
    );
    const places = height * width;
    const out = new Float32Array(scale.length * places);
    const seen = neighbourhoods(x);
    products(weight, scale.length, seen, places, seen.length / places, out);
    for (let o = 0; o < scale.length; o++) {
      const factor = scale[o] / Math.sqrt(variance[o] + EPS);
      for (let i = o * places; i < (o + 1) * places; i++) {
        out[i] = Math.max((out[i] - mean[o]) * factor + shift[o], 0);
      }
    }
    return { shape: [scale.length, height, width], values: out };
  }
}

// What a filter sees at each place: (c, H, W) -> (H*W, c*9), zeros beyond the border.
function neighbourhoods({ shape: [channels, height, width], values }) {
  const length = channels * 9;
  const seen = new Float32Array(height * width * length);
  for (let c = 0; c < channels; c++) {
    for (let dy = 0; dy < 3; dy++) {
      for (let dx = 0; dx < 3; dx++) {
        const slot = c * 9 + dy * 3 + dx;
        const [first, last] = [Math.max(1 - dx, 0), Math.min(width + 1 - dx, width)];
        for (let y = Math.max(1 - dy, 0); y < Math.min(height + 1 - dy, height); y++) {
          const from = (c * height + y + dy - 1) * width + dx - 1;
          for (let x = first; x < last; x++)
            seen[(y * width + x) * length + slot] = values[from + x];
        }
      }
    }
  }
  return seen;
}

// The largest of every 2 x 2; an odd row or column at the end is left out.
function pool({ shape: [channels, height, width], values }) {
  const [rows, columns] = [height >> 1, width >> 1];
  const out = new Float32Array(channels * rows * columns);
  let i = 0;
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++) {
        const at = (c * height + 2 * y) * width + 2 * x;
        out[i++] = Math.max(values[at], values[at + 1], values[at + width], values[at + width + 1]);
      }
    }
  }
  return { shape: [channels, rows, columns], values: out };
}
