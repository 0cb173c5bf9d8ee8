// A run with the choices that the trainer begins with, for those who have not
// made one yet. It was recorded in a browser, by
//
//   python benchmarks/page_accuracy.py --record

// A new ViT's head is zero: each of ten classes gets a tenth.
export const UNTRAINED = { step: 0, loss: Math.log(10), accuracy: 0.1 };

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
    [279, 0.8354, 0.6892, 0.7566, 0.721],
    [372, 0.7624, 0.7176, 0.7367, 0.734],
    [465, 0.7238, 0.7342, 0.6909, 0.745],
    [558, 0.6913, 0.7471, 0.6467, 0.757],
    [651, 0.664, 0.7498, 0.5801, 0.79],
    [744, 0.6251, 0.771, 0.5949, 0.781],
    [837, 0.5951, 0.7787, 0.5829, 0.7955],
    [930, 0.5692, 0.7918, 0.5714, 0.786],
    [1023, 0.5375, 0.8078, 0.5387, 0.807],
    [1116, 0.5109, 0.813, 0.5249, 0.82],
    [1209, 0.5018, 0.814, 0.5102, 0.812],
    [1302, 0.4836, 0.8233, 0.4968, 0.8305],
    [1395, 0.469, 0.8305, 0.4913, 0.829],
    [1488, 0.4414, 0.8372, 0.487, 0.82],
    [1581, 0.4364, 0.8379, 0.4774, 0.835],
    [1674, 0.4123, 0.8515, 0.4604, 0.8365],
    [1767, 0.396, 0.8547, 0.4461, 0.8435],
    [1860, 0.3972, 0.853, 0.4439, 0.847],
    [1953, 0.3695, 0.8648, 0.4431, 0.8465],
    [2046, 0.3764, 0.8664, 0.4427, 0.848]
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
