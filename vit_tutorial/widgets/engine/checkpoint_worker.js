// The Worker's side of a checkpoint that a reader brings: what checkpoint.js
// asks. The file is read here, tensor by tensor, and stays on the reader's disk
// otherwise.

import { checkShapes, configOf } from "./checkpoint_config.js";
import { ourWeights } from "./checkpoint_weights.js";
import { ownWeights } from "./checkpoint_own.js";
import { imagenetClasses } from "./imagenet_classes.js";
import { sizes } from "./pass.js";
import { attend, predict } from "./photo_worker.js";
import { resizePositions } from "./resample.js";
import { readSafetensors } from "./safetensors.js";
import { ViT } from "./vit.js";

let open = { vit: null, id: null }; // one model at a time

// checkpoint: { id, file, beside, heads, side }: what was brought, and how it is
// to be read; id tells one of these from another. The rest is as in
// photo_worker.js.
export const ANSWERS = {
  describe: (_, checkpoint) => described(readModel(checkpoint)),
  attendWith: (_, checkpoint, ...given) =>
    attend(modelOf(checkpoint), ...given),
  predictWith: (_, checkpoint, ...given) =>
    predict(modelOf(checkpoint), ...given),
};

function modelOf(checkpoint) {
  if (open.id !== checkpoint.id) {
    open = { vit: null, id: null }; // so that two never need their memory at once
    open = { vit: build(readModel(checkpoint)), id: checkpoint.id };
  }
  return open.vit;
}

const MANY = 28 * 28; // patches: a pass over more takes the page many seconds
const FEW = 16; // a side, then: of 224 pixels for DINOv2, trained at 518

// What a checkpoint is, from its header alone: { library, isHeadless, weights,
// config, trained }; trained: the image size of its positions.
function readModel({ file, beside, heads, side }) {
  const reader = new FileReaderSync();
  const slice = (start, end) =>
    reader.readAsArrayBuffer(file.slice(start, end));
  const { metadata, tensors } = opened({ byteLength: file.size, slice });
  const isOurs = metadata?.arguments !== undefined;
  const read = isOurs ? ownWeights(tensors, metadata) : ourWeights(tensors);
  for (const [name, { dtype }] of Object.entries(tensors)) {
    if (!/^(F64|F32|F16|BF16)$/.test(dtype))
      throw new Error(
        `${name} has dtype ${dtype}; weights must be F32, F16 or BF16`,
      );
  }
  const config = isOurs ? read.config : configOf(read, beside, heads);
  checkShapes(read.weights, config);
  const trained = config.image_size;
  const [rows, columns] = gridOf(config, trained);
  const [patch] = [config.patch_size].flat();
  const fewer = rows * columns > MANY ? FEW * patch : null;
  const wanted = side ?? (canResize(config) ? fewer : null);
  if (wanted && `${[wanted, wanted]}` !== `${trained}`) {
    if (!canResize(config)) {
      throw new Error(
        `its ${config.position} positions cannot be resized; use its own image size`,
      );
    }
    config.image_size = [wanted, wanted];
  }
  return { ...read, config, trained };
}

function canResize({ position }) {
  return position !== "learned_2d";
}

// What the file holds; PyTorch's own files, a zip archive or a pickle, are told
// apart from damaged ones.
function opened(file) {
  try {
    return readSafetensors(file);
  } catch (error) {
    const [first, second] = new Uint8Array(file.slice(0, 2));
    const isZip = first === 0x50 && second === 0x4b;
    if (!isZip && !(first === 0x80 && second < 6)) throw error;
    throw new Error(
      "it is a pickle, which can run its author’s code. In Python, " +
        'safetensors.torch.save_file(torch.load("…", weights_only=True), ' +
        '"model.safetensors") keeps the weights alone',
    );
  }
}

function gridOf({ patch_size }, size) {
  const sides = [patch_size].flat();
  return [size].flat().map((side, axis) => side / (sides[axis] ?? sides[0]));
}

function described({ library, isHeadless, config, trained, weights }) {
  if (config.num_classes === 1000) config.class_names ??= imagenetClasses;
  const count = ({ shape }) => shape.reduce((a, b) => a * b, 1);
  const parameters = Object.values(weights).reduce(
    (sum, each) => sum + count(each),
    0,
  );
  const [rows, columns] = gridOf(config, config.image_size);
  const { pass, layer } = sizes(config, 1 + rows * columns);
  const total = (part) => Object.values(part).reduce((a, b) => a + b, 0);
  const numbers = parameters + total(pass) + config.depth * total(layer);
  return {
    library,
    isHeadless,
    config,
    trained,
    parameters,
    bytes: 4 * numbers,
  };
}

// Each weight is read when it goes into the kernels' memory, and then let go;
// what every pass reads anew is kept.
function build({ weights, config, trained }) {
  const kept = {};
  for (const [name, { values }] of Object.entries(weights)) {
    const get = () => finite(name, values());
    const isKept = name === "cls_token" || name.startsWith("pos_");
    if (isKept) kept[name] = get();
    else Object.defineProperty(kept, name, { enumerable: true, get });
  }
  if (kept.pos_embedding) {
    const [before, after] = [trained, config.image_size].map((size) =>
      gridOf(config, size),
    );
    const prefix = config.pool === "cls" ? 1 : 0;
    if (`${before}` !== `${after}`) {
      const { dim } = config;
      const table = resizePositions(
        kept.pos_embedding,
        dim,
        prefix,
        before,
        after,
      );
      kept.pos_embedding = table;
    }
  }
  const tensors = Object.fromEntries(
    Object.entries(weights).map(([name, { shape }]) => [name, shape]),
  );
  return new ViT({ config, tensors, weights: kept });
}

function finite(name, values) {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  if (!Number.isFinite(sum))
    throw new Error(`its weight for ${name} holds a number that is not finite`);
  return values;
}
