// Attention maps as pixels.

import { cividis } from "./colours.js";

const COLOURS = Array.from({ length: 256 }, (_, i) =>
  cividis(i / 255)
    .match(/\d+/g)
    .map(Number),
);

// A map on a canvas, a pixel a patch: colours from 0 to `highest`. A patch that
// is not there (null) leaves its pixel open, so that what is behind shows
// through.
export function paint(canvas, shares, highest) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  shares.forEach((share, place) => {
    if (share === null) return;
    const level = Math.round(Math.min(share / (highest || 1), 1) * 255);
    image.data.set(COLOURS[level], 4 * place);
    image.data[4 * place + 3] = 255;
  });
  context.putImageData(image, 0, 0);
}
