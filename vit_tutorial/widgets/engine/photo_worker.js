// The Worker's side of a photo: it is prepared as a model reads it, and the
// figure's own model looks at it. checkpoint.js asks for both.

import { prepare } from "./photo_preparation.js";

export const ANSWERS = {
  prepare: (_, photo, preparation) => ({ bytes: prepare(photo, preparation) }),
  attend,
  predict,
};

// A pass over a photo's bytes, normalised as `normal` says, { mean, std }, with
// changes as ViT.forward takes them.
export function attend(vit, normal, bytes, changes) {
  Object.assign(vit.config, normal);
  const { predictions, layers, places } = vit.forward(bytes, changes);
  const attention = layers.map((layer) => layer.attention);
  return { predictions, attention, places };
}

// Its logits alone.
export function predict(vit, normal, bytes, changes) {
  Object.assign(vit.config, normal);
  return vit.logits(bytes, changes);
}
