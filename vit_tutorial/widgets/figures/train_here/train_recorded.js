// A run with the choices that the trainer begins with, for those who have not
// made one yet. It was recorded in a browser, by
//
//   python benchmarks/page_accuracy.py --record

import { UNTRAINED } from "./train_run.js";

// A row is an epoch: the step that ends it; loss and accuracy on the images
// that it learned from, on average; loss and accuracy on all held-out ones.
// It is JSON, for the still image shows the same (recorded.py).
export const RECORDED = {
  "choices": {
    "batch_size": 64,
    "depth": 2,
    "dim": 32,
    "flip": true,
    "heads": 2,
    "images": 6000,
    "optimizer": "muon",
    "patch_size": 7,
    "pool": "cls",
    "position": "learned",
    "rate": 0.005,
    "seed": 0,
    "shift": 1,
    "shuffled": false,
    "steps": 2000,
    "warm_up": true
  },
  "steps": 2046,
  "rows": [
    [93, 1.8526, 0.3918, 1.254, 0.562],
    [186, 1.0024, 0.6326, 0.8583, 0.692],
    [279, 0.8354, 0.6897, 0.7568, 0.721],
    [372, 0.7622, 0.7169, 0.7479, 0.73],
    [465, 0.7222, 0.7332, 0.6869, 0.752],
    [558, 0.6875, 0.7453, 0.6338, 0.7625],
    [651, 0.6705, 0.7438, 0.5856, 0.791],
    [744, 0.6337, 0.768, 0.595, 0.784],
    [837, 0.6002, 0.7781, 0.6161, 0.7865],
    [930, 0.5706, 0.7891, 0.5493, 0.8015],
    [1023, 0.558, 0.8009, 0.5455, 0.8055],
    [1116, 0.5233, 0.8108, 0.515, 0.8105],
    [1209, 0.4988, 0.8192, 0.4959, 0.8235],
    [1302, 0.496, 0.8184, 0.4935, 0.825],
    [1395, 0.4717, 0.8293, 0.4911, 0.824],
    [1488, 0.45, 0.832, 0.4717, 0.8255],
    [1581, 0.4355, 0.8411, 0.4675, 0.837],
    [1674, 0.4143, 0.8496, 0.4558, 0.837],
    [1767, 0.4071, 0.8506, 0.4426, 0.8445],
    [1860, 0.3987, 0.8548, 0.4418, 0.8455],
    [1953, 0.3757, 0.8658, 0.44, 0.8445],
    [2046, 0.383, 0.8634, 0.4398, 0.8445]
  ]
};

// The same as a run to compare with.
export function recordedRun() {
  const { steps, rows } = RECORDED;
  const heldOut = rows.map((row) => {
    const [step, , , loss, accuracy] = row;
    return { step, loss, accuracy };
  });
  return { name: "a recorded run", steps, heldOut: [UNTRAINED, ...heldOut] };
}
