// Memory for a model's numbers, and the kernels that compute on it (kernels.c,
// compiled, and handed over as text by bundle.py). Some browsers can compute a
// faster product (fused.c), which takes the other's place there; so in two
// browsers the last digits may differ. An address counts bytes, as the kernels'
// pointers do.

import { fused } from "./fused.wasm";
import { kernels } from "./kernels.wasm";

const PAGE = 65_536; // bytes
const SPARE = 32; // bytes that a kernel may read behind the last matrix

export class Memory {
  static modules = runs(fused) ? [kernels, fused] : [kernels];
  #free; // the first address that nothing has

  // Room for matrices of these sizes: lists of numbers, or objects with them as
  // values. All of it is taken at once, since growing a memory would detach
  // every view of it.
  // Throws an Error that a page can show where the browser does not play along:
  // its cause is "memory" where there is none left.
  constructor(...sizes) {
    const counts = sizes.flatMap((each) => Object.values(each));
    const bytes = counts.reduce((sum, count) => sum + rounded(count), SPARE);
    const { instances, memory } = begin(bytes, this.constructor.modules);
    this.kernels = Object.assign({}, ...instances);
    this.numbers = new Float32Array(memory.buffer);
    this.#free = Math.max(...instances.map((each) => each.__heap_base.value));
  }

  // The address of so many numbers. What was there before is still there.
  take(count) {
    const address = this.#free;
    this.#free += rounded(count);
    if (this.#free + SPARE > this.numbers.byteLength) {
      throw new RangeError("there is no room for as many numbers");
    }
    return address;
  }

  // An address for each of an object's sizes, under the same name.
  takeAll(sizes) {
    return Object.fromEntries(
      Object.entries(sizes).map(([name, count]) => [name, this.take(count)]),
    );
  }

  // Take no more than up to here: what is taken next comes at this address.
  release(address) {
    this.#free = address;
  }

  get free() {
    return this.#free;
  }

  set(address, values) {
    this.numbers.set(values, address / 4);
  }

  put(values) {
    const address = this.take(values.length);
    this.set(address, values);
    return address;
  }

  // The numbers themselves, until a kernel writes there.
  view(address, count) {
    return this.numbers.subarray(address / 4, address / 4 + count);
  }

  // A copy of them, to keep.
  read(address, count) {
    return this.numbers.slice(address / 4, address / 4 + count);
  }
}

// Bytes for so many numbers. All addresses are multiples of 16.
function rounded(count) {
  return 16 * Math.ceil(count / 4);
}

const compiled = {}; // one module for all models of a page

// Kernels travel in hexadecimal digits: see bundle.py.
function fromHex(text) {
  return Uint8Array.from(text.match(/../g), (two) => parseInt(two, 16));
}

function runs(text) {
  return globalThis.WebAssembly?.validate(fromHex(text));
}

function begin(bytes, modules) {
  try {
    for (const text of modules)
      compiled[text] ??= new WebAssembly.Module(fromHex(text));
  } catch {
    throw new Error(
      "its model needs WebAssembly with SIMD, which this browser does not run",
    );
  }
  const pages = 1 + Math.ceil(bytes / PAGE); // one for what the compiler needs
  try {
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const instances = modules.map((text) => {
      const module = compiled[text];
      return new WebAssembly.Instance(module, { env: { memory } }).exports;
    });
    return { instances, memory };
  } catch {
    const megabytes = Math.ceil((pages * PAGE) / 1e6);
    throw new Error(
      `its model needs ${megabytes} MB of memory, which this browser refuses`,
      { cause: "memory" },
    );
  }
}

// Have the browser clear away memories that nothing uses any longer. It has room
// for about a hundred, counts these as well, and clears them away only when the
// page is refused one: that a Worker is refused does not count.
export function clearAway() {
  try {
    for (let n = 0; n < 2; n++) {
      new WebAssembly.Memory({ initial: 1, maximum: 1 });
    }
  } catch {
    // All are in use.
  }
}
