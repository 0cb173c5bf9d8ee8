// What the stage says, in words and numbers.

import { grouped, nameOf } from "../../page/words.js";

// Where well-known checkpoints are to be had, as text: the page asks nobody.
export const HUBS = [
  "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k (23 MB)",
  "timm/vit_small_patch16_224.augreg_in21k_ft_in1k (88 MB)",
  "timm/vit_base_patch16_224.augreg2_in21k_ft_in1k (346 MB)",
  "timm/vit_small_patch16_224.dino",
  "facebook/dinov2-small",
  "google/vit-base-patch16-224",
].join(", ");

const LETTERS = { 192: "Ti", 384: "S", 768: "B", 1024: "L", 1280: "H" };

// A model in a line. checkpoint: null for the figure's own.
export function described(checkpoint, found) {
  return checkpoint ? describedFile(checkpoint, found) : describedOwn(found);
}

function describedOwn({ config }) {
  const isClothes = config.dataset === "fashion_mnist";
  return (
    `The book’s model: ${sizesOf(config)}. ` +
    (isClothes
      ? "It knows ten kinds of clothes, and predicts one of them for every photo. "
      : "") +
    "Its weights are rounded to 8 bits here."
  );
}

function describedFile(checkpoint, found) {
  const { config, library, parameters, isHeadless, trained } = found;
  const [patch] = config.patch_size;
  const letter = LETTERS[config.dim] ?? `dim ${config.dim}`;
  const isOurs = library === "vit_tutorial";
  const classes = isHeadless
    ? "no classifier"
    : `${grouped(config.num_classes)} classes`;
  const isResized = `${trained}` !== `${config.image_size}`;
  return [
    `“${checkpoint.file.name}”: ${letter}/${patch} under ` +
      `${isOurs ? "this book’s" : `${library}’s`} names, ` +
      `${(parameters / 1e6).toFixed(1)} million parameters, ` +
      `${sizesOf(config)}, ${classes}.`,
    isResized
      ? `Trained at ${trained.join(" × ")}, so its positions are resized.`
      : "",
    isOurs || Object.keys(checkpoint.beside).length
      ? ""
      : "Without a config.json, heads and preprocessing are those that such " +
        "models usually have.",
  ]
    .filter(Boolean)
    .join(" ");
}

function sizesOf({ image_size, channels, depth, heads }) {
  const [height, width] = [image_size].flat();
  const grey = channels === 1 ? "grey " : "";
  return `${height} × ${width ?? height} ${grey}pixels, ${depth} layers of ${heads} heads`;
}

// What came of it, in a line.
export function outcome(
  { reading, worth, vit },
  { asked, now, whole, dropped },
) {
  if (now === null) return "There is no patch left.";
  if (!now) return "The model is running …";
  if (worth.overlay) return worth.said(reading, whole);
  const count = dropped.length;
  const verb = reading.isHeadless ? "The model gives" : "The model predicts";
  const best = reading.best(now, whole);
  if (!count) {
    return reading.isHeadless
      ? `The model gives ${vit.config.dim} features of this photo.`
      : `${verb} ${best}.`;
  }
  const was = reading.isHeadless
    ? ""
    : ` With all patches: ${reading.best(whole, whole)}.`;
  return `${verb} ${best}, with ${count} of ${asked.all} patches removed.${was}`;
}

export function tableOf({ vit, maps }, view) {
  const { token } = view.attending;
  const who = token === null ? "nobody" : nameOf(token, vit.numPrefix);
  const columns = ["map", "highest", "from", "class token"];
  const rows = () => (view.now ? maps.rows(view) : []);
  return [`What ${who} attends to`, columns, rows];
}
