// The way of an image's tokens through the encoder, and its stages: what each
// of them shows for one token, in numbers and in words.

import { probabilities } from "../page/page_model.js";
import { capitalised, nameOf } from "../page/words.js";
import { digits } from "../page/digits.js";

// The residual stream, n tokens of D numbers, before the first step and after
// each, and what the steps add to it. Each layer has two: attention and MLP.
export class Walk {
  constructor(vit, bytes) {
    this.vit = vit;
    this.prefix = vit.numPrefix;
    this.patches = vit.patchify(bytes); // (patches, p1*p2*c)
    this.projected = vit.embed(bytes, { positions: false }).tokens; // (n, D)
    const { layers, tokens } = vit.inside(bytes);
    this.added = []; // 2 * depth of (n, D)
    this.streams = [tokens]; // 2 * depth + 1 of (n, D)
    for (const { attended, fed, out } of layers) {
      const before = this.streams.at(-1);
      const between = before.map((value, i) => value + attended[i]); // eq. 2
      this.added.push(attended, fed);
      this.streams.push(between, out); // out = between + fed: eq. 3
    }
    this.tokens = tokens.length / vit.config.dim;
  }

  // The stream's vector of one token after so many steps.
  at(done, token) {
    return this.row(this.streams[done], token);
  }

  // What a step adds to one token.
  addedBy(step, token) {
    return this.row(this.added[step], token);
  }

  // How many of the steps leave a token with a smaller norm.
  shrinks(token) {
    const norms = this.streams.map((_, done) => length(this.at(done, token)));
    return norms.filter((norm, i) => norm < norms[i - 1]).length;
  }

  row(rows, token) {
    const { dim } = this.vit.config;
    return rows.subarray(token * dim, (token + 1) * dim);
  }

  pixels(token) {
    const place = token - this.prefix;
    const size = this.patches.length / (this.tokens - this.prefix);
    return this.patches.subarray(place * size, (place + 1) * size);
  }

  // What the head reads: token 0, or the mean of all tokens.
  read(done) {
    if (this.prefix) return this.at(done, 0);
    const stream = this.streams[done];
    const { dim } = this.vit.config;
    const mean = new Float32Array(dim);
    for (let i = 0; i < stream.length; i++) {
      mean[i % dim] += stream[i] / this.tokens;
    }
    return mean;
  }

  // What the head predicts from the stream after so many steps.
  prediction(done) {
    return probabilities(this.vit.classify(this.streams[done]));
  }

  // The stream is the embedding and all that was added: how far apart the two
  // are, at most.
  difference(done, token) {
    const total = Array.from(this.at(0, token));
    for (let step = 0; step < done; step++) {
      this.addedBy(step, token).forEach((value, d) => (total[d] += value));
    }
    const stream = this.at(done, token);
    return Math.max(...total.map((value, d) => Math.abs(value - stream[d])));
  }

  // For every step, the token that it changes most, measured by what was there.
  largestChanges() {
    return this.added.map((_, step) => {
      const ratios = Array.from(
        { length: this.tokens },
        (_, token) =>
          length(this.addedBy(step, token)) / length(this.at(step, token)),
      );
      const ratio = Math.max(...ratios);
      return { step, token: ratios.indexOf(ratio), ratio };
    });
  }
}

// All stages in their order; done: how many of the 2 * depth steps the stream
// has behind it.
export function stagesOf(depth) {
  const stages = [
    {
      kind: "patches",
      name: "patches",
      equation: "the x of equation 1",
      done: 0,
    },
    {
      kind: "embed",
      name: "embedding, with position",
      equation: "equation 1",
      done: 0,
    },
  ];
  for (let done = 0; done < 2 * depth; done++) {
    const layer = `layer ${(done >> 1) + 1}`;
    const [what, equation] =
      done % 2 ? ["MLP", "equation 3"] : ["attention", "equation 2"];
    stages.push(
      { kind: "norm", name: `${layer}: normalise for ${what}`, equation, done },
      { kind: "step", name: `${layer}: ${what}`, equation, done },
      { kind: "add", name: `${layer}: + ${what}`, equation, done: done + 1 },
    );
  }
  const done = 2 * depth;
  return [
    ...stages,
    {
      kind: "final norm",
      name: "last layer norm",
      equation: "equation 4",
      done,
    },
    { kind: "head", name: "head", equation: "reads y of equation 4", done },
  ];
}

// The stage that ends a step with its sum: see stagesOf.
export function sumStage(step) {
  return 2 + 3 * step + 2;
}

// What a stage shows for one token: strips of numbers, what happens in words,
// and the sum of all that was added so far. A strip is { name, numbers,
// meaning, limit }: no numbers yet at this stage: null; limit: the number that
// fills the strip's height, without it the largest of its own.
export function shownAt(walk, stage, token) {
  const show = {
    patches: showPatches,
    embed: showEmbedding,
    norm: showStep,
    step: showStep,
    add: showStep,
    "final norm": showLastNorm,
    head: showHead,
  }[stage.kind];
  return show(walk, token, stage);
}

function showPatches(walk, token) {
  if (token < walk.prefix) {
    return {
      strips: [
        {
          name: "learned",
          numbers: walk.vit.weights.cls_token,
          meaning: "the class token, a parameter",
        },
      ],
      outcome:
        "The class token has no pixels: its values are learned, the same for " +
        "all images.",
      check: "",
    };
  }
  const numbers = walk.pixels(token);
  return {
    strips: [{ name: "pixels", numbers, meaning: "its pixels, normalised" }],
    outcome: `${subject(walk, token)} is ${numbers.length} values, its pixels.`,
    check: "",
  };
}

