// The images that a page trains on, loaded when a reader asks to train and not
// before: in the book from a script beside this one, in a notebook from the
// kernel (training_data.py makes both).

import { fromBase64 } from "../engine/dequantise.js";
import { Random } from "../engine/random.js";
import { beside, loadScript } from "./scripts.js";

let loaded; // once for all figures of a page

// model: the figure's.
// Returns { train: { images, labels }, heldOut: { images, labels }, facts }.
// images: bytes, 28 x 28 of each; the classes take turns, so the first n are
// balanced. facts: { class_names, mean, std }.
// Throws an Error that says what is missing.
export function trainingData(model) {
  loaded ??= load(model).catch((error) => {
    loaded = null; // to be tried again
    throw error;
  });
  return loaded;
}

async function load(model) {
  const { data, ...about } = await (model.send ? ask(model) : fromScript());
  const bytes = await unzipped(data);
  const { train, heldOut, facts } = about;
  const count = train + heldOut;
  const size = bytes.length / count - 1; // and a label
  const cut = (from, to) => ({
    images: bytes.slice(from * size, to * size),
    labels: [...bytes.subarray(count * size + from, count * size + to)],
  });
  return { train: cut(0, train), heldOut: cut(train, count), facts };
}

async function fromScript() {
  await loadScript(beside("training_data.js"), "the images to train on");
  const { data, ...about } = globalThis.vitTutorialTrainingData;
  delete globalThis.vitTutorialTrainingData;
  return { ...about, data: fromBase64(data) };
}

const PATIENCE = 20_000; // milliseconds, then nobody is there to answer

// In a notebook, of the kernel.
function ask(model) {
  return new Promise((resolve, reject) => {
    const answer = ({ answers, ...about }, [data]) => {
      if (answers !== "training data") return;
      settle();
      resolve({ ...about, data });
    };
    const settle = () => {
      clearTimeout(timer);
      model.off("msg:custom", answer);
    };
    const timer = setTimeout(() => {
      settle();
      reject(new Error("no kernel sends the images: run the cell again"));
    }, PATIENCE);
    model.on("msg:custom", answer);
    model.send({ asks: "training data" });
  });
}

async function unzipped(bytes) {
  const stream = new Blob([bytes]).stream();
  const plain = stream.pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(plain).arrayBuffer());
}

// The first `count` images of some, a multiple of ten: as many of each class.
export function firstOf({ images, labels }, count) {
  const size = images.length / labels.length;
  return {
    images: images.slice(0, count * size),
    labels: labels.slice(0, count),
  };
}

// The same images, each with the label of one drawn by chance.
export function withShuffledLabels({ images, labels }, seed) {
  const order = new Random(seed).shuffled(labels.length);
  return { images, labels: order.map((i) => labels[i]) };
}
