// Memory whose kernels can train as well (gradients.c): what a page loads only
// where it trains a model.

import { gradients } from "./gradients.wasm";
import { Memory } from "./memory.js";

export class TrainingMemory extends Memory {
  static modules = [...Memory.modules, gradients];
}
