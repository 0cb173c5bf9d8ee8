// What happens to one token, layer by layer? The stages of equations 1 to 4: what comes in, what
// each step adds, what goes out, and what the head would read off at that point.

import { Card } from "../page/card.js";
import { PatchGrid } from "../page/patch_grid.js";
import { badge } from "../page/token_grid.js";
import { element, picture, svg } from "../page/elements.js";
import { answers, bars } from "../page/answers.js";
import { digits, percent } from "../page/words.js";
import { within } from "../page/checks.js";
import { classNames, probabilities, unpackPictures } from "../page/page_model.js";
import { ViT } from "../engine/vit.js";

const STATE = ["picture", "token", "stage"];

function render({ model, el }) {
  const card = new Card(el, "What happens to one token, layer by layer?");
  card.rounded();
  const start = Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  let vit, pictures, tokens, prefix, stages, classes, parts;
  let walked = null; // the picture that `run` belongs to
  let run = null;
  let surprises = null;
  let surprised = 0;

  const change = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const nameOf = (token) => (token < prefix ? "the class token" : `patch ${token - prefix + 1}`);
  const whereIs = (token) => {
    const place = token - prefix;
    const [row, column] = [Math.floor(place / vit.grid[1]), place % vit.grid[1]];
    return `patch ${place + 1}, row ${row + 1}, column ${column + 1}`;
  };
  const vectorOf = (stream, token) => {
    const { dim } = vit.config;
    return stream.subarray(token * dim, (token + 1) * dim);
  };

  // Everything that the model and the pictures decide, made anew when those change.
  function build() {
    vit = new ViT(model.get("vit"));
    pictures = unpackPictures(model.get("pictures"));
    prefix = vit.numPrefix;
    tokens = prefix + vit.grid[0] * vit.grid[1];
    stages = stagesOf(vit.config.depth);
    classes = classNames(vit.config);
    walked = run = null;

    const go = (place) => change({ token: prefix + place });
    const grid = new PatchGrid({
      grid: vit.grid,
      label: "Which token",
      behind: element("canvas"),
      move: go,
      pick: go,
    });
    const cls = badge(() => change({ token: 0 }));
    const name = element("p", { class: "vt-label" });
    const stage = element("p", { class: "vt-walk-stage" });
    const shapes = element("p", { class: "vt-label" });
    const strips = element("div", { class: "vt-strips" });
    const check = element("p", { class: "vt-label vt-walk-check" });
    const lengths = element("div", { class: "vt-walk-lengths" });
    const heading = element("p", { class: "vt-label" });
    const read = element("div");
    card.figure.replaceChildren(
      element(
        "div",
        { class: "vt-column" },
        name,
        element("div", { class: "vt-tokens" }, ...(prefix ? [cls.el] : []), grid.el),
      ),
      element("div", { class: "vt-walk-step" }, stage, shapes, strips, check),
      lengths,
      element("div", { class: "vt-column" }, heading, read),
    );

    card.controls.replaceChildren();
    const step = (by) => () => {
      const to = model.get("stage") + by;
      if (to >= 0 && to < stages.length) change({ stage: to });
    };
    const slider = card.slider("stage", {
      min: 0,
      max: stages.length - 1,
      step: 1,
      oninput: (event) => change({ stage: Number(event.target.value) }),
    });
    card.controls.lastElementChild.classList.add("vt-walk-slider");
    const back = card.button("back", step(-1));
    const next = card.button("next", step(1));
    const chosen = card.choice(
      "picture",
      pictures.map((each) => each.name),
      () => change({ picture: chosen.selectedIndex }),
    );
    card.button("surprise me", surprise);
    card.button("reset", () => change(start));
    card.link(model, STATE);
    parts = { grid, cls, name, stage, shapes, strips, check, lengths, heading, read };
    parts = { ...parts, slider, back, next, chosen };
  }

  // One picture's way: the stream before the first step and after each, and what the steps add.
  // streams: 2 * depth + 1 of (n, D), added: 2 * depth of (n, D); both in the order of the steps.
  function walk(index) {
    const { bytes } = pictures[index];
    const { layers, tokens: first } = vit.forward(bytes);
    const [streams, added] = [[first], []];
    for (const { attended, fed, out } of layers) {
      added.push(attended, fed);
      streams.push(
        streams.at(-1).map((value, i) => value + attended[i]),
        out,
      );
    }
    const projected = vit.embed(bytes, { positions: false }).tokens; // without E_pos
    return { patches: vit.patchify(bytes), projected, streams, added };
  }

  function draw() {
    const [index, token, at] = STATE.map((name) => model.get(name));
    within("picture", index, pictures.length);
    within("token", token, tokens);
    within("stage", at, stages.length);
    if (walked !== index) {
      run = walk(index);
      walked = index;
      surprises = null;
    }
    const { shape, bytes, name } = pictures[index];
    const stage = stages[at];
    const now = opened(stage, token);
    parts.grid.el.querySelector("canvas").replaceWith(picture(shape, bytes));
    parts.name.textContent = `${name}, and ${nameOf(token)}`;
    parts.grid.show({
      selected: token < prefix ? null : token - prefix,
      name: (place) => whereIs(prefix + place),
    });
    parts.cls.show({ selected: token < prefix, name: "class token" });
    parts.stage.textContent = `${stage.name} (${stage.equation})`;
    parts.shapes.textContent = shapesOf(stage);
    parts.strips.replaceChildren(...now.strips.map(strip));
    parts.check.textContent = now.check;
    parts.lengths.replaceChildren(...chart(token, stage));
    const shares = readAfter(stage.done);
    const best = shares.indexOf(Math.max(...shares));
    const who = vit.config.pool === "mean" ? "the mean of the tokens" : "the class token";
    parts.heading.textContent =
      stage.kind === "head"
        ? `the answer, read off ${who}; truly ${name}`
        : `what the head would read off ${who} here`;
    parts.read.replaceChildren(answers(classes, [...shares]));
    parts.slider.show(at, stage.name);
    parts.back.setAttribute("aria-disabled", at === 0);
    parts.next.setAttribute("aria-disabled", at === stages.length - 1);
    parts.chosen.selectedIndex = index;

    const said = stage.kind === "head" ? ` ${classes[best]}, ${percent(shares[best])}.` : "";
    card.say(now.outcome + said);
    card.tabulate(
      `${name}, ${nameOf(token)}: the vector's length, and what the head would read off ${who}`,
      ["after", "length of what is added", "length of the stream", "answer", "share"],
      () =>
        run.streams.map((stream, done) => {
          const all = readAfter(done);
          const first = all.indexOf(Math.max(...all));
          return [
            done ? `layer ${Math.ceil(done / 2)}, ${done % 2 ? "attention" : "MLP"}` : "embedding",
            done ? digits(length(vectorOf(run.added[done - 1], token))) : "",
            digits(length(vectorOf(stream, token))),
            classes[first],
            percent(all[first]),
          ];
        }),
    );
  }

  // What the head answers when it is given the stream after so many steps.
  function readAfter(done) {
    return probabilities(vit.classify(run.streams[done]));
  }

  // A stage for one token: strips of numbers, in words what happens, and the sum of all so far.
  // A strip is [name, numbers, what they are, limit]; null numbers: not there yet at this stage.
  function opened(stage, token) {
    const { kind, done } = stage;
    const { dim, pool } = vit.config;
    const subject = nameOf(token).replace(/^./, (letter) => letter.toUpperCase());
    const stream = vectorOf(run.streams[done], token);
    const long = (vector) => `${digits(length(vector))} long`;
    if (kind === "patches") {
      if (token < prefix) {
        return {
          strips: [["learned", vit.weights.cls_token, "the class token, a parameter"]],
          outcome: "The class token has no pixels: its numbers are learned, one set for all pictures.",
          check: "",
        };
      }
      const size = run.patches.length / (tokens - prefix);
      const pixels = run.patches.subarray((token - prefix) * size, (token - prefix + 1) * size);
      return {
        strips: [["pixels", pixels, "its pixels, normalised"]],
        outcome: `${subject} is ${size} numbers, its pixels.`,
        check: "",
      };
    }
    if (kind === "embed") {
      const projected = vectorOf(run.projected, token);
      const position = stream.map((value, i) => value - projected[i]);
      const what = token < prefix ? "the class token" : "its pixels, projected";
      const limit = largest([...projected, ...position, ...stream]);
      return {
        strips: [
          [token < prefix ? "learned" : "x E", projected, what, limit],
          ["+ position", position, "its position embedding", limit],
          ["= stream", stream, "the stream", limit],
        ],
        outcome: `${subject} enters the stream, ${long(stream)}.`,
        check: sums(token, done),
      };
    }
    if (kind === "final norm" || kind === "head") {
      const read = pool === "mean" ? meanOf(run.streams[done]) : vectorOf(run.streams[done], 0);
      const normed = vit.norm(read, "mlp_head.0");
      const what = pool === "mean" ? "the mean of all tokens" : "token 0";
      const unread = pool !== "mean" && token >= prefix;
      const asked =
        unread && kind === "final norm"
          ? `${subject} is not read: its way ends here, ${long(stream)}. `
          : "";
      const logits = vit.classify(run.streams[done]);
      return kind === "head"
        ? {
            strips: [
              ["y", normed, `${what}, normalised`],
              ["logits", logits, "the logits, one for each class"],
            ],
            outcome: `The head reads ${what}:`,
            check: "",
          }
        : {
            strips: [
              ["stream", read, `${what}, after the last layer`],
              ["norm: y", normed, `${what}, normalised`],
            ],
            outcome: `${asked}The last norm takes ${what}, and makes ${dim} numbers of it, y.`,
            check: sums(token, done),
          };
    }
    // One of the six stages of a layer; the stream before the step is that after the one before.
    const step = kind === "add" ? done - 1 : done;
    const before = vectorOf(run.streams[step], token);
    const added = vectorOf(run.added[step], token);
    const after = vectorOf(run.streams[step + 1], token);
    const normed = vit.norm(before, `transformer.layers.${step >> 1}.${step % 2}.norm`);
    const what = step % 2 ? "the MLP" : "attention";
    const [old, now] = [length(before), length(after)];
    const from = step % 2 ? "that copy the MLP" : "the copies of all tokens attention";
    const outcomes = {
      norm: `A copy of ${nameOf(token)} is normalised for ${what}; the stream stays, ${long(before)}.`,
      step: `From ${from} makes what is to be added to ${nameOf(token)}, ${long(added)}.`,
      add:
        `${subject}: to ${digits(old)} a vector of length ${digits(length(added))} is added; the ` +
        `sum is ${digits(now)} long, ${now < old ? "shorter" : "longer"} than before.`,
    };
    const limit = largest([...before, ...added, ...after]); // one scale: so that the sum is seen
    return {
      strips: [
        ["stream", before, "the stream before", limit],
        ["norm", normed, "its normalised copy"],
        ["+ added", kind === "norm" ? null : added, `what ${what} adds`, limit],
        ["= stream", kind === "add" ? after : null, "the stream after", limit],
      ],
      outcome: outcomes[kind],
      check: sums(token, done),
    };
  }

  // The stream is the embedding and all that was added: how far the two are apart, at most.
  function sums(token, done) {
    const total = Array.from(vectorOf(run.streams[0], token));
    for (const each of run.added.slice(0, done)) {
      vectorOf(each, token).forEach((value, d) => (total[d] += value));
    }
    const stream = vectorOf(run.streams[done], token);
    const apart = Math.max(...total.map((value, d) => Math.abs(value - stream[d])));
    const count = done === 1 ? "1 addition" : `${done} additions`;
    return apart > 1e-3
      ? `embedding + ${count} differs from the stream by ${digits(apart)}`
      : `check: embedding + ${count} = stream, to within ${digits(apart)}`;
  }

  function meanOf(stream) {
    const { dim } = vit.config;
    const mean = new Float32Array(dim);
    for (let i = 0; i < stream.length; i++) mean[i % dim] += stream[i] / tokens;
    return mean;
  }

  // limit: the number that fills a strip's height; without it the largest of its own.
  function strip([name, numbers, meaning, limit = numbers && largest(numbers)]) {
    const label = element("span", {}, name);
    if (!numbers) {
      const empty = element("span", { class: "vt-walk-later" }, "not yet");
      return element("div", { class: "vt-strip vt-walk-strip" }, label, empty);
    }
    const text = `${meaning}: ${numbers.length} numbers, the largest ${digits(largest(numbers))} in size`;
    return element(
      "div",
      { class: "vt-strip vt-walk-strip" },
      label,
      bars(Array.from(numbers), limit, text),
      element("span", { class: "vt-walk-limit" }, `±${digits(limit)}`),
    );
  }

  function shapesOf({ kind, done }) {
    const { dim, mlp_dim, heads, num_classes, pool } = vit.config;
    const n = tokens;
    const pixels = run.patches.length / (n - prefix);
    const one = `(${n}, ${dim})`;
    const sum = `${one} + ${one} → ${one}`;
    const inside =
      done % 2
        ? `${one} → (${n}, ${mlp_dim}) → ${one}, each token by itself`
        : `${one} → ${one}, mixed by ${heads} maps of (${n}, ${n})`;
    return {
      patches: `${n - prefix} patches: (${n - prefix}, ${pixels})`,
      embed: `(${n - prefix}, ${pixels}) → ${one}${prefix ? ", with the class token in front" : ""}`,
      norm: `${one} → ${one}, each token by itself`,
      step: inside,
      add: sum,
      "final norm": `${one} → (${dim},), ${pool === "mean" ? "the mean" : "token 0"} alone`,
      head: `(${dim},) → (${num_classes},)`,
    }[kind];
  }

  // The stream's length as a line over all steps, what each adds as bars; the stage is marked.
  function chart(token, stage) {
    const lengths = run.streams.map((stream) => length(vectorOf(stream, token)));
    const added = run.added.map((each) => length(vectorOf(each, token)));
    const [wide, high, left, top] = [26, 110, 28, 10];
    const highest = Math.max(...lengths, ...added);
    const y = (value) => top + high - (value / highest) * high;
    const x = (i) => left + (i + 0.5) * wide;
    const width = left + lengths.length * wide;
    const marked = stage.kind === "norm" || stage.kind === "step" ? stage.done + 1 : stage.done;
    const text = (content, attributes) => svg("text", { class: "vt-walk-text", ...attributes }, content);
    const words =
      `The length of ${nameOf(token)}: ${digits(lengths[0])} before the first layer, ` +
      `${digits(lengths.at(-1))} after the last; what the ${added.length} steps add is ` +
      `${digits(Math.min(...added))} to ${digits(Math.max(...added))} long`;
    const root = svg("svg", {
      class: "vt-walk-chart",
      viewBox: `0 0 ${width + 6} ${high + 42}`,
      role: "img",
      "aria-label": words,
    });
    if (stage.kind !== "patches") {
      root.append(
        svg("rect", { class: "vt-walk-now", x: x(marked) - wide / 2, y: top, width: wide, height: high }),
      );
    }
    root.append(
      text(digits(highest), { x: left - 4, y: top + 4, "text-anchor": "end" }),
      text("0", { x: left - 4, y: top + high, "text-anchor": "end" }),
      text("emb.", { x: x(0), y: top + high + 12, "text-anchor": "middle" }),
    );
    added.forEach((value, i) => {
      root.append(
        svg("rect", {
          class: i % 2 ? "vt-walk-mlp" : "vt-walk-attention",
          x: x(i + 1) - 8,
          y: y(value),
          width: 16,
          height: top + high - y(value),
        }),
        text(i % 2 ? "M" : "A", { x: x(i + 1), y: top + high + 12, "text-anchor": "middle" }),
      );
      if (i % 2 === 0) {
        const at = { x: x(i + 1.5), y: top + high + 26, "text-anchor": "middle" };
        root.append(text(String(i / 2 + 1), at));
      }
    });
    const points = lengths.map((value, i) => `${x(i)},${y(value)}`).join(" ");
    root.append(
      svg("path", { class: "vt-walk-axis", d: `M${left} ${top + high}H${width}` }),
      svg("polyline", { class: "vt-walk-line", points }),
      ...lengths.map((value, i) => svg("circle", { class: "vt-walk-dot", cx: x(i), cy: y(value), r: 2.5 })),
      text("layer", { x: x(0), y: top + high + 26, "text-anchor": "middle" }),
    );
    const key = (kind, name) =>
      element(
        "span",
        { class: "vt-walk-key" },
        element("span", { class: kind, "aria-hidden": "true" }),
        name,
      );
    return [
      element("p", { class: "vt-label" }, `the length of ${nameOf(token)}, step by step`),
      root,
      element(
        "p",
        { class: "vt-legend" },
        key("vt-walk-key-line", "stream"),
        key("vt-walk-key-attention", "A: attention adds"),
        key("vt-walk-key-mlp", "M: MLP adds"),
      ),
    ];
  }

  // Of each step the token to which it adds most, measured by what was there; the steps in the
  // order of that.
  function surprise() {
    if (!surprises) {
      surprises = run.added.map((each, step) => {
        const ratios = Array.from(
          { length: tokens },
          (_, token) =>
            length(vectorOf(each, token)) / length(vectorOf(run.streams[step], token)),
        );
        const ratio = Math.max(...ratios);
        return { ratio, token: ratios.indexOf(ratio), stage: 2 + 3 * step + 2 };
      });
      surprises.sort((a, b) => b.ratio - a.ratio);
    }
    const { token, stage } = surprises[surprised++ % surprises.length];
    change({ token, stage });
  }

  const redraw = () => card.attempt(draw);
  const rebuild = () => card.attempt(() => (build(), draw()));
  build();
  draw();
  card.guess(
    "Each step adds a vector to the token. Does the token's own vector grow longer every time?",
    ["every time", "not every time"],
  );
  for (const name of STATE) model.on(`change:${name}`, redraw);
  for (const name of ["vit", "pictures"]) model.on(`change:${name}`, rebuild);
  return () => {
    for (const name of STATE) model.off(`change:${name}`, redraw);
    for (const name of ["vit", "pictures"]) model.off(`change:${name}`, rebuild);
    el.replaceChildren();
  };
}

