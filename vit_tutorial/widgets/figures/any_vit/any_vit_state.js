// What a reader can change: plain numbers, checked here, where they come in
// from links and kernels; and the shape of the model that they have to fit.

import { within } from "../../page/checks.js";

export const OVERLAYS = ["rollout", "head", "mean", "none"];

// What the parts need to know of a model: as a ViT of vit.js has it.
export function shapeOf(config) {
  const pair = (size) => (Array.isArray(size) ? size : [size, size]);
  const [imageSize, patchSize] = [config.image_size, config.patch_size].map(
    pair,
  );
  return {
    ...{ config, imageSize, patchSize },
    grid: imageSize.map((side, axis) => side / patchSize[axis]),
    numPrefix: config.pool === "cls" ? 1 : 0,
  };
}

// Check a state, for a model and so many photos.
// Throws a RangeError that names what does not fit.
export function readState(state, { config, grid, numPrefix }, count) {
  const { picture, query, dropped, layer, head, overlay } = state;
  const patches = grid[0] * grid[1];
  within("picture", picture, count);
  within("query", query, numPrefix + patches);
  within("layer", layer, config.depth);
  within("head", head, config.heads);
  for (const place of dropped) within("a dropped patch", place, patches);
  if (new Set(dropped).size < dropped.length)
    throw new RangeError(`dropped names a patch once, got ${dropped}`);
  if (!OVERLAYS.includes(overlay)) {
    throw new RangeError(
      `overlay is one of ${OVERLAYS.join(", ")}, got ${overlay}`,
    );
  }
  return state;
}

// A list of patches with one of them, or without it if it was there.
export function toggled(list, place) {
  return withOrWithout(list, place, !list.includes(place));
}

// A list of patches with one of them, or without it.
export function withOrWithout(list, place, isIn) {
  const rest = list.filter((each) => each !== place);
  return isIn ? [...rest, place].sort((a, b) => a - b) : rest;
}
