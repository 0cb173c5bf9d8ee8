// What came of a change, in a line and in a table.

import { highestOf } from "../../page/answers.js";
import { percent, setting } from "../../page/words.js";
import { OWN } from "./playground_state.js";

const NOTHING =
  "No patch is left, and this model has no class token: there is nothing to " +
  "predict from.";

// before: the probabilities of the untouched image.
export function outcome(figure, view, before) {
  const { names } = figure;
  if (!view.pass) return NOTHING;
  const isEmpty = view.picture === OWN && !view.bytes.some((byte) => byte);
  const empty = isEmpty ? "The image is empty. " : "";
  const { now } = view.pass;
  const [first, firstBefore] = [highestOf(now), highestOf(before)];
  const best = `${names[first]} ${percent(now[first])}`;
  const said = `${empty}The model predicts ${best}`;
  const changed = differences(figure, view);
  if (!changed.length) {
    const isOwn = view.picture === OWN;
    return isOwn ? `${said}.` : `${said} from all ${figure.patches} patches.`;
  }
  const name = first === firstBefore ? "" : `${names[firstBefore]} `;
  const was = name + percent(before[firstBefore]);
  return `${said} (was ${was}): ${changed.join(", ")}.`;
}

// The arguments of card.tabulate.
export function tableOf(figure, view, before) {
  if (!view.pass) return ["nothing to predict from", ["class"], () => []];
  const { now, stages } = view.pass;
  const changed = differences(figure, view).join(", ") || "nothing changed";
  const after = stages.map((_, i) => `after ${i} layer${i === 1 ? "" : "s"}`);
  return [
    `Probabilities of the classes, in percent: ${changed}`,
    ["class", "at first", "now", ...after],
    () =>
      figure.names.map((name, i) => [
        name,
        ...[before, now, ...stages].map((p) => (100 * p[i]).toFixed(2)),
      ]),
  ];
}

function differences({ patches, vit }, state) {
  const { dropped, seed, positions, temperature, heads_off } = state;
  const { depth, heads } = vit.config;
  return [
    dropped.length && `${dropped.length} of ${patches} patches removed`,
    seed && `shuffled (${seed})`,
    !positions && "no positions",
    heads_off.length && `${heads_off.length} of ${depth * heads} heads off`,
    temperature !== 1 && `temperature ${setting(temperature)}`,
  ].filter(Boolean);
}