// All stages in their order; done: how many of the 2 * depth steps the stream has behind it.
function stagesOf(depth) {
  const stages = [
    { kind: "patches", name: "patches", equation: "the x of equation 1", done: 0 },
    { kind: "embed", name: "embedding, with position", equation: "equation 1", done: 0 },
  ];
  for (let done = 0; done < 2 * depth; done++) {
    const layer = `layer ${(done >> 1) + 1}`;
    const [what, equation] = done % 2 ? ["MLP", "equation 3"] : ["attention", "equation 2"];
    stages.push(
      { kind: "norm", name: `${layer}: norm for ${what}`, equation, done },
      { kind: "step", name: `${layer}: ${what}`, equation, done },
      { kind: "add", name: `${layer}: + ${what}`, equation, done: done + 1 },
    );
  }
  return [
    ...stages,
    { kind: "final norm", name: "last norm", equation: "equation 4", done: 2 * depth },
    { kind: "head", name: "head", equation: "reads y of equation 4", done: 2 * depth },
  ];
}

function largest(numbers) {
  return Math.max(...Array.from(numbers, Math.abs)) || 1;
}

function length(vector) {
  let sum = 0;
  for (const value of vector) sum += value * value;
  return Math.sqrt(sum);
}

export default { render, state: STATE };
