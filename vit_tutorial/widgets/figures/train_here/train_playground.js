// The playground with a model that was trained here, in a frame of the same
// page: its script is the playground's own, loaded when it is asked for.
//
// A page that was opened by double-click shares no storage with another file in
// some browsers, but a frame without an address is part of its page in all.

import { element } from "../../page/elements.js";
import { beside } from "../../page/scripts.js";
import { quantised } from "./train_quantised.js";

const NEW = {
  ...{ small: false, picture: 0, own: "", dropped: [], seed: 0, query: 0 },
  ...{ positions: true, temperature: 1, heads_off: [], challenge: false },
};

// model: { config, tensors, weights }. pictures: packed, to try it on.
export function playgroundWith(model, pictures) {
  const state = { ...NEW, vit: quantised(model), pictures };
  const json = JSON.stringify(state).replaceAll("<", "\\u003c");
  const links = [...document.querySelectorAll("link[rel=stylesheet]")];
  const ours = beside("figures-playground.css");
  const sheets = [...links.map(({ href }) => href), ours]
    .map((href) => `<link rel="stylesheet" href="${href}">`)
    .join("");
  const { lang = "en", dataset } = document.documentElement;
  return element("iframe", {
    class: "vt-train-playground",
    title: "The playground, with the model that you trained",
    srcdoc:
      `<!doctype html><html lang="${lang || "en"}" ` +
      `data-theme="${dataset.theme ?? "light"}">` +
      `<meta charset="utf8">${sheets}` +
      `<title>Playground</title><body style="padding: 0.5rem">` +
      `<div class="vt-live" data-figure="playground"><img alt="" hidden>` +
      `<script type="application/json">${json}</script></div>` +
      `<script src="${beside("figures-playground.js")}"></script></body>`,
  });
}
