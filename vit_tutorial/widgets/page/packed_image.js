// A grey image as short text, for an address: how many pixels, its greys as
// hexadecimal numbers, and each pixel's grey, by its number, in base64:
// 784.00b4.AAA…
//
// A pixel takes 1 bit where there are two greys, as in a drawing, 2 bits where
// there are four, else 4: more than 16 greys are rounded to 16.

import { fromBase64 } from "../engine/dequantise.js";

const STEP = 17; // between 16 greys, from 0 to 255

// bytes: the image's, in base64. "", no image, stays "".
export function packImage(bytes) {
  if (!bytes) return "";
  const pixels = fromBase64(bytes);
  const isFine = new Set(pixels).size > 16;
  const shown = isFine
    ? pixels.map((grey) => STEP * Math.round(grey / STEP))
    : pixels;
  const greys = [...new Set(shown)].sort((a, b) => a - b);
  const bits = bitsFor(greys.length);
  const packed = new Uint8Array(Math.ceil((pixels.length * bits) / 8));
  shown.forEach((grey, i) => {
    packed[(i * bits) >> 3] |= greys.indexOf(grey) << ((i * bits) % 8);
  });
  const hex = greys.map((grey) => grey.toString(16).padStart(2, "0")).join("");
  const letters = toBase64(packed).replace(/=/g, "");
  const safe = letters.replace(/\+/g, "-").replace(/\//g, "_");
  return `${pixels.length}.${hex}.${safe}`;
}

// The image's bytes in base64; undefined for a text that holds none.
export function unpackImage(text) {
  if (!text) return "";
  const form = /^(\d+)\.((?:[0-9a-f]{2})+)\.([\w-]+)$/;
  const [, count, hex, safe] = form.exec(text) ?? [];
  if (!safe || safe.length % 4 === 1) return undefined;
  const greys = hex.match(/../g).map((two) => parseInt(two, 16));
  const bits = bitsFor(greys.length);
  const packed = fromBase64(safe.replace(/-/g, "+").replace(/_/g, "/"));
  if (packed.length !== Math.ceil((count * bits) / 8)) return undefined;
  const pixels = new Uint8Array(Number(count)).map((_, i) => {
    const number = packed[(i * bits) >> 3] >> ((i * bits) % 8);
    return greys[number % (1 << bits)];
  });
  return toBase64(pixels);
}

function bitsFor(greys) {
  return greys <= 2 ? 1 : greys <= 4 ? 2 : 4;
}

export function toBase64(bytes) {
  let letters = "";
  for (const byte of bytes) letters += String.fromCharCode(byte);
  return btoa(letters);
}
