// A figure as an image file: what its elements show, painted once more on a
// canvas, twice as large, in the layout and colours that the reader sees. What
// one presses is left out.

import { element } from "./elements.js";
import { BOOK } from "./stage.js";

const SCALE = 2;
const GAP = 14; // around all, and between two blocks
const LEFT_OUT = "button:not(.vt-badge), select, input, label, .vt-discoveries";

// Save parts of a card, with its question above and its outcome below.
export function saveImage({ root, outcome }, parts, name) {
  root.classList.add("vt-saving"); // what stays in view is where it belongs
  const question = root.querySelector(".vt-question");
  const canvas = paintBlocks(root, [[question], parts, [outcome]]);
  root.classList.remove("vt-saving");
  canvas.toBlob((blob) => {
    const href = URL.createObjectURL(blob);
    element("a", { href, download: name }).click();
    URL.revokeObjectURL(href);
  });
}

function paintBlocks(root, parts) {
  const style = getComputedStyle(root);
  const blocks = parts.map(measure);
  const width = Math.max(...blocks.map((block) => block.width));
  const heights = blocks.map((block) => block.height + GAP);
  const height = heights.reduce((sum, each) => sum + each, 0);
  const context = element("canvas", {
    width: SCALE * (width + 2 * GAP),
    height: SCALE * (height + 3 * GAP),
  }).getContext("2d");
  const { canvas } = context;
  context.scale(SCALE, SCALE);
  context.imageSmoothingEnabled = false;
  context.fillStyle = style.getPropertyValue("--vt-ground");
  context.fillRect(0, 0, canvas.width, canvas.height);
  let y = GAP;
  blocks.forEach(({ shown, left, top }, i) => {
    context.save();
    context.translate(GAP - left, y - top);
    for (const node of shown) paint(context, node);
    context.restore();
    y += heights[i];
  });
  context.font = `${GAP}px ${style.fontFamily}`;
  context.fillStyle = style.color;
  context.fillText(BOOK, GAP, y + GAP);
  return canvas;
}

// What parts of a page show, and the box around it.
function measure(parts) {
  const shown = parts
    .flatMap((part) => [part, ...part.querySelectorAll("*")])
    .filter((node) => node.getClientRects().length && !node.closest(LEFT_OUT));
  const boxes = shown.filter((node) => !node.children.length).map(boxOf);
  const [left, top] = ["left", "top"].map((side) =>
    Math.min(...boxes.map((box) => box[side])),
  );
  const [right, bottom] = ["right", "bottom"].map((side) =>
    Math.max(...boxes.map((box) => box[side])),
  );
  return { shown, left, top, width: right - left, height: bottom - top };
}

// Around its words where it has some: its own box may be wider.
function boxOf(node) {
  const range = document.createRange();
  range.selectNodeContents(node);
  return (node.textContent ? range : node).getBoundingClientRect();
}

// Paint one element where it stands: its ground, its canvas, its border or
// outline, its own words.
function paint(context, node) {
  const style = getComputedStyle(node);
  const { left, top, width, height } = node.getBoundingClientRect();
  const frame = (inset) => {
    const round = parseFloat(style.borderRadius) || 0;
    const size = [width - 2 * inset, height - 2 * inset];
    context.beginPath();
    context.roundRect(left + inset, top + inset, ...size, round);
  };
  frame(0);
  context.fillStyle = groundOf(context, style, { left, width });
  context.fill();
  if (node.localName === "canvas")
    context.drawImage(node, left, top, width, height);
  for (const kind of ["borderLeft", "outline"]) {
    const line = parseFloat(style[`${kind}Width`]);
    if (!line || style[`${kind}Style`] === "none") continue;
    frame(line / 2);
    context.lineWidth = line;
    context.strokeStyle = style[`${kind}Color`];
    context.stroke();
  }
  const { fontStyle, fontWeight, fontSize, fontFamily, color } = style;
  context.font = `${fontStyle} ${fontWeight} ${fontSize} ${fontFamily}`;
  context.fillStyle = color;
  for (const child of node.childNodes)
    if (child.nodeType === Node.TEXT_NODE) writeWords(context, child);
}

// A colour, a legend's colours from left to right, or the hatching of what is
// removed.
function groundOf(context, { backgroundColor, backgroundImage }, { left, width }) {
  const colours = backgroundImage.match(/rgba?\([^)]*\)/g);
  if (!colours) return backgroundColor;
  if (backgroundImage.startsWith("repeating")) return hatching(context, colours);
  const gradient = context.createLinearGradient(left, 0, left + width, 0);
  colours.forEach((colour, i) =>
    gradient.addColorStop(i / (colours.length - 1), colour),
  );
  return gradient;
}

function hatching(context, colours) {
  const [ground, line] = [colours[0], colours.at(-1)];
  const tile = element("canvas", { width: 7, height: 7 });
  const small = tile.getContext("2d");
  small.fillStyle = ground;
  small.fillRect(0, 0, 7, 7);
  small.fillStyle = line;
  for (let i = 0; i < 7; i++) small.fillRect(i, 6 - i, 1, 1);
  return context.createPattern(tile, "repeat");
}

// Word by word, for a line may have been broken anywhere.
function writeWords(context, text) {
  const range = document.createRange();
  for (const { 0: word, index } of text.data.matchAll(/\S+/g)) {
    range.setStart(text, index);
    range.setEnd(text, index + word.length);
    const { left, top } = range.getBoundingClientRect();
    const { fontBoundingBoxAscent } = context.measureText(word);
    context.fillText(word, left, top + fontBoundingBoxAscent);
  }
}
