// What a checkpoint's model is: its sizes from the shapes of its weights, and
// the rest from the files that a hub keeps beside it, config.json and
// preprocessor_config.json. As checkpoint_files.py finds it.

const HEADS = { 192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16 }; // by dim
// In the order of Pillow's numbers, which Hugging Face's files hold.
const RESAMPLING = [
  "nearest",
  "lanczos",
  "bilinear",
  "bicubic",
  "box",
  "hamming",
];
const IMAGENET = {
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
};

// read: as `ourWeights` returns it. beside: { config, preprocessor }, what
// stood beside the checkpoint, {} where nothing did. heads: the reader's own
// choice, or undefined.
// Returns the `config` that vit.js takes: the ViT's arguments, and what is
// known of its images and classes.
// Throws an Error that names what does not fit.
export function configOf(read, beside, heads) {
  const { library, weights, patch } = read;
  const { config = {}, preprocessor = {} } = beside;
  const sizeOf = (name) => weights[name].shape[0];
  const dim = sizeOf("mlp_head.0.weight");
  const inner = sizeOf("transformer.layers.0.0.fn.to_qkv.weight") / 3;
  const said = saidOf(config, library);
  const likely = HEADS[dim] ?? Math.max(1, Math.floor(dim / 64));
  const count = heads ?? said.heads ?? likely;
  if (!Number.isInteger(inner / count)) {
    throw new Error(
      `${inner} entries cannot be split into ${count} heads: add its ` +
        "config.json, which gives the number of heads",
    );
  }
  if (![1, 3].includes(patch.channels)) {
    throw new Error(
      `it expects ${patch.channels} channels; models with 1 (grey) or 3 work`,
    );
  }
  const names = Object.keys(weights);
  return {
    image_size: imageSizeOf(weights, patch.size, said.imageSize),
    patch_size: patch.size,
    num_classes: sizeOf("mlp_head.1.weight"),
    channels: patch.channels,
    dim,
    depth: names.filter((name) => name.endsWith("to_qkv.weight")).length,
    heads: count,
    dim_head: inner / count,
    mlp_dim: sizeOf("transformer.layers.0.1.fn.net.0.weight"),
    pool: weights.cls_token ? "cls" : "mean",
    position: weights.pos_embedding ? "learned" : "none",
    eps: said.eps,
    ...likelyFacts(read),
    ...factsFrom(config, preprocessor, sizeOf("mlp_head.1.weight")),
  };
}

// What a config says of image size, heads and epsilon.
function saidOf(config, library) {
  const activation = config.hidden_act ?? "gelu";
  if (activation !== "gelu")
    throw new Error(
      `its MLPs use ${activation}, but this page computes gelu only`,
    );
  const [, ...timm] = config.pretrained_cfg?.input_size ?? [];
  const heads = config.num_attention_heads ?? config.model_args?.num_heads;
  if (heads !== undefined && !(Number.isInteger(heads) && heads > 0))
    throw new Error(`its config.json gives no number of heads: ${heads}`);
  const imageSize = config.image_size ?? (timm.length ? timm : undefined);
  if (imageSize !== undefined && ![imageSize].flat().every(Number.isInteger))
    throw new Error(`its config.json gives no image size: ${imageSize}`);
  const byDefault = library === "Hugging Face" ? 1e-12 : 1e-6;
  return { heads, imageSize, eps: config.layer_norm_eps ?? byDefault };
}

// The image size that the positions are for: what the config says if it fits
// them, else a square.
function imageSizeOf(weights, [p1, p2], said) {
  if (!weights.pos_embedding) {
    if (said) return pair(said);
    throw new Error(
      "it has no position embeddings, which would tell the size of its " +
        "images: add its config.json",
    );
  }
  const patches = weights.pos_embedding.shape[1] - (weights.cls_token ? 1 : 0);
  if (said) {
    const rows = Math.floor(pair(said)[0] / p1);
    const columns = Math.floor(pair(said)[1] / p2);
    if (rows * columns === patches) return [rows * p1, columns * p2];
  }
  const side = Math.sqrt(patches);
  if (!Number.isInteger(side)) {
    throw new Error(
      `it has positions for ${patches} patches, which make no square: add ` +
        "its config.json, which gives the image size",
    );
  }
  return [side * p1, side * p2];
}

