// What the stage says of a run, and its numbers.

import { grouped } from "../../page/words.js";
import { percentage } from "./train_curves.js";
import { thinned } from "./train_plot.js";
import { UNTRAINED } from "./train_recorded.js";

// Beside the buttons, while it runs: not read out.
export function pace(run) {
  if (!run?.taken) return "";
  const speed = run.seconds ? Math.round(run.images / run.seconds) : 0;
  return (
    `step ${grouped(run.taken)} · epoch ${run.epoch.toFixed(1)} · ` +
    `${run.seconds.toFixed(1)} s · ` +
    `${grouped(Number(speed.toPrecision(2)))} images/s`
  );
}

// In one sentence, when it begins, rests or ends. What changes meanwhile stands
// beside the buttons and above the curves.
export function outcome(run) {
  if (!run) return "Press Train: a Vision Transformer learns from images here.";
  if (run.broken) return `Run ${run.number} has stopped: ${run.broken}.`;
  if (!run.taken) return `Run ${run.number} begins.`;
  if (run.isRunning) return `Run ${run.number} is training.`;
  const state = { paused: "is paused", over: "is over" };
  return (
    `Run ${run.number} ${state[run.state] ?? "has ended"}, ` +
    `${grouped(run.images)} images so far: held-out accuracy ` +
    `${percentage(run.accuracy)}, held-out loss ` +
    `${run.heldOut.at(-1).loss.toFixed(2)}.`
  );
}

// The curves as a table: caption, columns, rows.
export function tableOf(run) {
  return [
    "Each evaluation on held-out images, with the nearest training batches",
    ["step", "held out", "held-out loss", "training", "training loss"],
    () => {
      const learned = run ? thinned(run.batches) : [];
      return (run?.heldOut ?? [UNTRAINED]).map(({ step, loss, accuracy }) => {
        const near = learned.find((each) => each.step >= step);
        return [
          grouped(step),
          percentage(accuracy),
          loss.toFixed(3),
          near ? percentage(near.accuracy) : "–",
          near ? near.loss.toFixed(3) : "–",
        ];
      });
    },
  ];
}
