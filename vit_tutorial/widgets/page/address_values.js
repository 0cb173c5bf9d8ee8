// A figure's values as short text that a person can read, and back.

import { packImage, unpackImage } from "./packed_image.js";

const LONGEST = 4096; // entries of a list; a longer one is no link of ours

// kind: "number", "boolean", "string", "list", or "image" (a string too).
export function write(kind, value) {
  if (kind === "list") return writeList(value);
  return kind === "image" ? packImage(value) : String(value);
}

// The value that a text stands for; undefined where it stands for none.
export function read(kind, text) {
  if (kind === "list") return readList(text);
  if (kind === "image") return unpackImage(text);
  if (kind === "boolean") return { true: true, false: false }[text];
  if (kind !== "number") return text;
  const isNumber = text.trim() !== "" && Number.isFinite(Number(text));
  return isNumber ? Number(text) : undefined;
}

// Numbers, and those that follow each other as a range: 0-13.35-48. Pairs:
// 0_1.2_3.
function writeList(list) {
  const parts = [];
  for (let i = 0; i < list.length; i++) {
    const first = list[i];
    if (Array.isArray(first)) {
      parts.push(first.join("_"));
      continue;
    }
    while (list[i + 1] === list[i] + 1) i++;
    parts.push(list[i] === first ? first : `${first}-${list[i]}`);
  }
  return parts.join(".");
}

function readList(text) {
  const list = [];
  for (const part of text ? text.split(".") : []) {
    if (/^\d+(_\d+)+$/.test(part)) {
      list.push(part.split("_").map(Number));
    } else if (/^\d+(-\d+)?$/.test(part)) {
      const [first, last = first] = part.split("-").map(Number);
      if (last - first >= LONGEST) return undefined;
      for (let i = first; i <= last; i++) list.push(i);
    } else return undefined;
    if (list.length > LONGEST) return undefined;
  }
  return list;
}
