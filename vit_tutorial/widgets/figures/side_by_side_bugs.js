// The bugs of bugs.py that a page can show, each with the weights of a right
// model: what is wrong, what catches it, and what it reads from an image.

import { ViT } from "../engine/vit.js";
import { softmax } from "../engine/softmax.js";
import { percent } from "../page/words.js";
import { OpenEncoder } from "./side_by_side_encoder.js";

class ShreddedPatches extends ViT {
  patchify(pixels) {
    const { channels, mean, std } = this.config;
    return Float32Array.from(pixels, (byte, i) => {
      const c = Math.floor((i * channels) / pixels.length);
      return (byte / 255 - (mean?.[c] ?? 0)) / (std?.[c] ?? 1);
    }); // runs, not squares
  }
}

class OnePositionForAll extends ViT {
  positions() {
    const { dim } = this.config;
    const table = super.positions(); // (n, D)
    const mean = new Float32Array(dim);
    const n = table.length / dim;
    table.forEach((value, i) => (mean[i % dim] += value / n));
    return table.map((_, i) => mean[i % dim]);
  }
}

function lastLayerForAll({ weights, config: { depth } }) {
  const last = (name) => name.replace(/(layers)\.\d+/, `$1.${depth - 1}`);
  return Object.fromEntries(
    Object.keys(weights).map((name) => [name, weights[last(name)]]),
  );
}

function overQueries({ kernels }, map, n, scale, spare) {
  kernels.transpose(spare, map, n, n, n);
  kernels.softmax(spare, n, n, scale);
  kernels.transpose(map, spare, n, n, n);
}

// A batch of one image: each token meets itself alone.
function ofItself(memory, map, n) {
  memory.view(map, n * n).fill(0);
  for (let i = 0; i < n; i++) memory.set(map + 4 * i * (n + 1), [1]);
}

// Of (n, h*d), read as (h, n, d): a head has the whole of several tokens.
function byView(head, n, { dim_head }) {
  return [head * n * dim_head, dim_head];
}

// A bug that exchanges a step of the encoder.
function withStep(step) {
  return (right, { tensors }) => {
    const encoder = new OpenEncoder(right, tensors);
    return (pixels) => encoder.forward(pixels, step);
  };
}

// In the order of the cases. make(right, payload): a function of an image's
// bytes, which returns { logits, layers } as ViT.forward does; right: the model
// without a bug, from the same payload. why(config): the mistake in a sentence.
// seen(broken, right), where more shows it than the predictions: what both show
// (see Readings in side_by_side.js).
export const BUGS = [
  {
    bug: "scaled by dim",
    caughtBy: "scores_are_scaled",
    why: ({ dim, dim_head }) =>
      `It divides the scores by √${dim} instead of √${dim_head}.`,
    seen: (broken, right) =>
      `Its class token attends to ${broken.heard.toFixed(1)} tokens, the ` +
      `right model’s to ${right.heard.toFixed(1)}.`,
    make: (right) => {
      const { dim, dim_head } = right.config;
      const temperature = Math.sqrt(dim / dim_head);
      return (pixels) => right.forward(pixels, { temperature });
    },
  },
  {
    bug: "shredded patches",
    caughtBy: "patches_are_squares",
    why: () => "It cuts the image into runs of pixels instead of squares.",
    make: (_, payload) => {
      const vit = new ShreddedPatches(payload);
      return (pixels) => vit.forward(pixels);
    },
  },
  {
    bug: "softmax twice",
    caughtBy: "logits_are_free",
    why: ({ num_classes }) => {
      const most = percent(Math.E / (Math.E + num_classes - 1));
      return (
        "It returns probabilities where logits belong; after a second " +
        `softmax, none can exceed ${most}.`
      );
    },
    make: (right) => (pixels) => {
      const read = right.forward(pixels);
      return { ...read, logits: softmax(Float64Array.from(read.logits)) };
    },
  },
  {
    bug: "one layer repeated",
    caughtBy: "layers_are_their_own",
    why: ({ depth }) =>
      `All its ${depth} layers are copies of the last one.`,
    make: (right, payload) => {
      const vit = new ViT({ ...payload, weights: lastLayerForAll(right) });
      return (pixels) => vit.forward(pixels);
    },
  },
  {
    bug: "softmax over queries",
    caughtBy: "weights_sum_to_one",
    why: () => "Its softmax runs over the queries instead of the keys.",
    seen: ({ sums }) =>
      `Its class token’s weights sum to ${range(sums)} instead of 1.`,
    make: withStep({ weigh: overQueries }),
  },
  {
    bug: "one position for all",
    caughtBy: "places_matter",
    why: () => "It adds the same position embedding to every token.",
    make: (_, payload) => {
      const vit = new OnePositionForAll(payload);
      return (pixels) => vit.forward(pixels);
    },
  },
  {
    bug: "across the batch",
    caughtBy: "images_are_alone",
    why: () => "Its tokens attend to those of other images in the batch.",
    seen: ({ patches }) =>
      "In a batch of one image, each attends only to itself: the class token’s " +
      `weights for the patches sum to ${percent(patches)}.`,
    make: withStep({ weigh: ofItself }),
  },
  {
    bug: "heads by view",
    caughtBy: "tokens_are_alike",
    why: ({ heads }) =>
      `It cuts its ${heads} heads out of several tokens instead of slicing ` +
      "every token.",
    make: withStep({ cut: byView }),
  },
  {
    bug: "skips from the norm",
    caughtBy: "skips_carry_the_stream",
    why: () => "Its skip connections carry the normalised tokens.",
    make: withStep({ carried: (_, normed) => normed }),
  },
];

// "0.31 to 2.40", or one number where the two are the same.
export function range(numbers) {
  const [least, most] = [Math.min(...numbers), Math.max(...numbers)].map(
    (number) => number.toFixed(2),
  );
  return least === most ? least : `${least} to ${most}`;
}
