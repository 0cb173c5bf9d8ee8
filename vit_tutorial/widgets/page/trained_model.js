// A model that was trained here, as a file that `load_model` reads in Python;
// and the other way round (saving.py has the same on its side).

import { parametersOf } from "../engine/parameters.js";
import { readSafetensors, writeSafetensors } from "../engine/safetensors.js";

// What a ViT's constructor takes; the rest of a config is facts on the data.
export const ARGUMENTS = [
  ...["image_size", "patch_size", "num_classes", "dim", "depth", "heads"],
  ...["mlp_dim", "pool", "channels", "dim_head", "dropout", "emb_dropout"],
  ...["qkv_bias", "position", "eps"],
];
const COUNTS = [
  ...["num_classes", "dim", "depth", "heads", "mlp_dim", "channels"],
  "dim_head",
];
const KINDS = { F64: "float64", F32: "float32", F16: "float16" };
const DTYPES = { ...KINDS, BF16: "bfloat16" }; // as PyTorch calls them

// The bytes of a file with this model: { config, tensors, weights }.
export async function toFile({ config, tensors: shapes, weights }) {
  const isArgument = ([key]) => ARGUMENTS.includes(key);
  const entries = Object.entries(config);
  const given = entries.filter(isArgument);
  const facts = entries.filter((entry) => !isArgument(entry));
  const inJson = (some) => JSON.stringify(marked(Object.fromEntries(some)));
  const metadata = {
    format: "pt",
    architecture: "ViT",
    arguments: inJson(given),
    facts: inJson(facts),
  };
  const tensors = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => {
      const values = weights[name].slice();
      const bytes = new Uint8Array(values.buffer);
      return [name, { shape, dtype: "F32", values, bytes }];
    }),
  );
  const sha256 = await checksum(metadata, tensors);
  if (sha256) Object.assign(metadata, { sha256 });
  return writeSafetensors(metadata, tensors);
}

// The model in a file, an ArrayBuffer: { config, weights }.
// like: what its config has to say of the images, such as { channels: 1 }.
// Throws a RangeError that says what is wrong with it, or does not fit.
export async function fromFile(buffer, like) {
  const { metadata, tensors } = readSafetensors(buffer);
  const { sha256, ...others } = metadata;
  const config = configOf(others);
  const sum = await checksum(others, tensors);
  if (sha256 && sum && sha256 !== sum) {
    throw new RangeError(
      "this file is damaged: its SHA-256 checksum does not match",
    );
  }
  checkFit(config, tensors, like);
  const weights = Object.entries(tensors).map(([name, { values }]) => {
    const numbers = values();
    if (numbers.every(Number.isFinite)) return [name, numbers];
    throw new RangeError(`${name} holds NaN or infinity`);
  });
  return { config, weights: Object.fromEntries(weights) };
}

function configOf({ architecture = "ViT", arguments: given, facts = "{}" }) {
  if (!given) {
    throw new RangeError(
      "this file does not say which model to build: load one that was saved " +
        "here, or by save_model in Python",
    );
  }
  if (architecture !== "ViT") {
    throw new RangeError(`this file holds a ${architecture}, not a ViT`);
  }
  let config;
  try {
    config = { ...unmarked(facts), ...unmarked(given) };
  } catch {
    throw new RangeError("this file's description of its model is not JSON");
  }
  const missing = ARGUMENTS.filter((name) => !(name in config));
  if (missing.length) {
    throw new RangeError(`this file does not say the model's ${missing[0]}`);
  }
  return config;
}

// The tensors are those that the config's model has.
function checkFit(config, tensors, like) {
  for (const [name, wanted] of Object.entries(like)) {
    const [first, second = first] = [config[name]].flat();
    if (first === wanted && second === wanted) continue;
    throw new RangeError(
      `this model's ${name} is ${config[name]}; the images here need ${wanted}`,
    );
  }
  const count = Object.keys(tensors).length; // no layer is without any
  for (const name of COUNTS) {
    const value = config[name];
    const most = name === "depth" ? count : Infinity;
    if (Number.isInteger(value) && value >= 1 && value <= most) continue;
    throw new RangeError(`this model's ${name} cannot be ${value}`);
  }
  const parameters = parametersOf(config);
  for (const { name, shape } of parameters) {
    const isThere = Object.hasOwn(tensors, name);
    const found = isThere ? tensors[name].shape.join(" x ") : "none";
    if (found === shape.join(" x ")) continue;
    throw new RangeError(
      `this model's ${name} is ${shape.join(" x ")}; the file has ${found}`,
    );
  }
  const names = parameters.map(({ name }) => name);
  const unknown = Object.keys(tensors).find((name) => !names.includes(name));
  if (unknown) throw new RangeError(`this model has no ${unknown}`);
}

// The SHA-256 sum of all that a file says, as `checksum` in saving.py has it.
// Browsers compute it for pages from a file or over https alone; for others it
// is null, and a file without it loads as well.
async function checksum(metadata, tensors) {
  if (!globalThis.crypto?.subtle) return null;
  const encoder = new TextEncoder();
  const sorted = Object.entries(metadata).sort(byName);
  const texts = sorted.map((entry) => entry.map(inAscii).join(": "));
  const parts = [encoder.encode(`{${texts.join(", ")}}`)];
  for (const [name, each] of Object.entries(tensors).sort(byName)) {
    const { shape, dtype, bytes } = each;
    const what = [inAscii(name), `"${DTYPES[dtype]}"`, `[${shape.join(", ")}]`];
    parts.push(encoder.encode(`[${what.join(", ")}]`), bytes);
  }
  const all = await new Blob(parts).arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", all));
  return Array.from(digest, (byte) => hexadecimal(byte, 2)).join("");
}

function hexadecimal(number, digits) {
  return number.toString(16).padStart(digits, "0");
}

function byName([a], [b]) {
  return a < b ? -1 : 1;
}

// A text in JSON, as Python writes it.
function inAscii(text) {
  const escaped = (letter) => `\\u${hexadecimal(letter.charCodeAt(0), 4)}`;
  return JSON.stringify(text).replace(/[\u007f-\uffff]/g, escaped);
}

// A tuple is marked in Python's files; every list here is one.
function marked(value) {
  if (Array.isArray(value)) return { tuple: value.map(marked) };
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value);
  return Object.fromEntries(entries.map(([key, each]) => [key, marked(each)]));
}

function unmarked(text) {
  const keys = (value) => Object.keys(value ?? {}).join();
  return JSON.parse(text, (_, value) =>
    typeof value === "object" && keys(value) === "tuple" ? value.tuple : value,
  );
}
