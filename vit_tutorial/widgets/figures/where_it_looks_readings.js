// What a ViT makes of its images, with some patches dropped and some heads off:
// its predictions, its attention maps, and how far away each patch attends.

import { heard, rowOf } from "../page/rollout.js";
import { probabilities } from "../page/page_model.js";

export class Readings {
  #latest = {};
  #whole = new Map(); // by image

  constructor(vit, images) {
    this.vit = vit;
    this.images = images;
  }

  // With all patches and all heads.
  whole(index) {
    if (!this.#whole.has(index)) {
      this.#whole.set(index, new Reading(this.vit, this.images[index]));
    }
    return this.#whole.get(index);
  }

  // The model runs only where something that it sees has changed.
  of({ picture, dropped, heads_off }) {
    if (!dropped.length && !heads_off.length) return this.whole(picture);
    const asked = JSON.stringify([picture, dropped, heads_off]);
    if (this.#latest.asked !== asked) {
      const image = this.images[picture];
      const reading = new Reading(this.vit, image, dropped, heads_off);
      this.#latest = { asked, reading };
    }
    return this.#latest.reading;
  }

  // Of each image, the map of the class token, or else of any patch, that
  // attends to the fewest tokens.
  narrowest() {
    const { heads } = this.vit.config;
    return this.images.map(({ bytes }, picture) => {
      const { layers, places } = this.vit.forward(bytes);
      const n = this.vit.numPrefix + places.length;
      let best = { fewest: Infinity };
      layers.forEach(({ attention }, layer) => {
        for (let head = 0; head < heads; head++) {
          for (let query = 0; query < (this.vit.numPrefix || n); query++) {
            const fewest = heard(rowOf(attention, n, head, query));
            if (fewest < best.fewest) {
              best = { fewest, picture, layer, head, query };
            }
          }
        }
      });
      return best;
    });
  }
}

class Reading {
  constructor(vit, { bytes }, dropped = [], off = []) {
    const count = vit.grid[0] * vit.grid[1];
    const patches = Array.from({ length: count }, (_, place) => place);
    const keep = patches.filter((place) => !dropped.includes(place));
    const headsOff = {};
    for (const [layer, head] of off) (headsOff[layer] ??= []).push(head);
    const { predictions, layers, places } = vit.forward(bytes, {
      keep,
      headsOff,
    });
    this.vit = vit;
    this.layers = layers;
    this.places = places; // of the patches that are there, in their order
    this.n = vit.numPrefix + places.length; // tokens
    this.answers = predictions.map(probabilities); // before layer 1, after each
    this.isOff = (layer, head) => headsOff[layer]?.includes(head) ?? false;
    this.tokenOf = Array(count).fill(-1); // by patch; -1: it is not there
    places.forEach((place, i) => (this.tokenOf[place] = vit.numPrefix + i));
    this.measure();
  }

  // How far away each patch attends in each head: the distance in pixels,
  // weighted by attention between patches alone, as in the figure of mean
  // attention distances. reach[layer][head]: a distance a patch; even: what it would be
  // if attention were spread evenly.
  measure() {
    const { vit, places, n } = this;
    const [p1, p2] = vit.patchSize;
    const spots = places.map((place) => [
      Math.floor(place / vit.grid[1]) * p1,
      (place % vit.grid[1]) * p2,
    ]);
    const far = spots.map((a) =>
      spots.map((b) => Math.hypot(a[0] - b[0], a[1] - b[1])),
    );
    this.even = mean(far.map(mean));
    this.reach = this.layers.map(({ attention }) =>
      Array.from({ length: vit.config.heads }, (_, head) =>
        far.map((distances, i) => {
          const row = rowOf(attention, n, head, vit.numPrefix + i);
          return average(distances, row.subarray(vit.numPrefix));
        }),
      ),
    );
  }

  // One map, as the figure shows it: how one token attends to the others.
  map(layer, head, token) {
    const row = rowOf(this.layers[layer].attention, this.n, head, token);
    const isOff = this.isOff(layer, head);
    const shares = this.tokenOf.map((i) => (i < 0 || isOff ? null : row[i]));
    const highest = Math.max(...shares);
    const reach = this.reach[layer][head];
    return {
      layer,
      head,
      isOff,
      shares, // by patch
      highest,
      first: shares.indexOf(highest), // the patch; -1: no patch is left
      heard: heard(row),
      fromClass: this.vit.numPrefix ? row[0] : 0,
      distance: mean(reach.filter((pixels) => pixels >= 0)), // the head's
    };
  }

  // How far away one token attends in a head; undefined for the class token,
  // which has no place.
  distance(layer, head, token) {
    return this.reach[layer][head][token - this.vit.numPrefix];
  }
}

function mean(numbers) {
  return numbers.reduce((a, b) => a + b, 0) / numbers.length;
}

function average(numbers, weights) {
  let [sum, total] = [0, 0];
  numbers.forEach((number, i) => {
    sum += number * weights[i];
    total += weights[i];
  });
  return sum / total;
}