function showEmbedding(walk, token, { done }) {
  const stream = walk.at(0, token);
  const first = walk.row(walk.projected, token);
  const position = stream.map((value, i) => value - first[i]);
  const limit = largest([...first, ...position, ...stream]);
  const [name, meaning] =
    token < walk.prefix
      ? ["learned", "the class token"]
      : ["x E", "its pixels, projected"];
  return {
    strips: [
      { name, numbers: first, meaning, limit },
      {
        name: "+ position",
        numbers: position,
        meaning: "its position embedding",
        limit,
      },
      { name: "= stream", numbers: stream, meaning: "the stream", limit },
    ],
    outcome: `${subject(walk, token)} enters the stream with ${normOf(stream)}.`,
    check: sums(walk, token, done),
  };
}

// One of the six stages of a layer; the stream before a step is that after the
// one before.
function showStep(walk, token, { kind, done }) {
  const step = kind === "add" ? done - 1 : done;
  const before = walk.at(step, token);
  const added = walk.addedBy(step, token);
  const after = walk.at(step + 1, token);
  const layer = `transformer.layers.${step >> 1}`;
  const normed = walk.vit.norm(before, `${layer}.${step % 2}.norm`);
  const what = step % 2 ? "the MLP" : "attention";
  const limit = largest([...before, ...added, ...after]); // one, to see the sum
  return {
    strips: [
      { name: "stream", numbers: before, meaning: "the stream before", limit },
      { name: "normed", numbers: normed, meaning: "its normalised copy" },
      {
        name: "+ added",
        numbers: kind === "norm" ? null : added,
        meaning: `what ${what} adds`,
        limit,
      },
      {
        name: "= stream",
        numbers: kind === "add" ? after : null,
        meaning: "the stream after",
        limit,
      },
    ],
    outcome: {
      norm: afterNorm,
      step: afterStep,
      add: afterSum,
    }[kind](nameOf(token, walk.prefix), what, { before, added, after }),
    check: sums(walk, token, done),
  };
}

function afterNorm(name, what, { before }) {
  return (
    `A copy of ${name} is normalised for ${what}; the stream itself keeps ` +
    `${normOf(before)}.`
  );
}

function afterStep(name, what, { added }) {
  const from =
    what === "the MLP"
      ? "The MLP turns that copy into"
      : "Attention turns the copies of all tokens into";
  return `${from} a vector to add to ${name}, with ${normOf(added)}.`;
}

function afterSum(name, what, vectors) {
  const { before, added, after } = vectors;
  const compared = length(after) < length(before) ? "smaller" : "larger";
  return (
    `${capitalised(name)} had ${normOf(before)}. Adding a vector with ` +
    `${normOf(added)} gives ${normOf(after)}, ${compared} than before.`
  );
}

function showLastNorm(walk, token, { done }) {
  const what = whatIsRead(walk);
  const read = walk.read(done);
  const isUnread = walk.prefix && token >= walk.prefix;
  const end = isUnread
    ? `${subject(walk, token)} is not read: it ends here, with ` +
      `${normOf(walk.at(done, token))}. `
    : "";
  return {
    strips: [
      {
        name: "stream",
        numbers: read,
        meaning: `${what}, after the last layer`,
      },
      lastNormed(walk, "y", read),
    ],
    outcome:
      `${end}The last layer norm turns ${what} into y, ${read.length} ` +
      "values.",
    check: sums(walk, token, done),
  };
}

function showHead(walk, token, { done }) {
  return {
    strips: [
      lastNormed(walk, "y", walk.read(done)),
      {
        name: "logits",
        numbers: walk.vit.classify(walk.streams[done]),
        meaning: "the logits, one for each class",
      },
    ],
    outcome: `The head reads ${whatIsRead(walk)} and predicts`,
    check: "",
  };
}

function lastNormed(walk, name, read) {
  const numbers = walk.vit.norm(read, "mlp_head.0");
  return { name, numbers, meaning: `${whatIsRead(walk)}, normalised` };
}

function whatIsRead({ prefix }) {
  return prefix ? "token 0" : "the mean of all tokens";
}

function sums(walk, token, done) {
  const apart = walk.difference(done, token);
  const count = done === 1 ? "1 addition" : `${done} additions`;
  return apart > 1e-3
    ? `embedding + ${count} differs from the stream by ${digits(apart)}`
    : `check: embedding + ${count} = stream, to within ${digits(apart)}`;
}

// The shapes that a stage takes and makes, for all tokens at once.
export function shapesAt({ vit, tokens: n, prefix, patches }, { kind, done }) {
  const { dim, mlp_dim, heads, num_classes } = vit.config;
  const cut = `(${n - prefix}, ${patches.length / (n - prefix)})`;
  const all = `(${n}, ${dim})`;
  const steps = [
    `${all} → ${all}, mixed by ${heads} maps of (${n}, ${n})`,
    `${all} → (${n}, ${mlp_dim}) → ${all}, each token by itself`,
  ];
  const first = prefix ? ", with the class token in front" : "";
  const read = prefix ? "token 0" : "the mean";
  return {
    patches: `${n - prefix} patches: ${cut}`,
    embed: `${cut} → ${all}${first}`,
    norm: `${all} → ${all}, each token by itself`,
    step: steps[done % 2],
    add: `${all} + ${all} → ${all}`,
    "final norm": `${all} → (${dim},), ${read} alone`,
    head: `(${dim},) → (${num_classes},)`,
  }[kind];
}

function subject({ prefix }, token) {
  return capitalised(nameOf(token, prefix));
}

function normOf(vector) {
  return `norm ${digits(length(vector))}`;
}

export function largest(numbers) {
  return Math.max(...Array.from(numbers, Math.abs)) || 1;
}

export function length(vector) {
  let sum = 0;
  for (const value of vector) sum += value * value;
  return Math.sqrt(sum);
}
