// A checkpoint of this package's own, as saving.py writes it: our names, and
// the model's arguments and facts beside them.

// Returns { library, weights, config, isHeadless }: see `ourWeights` and
// `configOf`.
// Throws an Error for anything but a ViT.
export function ownWeights(tensors, metadata) {
  let config;
  try {
    const [given, facts] = ["arguments", "facts"].map((part) =>
      JSON.parse(metadata[part] ?? "{}", untag),
    );
    config = { ...given, ...facts };
  } catch {
    throw new Error("what it says of its model is damaged");
  }
  if (config.widths) throw new Error("it holds the book’s CNN; open a ViT");
  const wanted = [
    "cls_token",
    "to_patch_embedding.1.weight",
    "mlp_head.1.weight",
  ];
  const missing = wanted.find(
    (name) => !tensors[name] && (name !== "cls_token" || config.pool === "cls"),
  );
  if (missing) throw new Error(`it has no ${missing}`);
  const pair = (size) => (Array.isArray(size) ? size : [size, size]);
  config.patch_size = pair(config.patch_size);
  config.image_size = pair(config.image_size);
  return {
    library: "vit_tutorial",
    weights: tensors,
    config,
    isHeadless: false,
  };
}

// JSON has no tuples: saving.py tags them.
function untag(_, value) {
  const isTuple = value && `${Object.keys(value)}` === "tuple";
  return isTuple ? value.tuple : value;
}
