// Memory whose kernels can train as well: what a page loads only where it
// trains a model. Beside gradients.c it has a product that some browsers
// compute faster (fused.c), in the other's place. So a seed repeats its run in
// one browser on one machine; on others the last digits may differ.

import { fused } from "./fused.wasm";
import { gradients } from "./gradients.wasm";
import { Memory, fromHex } from "./memory.js";

export class TrainingMemory extends Memory {
  static modules = [
    ...Memory.modules,
    gradients,
    ...(WebAssembly.validate(fromHex(fused)) ? [fused] : []),
  ];
}
