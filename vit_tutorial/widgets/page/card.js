// What all figures look like: a card with a question, a figure, controls, an outcome and a table,
// and the parts that they share. Colours and sizes are in figures.css.

const ROUNDED =
  "The page computes with the model’s weights rounded to 8 bits: a percentage may differ by a " +
  "point or so from one that Python prints.";

let cards = 0; // ids are made here, so that two figures on a page never share one

// Make an element: element("button", { type: "button", onclick }, "Reset")
export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

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
      "aria-label": "The numbers",
    });
    this.details = element(
      "details",
      { class: "vt-details" },
      element("summary", {}, "The numbers"),
      this.numbers,
    );
    this.note = element("p", { class: "vt-note", role: "alert", hidden: "" });
    this.root = element(
      "div",
      { class: "vt-card", role: "group", "aria-labelledby": this.id, onkeydown: keepKeys },
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

  // Say, below the numbers, that they are those of a model whose weights were rounded for the page.
  rounded() {
    this.details.append(element("p", { class: "vt-label vt-rounded" }, ROUNDED));
  }

  // Show the numbers as a table. `rows` is a function, called when the table is open only.
  tabulate(caption, columns, rows) {
    const build = () => {
      if (!this.details.open) return;
      const cells = (tag, values) => values.map((value) => element(tag, {}, String(value)));
      const head = columns.map((name) => element("th", { scope: "col" }, name));
      const body = rows().map(([name, ...values]) =>
        element("tr", {}, element("th", { scope: "row" }, name), ...cells("td", values)),
      );
      const title = element("p", { class: "vt-label", id: `${this.id}-table` }, caption);
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
      this.note.textContent = `This figure cannot go on: ${error.message}`;
      this.note.hidden = false;
    }
  }

  // A number to slide, a choice, or a thing to do, each with its label, added to the controls.
  slider(label, { min, max, step, oninput }) {
    const input = element("input", { type: "range", id: this.newId(), min, max, step, oninput });
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
    select.append(...options.map((text, index) => element("option", { value: index }, text)));
    this.controls.append(
      element("span", { class: "vt-control" }, element("label", { for: select.id }, label), select),
    );
    return select;
  }

  button(label, onclick) {
    const button = element("button", { type: "button", onclick }, label);
    this.controls.append(button);
    return button;
  }

  checkbox(label, onchange) {
    const input = element("input", { type: "checkbox", id: this.newId(), onchange });
    this.controls.append(
      element("span", { class: "vt-control" }, input, element("label", { for: input.id }, label)),
    );
    return input;
  }

  // In a page of the book: hand out its address with these traits of the model in it. Where the
  // browser gives no access to the clipboard, the address is shown, to be copied by hand.
  link(model, traits) {
    if (!model.link) return;
    const shown = element("input", {
      type: "text",
      readonly: "",
      class: "vt-link",
      "aria-label": "The link",
      hidden: "",
    });
    this.button("copy link", async () => {
      const address = model.link(Object.fromEntries(traits.map((name) => [name, model.get(name)])));
      try {
        await navigator.clipboard.writeText(address);
        this.say("The link is copied: it opens this page with the figure as it is now.");
      } catch {
        shown.value = address;
        shown.hidden = false;
        shown.select();
        this.say("Here is the link: it opens this page with the figure as it is now.");
      }
    });
    this.controls.append(shown);
  }

  // Ask for a guess before the figure is shown. `then` hears the answer's number, or null for
  // "show me"; whatever it was, the figure is shown from then on, and the guess stays in sight.
  guess(question, answers, then = () => {}) {
    const hidden = [this.figure, this.controls, this.outcome, this.details];
    const answer = (number) => {
      for (const part of hidden) part.hidden = false;
      const kept = number === null ? [] : [element("p", {}, `Your guess: ${answers[number]}.`)];
      asked.replaceChildren(...kept);
      asked.hidden = !kept.length;
      const focus = this.controls.querySelector("button, input, select");
      focus?.focus({ preventScroll: true });
      then(number);
    };
    const buttons = answers.map((text, number) =>
      element("button", { type: "button", onclick: () => answer(number) }, text),
    );
    const asked = element(
      "div",
      { class: "vt-guess" },
      element("p", {}, question),
      element(
        "div",
        { class: "vt-controls" },
        ...buttons,
        element("button", { type: "button", onclick: () => answer(null) }, "show me"),
      ),
    );
    for (const part of hidden) part.hidden = true;
    this.root.insertBefore(asked, this.figure);
  }

  newId() {
    return `vt-control-${++cards}`;
  }
}

// JupyterLab takes keys of the whole page for its own: an arrow leaves the cell, x cuts it. What is
// typed in a figure is the figure's; Ctrl, Alt and Meta still reach whoever listens.
function keepKeys(event) {
  if (!event.ctrlKey && !event.altKey && !event.metaKey) event.stopPropagation();
}