function pair(size) {
  return Array.isArray(size) ? size : [size, size];
}

// How the images of such models are usually prepared. torchvision, DINO and
// DINOv2 take ImageNet's mean and standard deviation; most others take [-1, 1].
function likelyFacts({ library, isHeadless, patch: { channels } }) {
  const usual = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };
  const { mean, std } =
    library === "torchvision" || isHeadless ? IMAGENET : usual;
  return {
    mean: mean.slice(0, channels),
    std: std.slice(0, channels),
    crop: 1,
    stretch: false,
    interpolation: "bicubic",
  };
}

// What the files say of preprocessing and of class names.
function factsFrom(config, preprocessor, classes) {
  const facts = { ...timmFacts(config.pretrained_cfg) };
  if (Object.keys(preprocessor).length)
    Object.assign(facts, huggingFaceFacts(preprocessor));
  const names = config.id2label ?? {};
  const labels = Object.values(names);
  if (labels.length === classes && !labels.includes("LABEL_0"))
    facts.class_names = labels.map((_, n) =>
      String(names[n] ?? `class ${n + 1}`),
    );
  const known = Object.entries(facts).filter(([, value]) => value != null);
  return Object.fromEntries(known);
}

function timmFacts(timm) {
  if (!timm) return {};
  const mode = timm.crop_mode ?? "center";
  if (!["center", "squash"].includes(mode))
    throw new Error(
      `its images are cropped by “${mode}”, which is unknown here`,
    );
  return {
    mean: timm.mean,
    std: timm.std,
    crop: timm.crop_pct,
    stretch: mode === "squash",
    interpolation: timm.interpolation,
  };
}

function huggingFaceFacts(preprocessor) {
  const { size = {}, crop_size = {}, rescale_factor = 1 / 255 } = preprocessor;
  for (const step of ["do_resize", "do_rescale", "do_normalize"])
    if (preprocessor[step] === false)
      throw new Error(`preprocessor_config.json has ${step} false`);
  if (Math.abs(255 * rescale_factor - 1) > 1e-6)
    throw new Error(`its rescale_factor is ${rescale_factor}, not 1/255`);
  const sides = (given) =>
    Number.isInteger(given) ? { height: given } : given;
  const [resized, cut] = [sides(size), sides(crop_size)];
  const side = resized.shortest_edge ?? resized.height;
  const crop = (cut.height ?? cut.shortest_edge ?? side) / side;
  return {
    mean: preprocessor.image_mean,
    std: preprocessor.image_std,
    interpolation: RESAMPLING[preprocessor.resample ?? 2],
    crop: preprocessor.do_center_crop && side ? crop : 1,
    stretch: "height" in resized,
  };
}

// Throw an Error that names the first weight whose shape the config
// contradicts.
export function checkShapes(weights, config) {
  const { dim, depth, heads, dim_head, mlp_dim, num_classes } = config;
  const inner = heads * dim_head;
  const of = (name, outputs, inputs) => ({
    [`${name}.weight`]: inputs ? [outputs, inputs] : [outputs],
    [`${name}.bias`]: [outputs],
  });
  const [p1, p2] = config.patch_size;
  const layers = Array.from({ length: depth }, (_, i) => {
    const [attention, mlp] = [0, 1].map(
      (half) => `transformer.layers.${i}.${half}`,
    );
    return {
      ...of(`${attention}.norm`, dim),
      ...of(`${attention}.fn.to_qkv`, 3 * inner, dim),
      ...of(`${attention}.fn.to_out.0`, dim, inner),
      ...of(`${mlp}.norm`, dim),
      ...of(`${mlp}.fn.net.0`, mlp_dim, dim),
      ...of(`${mlp}.fn.net.3`, dim, mlp_dim),
    };
  });
  const expected = Object.assign(
    of("to_patch_embedding.1", dim, p1 * p2 * config.channels),
    of("mlp_head.0", dim),
    of("mlp_head.1", num_classes, dim),
    ...layers,
  );
  for (const [name, { shape }] of Object.entries(weights)) {
    const wanted = expected[name];
    if (wanted && `${wanted}` !== `${shape}`) {
      throw new Error(
        `its weight for ${name} has the shape (${shape.join(", ")}), where ` +
          `this model has (${wanted.join(", ")})`,
      );
    }
  }
}
