// The small CNN of cnn.py for a page: the same names, in the same order. The
// kernels do the arithmetic (kernels.c).
//
// An image lies place by place, the channels of a place together, with a border
// of zeros around it: (H + 2, W + 2, c). So three neighbours in a row are 3c
// numbers in a row, the next place's begin c further on, and a convolution is a
// matrix product for each row of its filter.

import { dequantise } from "./dequantise.js";
import { linear, place } from "./linear.js";
import { Memory } from "./memory.js";

const EPS = 1e-5; // what PyTorch's batch normalisation adds to a variance
const STAGES = ["0", "1", "pool", "3", "4", "pool", "6", "7"];

export class CNN {
  #memory;
  #prepared = ""; // the image's sides that the memory has room for
  #convolutions; // each one's weight and bias, by its name in STAGES
  #head;
  #buffers; // the address behind them: a pass puts its own numbers there

  // payload: { config, tensors, data }, as page_cnn() in packing.py makes it of
  // a CNN.
  constructor({ config, tensors, data }) {
    this.config = config;
    this.weights = dequantise(tensors, data);
  }

  // Read one image: bytes, c * H * W of them, channel by channel, of shape
  // [c, H, W].
  // Returns { logits, maps }. maps: { shape, values }, what the last stage
  // makes of the image, (c, H/4, W/4), rounded down; the prediction is read
  // from each map's mean.
  // Throws a RangeError that names what does not fit, and an Error where the
  // browser cannot run the model (see memory.js).
  forward(pixels, shape) {
    this.#check(pixels, shape);
    this.#prepare(shape.slice(1));
    this.#memory.release(this.#buffers);
    let x = this.#normalised(pixels, shape);
    for (const name of STAGES) {
      x = name === "pool" ? this.#pool(x) : this.#convolve(x, name);
    }
    return { logits: this.#classify(x), maps: this.#unpadded(x) };
  }

  #check(pixels, [channels, height, width]) {
    const fits =
      channels === this.config.channels && Math.min(height, width) >= 4;
    if (!fits || pixels.length !== channels * height * width) {
      throw new RangeError(
        `this model reads images of ${this.config.channels} x H x W bytes, ` +
          "of 4 x 4 pixels or more, " +
          `got ${pixels.length} for ${channels} x ${height} x ${width}`,
      );
    }
  }

  // Put the weights where the kernels find them, with room for a pass over an
  // image of this size behind.
  #prepare([height, width]) {
    if (this.#prepared === `${height} x ${width}`) return;
    const weights = Object.values(this.weights).map(({ length }) => length);
    this.#memory = new Memory(weights, this.#sizes(height, width));
    this.#convolutions = {};
    for (const name of STAGES.filter((name) => name !== "pool")) {
      this.#convolutions[name] = this.#filters(`stages.${name}`);
    }
    const classes = this.weights["head.bias"].length;
    this.#head = place(this.#memory, this.weights, "head", classes);
    this.#buffers = this.#memory.free;
    this.#prepared = `${height} x ${width}`;
  }

