// Who answers for the picture? Two models, one that reads a class token and one that reads the mean
// of the patches: what each patch has to do with the answer, and what it is, layer by layer.

import {
  Card,
  PatchGrid,
  answers,
  cividis,
  element,
  legend,
  percent,
  picture,
  within,
} from "../page/card.js";
import { classNames, probabilities, unpackPictures } from "../page/page_model.js";
import { ViT } from "../engine/vit.js";

const STATE = ["picture", "pooling", "layer"];
const MODELS = ["cls_vit", "mean_vit", "pictures"];
const POOLINGS = ["cls", "mean"];
const READ = { cls: "the class token", mean: "the mean of the patches" };

function render({ model, el }) {
  const card = new Card(el, "Who answers for the picture?");
  card.rounded();
  const start = Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  let grid, patches, depth, classes, pictures, runs, parts;
  let picked = null; // the patch whose share is told, and the one under the pointer
  let hovered = null;
  let surprises = null;
  let surprised = 0;

  const change = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const when = (layer) => (layer ? `after layer ${layer}` : "before layer 1");
  const best = (shares) => shares.indexOf(Math.max(...shares));
  const verdict = (shares) => `${classes[best(shares)]}, ${percent(shares[best(shares)])}`;
  const isRight = (run, shares) => classes[best(shares)] === run.name;

  // Everything that the models and the pictures decide, made anew when those change.
  function build() {
    const vits = { cls: new ViT(model.get("cls_vit")), mean: new ViT(model.get("mean_vit")) };
    ({ grid } = vits.cls);
    patches = grid[0] * grid[1];
    depth = vits.cls.config.depth;
    classes = classNames(vits.cls.config);
    if (vits.mean.config.depth !== depth) throw new Error("the two models differ in depth");
    pictures = unpackPictures(model.get("pictures"));
    runs = pictures.map(({ bytes, name }) => {
      const made = { cls: vits.cls.forward(bytes), mean: vits.mean.forward(bytes) };
      const shares = (pooling) => made[pooling].predictions.map(probabilities);
      const taken = made.cls.layers.map(({ attention }) => taking(attention, patches + 1));
      return { name, taken, cls: shares("cls"), mean: shares("mean") };
    });
    surprises = null;
    picked = null;

    const shown = new PatchGrid({ grid, label: "The picture", behind: element("canvas") });
    shown.el.inert = true; // it only shows; the grid beside it is the one to move in
    shown.el.setAttribute("aria-hidden", true);
    const look = (place) => ((picked = place), card.attempt(draw));
    const takes = new PatchGrid({
      grid,
      label: "How much each patch has to do with the answer",
      move: look,
      pick: (place) => look(place === picked ? null : place),
      hover: (place) => ((hovered = place), card.attempt(tell)),
    });
    const name = element("p", { class: "vt-label" });
    const title = element("p", { class: "vt-label" });
    const token = element("span", { class: "vt-badge vt-reads", role: "img" }, "cls");
    const scale = element("span");
    const told = element("p", { class: "vt-label vt-told" });
    const heading = element("p", { class: "vt-label" });
    const bars = element("div");
    const road = element("div", { class: "vt-road", role: "region", tabindex: 0 });
    road.setAttribute("aria-label", "What both answer, layer by layer");
    const column = (...children) => element("div", { class: "vt-column" }, ...children);
    card.figure.replaceChildren(
      column(name, shown.el),
      column(title, element("div", { class: "vt-tokens" }, token, takes.el), scale, told),
      column(heading, bars),
      road,
    );

    card.controls.replaceChildren();
    const names = pictures.map((each) => each.name);
    const chosen = card.choice("picture", names, () => change({ picture: chosen.selectedIndex }));
    const pooling = card.choice(
      "read",
      POOLINGS.map((each) => READ[each]),
      () => change({ pooling: POOLINGS[pooling.selectedIndex] }),
    );
    const layer = card.slider("layer", {
      min: 0,
      max: depth,
      step: 1,
      oninput: (event) => change({ layer: Number(event.target.value) }),
    });
    card.button("surprise me", surprise);
    card.button("reset", () => ((picked = null), change(start), card.attempt(draw)));
    card.link(model, STATE);
    parts = {
      ...{ shown, takes, name, title, token, scale, told, heading, bars, road },
      ...{ chosen, pooling, layer },
    };
  }

  // How much each token has to do with what is read now: of the class token what it takes in this
  // layer; nothing before the first. Of the mean the same from each patch, and there is no token 0.
  function shareOf(place) {
    const { pooling, run, layer } = now();
    if (pooling === "mean") return 1 / patches;
    return layer ? run.taken[layer - 1][place + 1] : 0;
  }

  function now() {
    const [index, pooling, layer] = STATE.map((name) => model.get(name));
    within("picture", index, pictures.length);
    within("layer", layer, depth + 1);
    if (!POOLINGS.includes(pooling)) {
      throw new RangeError(`pooling is “cls” or “mean”, got ${JSON.stringify(pooling)}`);
    }
    return { index, pooling, layer, run: runs[index], shares: runs[index][pooling][layer] };
  }

  function draw() {
    const { index, pooling, layer, run, shares } = now();
    const { shape, bytes } = pictures[index];
    const canvas = picture(shape, bytes);
    parts.shown.el.querySelector("canvas").replaceWith(canvas);
    const cls = pooling === "cls";
    const empty = cls && !layer;
    // One scale for all layers and both ways, so that their colours compare.
    const highest = Math.max(1 / patches, ...run.taken.map((row) => Math.max(...row)));

    parts.name.textContent = `the picture: ${run.name}`;
    parts.title.textContent = empty
      ? "token 0 has no pixels, and took nothing yet"
      : cls
        ? `what token 0 takes from each, layer ${layer}`
        : "what each gives to the mean";
    parts.takes.show({
      selected: picked,
      colour: (place) => (empty ? "transparent" : cividis(shareOf(place) / highest)),
      name: (place) => `${whereIs(place)}: ${percent(shareOf(place))}`,
    });
    parts.shown.show({ selected: picked, name: whereIs });
    parts.token.hidden = !cls;
    const own = layer ? run.taken[layer - 1][0] : 0;
    parts.token.setAttribute(
      "aria-label",
      layer ? `class token, takes ${percent(own)} from itself` : "class token",
    );
    parts.scale.replaceChildren(legend(percent(highest)));
    tell();
    parts.heading.textContent = `the answer ${when(layer)}; truly ${run.name}`;
    parts.bars.replaceChildren(answers(classes, [...shares]));
    parts.road.replaceChildren(...road(run, pooling, layer));
    parts.chosen.selectedIndex = index;
    parts.pooling.selectedIndex = POOLINGS.indexOf(pooling);
    parts.layer.show(layer, when(layer));

    card.say(outcome(pooling, layer, run, shares));
    card.tabulate(
      `${run.name}: what is answered, in percent`,
      ["class", ...POOLINGS.flatMap((each) => run[each].map((_, i) => `${each}, ${when(i)}`))],
      () =>
        classes.map((each, i) => [
          each,
          ...POOLINGS.flatMap((way) => run[way].map((list) => (100 * list[i]).toFixed(1))),
        ]),
    );
  }

  function outcome(pooling, layer, run, shares) {
    const all = runs.map((each) => each[pooling][layer]);
    const answer = `${when(layer)} ${READ[pooling]} answers ${verdict(shares)}`.replace(
      /^./,
      (letter) => letter.toUpperCase(),
    );
    if (!layer) {
      const same = all.every((list) => list.every((share, i) => Math.abs(share - all[0][i]) < 1e-6));
      const different = new Set(all.map(best)).size;
      return same
        ? `${answer}: the same for each of the ${all.length} pictures.`
        : `${answer}. What it answers differs from picture to picture ` +
            `(${different} of ${classes.length} classes occur).`;
    }
    if (!classes.includes(run.name)) return `${answer}.`;
    const right = runs.filter((each) => isRight(each, each[pooling][layer])).length;
    const truth = isRight(run, shares) ? "right" : `it is ${run.name}`;
    return `${answer} (${truth}). Read like this, ${right} of ${runs.length} pictures come out right.`;
  }

  // The share of the patch under the pointer, else of the one that was picked.
  function tell() {
    const place = hovered ?? picked;
    parts.told.textContent =
      place === null
        ? "pick a patch for its share"
        : `${whereIs(place)}: ${percent(shareOf(place))}`;
  }

  // What both answer, from before the first layer to the end, side by side.
  function road(run, pooling, layer) {
    const cell = (way, i) => {
      const shares = run[way][i];
      const current = way === pooling && i === layer ? "true" : null;
      const mark = isRight(run, shares) ? " ✓" : "";
      const text = `${classes[best(shares)]} ${percent(shares[best(shares)])}${mark}`;
      return element("td", { "aria-current": current }, text);
    };
    const head = ["after layer", "class token", "mean"].map((text) =>
      element("th", { scope: "col" }, text),
    );
    const rows = run.cls.map((_, i) =>
      element(
        "tr",
        { class: i === depth ? "vt-final" : null },
        element("th", { scope: "row" }, String(i)),
        cell("cls", i),
        cell("mean", i),
      ),
    );
    const title = element("p", { class: "vt-label", id: `${card.id}-road` }, "what both answer, to the end");
    const table = element(
      "table",
      { "aria-labelledby": title.id },
      element("thead", {}, element("tr", {}, ...head)),
      element("tbody", {}, ...rows),
    );
    return [title, table];
  }

  function whereIs(place) {
    const [row, column] = [Math.floor(place / grid[1]), place % grid[1]];
    return `patch ${place + 1}, row ${row + 1}, column ${column + 1}`;
  }

  // The pictures on which the two differ most in the end, one after the other.
  function surprise() {
    if (!surprises) {
      const apart = ({ cls, mean }) =>
        cls[depth].reduce((sum, share, i) => sum + Math.abs(share - mean[depth][i]), 0);
      surprises = runs.map((run, index) => ({ index, apart: apart(run) }));
      surprises.sort((a, b) => b.apart - a.apart);
    }
    change({ picture: surprises[surprised++ % surprises.length].index, layer: depth });
  }

  const redraw = () => card.attempt(draw);
  const rebuild = () => card.attempt(() => (build(), draw()));
  build();
  draw();
  card.guess("Before the first layer, does the class token's answer depend on the picture?", [
    "it does",
    "it does not",
  ]);
  for (const name of STATE) model.on(`change:${name}`, redraw);
  for (const name of MODELS) model.on(`change:${name}`, rebuild);
  return () => {
    for (const name of STATE) model.off(`change:${name}`, redraw);
    for (const name of MODELS) model.off(`change:${name}`, rebuild);
    el.replaceChildren();
  };
}

// What token 0 takes from each token, the mean over the heads: (heads, n, n) -> (n,)
function taking(attention, n) {
  const heads = attention.length / (n * n);
  return Array.from({ length: n }, (_, key) => {
    let sum = 0;
    for (let head = 0; head < heads; head++) sum += attention[head * n * n + key];
    return sum / heads;
  });
}

export default { render, state: STATE };
