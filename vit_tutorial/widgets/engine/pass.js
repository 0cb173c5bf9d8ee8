// Where a pass of a ViT puts its numbers in the kernels' memory, and what it
// hands over.

// How many numbers a pass over n tokens needs: first those it forgets, then
// those it hands over, which lie together so that one copy takes them all.
export function sizes(config, n) {
  const { depth, dim, heads, dim_head, mlp_dim, num_classes } = config;
  const [p1, p2] = [config.patch_size].flat(); // of a square one the side
  const inner = heads * dim_head;
  const pass = {
    pixels: n * p1 * (p2 ?? p1) * config.channels,
    rows: n * dim, // positions, later the output of a norm
    keys: dim_head * n, // a head's keys as columns
    values: n * dim_head, // a head's values as rows
    joined: n * inner, // what all heads put out
    between: n * dim, // the stream after a layer's attention
    hidden: n * mlp_dim,
    share: 1, // of a token in the mean of all
    read: (depth + 1) * dim, // what the head reads
    tokens: n * dim, // from here on it is handed over
    predictions: (depth + 1) * num_classes,
  };
  const layer = {
    q: n * inner,
    k: n * inner,
    v: n * inner,
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

// What a pass leaves to its caller: copies, for the next one writes over it.
export function handOver(memory, config, pass) {
  const { depth, num_classes } = config;
  const { pass: own, layer: each } = sizes(config, pass.n);
  const copy = memory.read(pass.tokens, (memory.free - pass.tokens) / 4);
  const part = (address, size) => {
    const start = (address - pass.tokens) / 4;
    return copy.subarray(start, start + size);
  };
  const parts = (addresses) =>
    Object.fromEntries(
      Object.entries(each).map(([name, size]) => [
        name,
        part(addresses[name], size),
      ]),
    );
  const predictions = Array.from({ length: depth + 1 }, (_, stage) =>
    part(pass.predictions + 4 * stage * num_classes, num_classes),
  );
  return {
    logits: predictions.at(-1),
    predictions,
    layers: pass.layers.map(parts),
    tokens: part(pass.tokens, own.tokens),
  };
}