  // How many numbers each stage puts out, border and all; before the first the
  // image, after the last the maps' means and the logits.
  #sizes(height, width) {
    let channels = this.config.channels;
    const sizes = [padded(channels, height, width)];
    for (const name of STAGES) {
      if (name === "pool") [height, width] = [height >> 1, width >> 1];
      else channels = this.weights[`stages.${name}.1.bias`].length;
      sizes.push(padded(channels, height, width));
    }
    return [...sizes, 1, channels, this.weights["head.bias"].length];
  }

  // A convolution's weight, (3, 3c, o), and its bias: batch normalisation with
  // the statistics of training is a factor for each output and a shift, and
  // both go into them.
  #filters(name) {
    const weight = this.weights[`${name}.0.weight`]; // (o, c, 3, 3)
    const [scale, shift, mean, variance] = [
      "weight",
      "bias",
      "running_mean",
      "running_var",
    ].map((key) => this.weights[`${name}.1.${key}`]);
    const outputs = scale.length;
    const channels = weight.length / (9 * outputs);
    const filters = new Float32Array(weight.length);
    const bias = new Float32Array(outputs);
    for (let o = 0; o < outputs; o++) {
      const factor = scale[o] / Math.sqrt(variance[o] + EPS);
      bias[o] = shift[o] - mean[o] * factor;
      for (let c = 0; c < channels; c++) {
        for (let place = 0; place < 9; place++) {
          filters[(place * channels + c) * outputs + o] =
            weight[(o * channels + c) * 9 + place] * factor;
        }
      }
    }
    const address = this.#memory.put(filters);
    return { channels, outputs, weight: address, bias: this.#memory.put(bias) };
  }

  // An image of zeros; at(y, x): where its place in that row and column begins.
  #blank(channels, height, width) {
    const size = padded(channels, height, width);
    const address = this.#memory.take(size);
    this.#memory.view(address, size).fill(0);
    const at = (y, x) =>
      address + 4 * ((y + 1) * (width + 2) + x + 1) * channels;
    return { channels, height, width, size, address, at };
  }

  #normalised(pixels, [channels, height, width]) {
    const mean = this.config.mean ?? Array(channels).fill(0);
    const std = this.config.std ?? Array(channels).fill(1);
    const image = this.#blank(channels, height, width);
    const values = this.#memory.view(image.address, image.size);
    let byte = 0;
    for (let c = 0; c < channels; c++) {
      for (let y = 1; y <= height; y++) {
        for (let x = 1; x <= width; x++) {
          values[(y * (width + 2) + x) * channels + c] =
            (pixels[byte++] / 255 - mean[c]) / std[c];
        }
      }
    }
    return image;
  }

  // 3 x 3 pixels at a time, batch normalisation, cut at zero.
  #convolve(x, name) {
    const { product, rectify } = this.#memory.kernels;
    const { channels: c, outputs: o, weight, bias } = this.#convolutions[name];
    const { height, width } = x;
    const out = this.#blank(o, height, width);
    const length = 3 * c;
    for (let y = 0; y < height; y++) {
      const to = out.at(y, 0);
      for (let dy = 0; dy < 3; dy++) {
        const from = x.at(y + dy - 1, -1);
        const filter = weight + 4 * dy * length * o;
        const [added, row] = dy ? [to, o] : [bias, 0]; // the rows before
        product(width, o, length, from, c, 1, filter, o, to, o, added, row);
      }
    }
    rectify(out.address, out.size);
    return out;
  }

  // The largest of every 2 x 2; an odd row or column at the end is left out.
  #pool(x) {
    const { channels } = x;
    const [height, width] = [x.height >> 1, x.width >> 1];
    const out = this.#blank(channels, height, width);
    for (let y = 0; y < height; y++) {
      const [upper, lower] = [x.at(2 * y, 0), x.at(2 * y + 1, 0)];
      this.#memory.kernels.pool(out.at(y, 0), upper, lower, width, channels);
    }
    return out;
  }

  // The mean of each map, then the head: (c, H, W) -> (classes,)
  #classify({ channels: c, height, width, address }) {
    const { product } = this.#memory.kernels;
    const classes = this.#head.outputs;
    const share = this.#memory.put([1 / (height * width)]);
    const means = this.#memory.take(c);
    const logits = this.#memory.take(classes);
    // a row of shares, times all places; those of the border are zeros
    const places = (height + 2) * (width + 2);
    product(1, c, places, share, 0, 0, address, c, means, c, 0, 0);
    linear(this.#memory, means, 1, this.#head, logits);
    return this.#memory.read(logits, classes);
  }

  // A copy, channel by channel and without the border.
  #unpadded({ channels, height, width, at }) {
    const values = new Float32Array(channels * height * width);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const place = this.#memory.view(at(y, x), channels);
        for (let c = 0; c < channels; c++) {
          values[(c * height + y) * width + x] = place[c];
        }
      }
    }
    return { shape: [channels, height, width], values };
  }
}

function padded(channels, height, width) {
  return channels * (height + 2) * (width + 2);
}
