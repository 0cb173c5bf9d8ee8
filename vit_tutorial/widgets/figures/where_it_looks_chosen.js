// One map, large: how much a token attends to each of the others, and what the
// map amounts to.

import { TokenGrid } from "../page/token_grid.js";
import { column, element, label } from "../page/elements.js";
import { cividis, legend } from "../page/colours.js";
import { nameOf, percent, whereIs } from "../page/words.js";

export class ChosenMap {
  #map;

  // ask(token): let this one attend instead.
  constructor(vit, ask) {
    this.prefix = vit.numPrefix;
    this.columns = vit.grid[1];
    this.gets = new TokenGrid({
      vit,
      label: "Its attention weight for each patch",
      move: (token) => this.note(token),
      pick: ask,
      hover: (token) => this.note(token),
    });
    this.title = label();
    this.scale = element("span", { class: "vt-below" });
    this.facts = element("ul", { class: "vt-facts vt-below" });
    this.el = column(this.title, this.gets.el, this.scale, this.facts);
  }

  // chosen: a map of a `reading`; asking, token: which token attends, among all
  // tokens and among those that are there.
  show({ chosen, reading, asking, token }) {
    this.#map = chosen;
    this.title.textContent = titled(chosen);
    this.gets.show({
      colour: (other) => this.#colour(other),
      name: (other) => `${this.#where(other)}: ${this.#given(other)}`,
    });
    this.gets.patches.cells.forEach((cell, place) => {
      cell.dataset.dropped = chosen.shares[place] === null;
    });
    const highest = chosen.first < 0 ? "0" : percent(chosen.highest);
    this.scale.replaceChildren(legend(highest));
    this.pointed = fact("pointed at", "–");
    this.facts.replaceChildren(
      ...this.#factsOf(chosen, reading, asking, token),
      this.pointed,
    );
  }

  #factsOf(map, reading, asking, token) {
    const most = `${percent(map.highest)}, patch ${map.first + 1}`;
    const tokens = `${map.heard.toFixed(1)} of ${reading.n} tokens`;
    const distance = reading.distance(map.layer, map.head, token);
    return [
      fact("highest", map.first < 0 ? "–" : most),
      ...(this.prefix ? [fact("class token", percent(map.fromClass))] : []),
      fact("attends to", map.isOff ? "–" : tokens),
      fact(`distance, ${nameOf(asking, this.prefix)}`, inPixels(distance)),
      fact("distance, whole head", inPixels(map.distance)),
      fact("distance if uniform", inPixels(reading.even)),
    ];
  }

  // The weight of one token, for a look.
  note(token) {
    const name =
      token < this.prefix ? "class token" : nameOf(token, this.prefix);
    this.pointed.lastChild.textContent =
      token === null ? "–" : `${this.#given(token)}, ${name}`;
  }

  #share(token) {
    const { shares, fromClass } = this.#map;
    return token < this.prefix ? fromClass : shares[token - this.prefix];
  }

  #colour(token) {
    const share = this.#share(token);
    return share === null ? "" : cividis(share / this.#map.highest || 0);
  }

  #where(token) {
    if (token < this.prefix) return "class token";
    return whereIs(token - this.prefix, this.columns);
  }

  #given(token) {
    if (this.#map.isOff && token >= this.prefix) return "the head is off";
    const share = this.#share(token);
    return share === null ? "removed" : percent(share);
  }
}

export function titled({ layer, head }) {
  return `layer ${layer + 1}, head ${head + 1}`;
}

function fact(name, value) {
  return element("li", {}, name, element("strong", {}, value));
}

function inPixels(distance) {
  return distance >= 0 ? `${distance.toFixed(1)} px` : "–";
}