// A picture's pixels, (c, H, W) bytes with one channel or three.
export function picture([channels, height, width], pixels) {
  const canvas = element("canvas", { width, height, class: "vt-picture", "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser does not draw on a canvas");
  const image = context.createImageData(width, height);
  const plane = height * width;
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < 3; c++)
      image.data[4 * i + c] = pixels[(channels === 3 ? c : 0) * plane + i];
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// A grid of patches over a picture, or over nothing: one tab stop, arrow keys move in it, Space and
// Enter pick. `move` hears where the keyboard is, `pick` what was clicked or confirmed, `hover` over
// which patch the pointer is (null: none).
export class PatchGrid {
  constructor({ grid: [rows, columns], label, behind, move, pick, hover }) {
    this.columns = columns;
    this.at = 0;
    this.cells = Array.from({ length: rows * columns }, (_, place) =>
      element("div", { role: "gridcell", class: "vt-cell", tabindex: place ? -1 : 0 }),
    );
    const lines = Array.from({ length: rows }, (_, row) =>
      element(
        "div",
        { role: "row", class: "vt-row" },
        ...this.cells.slice(row * columns, (row + 1) * columns),
      ),
    );
    const table = element(
      "div",
      { role: "grid", class: "vt-cells", "aria-label": label },
      ...lines,
    );
    this.el = element("div", { class: "vt-grid" }, ...(behind ? [behind] : []), table);
    this.el.style.setProperty("--vt-rows", rows);
    this.el.style.setProperty("--vt-columns", columns);

    const placeOf = (event) => this.cells.indexOf(event.target.closest("[role=gridcell]"));
    table.addEventListener("click", (event) => {
      const place = placeOf(event);
      if (place < 0) return;
      this.focus(place);
      pick?.(place);
    });
    table.addEventListener("keydown", (event) => {
      const place = placeOf(event);
      if (place < 0 || event.altKey || event.metaKey) return;
      if (event.key === " " || event.key === "Enter") {
        event.preventDefault();
        pick?.(place);
        return;
      }
      const next = this.neighbour(place, event);
      if (next === undefined) return;
      event.preventDefault();
      if (next === place) return;
      this.focus(next);
      move?.(next);
    });
    table.addEventListener("pointerover", (event) =>
      hover?.(placeOf(event) < 0 ? null : placeOf(event)),
    );
    table.addEventListener("pointerleave", () => hover?.(null));
  }

  neighbour(place, { key, ctrlKey }) {
    const column = place % this.columns;
    const last = this.cells.length - 1;
    switch (key) {
      case "ArrowLeft":
        return column ? place - 1 : place;
      case "ArrowRight":
        return column < this.columns - 1 ? place + 1 : place;
      case "ArrowUp":
        return place >= this.columns ? place - this.columns : place;
      case "ArrowDown":
        return place + this.columns <= last ? place + this.columns : place;
      case "Home":
        return ctrlKey ? 0 : place - column;
      case "End":
        return ctrlKey ? last : place - column + this.columns - 1;
    }
  }

  focus(place) {
    this.stop(place);
    this.cells[place].focus({ preventScroll: true });
  }

  // Where Tab enters the grid.
  stop(place) {
    this.cells[this.at].tabIndex = -1;
    this.cells[(this.at = place)].tabIndex = 0;
  }

  // selected: a place or null. colour(place), name(place): what a cell shows and is called.
  show({ selected = null, colour, name }) {
    this.cells.forEach((cell, place) => {
      cell.setAttribute("aria-selected", place === selected);
      cell.setAttribute("aria-label", name(place));
      cell.dataset.number = place + 1;
      if (colour) cell.style.backgroundColor = colour(place);
    });
    if (selected !== null && !this.el.contains(document.activeElement)) this.stop(selected);
  }
}

// The class token: a round badge, for it is no place in the picture.
export function badge(pick) {
  const button = element("button", { type: "button", class: "vt-badge", onclick: pick }, "cls");
  return {
    el: button,
    show({ selected, name, colour }) {
      button.setAttribute("aria-pressed", selected);
      button.setAttribute("aria-label", name);
      if (colour) button.style.setProperty("--vt-badge", colour);
    },
  };
}

// Attention's colours, from 0 to `highest`, with the two ends named.
export function legend(highest) {
  return element(
    "span",
    { class: "vt-legend" },
    "0",
    element("span", { class: "vt-legend-bar", "aria-hidden": "true" }),
    highest,
  );
}

// What a model answers: a bar for each class, the highest marked. `before`, where it is given, is
// what it answered at first, a thin line on each bar.
export function answers(names, shares, before = null) {
  const highest = shares.indexOf(Math.max(...shares));
  const line = (name, i) =>
    element(
      "li",
      { class: i === highest ? "vt-answer vt-answer-first" : "vt-answer" },
      element("span", { class: "vt-answer-name" }, name),
      bar(shares[i], before?.[i]),
      element("span", { class: "vt-answer-share" }, percent(shares[i])),
    );
  return element("ul", { class: "vt-answers" }, ...names.map(line));
}

function bar(share, before) {
  const root = element("span", { class: "vt-answer-bar", "aria-hidden": "true" });
  const length = element("span", { class: "vt-answer-length" });
  length.style.width = `${100 * share}%`;
  root.append(length);
  if (before !== undefined) {
    const mark = element("span", { class: "vt-answer-before" });
    mark.style.left = `${100 * before}%`;
    root.append(mark);
  }
  return root;
}

// A row of bars, up for positive and down for negative numbers.
export function bars(numbers, limit, label) {
  const [step, height] = [10, 40];
  const root = svg("svg", {
    class: "vt-bars",
    viewBox: `0 0 ${numbers.length * step} ${height}`,
    preserveAspectRatio: "none",
    role: "img",
    "aria-label": label,
  });
  root.append(
    svg("rect", {
      class: "vt-zero",
      x: 0,
      y: height / 2 - 0.25,
      width: numbers.length * step,
      height: 0.5,
    }),
  );
  numbers.forEach((number, i) => {
    const length = Math.max((Math.abs(number) / limit) * (height / 2), 0.4);
    root.append(
      svg("rect", {
        class: number < 0 ? "vt-negative" : "vt-positive",
        x: i * step + 1,
        y: number < 0 ? height / 2 : height / 2 - length,
        width: step - 2,
        height: length,
      }),
    );
  });
  return root;
}

// matplotlib's cividis, at 33 of its 256 colours.
const CIVIDIS = `
  00224e 00285b 002e6a 053371 1a386f 273e6e 32436d 3b496c 434e6c 4b546c 535a6d
  5a5f6e 61656f 686a71 6f7073 767676 7d7c78 838179 8b8778 928d78 9a9376 a29975
  aaa073 b3a670 bbad6d c3b369 ccba64 d4c15f ddc858 e6d051 efd748 f8df3c fee838`
  .trim()
  .split(/\s+/)
  .map((hex) => [0, 2, 4].map((start) => parseInt(hex.slice(start, start + 2), 16)));

export function cividis(share) {
  const at = Math.min(Math.max(share, 0), 1) * (CIVIDIS.length - 1);
  const [low, part] = [Math.floor(at), at % 1];
  const high = Math.min(low + 1, CIVIDIS.length - 1);
  const mix = CIVIDIS[low].map((value, c) => Math.round(value + part * (CIVIDIS[high][c] - value)));
  return `rgb(${mix.join(" ")})`;
}

// The colours of signed values, from -1 (orange) over 0 (grey) to 1 (blue): those of plots.SIGNED.
const SIGNED = ["d9660a", "9aa0a6", "2f86c8"].map((hex) =>
  [0, 2, 4].map((start) => parseInt(hex.slice(start, start + 2), 16)),
);

export function signed(value) {
  const at = Math.min(Math.max(value, -1), 1) + 1;
  const low = Math.min(Math.floor(at), 1);
  const mix = SIGNED[low].map((a, c) => Math.round(a + (at - low) * (SIGNED[low + 1][c] - a)));
  return `rgb(${mix.join(" ")})`;
}

export function signedLegend(limit) {
  return element(
    "span",
    { class: "vt-legend" },
    `−${limit}`,
    element("span", { class: "vt-legend-bar vt-legend-signed", "aria-hidden": "true" }),
    String(limit),
  );
}

// A whole number from 0 to count - 1, or a RangeError that names it: what comes from a link or a
// kernel is checked where it comes in.
export function within(name, value, count) {
  if (!Number.isInteger(value) || value < 0 || value >= count) {
    throw new RangeError(`${name} is one of 0 to ${count - 1}, got ${value}`);
  }
  return value;
}

// The same random numbers in [0, 1) for the same seed, in every browser (mulberry32).
export function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

// The numbers from 0 to n - 1 in an order that the seed decides (Fisher and Yates); 0: in theirs.
export function shuffled(n, seed) {
  const order = Array.from({ length: n }, (_, i) => i);
  if (seed === 0) return order;
  const random = randomNumbers(seed);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

// Numbers as people write them: 3 digits that count.
export function digits(number) {
  if (!Number.isFinite(number)) return number > 0 ? "∞" : "−∞";
  const size = Math.abs(number);
  if (size && (size >= 1e5 || size < 1e-3)) {
    const [mantissa, exponent] = number.toExponential(1).split("e");
    const raised = [...String(Number(exponent))]
      .map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]))
      .join("");
    return `${mantissa} · 10${raised}`.replace("-", "−");
  }
  const decimals = size >= 100 || !size ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : 4;
  return number.toFixed(decimals).replace("-", "−");
}

// A number that people set, without zeros at its end.
export function setting(number) {
  return String(Number(number.toFixed(2)));
}

export function percent(share) {
  return `${(100 * share).toFixed(share >= 0.0995 || share === 0 ? 0 : 1)}%`;
}
