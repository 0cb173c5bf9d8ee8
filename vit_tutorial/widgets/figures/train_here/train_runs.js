// The runs made so far, each a row: a press brings its choices and its model
// back.

import { element, label } from "../../page/elements.js";
import { percentage } from "./train_curves.js";
import { differences } from "./train_choices.js";

export const MOST = 12; // runs that are kept, the last ones

export class Runs {
  // usual: the choices that need no words. restore(run): a row was pressed.
  constructor({ usual, restore }) {
    Object.assign(this, { usual, restore });
    const head = ["run", "what it changes", "held out", "seconds"];
    this.rows = element("tbody");
    const table = element(
      "table",
      { "aria-label": "The runs so far" },
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          ...head.map((name) => element("th", { scope: "col" }, name)),
        ),
      ),
      this.rows,
    );
    this.box = element(
      "div",
      {
        class: "vt-train-runs",
        role: "region",
        tabindex: 0,
        "aria-label": "The runs so far",
      },
      table,
    );
    this.el = element(
      "div",
      { class: "vt-column" },
      label("runs so far"),
      this.box,
    );
  }

  // runs: the last one first. current: the one in view.
  show(runs, current) {
    this.rows.replaceChildren(...runs.map((run) => this.#row(run, current)));
    this.el.hidden = !runs.length;
  }

  #row(run, current) {
    const what = differences(run.choices, this.usual) || "default choices";
    const back = element(
      "button",
      {
        type: "button",
        "aria-label": `Restore run ${run.number}: ${what}`,
        "aria-current": run === current ? "true" : null,
        onclick: () => this.restore(run),
      },
      `#${run.number}`,
    );
    const cells = [what, percentage(run.accuracy), run.seconds.toFixed(1)];
    return element(
      "tr",
      {},
      element("td", {}, back),
      ...cells.map((text) => element("td", {}, text)),
    );
  }
}
