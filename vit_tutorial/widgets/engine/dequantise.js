// A model's weights, from the text that a page is given.

// The weights by their names, from what quantise.py wrote: first every float32,
// tensor by tensor (all of a single row, or a scale for each of several), then
// the int8 rows.
export function dequantise(tensors, data) {
  const bytes = fromBase64(data);
  const entries = Object.entries(tensors).map(([name, shape]) => {
    const size = shape.reduce((a, b) => a * b, 1);
    // a convolution's row is a whole filter
    const rows = shape.length === 4 ? shape[0] : size / shape.at(-1);
    return { name, size, rows };
  });
  const count = entries.reduce(
    (sum, { size, rows }) => sum + (rows > 1 ? rows : size),
    0,
  );
  const floats = new Float32Array(bytes.buffer, 0, count);
  const integers = new Int8Array(bytes.buffer, 4 * count);
  const weights = {};
  let [float, integer] = [0, 0];
  for (const { name, size, rows } of entries) {
    if (rows === 1) {
      weights[name] = floats.slice(float, float + size);
      float += size;
    } else {
      const weight = new Float32Array(size);
      const length = size / rows;
      for (let row = 0, i = 0; row < rows; row++) {
        const scale = floats[float + row];
        for (const end = i + length; i < end; i++)
          weight[i] = integers[integer + i] * scale;
      }
      weights[name] = weight;
      integer += size;
      float += rows;
    }
  }
  return weights;
}

export function fromBase64(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}
