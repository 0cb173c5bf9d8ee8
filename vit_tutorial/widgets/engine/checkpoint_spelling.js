// Whose names a checkpoint's weights have, and in which spelling of them: as
// checkpoint_names.py finds it.

import {
  FOREIGN,
  HUGGING_FACE,
  HUGGING_FACE_DINOV2,
  PREFIXES,
  TIMM,
  TIMM_LAYER_SCALE,
  TORCHVISION,
  UNUSED,
} from "./checkpoint_names.js";

export const LIBRARIES = {
  timm: [TIMM, TIMM + TIMM_LAYER_SCALE],
  torchvision: [TORCHVISION],
  "Hugging Face": [HUGGING_FACE, HUGGING_FACE_DINOV2],
};
const prefixes = words(PREFIXES);
const unused = new Set(words(UNUSED));

function words(table) {
  return table.trim().split(/\s+/);
}

// A name without that of Hugging Face's class in front of it.
export function bare(name) {
  return prefixes.reduce(
    (rest, prefix) =>
      rest.startsWith(prefix) ? rest.slice(prefix.length) : rest,
    name,
  );
}

export function isUnused(name) {
  return unused.has(name);
}

// A part that our ViT does not have, found by the names; or undefined.
export function foreignPart(names) {
  const lines = FOREIGN.trim().split("\n");
  const parts = lines.map((line) => line.trim().split(/ {2,}/));
  return parts.find(([piece]) =>
    names.some((name) => name.includes(piece)),
  )?.[1];
}

// The library that knows more than half of the names that a model has, if one
// does.
export function libraryOf(names) {
  const given = new Set(names.map(bare));
  const known = Object.keys(LIBRARIES).map((library) => {
    const expected = namesIn(nearestSpelling(library, [...given]));
    return [
      expected.filter((name) => given.has(name)).length / expected.length,
      library,
    ];
  });
  const [share, best] = known.sort(([a], [b]) => b - a)[0];
  return share > 1 / 2 ? best : undefined;
}

// A library's table with biases and all layers, our name -> their names: of
// several tables and spellings the one that leaves the fewest of the given
// names unexplained.
export function nearestSpelling(library, names) {
  const given = new Set(names);
  const distance = (rows) => {
    const expected = new Set(namesIn(rows));
    const common = names.filter((name) => expected.has(name)).length;
    return expected.size + given.size - 2 * common;
  };
  const written = LIBRARIES[library].flatMap((table) => writeOut(table, names));
  const distances = written.map(distance);
  return written[distances.indexOf(Math.min(...distances))];
}

// Their names of all rows.
export function namesIn(rows) {
  return Object.values(rows).flat();
}

// A table in each of its spellings, for as many layers as the names have.
function writeOut(table, names) {
  const lines = {};
  const given = words(table);
  for (let i = 0; i < given.length; i += 2)
    (lines[given[i]] ??= []).push(given[i + 1]);
  const count = Math.max(...Object.values(lines).map(({ length }) => length));
  return Array.from({ length: count }, (_, choice) => {
    const spelling = Object.entries(lines).map(([ours, theirs]) => [
      ours,
      theirs[Math.min(choice, theirs.length - 1)],
    ]);
    return writeLayers(spelling, names);
  });
}

function writeLayers([[, layer], ...spelling], names) {
  const [before, after] = layer.split("{i}");
  const there = names.filter((name) => name.startsWith(before));
  const layers = new Set(
    there.map((name) => name.slice(before.length).split(after)[0]),
  );
  const rows = {};
  for (let i = 0; i < Math.max(layers.size, 1); i++) {
    for (const [left, right] of spelling) {
      const ours = left.replace("…", `transformer.layers.${i}.`);
      const theirs = right.replace("…", `${before}${i}${after}`);
      rows[ours] = inBraces(theirs);
      rows[toBias(ours)] = inBraces(toBias(theirs));
    }
  }
  return rows;
}

function toBias(weight) {
  return weight.replace(/weight$/, "bias");
}

// As a shell reads them: "{q,k}.weight" is "q.weight" and "k.weight".
function inBraces(name) {
  const [before, parts, after] = name.split(/[{}]/);
  return parts === undefined
    ? [name]
    : parts.split(",").map((part) => before + part + after);
}
