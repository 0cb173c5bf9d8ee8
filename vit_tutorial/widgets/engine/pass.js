// Where a pass of a ViT puts its numbers in the kernels' memory, and what it
// hands over.

// How many numbers a pass over n tokens needs.
export function sizes(config, n) {
  const { depth, dim, heads, dim_head, mlp_dim, num_classes } = config;
  const [p1, p2] = [config.patch_size].flat(); // of a square one the side
  const inner = heads * dim_head;
  const pass = {
    pixels: n * p1 * (p2 ?? p1) * config.channels,
    rows: n * dim, // positions, later the output of a norm
    keys: dim_head * n, // a head's keys as columns
    joined: n * inner, // what all heads put out
    between: n * dim, // the stream after a layer's attention
    hidden: n * mlp_dim,
    share: 1, // of a token in the mean of all
    read: (depth + 1) * dim, // what the head reads
    tokens: n * dim, // what enters the encoder
    predictions: (depth + 1) * num_classes,
  };
  const layer = {
    qkv: n * 3 * inner,
    attention: heads * n * n,
    attended: n * dim,
    fed: n * dim,
    out: n * dim,
  };
  return { pass, layer };
}

// The addresses of a pass over n tokens, from where the memory is free on.
export function layOut(memory, config, n) {
  const { pass, layer } = sizes(config, n);
  return {
    n,
    ...memory.takeAll(pass),
    layers: Array.from({ length: config.depth }, () => memory.takeAll(layer)),
  };
}

// What a pass leaves to its caller, with these parts of each layer: copies, for
// the next one writes over it.
export function handOver(memory, config, pass, parts) {
  const { depth, num_classes } = config;
  const { pass: own, layer: each } = sizes(config, pass.n);
  const all = memory.read(pass.predictions, own.predictions);
  const predictions = Array.from({ length: depth + 1 }, (_, stage) =>
    all.subarray(stage * num_classes, (stage + 1) * num_classes),
  );
  const layers = pass.layers.map((layer) =>
    Object.fromEntries(
      parts.map((name) => [
        name,
        name in each
          ? memory.read(layer[name], each[name])
          : byHead(memory.view(layer.qkv, each.qkv), config, pass.n, name),
      ]),
    ),
  );
  return { logits: predictions.at(-1), predictions, layers };
}

// Of queries, keys and values side by side, (n, 3 h*d), the q or k, (h, n, d),
// or the v, (h, d, n).
function byHead(qkv, { heads, dim_head: d }, n, name) {
  const inner = heads * d;
  const first = "qkv".indexOf(name) * inner;
  const [token, entry] = name === "v" ? [1, n] : [d, 1]; // from one to the next
  const found = new Float32Array(n * inner);
  for (let head = 0; head < heads; head++)
    for (let i = 0; i < n; i++)
      for (let j = 0; j < d; j++)
        found[head * n * d + i * token + j * entry] =
          qkv[i * 3 * inner + first + head * d + j];
  return found;
}
