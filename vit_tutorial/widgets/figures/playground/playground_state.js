// What a reader can change: the picture, what of it is left, and the model. Plain numbers, for they
// come from links and kernels too, and are checked here, where they come in.

import { within } from "../../page/checks.js";
import { shuffled } from "../../page/shuffle.js";
import { fromBase64 } from "../../engine/dequantise.js";

export const SEEDS = 2 ** 31;
export const OWN = -1; // the `picture` that is the reader's own
export const UNTOUCHED = {
  dropped: [],
  seed: 0,
  positions: true,
  temperature: 1,
  heads_off: [],
};

// Check a state that comes from a page's model, for a ViT and so many pictures to choose from.
// Adds `bytes`, the reader's own picture. Throws a RangeError that names what does not fit.
export function readState(state, vit, count) {
  const patches = vit.grid[0] * vit.grid[1];
  if (state.picture !== OWN) within("picture", state.picture, count);
  within("query", state.query, vit.numPrefix + patches);
  within("seed", state.seed, SEEDS);
  for (const patch of state.dropped) within("dropped", patch, patches);
  if (new Set(state.dropped).size < state.dropped.length) {
    throw new RangeError(`dropped names a patch once, got ${state.dropped}`);
  }
  for (const pair of state.heads_off) {
    if (pair?.length !== 2) throw new RangeError(`heads_off holds layer and head, got ${pair}`);
    within("heads_off, layer", pair[0], vit.config.depth);
    within("heads_off, head", pair[1], vit.config.heads);
  }
  if (!(state.temperature > 0 && state.temperature < Infinity)) {
    throw new RangeError(`temperature is positive, got ${state.temperature}`);
  }
  return { ...state, bytes: ownBytes(state.own, vit.imageSize[0] * vit.imageSize[1]) };
}

function ownBytes(text, size) {
  if (text === "") return new Uint8Array(size);
  let bytes;
  try {
    bytes = fromBase64(text);
  } catch {
    throw new RangeError("own, your image, is damaged");
  }
  if (bytes.length !== size) {
    throw new RangeError(`own, your image, has ${size} bytes, got ${bytes.length}`);
  }
  return bytes;
}

// What ViT.forward is to do for a state. `dropped` names patches by their places in the picture, so
// a patch that is dropped stays so when it is shuffled.
export function interventions({ dropped, seed, positions, temperature, heads_off }, patches) {
  const order = shuffled(patches, seed);
  const gone = new Set(dropped);
  const headsOff = {};
  for (const [layer, head] of heads_off) (headsOff[layer] ??= []).push(head);
  const keep = order.flatMap((patch, place) => (gone.has(patch) ? [] : [place]));
  return { order, keep, positions, headsOff, temperature };
}

// A list with a thing in it, or without it if it was there.
export function toggled(list, thing) {
  const same = (each) => String(each) === String(thing);
  const sorted = (all) => all.sort((a, b) => [a].flat()[0] - [b].flat()[0] || a[1] - b[1]);
  return list.some(same) ? list.filter((each) => !same(each)) : sorted([...list, thing]);
}

// A list of patches with one of them, or without it.
export function withOrWithout(list, patch, isIn) {
  return list.includes(patch) === isIn ? list : toggled(list, patch);
}
