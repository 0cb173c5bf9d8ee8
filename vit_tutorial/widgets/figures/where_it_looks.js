// Where does it look? One token's maps of all layers and heads at once, and one of them large.
// Patches can be dropped and heads switched off: the maps and the answer follow.

import { Card } from "../page/card.js";
import { PatchGrid } from "../page/patch_grid.js";
import { badge } from "../page/token_grid.js";
import { element, picture } from "../page/elements.js";
import { cividis, legend } from "../page/colours.js";
import { strongest } from "../page/answers.js";
import { heard, paint, rowOf } from "../page/maps.js";
import { percent } from "../page/words.js";
import { within } from "../page/checks.js";
import { classNames, probabilities, unpackPictures } from "../page/page_model.js";
import { ViT } from "../engine/vit.js";

const STATE = ["picture", "layer", "head", "query", "dropped", "heads_off"];

function render({ model, el }) {
  const card = new Card(el, "Where does it look?");
  card.rounded();
  card.root.classList.add("vt-where");
  const start = Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  let vit, pictures, classes, prefix, count, parts;
  let seen = {}; // what the model makes of the picture as it is now
  let whole; // by picture: what it makes of all patches, with all heads
  let surprises, surprised;
  let changing = false;

  // All changes first, then one drawing.
  const change = (changes) => {
    changing = true;
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    changing = false;
    model.save_changes();
    redraw();
  };
  const nameOf = (token) => (token < prefix ? "the class token" : `patch ${token - prefix + 1}`);
  const whereIs = (place) =>
    `patch ${place + 1}, row ${Math.floor(place / vit.grid[1]) + 1}, ` +
    `column ${(place % vit.grid[1]) + 1}`;
  const ask = (query) => {
    if (query === model.get("query")) return;
    if (query < prefix || !model.get("dropped").includes(query - prefix)) change({ query });
  };

  // A patch that looks already is dropped, one that is dropped comes back: so a tap is enough.
  function pick(place) {
    const dropped = model.get("dropped");
    if (dropped.includes(place)) {
      change({ dropped: dropped.filter((each) => each !== place), query: prefix + place });
    } else if (model.get("query") !== prefix + place) {
      change({ query: prefix + place });
    } else if (prefix || dropped.length < count - 1) {
      change({ dropped: [...dropped, place].sort((a, b) => a - b) });
    } else {
      card.say("This patch has to stay: the model has no class token, and it is the last one.");
    }
  }

  function build() {
    vit = new ViT(model.get("vit"));
    pictures = unpackPictures(model.get("pictures"));
    classes = classNames(vit.config);
    prefix = vit.numPrefix;
    [count, seen, whole] = [vit.grid[0] * vit.grid[1], {}, new Map()];
    [surprises, surprised] = [null, 0];
    const { depth, heads } = vit.config;

    const asks = new PatchGrid({
      grid: vit.grid,
      label: "Which patch looks; Space drops it or brings it back",
      behind: element("canvas"),
      move: (place) => ask(prefix + place),
      pick,
      hover: (place) => {
        if (place !== null && !touched) ask(prefix + place);
      },
    });
    let touched = false; // a finger that passes over a patch does not point at it
    asks.el.addEventListener(
      "pointerover",
      (event) => (touched = event.pointerType === "touch"),
      true,
    );
    const classAsks = badge(() => change({ query: 0 }));
    classAsks.el.addEventListener("pointerenter", () => ask(0));
    const gets = new PatchGrid({
      grid: vit.grid,
      label: "What it takes from each patch",
      move: (place) => note(place),
      pick: (place) => ask(prefix + place),
      hover: (place) => note(place),
    });
    const classGets = badge(() => ask(0));
    const maps = new PatchGrid({
      grid: [heads, depth],
      label: "All maps, a row a head, a column a layer; Space switches the head off or on",
      move: (place) => change(mapAt(place)),
      pick: (place) => change(mapAt(place)),
    });
    maps.el.addEventListener("keydown", (event) => {
      if (event.key === " " || event.key === "Enter") toggle();
    });
    const canvases = maps.cells.map((cell) => {
      const canvas = element("canvas", { width: vit.grid[1], height: vit.grid[0] });
      canvas.setAttribute("aria-hidden", "true");
      cell.append(canvas);
      return canvas;
    });
    const marks = (name, n, what) =>
      element(
        "div",
        { class: name, "aria-hidden": "true" },
        ...Array.from({ length: n }, (_, i) => element("span", {}, `${what} ${i + 1}`)),
      );
    const facts = element("ul", { class: "vt-facts vt-below" });
    const scale = element("span", { class: "vt-below" });
    const chosen = element("p", { class: "vt-label" });
    const answer = element("div", { class: "vt-answered" });
    const column = (name, ...children) =>
      element("div", { class: `vt-column ${name}` }, ...children);
    const label = (text) => element("p", { class: "vt-label" }, text);
    const tokens = (token, grid) =>
      element("div", { class: "vt-tokens" }, ...(prefix ? [token.el] : []), grid.el);
    const shown = label("");
    card.figure.replaceChildren(
      column(
        "vt-asks",
        shown,
        tokens(classAsks, asks),
        element("p", { class: "vt-label vt-below" }, "point to look, click to drop"),
      ),
      column(
        "vt-all",
        label("every map: a row a head, a column a layer"),
        element(
          "div",
          { class: "vt-maps" },
          marks("vt-maps-layers", depth, "layer"),
          marks("vt-maps-heads", heads, "head"),
          maps.el,
        ),
      ),
      column("vt-gets", chosen, tokens(classGets, gets), scale, facts),
      answer,
    );

    card.controls.replaceChildren();
    const choice = card.choice(
      "picture",
      pictures.map(({ name }) => name),
      () => change({ picture: choice.selectedIndex }),
    );
    const off = card.checkbox("", toggle);
    const offLabel = off.nextSibling;
    const back = card.button("all patches back", () => change({ dropped: [] }));
    card.button("surprise me", () => card.attempt(surprise));
    card.button("reset", () => change(start));
    card.link(model, STATE);
    parts = { asks, classAsks, gets, classGets, maps, canvases, facts, scale, chosen, shown };
    Object.assign(parts, { answer, choice, off, offLabel, back });
  }

  const mapAt = (place) => ({
    layer: place % vit.config.depth,
    head: Math.floor(place / vit.config.depth),
  });
  const isOff = (layer, head) => model.get("heads_off").some(([l, h]) => l === layer && h === head);

  // Switch the chosen head off, or on again.
  function toggle() {
    const [layer, head, off] = ["layer", "head", "heads_off"].map((name) => model.get(name));
    const others = off.filter(([l, h]) => l !== layer || h !== head);
    change({ heads_off: isOff(layer, head) ? others : [...others, [layer, head]] });
  }

  function check() {
    const { depth, heads } = vit.config;
    within("picture", model.get("picture"), pictures.length);
    within("layer", model.get("layer"), depth);
    within("head", model.get("head"), heads);
    within("query", model.get("query"), prefix + count);
    const dropped = model.get("dropped");
    for (const place of dropped) within("a dropped patch", place, count);
    if (new Set(dropped).size < dropped.length) {
      throw new RangeError(`each dropped patch is named once, got ${dropped}`);
    }
    for (const pair of model.get("heads_off")) {
      if (!Array.isArray(pair) || pair.length !== 2) {
        throw new RangeError(`a head that is off is a layer and a head, got ${pair}`);
      }
      within("the layer of a head that is off", pair[0], depth);
      within("a head that is off", pair[1], heads);
    }
  }

  // Run the model, where anything that it sees has changed.
  function run() {
    const [index, , , , dropped, off] = STATE.map((name) => model.get(name));
    const key = JSON.stringify([index, dropped, off]);
    if (seen.key === key) return false;
    const { bytes } = pictures[index];
    const pass = (changes) => {
      const { predictions, layers, places } = vit.forward(bytes, changes);
      return { answers: predictions.map(probabilities), layers, places };
    };
    if (!whole.has(index)) whole.set(index, pass({}));
    const headsOff = {};
    for (const [layer, head] of off) (headsOff[layer] ??= []).push(head);
    const keep = Array.from({ length: count }, (_, place) => place).filter(
      (place) => !dropped.includes(place),
    );
    const now = dropped.length || off.length ? pass({ keep, headsOff }) : whole.get(index);
    const at = Array(count).fill(-1); // which token each patch is
    now.places.forEach((place, i) => (at[place] = prefix + i));
    seen = { key, ...now, at, n: prefix + now.places.length, reach: reach(now) };
    return true;
  }

  // How far each patch looks in each head: the distance, in pixels, weighted by attention between
  // patches alone, as the figure of mean attention distances has it.
  function reach({ layers, places }) {
    const [p1, p2] = vit.patchSize;
    const spots = places.map((place) => [
      Math.floor(place / vit.grid[1]) * p1,
      (place % vit.grid[1]) * p2,
    ]);
    const n = prefix + places.length;
    const far = spots.map((a) => spots.map((b) => Math.hypot(a[0] - b[0], a[1] - b[1])));
    const patches = layers.map(({ attention }) =>
      Array.from({ length: vit.config.heads }, (_, head) =>
        far.map((distances, i) => {
          const row = rowOf(attention, n, head, prefix + i);
          let [sum, total] = [0, 0];
          distances.forEach((pixels, j) => {
            sum += row[prefix + j] * pixels;
            total += row[prefix + j];
          });
          return sum / total;
        }),
      ),
    );
    return { patches, even: mean(far.map(mean)) };
  }

  // One map as the figure shows it: what the asking token takes.
  function read(layer, head, token) {
    const row = rowOf(seen.layers[layer].attention, seen.n, head, token);
    const shares = seen.at.map((i) => (i < 0 || isOff(layer, head) ? null : row[i]));
    const highest = Math.max(...shares);
    const distance = mean(seen.reach.patches[layer][head].filter((pixels) => pixels >= 0));
    return {
      off: isOff(layer, head),
      shares,
      highest,
      first: shares.indexOf(highest),
      heard: heard(row),
      fromClass: prefix ? row[0] : 0,
      distance,
    };
  }

  function draw() {
    check();
    const changed = run();
    const [index, layer, head, query] = STATE.map((name) => model.get(name));
    const dropped = new Set(model.get("dropped"));
    const { depth, heads } = vit.config;
    const gone = query >= prefix && dropped.has(query - prefix);
    const asking = gone ? (prefix ? 0 : prefix + seen.places[0]) : query;
    const token = asking < prefix ? 0 : seen.at[asking - prefix];
    const all = parts.maps.cells.map((_, place) => {
      const map = mapAt(place);
      return { ...map, ...read(map.layer, map.head, token) };
    });
    const chosen = all[head * depth + layer];

    // who looks
    parts.asks.show({
      selected: asking < prefix ? null : asking - prefix,
      name: (place) => whereIs(place) + (dropped.has(place) ? ": dropped" : ""),
    });
    parts.asks.cells.forEach((cell, place) => (cell.dataset.dropped = dropped.has(place)));
    parts.classAsks.show({ selected: asking < prefix, name: "class token looks" });
    parts.shown.textContent = `${nameOf(asking)} looks`;

    // all maps
    parts.maps.show({
      selected: head * depth + layer,
      name: (place) => {
        const map = all[place];
        const name = `layer ${map.layer + 1}, head ${map.head + 1}`;
        if (map.off) return `${name}: off`;
        return map.first < 0
          ? `${name}: no patch is left`
          : `${name}: most, ${percent(map.highest)}, from patch ${map.first + 1}, ` +
              `hears ${map.heard.toFixed(1)} tokens`;
      },
    });
    all.forEach((map, place) => {
      paint(parts.canvases[place], map.shares, map.highest);
      parts.maps.cells[place].dataset.off = map.off;
    });

    if (parts.shownLayer !== layer) follow(parts.maps.cells[head * depth + layer]);
    parts.shownLayer = layer;

    // one map
    parts.gets.show({
      colour: (place) =>
        chosen.shares[place] === null ? "" : cividis(chosen.shares[place] / chosen.highest),
      name: (place) => `${whereIs(place)}: ${given(chosen, place)}`,
    });
    parts.gets.cells.forEach((cell, place) => {
      cell.dataset.dropped = chosen.shares[place] === null;
    });
    const own = Math.min(chosen.fromClass / chosen.highest, 1);
    parts.classGets.show({
      selected: false,
      name: `class token: ${percent(chosen.fromClass)}`,
      colour: cividis(own > 0 ? own : 0),
    });
    parts.chosen.textContent = `layer ${layer + 1}, head ${head + 1}`;
    parts.chosenMap = chosen;
    parts.scale.replaceChildren(legend(chosen.first < 0 ? "0" : percent(chosen.highest)));
    const pixels = asking < prefix ? undefined : seen.reach.patches[layer][head][token - prefix];
    const fact = (name, value) => element("li", {}, name, element("strong", {}, value));
    parts.pointed = fact("under the pointer", "–");
    parts.facts.replaceChildren(
      fact(
        "highest",
        chosen.first < 0 ? "–" : `${percent(chosen.highest)}, patch ${chosen.first + 1}`,
      ),
      ...(prefix ? [fact("class token", percent(chosen.fromClass))] : []),
      fact("hears", chosen.off ? "–" : `${chosen.heard.toFixed(1)} of ${seen.n} tokens`),
      fact(`${nameOf(asking)} looks`, inPixels(pixels)),
      fact("this head looks", inPixels(chosen.distance)),
      fact("spread evenly", inPixels(seen.reach.even)),
      parts.pointed,
    );
    parts.off.checked = chosen.off;
    parts.offLabel.textContent = `switch off layer ${layer + 1}, head ${head + 1}`;
    if (changed) answer(index);

    const before = whole.get(index).answers.at(-1);
    const now = seen.answers.at(-1);
    const [was, is] = [before, now].map((shares) => shares.indexOf(Math.max(...shares)));
    const off = model.get("heads_off").length;
    const changes = [
      ...(dropped.size ? [`${dropped.size} of ${count} patches dropped`] : []),
      ...(off ? [`${off} of ${depth * heads} heads off`] : []),
    ];
    const subject = nameOf(asking).replace(/^./, (letter) => letter.toUpperCase());
    card.say(
      (gone ? `Patch ${query - prefix + 1} is dropped, so ${nameOf(asking)} looks. ` : "") +
        (chosen.off
          ? `Layer ${layer + 1}, head ${head + 1} is off. `
          : chosen.first < 0
            ? ""
            : `${subject} takes most, ${percent(chosen.highest)}, ` +
              `from patch ${chosen.first + 1}. `) +
        `The model says ${classes[is]} ${percent(now[is])}` +
        (changes.length
          ? `, was ${classes[was]} ${percent(before[was])}: ${changes.join(", ")}.`
          : "."),
    );
    card.tabulate(
      `Where ${nameOf(asking)} looks in ${pictures[index].name}`,
      ["map", "highest", "from", "hears tokens", "class token", "head’s distance, pixels"],
      () =>
        all.map((map) => [
          `layer ${map.layer + 1}, head ${map.head + 1}`,
          ...(map.off || map.first < 0
            ? [map.off ? "off" : "–", "–", "–", "–", "–"]
            : [
                percent(map.highest),
                `patch ${map.first + 1}`,
                map.heard.toFixed(1),
                percent(map.fromClass),
                map.distance.toFixed(1),
              ]),
        ]),
    );
  }

  // Where the maps scroll in their box: until the chosen one is in sight.
  function follow(cell) {
    const box = parts.maps.el.parentElement;
    const [{ left, right }, outer] = [cell, box].map((each) => each.getBoundingClientRect());
    const labels = box.querySelector(".vt-maps-heads").offsetWidth;
    if (right > outer.right) box.scrollLeft += right - outer.right + 4;
    else if (left < outer.left + labels) box.scrollLeft -= outer.left + labels - left + 8;
  }

  const given = (map, place) =>
    map.off
      ? "the head is off"
      : map.shares[place] === null
        ? "dropped"
        : percent(map.shares[place]);

  // The share of one patch of the large map, for a look.
  function note(place) {
    const text = place === null ? "–" : `${given(parts.chosenMap, place)}, patch ${place + 1}`;
    parts.pointed.lastChild.textContent = text;
  }

  // The picture, and what the model makes of it.
  function answer(index) {
    const { shape, bytes } = pictures[index];
    if (parts.index !== index) {
      const canvas = picture(shape, bytes);
      parts.asks.el.firstChild.replaceWith(canvas);
      parts.choice.selectedIndex = parts.index = index;
    }
    const line = (shares, layer) => {
      const first = shares.indexOf(Math.max(...shares));
      return element(
        "li",
        {},
        element("span", {}, String(layer)),
        element("span", {}, classes[first]),
        element("strong", {}, percent(shares[first])),
      );
    };
    const before = whole.get(index).answers.at(-1);
    parts.answer.replaceChildren(
      element(
        "div",
        { class: "vt-column" },
        element("p", { class: "vt-label" }, "what it says (mark: of the whole)"),
        strongest(classes, seen.answers.at(-1), before),
      ),
      element(
        "div",
        { class: "vt-column" },
        element("p", { class: "vt-label" }, "read after layer"),
        element("ol", { class: "vt-layers", start: 0 }, ...seen.answers.map(line)),
      ),
    );
  }

  // Of each picture the map that hears the fewest tokens, the narrowest of all first.
  function surprise() {
    if (!surprises) {
      surprises = pictures.map(({ bytes }, index) => {
        const { layers, tokens } = vit.forward(bytes);
        const n = tokens.length / vit.config.dim;
        let best = { fewest: Infinity };
        layers.forEach(({ attention }, layer) => {
          for (let head = 0; head < vit.config.heads; head++) {
            for (let query = 0; query < (prefix || n); query++) {
              const fewest = heard(rowOf(attention, n, head, query));
              if (fewest < best.fewest) best = { fewest, picture: index, layer, head, query };
            }
          }
        });
        return best;
      });
      surprises.sort((a, b) => a.fewest - b.fewest);
    }
    const { picture, layer, head, query } = surprises[surprised++ % surprises.length];
    change({ picture, layer, head, query, dropped: [], heads_off: [] });
  }

  const redraw = () => changing || card.attempt(draw);
  const rebuild = () => card.attempt(() => (build(), draw()));
  build();
  draw();
  for (const name of STATE) model.on(`change:${name}`, redraw);
  for (const name of ["vit", "pictures"]) model.on(`change:${name}`, rebuild);
  return () => {
    for (const name of STATE) model.off(`change:${name}`, redraw);
    for (const name of ["vit", "pictures"]) model.off(`change:${name}`, rebuild);
    el.replaceChildren();
  };
}

function mean(numbers) {
  return numbers.reduce((a, b) => a + b, 0) / numbers.length;
}

function inPixels(number) {
  return number >= 0 ? `${number.toFixed(1)} px far` : "–";
}

export default { render, state: STATE };
