// Images as a model is shown them: cut into patches, some of them dropped,
// mirrored and moved.

// An image's bytes, c * H * W of them, become normalised rows of patches, the
// channel fastest: those of vit.js. What is drawn for an example is up to the
// caller.
export class Cutter {
  #config;
  #values; // of every byte, for each channel

  constructor(config) {
    const { image_size, patch_size, channels, mean, std } = config;
    const [height, width = height] = [image_size].flat();
    const [p1, p2 = p1] = [patch_size].flat();
    this.#config = { height, width, p1, p2, channels };
    this.#values = Array.from({ length: channels }, (_, c) =>
      Float32Array.from(
        { length: 256 },
        (_, byte) => (byte / 255 - (mean?.[c] ?? 0)) / (std?.[c] ?? 1),
      ),
    );
  }

  // pixels: bytes. kept: the places whose patches are shown. flip: mirrored,
  // left to right; then moved by so many pixels, and black comes in at the
  // sides. They go into `numbers`, from `i` on.
  cut({ pixels, kept, flip = false, down = 0, right = 0 }, numbers, i) {
    const { height, width, p1, p2, channels } = this.#config;
    const values = this.#values;
    const columns = width / p2;
    for (let c = 0; c < channels; c++) {
      const table = values[c];
      const plane = c * height * width;
      let at = i + c;
      for (const place of kept) {
        const top = Math.floor(place / columns) * p1 - down;
        const left = (place % columns) * p2 - right;
        for (let y = top; y < top + p1; y++) {
          const row = y >= 0 && y < height ? plane + y * width : -1;
          for (let seen = left; seen < left + p2; seen++) {
            const x = flip ? width - 1 - seen : seen;
            const inside = row >= 0 && x >= 0 && x < width;
            numbers[at] = table[inside ? pixels[row + x] : 0];
            at += channels;
          }
        }
      }
    }
  }
}
