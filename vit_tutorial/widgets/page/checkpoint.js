// A model that a page looks into: the figure's own, or a checkpoint that the
// reader brings. Each lives in a Worker of its own, and so do all of its passes.

import { Background } from "./background.js";

const PICKLES = /\.(pth|pt|bin|ckpt|pkl|pickle)$/i;
const BESIDE = {
  "config.json": "config",
  "preprocessor_config.json": "preprocessor",
};

let ids = 0; // tell one way to read a checkpoint from another

export class Looks {
  #own;
  #brought = new Background(null, "checkpoint_worker");
  #checkpoint = null;

  // payload: the figure's own model, as page_vit makes it.
  constructor(payload) {
    this.#own = new Background(payload);
  }

  end() {
    this.#own.end();
    this.#brought.end();
  }

  // What a checkpoint holds, from its header: { config, library, isHeadless,
  // parameters, trained, bytes }. bytes: of memory that it takes to run it.
  // Nothing else is read until `use`.
  describe(checkpoint) {
    return this.#brought.ask("describe", [checkpoint], () => true);
  }

  // From now on, look into this one; null is the figure's own, and the memory
  // of another is free again.
  use(checkpoint) {
    if (!checkpoint) this.#brought.end();
    this.#checkpoint = checkpoint && { ...checkpoint, id: ++ids };
  }

  // A photo as the model reads it: see photo_preparation.js.
  async prepare(photo, preparation, isWanted) {
    const given = [photo, preparation];
    const { bytes } = await this.#own.ask("prepare", given, isWanted);
    return bytes;
  }

  // name: "attend", all that a pass gives: { predictions, attention, places };
  // or "predict", its logits alone. changes: as ViT.forward takes them.
  ask(name, { normal, bytes, changes }, isWanted) {
    const given = [normal, bytes, changes];
    if (!this.#checkpoint) return this.#own.ask(name, given, isWanted);
    const all = [this.#checkpoint, ...given];
    return this.#brought.ask(`${name}With`, all, isWanted);
  }
}

// The checkpoint among files that were dropped or chosen together, and what
// stood beside it: { file, beside }.
// Throws an Error with a line for the reader.
export async function checkpointAmong(files) {
  const beside = {};
  const rest = [];
  for (const file of files) {
    const part = BESIDE[file.name];
    if (part) beside[part] = await readJson(file);
    else rest.push(file);
  }
  const [file, another] = rest.sort((a, b) => b.size - a.size);
  if (!file) throw new Error("That contained no .safetensors file.");
  const name = `“${file.name}”`;
  if (PICKLES.test(file.name)) {
    throw new Error(
      `${name} is a pickle, which can run its author’s code. Open the same ` +
        "model’s model.safetensors instead.",
    );
  }
  if (
    another?.name.endsWith(".safetensors") ||
    /-\d+-of-\d+\./.test(file.name)
  ) {
    throw new Error("This page cannot read a checkpoint in several files.");
  }
  if (!file.name.endsWith(".safetensors"))
    throw new Error(`${name} is not a .safetensors file.`);
  return { file, beside };
}

async function readJson(file) {
  let found;
  try {
    found = JSON.parse(await file.text());
  } catch {
    // told below
  }
  if (typeof found !== "object" || !found || Array.isArray(found))
    throw new Error(`“${file.name}” is not a config: its JSON is damaged.`);
  return found;
}
