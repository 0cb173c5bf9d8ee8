// What figures whose model looks at a picture share: their pictures, and what
// answers are called.

import { softmax } from "../engine/softmax.js";
import { fromBase64 } from "../engine/dequantise.js";

// The pictures of a trait, as pictures.py packs them, each with its bytes.
export function unpackPictures(packed) {
  return packed.map((each) => ({ ...each, bytes: fromBase64(each.pixels) }));
}

// The shares of the classes, in double precision.
export function probabilities(logits) {
  return [...softmax(Float64Array.from(logits))];
}

export function classNames({ class_names, num_classes }) {
  return (
    class_names ??
    Array.from({ length: num_classes }, (_, i) => `class ${i + 1}`)
  );
}
