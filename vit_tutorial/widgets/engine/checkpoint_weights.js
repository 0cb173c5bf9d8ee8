// A checkpoint's weights under our names and in our order of axes, whoever
// wrote it: as weights.py reads them. Nothing is copied before it is asked for.

import {
  bare,
  foreignPart,
  isUnused,
  libraryOf,
  namesIn,
  nearestSpelling,
} from "./checkpoint_spelling.js";

// What a library's model may have been built without, by a piece of our names.
const OPTIONAL = {
  timm: ["cls_token", "pos_embedding", "qkv.bias", "mlp_head.1."],
  torchvision: ["mlp_head.1."],
  "Hugging Face": ["qkv.bias", "mlp_head.1."],
};

// tensors: name -> { shape, values() }, as readSafetensors gives them.
// Returns { library, weights, patch, isHeadless }: weights as `tensors`, with
// our names; patch: { channels, size: [p1, p2] }.
// Throws an Error that names what does not fit.
export function ourWeights(tensors) {
  const names = Object.keys(tensors);
  const library = libraryOf(names);
  if (!library) throw new Error(strange(tensors));
  const theirs = withPlainNames(tensors, library);
  const rows = rowsOf(library, theirs);
  check(library, rows, theirs);
  const weights = Object.fromEntries(
    Object.entries(rows).map(([ours, parts]) => [
      ours,
      parts.length === 1
        ? theirs[parts[0]]
        : joined(parts.map((p) => theirs[p])),
    ]),
  );
  const patch = unrolled(weights);
  foldLayerScale(weights);
  const isHeadless = !weights["mlp_head.1.weight"];
  if (isHeadless) addIdentityHead(weights);
  return { library, weights, patch, isHeadless };
}

function strange(tensors) {
  const names = Object.keys(tensors).sort();
  const isConvolution = ({ shape }) => shape.length === 4 && shape[2] > 1;
  const convolutions = Object.values(tensors).filter(isConvolution).length;
  const part = foreignPart(names);
  return (
    "it holds no ViT that this page can read: its first weights are " +
    `${names.slice(0, 3).join(", ")}` +
    (part
      ? `, and it has ${part}`
      : convolutions > 1
        ? `, and ${convolutions} of its weights are a CNN’s filters`
        : "")
  );
}

function withPlainNames(tensors, library) {
  const plain = library === "Hugging Face" ? bare : String;
  const found = Object.create(null); // a name may be anything
  for (const [name, tensor] of Object.entries(tensors)) {
    const short = plain(name);
    if (Object.hasOwn(found, short))
      throw new Error(
        `it holds ${short} both with a name in front and without`,
      );
    found[short] = tensor;
  }
  for (const name of Object.keys(found).filter(isUnused)) delete found[name];
  return found;
}

// Our names -> theirs, without what this model was built without.
function rowsOf(library, theirs) {
  const rows = nearestSpelling(library, Object.keys(theirs));
  for (const piece of OPTIONAL[library]) {
    const group = Object.keys(rows).filter((ours) => ours.includes(piece));
    const isThere = (ours) => rows[ours].some((name) => theirs[name]);
    if (!group.some(isThere)) for (const ours of group) delete rows[ours];
  }
  return rows;
}

function check(library, rows, theirs) {
  const expected = new Set(namesIn(rows));
  const problems = {
    missing: [...expected].filter((name) => !theirs[name]),
    unknown: Object.keys(theirs).filter((name) => !expected.has(name)),
  };
  const found = Object.entries(problems)
    .filter(([, names]) => names.length)
    .map(([problem, names]) => `${problem}: ${few(names)}`);
  if (found.length) {
    const part = foreignPart(Object.keys(theirs));
    throw new Error(
      `it has ${library}’s names, but is not the plain ViT (${found.join("; ")})` +
        (part ? `: it has ${part}` : ""),
    );
  }
  if (library !== "timm") return;
  if (!!theirs.cls_token === !!theirs["fc_norm.weight"])
    throw new Error(
      "it has a class token but averages over patches, or averages after its " +
        "last norm; this page reads a class token, or the mean before the norm",
    );
}

function few(names) {
  const more = names.length > 3 ? ` and ${names.length - 3} more` : "";
  return names.slice(0, 3).join(", ") + more;
}

// Queries, keys and values in one: one below the other.
function joined(parts) {
  const rest = parts[0].shape.slice(1);
  const rows = parts.reduce((sum, { shape }) => sum + shape[0], 0);
  if (parts.some(({ shape }) => `${shape.slice(1)}` !== `${rest}`))
    throw new Error("its queries, keys and values differ in width");
  return {
    shape: [rows, ...rest],
    values() {
      const all = parts.map((part) => part.values());
      const length = all.reduce((sum, each) => sum + each.length, 0);
      const whole = new Float32Array(length);
      let start = 0;
      for (const each of all) {
        whole.set(each, start);
        start += each.length;
      }
      return whole;
    },
  };
}

// A convolution's filters as a linear layer's: (d, c, p1, p2) becomes
// (d, p1 p2 c), the order in which patchify cuts.
function unrolled(weights) {
  const name = "to_patch_embedding.1.weight";
  const filters = weights[name];
  if (filters.shape.length !== 4)
    throw new Error(`its patch embedding has the shape ${filters.shape}`);
  const [dim, channels, p1, p2] = filters.shape;
  weights[name] = {
    shape: [dim, p1 * p2 * channels],
    values() {
      const before = filters.values();
      const after = new Float32Array(before.length);
      let i = 0;
      for (let d = 0; d < dim; d++)
        for (let pixel = 0; pixel < p1 * p2; pixel++)
          for (let c = 0; c < channels; c++)
            after[i++] = before[(d * channels + c) * p1 * p2 + pixel];
      return after;
    },
  };
  return { channels, size: [p1, p2] };
}

// LayerScale multiplies what a layer puts out: g(Wx + b) is (gW)x + gb.
function foldLayerScale(weights) {
  const scales = Object.keys(weights).filter((name) => name.endsWith(".gamma"));
  for (const name of scales) {
    const gamma = weights[name];
    const layer = name.slice(0, -"gamma".length);
    for (const part of ["weight", "bias"]) {
      const tensor = weights[layer + part];
      if (gamma.shape[0] !== tensor.shape[0])
        throw new Error(
          `LayerScale has ${gamma.shape} factors for ${tensor.shape}`,
        );
      weights[layer + part] = scaled(tensor, gamma);
    }
    delete weights[name];
    delete weights[layer + "gamma"];
  }
}

function scaled(tensor, gamma) {
  return {
    ...tensor,
    values() {
      const [numbers, factors] = [tensor.values(), gamma.values()];
      const width = numbers.length / factors.length;
      return numbers.map(
        (number, i) => number * factors[Math.floor(i / width)],
      );
    },
  };
}

// A model without a head gives the class token as its last norm leaves it: the
// identity is its head, so that its "logits" are these features.
function addIdentityHead(weights) {
  const [dim] = weights["mlp_head.0.weight"].shape;
  const identity = () => {
    const matrix = new Float32Array(dim * dim);
    for (let i = 0; i < dim; i++) matrix[i * dim + i] = 1;
    return matrix;
  };
  weights["mlp_head.1.weight"] = { shape: [dim, dim], values: identity };
  const zeros = () => new Float32Array(dim);
  weights["mlp_head.1.bias"] = { shape: [dim], values: zeros };
}
