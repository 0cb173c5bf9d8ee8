// An image cut into patches and put together again in a different order.

// The bytes of an image, (c, H, W), in which place i shows patch order[i].
export function rearranged(bytes, shape, [p1, p2], order) {
  const [channels, height, width] = shape;
  const columns = width / p2;
  const corner = (patch) =>
    Math.floor(patch / columns) * p1 * width + (patch % columns) * p2;
  const out = new Uint8Array(bytes.length);
  order.forEach((patch, place) => {
    const [from, to] = [corner(patch), corner(place)];
    for (let c = 0; c < channels; c++) {
      for (let y = 0; y < p1; y++) {
        const line = (c * height + y) * width;
        out.set(bytes.subarray(line + from, line + from + p2), line + to);
      }
    }
  });
  return out;
}
