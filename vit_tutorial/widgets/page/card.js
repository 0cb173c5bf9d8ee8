// What all figures stand in: a card with a question, a figure, controls, an
// outcome and a table.

import { element } from "./elements.js";

const ROUNDED =
  "The page rounds the model’s weights to 8 bits, so a percentage may differ " +
  "by about a point from what Python prints.";
const OPENS = "it opens this page with the figure as it is now.";

let cards = 0; // makes ids, so that two figures on a page never share one

// The card. `figure` and `controls` are there to be filled.
export class Card {
  constructor(el, question) {
    this.id = `vt-card-${++cards}`;
    this.figure = element("div", { class: "vt-figure-parts" });
    this.controls = element("div", { class: "vt-controls" });
    this.outcome = element("p", { class: "vt-outcome", role: "status" });
    this.numbers = element("div", {
      class: "vt-numbers",
      role: "region",
      tabindex: 0,
      "aria-label": "Table of values",
    });
    this.details = element(
      "details",
      { class: "vt-details" },
      element("summary", {}, "Table of values"),
      this.numbers,
    );
    this.note = element("p", { class: "vt-note", role: "alert", hidden: "" });
    this.root = element(
      "div",
      {
        class: "vt-card",
        role: "group",
        "aria-labelledby": this.id,
        onkeydown: keepKeys,
      },
      element("p", { class: "vt-question", id: this.id }, question),
      this.figure,
      this.controls,
      this.outcome,
      this.note,
      this.details,
    );
    el.append(this.root);
  }

  // Say what came of it. The same words are not said twice.
  say(text) {
    if (this.outcome.textContent !== text) this.outcome.textContent = text;
  }

  // Say, below the numbers, that they are those of a model whose weights were
  // rounded for the page.
  rounded() {
    this.details.append(
      element("p", { class: "vt-label vt-rounded" }, ROUNDED),
    );
  }

  // Show the numbers as a table. `rows` is a function, called when the table is
  // open only.
  tabulate(caption, columns, rows) {
    const build = () => {
      if (!this.details.open) return;
      const cells = (tag, values) =>
        values.map((value) => element(tag, {}, String(value)));
      const head = columns.map((name) => element("th", { scope: "col" }, name));
      const body = rows().map(([name, ...values]) =>
        element(
          "tr",
          {},
          element("th", { scope: "row" }, name),
          ...cells("td", values),
        ),
      );
      const title = element(
        "p",
        { class: "vt-label", id: `${this.id}-table` },
        caption,
      );
      this.numbers.replaceChildren(
        title,
        element(
          "table",
          { "aria-labelledby": title.id },
          element("thead", {}, element("tr", {}, ...head)),
          element("tbody", {}, ...body),
        ),
      );
    };
    this.details.ontoggle = build;
    build();
  }

  // Do something that may fail; if it does, a line in the card says so.
  attempt(work) {
    try {
      work();
      this.note.hidden = true;
    } catch (error) {
      this.note.textContent = `This figure cannot continue: ${error.message}`;
      this.note.hidden = false;
    }
  }

  // A number to slide, a choice, or a thing to do, each with its label, added
  // to the controls.
  slider(label, { min, max, step, oninput }) {
    const input = element("input", {
      type: "range",
      id: this.newId(),
      min,
      max,
      step,
      oninput,
    });
    const value = element("output", { for: input.id });
    this.controls.append(
      element(
        "span",
        { class: "vt-control" },
        element("label", { for: input.id }, label),
        input,
        value,
      ),
    );
    return {
      show(number, text) {
        input.value = number;
        input.setAttribute("aria-valuetext", text);
        value.textContent = text;
      },
    };
  }

  choice(label, options, onchange) {
    const select = element("select", { id: this.newId(), onchange });
    select.append(
      ...options.map((text, index) =>
        element("option", { value: index }, text),
      ),
    );
    this.controls.append(
      element(
        "span",
        { class: "vt-control" },
        element("label", { for: select.id }, label),
        select,
      ),
    );
    return select;
  }

  button(label, onclick) {
    const button = element("button", { type: "button", onclick }, label);
    this.controls.append(button);
    return button;
  }

  checkbox(label, onchange) {
    const input = element("input", {
      type: "checkbox",
      id: this.newId(),
      onchange,
    });
    this.controls.append(
      element(
        "span",
        { class: "vt-control" },
        input,
        element("label", { for: input.id }, label),
      ),
    );
    return input;
  }

  // Hand out a link, an address that opens the page with the figure as it is.
  // Where the browser gives no access to the clipboard, the link is shown, to
  // be copied by hand.
  link(linkNow) {
    const shown = element("input", {
      type: "text",
      readonly: "",
      class: "vt-link",
      "aria-label": "The link",
      hidden: "",
    });
    this.button("Copy link", async () => {
      const link = linkNow();
      try {
        await navigator.clipboard.writeText(link);
        this.say(`The link is copied: ${OPENS}`);
      } catch {
        shown.value = link;
        shown.hidden = false;
        shown.select();
        this.say(`Here is the link: ${OPENS}`);
      }
    });
    this.controls.append(shown);
  }

  newId() {
    return `vt-control-${++cards}`;
  }
}

// JupyterLab takes keys of the whole page for its own: an arrow leaves the
// cell, x cuts it. What is typed in a figure is the figure's; Ctrl, Alt and
// Meta still reach whoever listens.
function keepKeys(event) {
  if (!event.ctrlKey && !event.altKey && !event.metaKey)
    event.stopPropagation();
}
