// A photo as pixels: one that comes with the page, one of the reader's own, or
// a frame of a camera. It is opened in the page, and sent nowhere.

import { element } from "./elements.js";

const MOST = 50e6; // pixels: they take 200 MB

// Read a file as { name, width, height, rgba }: turned as the camera was held,
// and white where it is transparent.
// Throws an Error with a line for the reader.
export async function readPhoto(file) {
  const name = file.name ? `“${file.name}”` : "This";
  const isHeic = /hei[cf]/i.test(file.type + file.name);
  if (!file.type.startsWith("image/") && !isHeic)
    throw new Error(`${name} is not an image.`);
  let image;
  try {
    image = await createImageBitmap(file);
  } catch {
    throw new Error(
      isHeic
        ? `${name} is HEIC, which this browser does not open: save it as JPEG ` +
            "or PNG first."
        : `${name} cannot be opened: it is damaged, or of an unknown kind.`,
    );
  }
  const { width, height } = image;
  if (width * height > MOST) {
    image.close();
    throw new Error(
      `${name} has ${width} × ${height} pixels. The limit is ` +
        `${MOST / 1e6} million: use a smaller copy.`,
    );
  }
  const photo = pixelsOf(image, width, height);
  image.close();
  return { ...photo, name: file.name || "your photo" };
}

// What can be drawn on a canvas, an image or a video's frame, as { width,
// height, rgba }.
export function pixelsOf(source, width, height) {
  const context = element("canvas", { width, height }).getContext("2d", {
    willReadFrequently: true,
  });
  if (!context) throw new Error("This browser does not draw on a canvas.");
  context.fillStyle = "white"; // behind what is transparent
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0, width, height);
  const rgba = context.getImageData(0, 0, width, height).data;
  return { width, height, rgba };
}

// An image's bytes, (c, H, W) with one channel or three, as a photo.
export function photoOf({ name, shape: [channels, height, width], bytes }) {
  const plane = height * width;
  const rgba = new Uint8ClampedArray(4 * plane).fill(255);
  for (let i = 0; i < plane; i++)
    for (let c = 0; c < 3; c++)
      rgba[4 * i + c] = bytes[(channels === 3 ? c : 0) * plane + i];
  return { name, width, height, rgba };
}
