// A stage: the card of a figure that uses the whole width of the page. On a
// phone, what one watches stays in view while the controls scroll beneath it.

import { element } from "./elements.js";

export const BOOK = "The Vision Transformer, line by line";
// With ?embed in its address, a page shows the stage alone: for slides, blogs.
const EMBEDDED = "vt-embed";

// Turn a card into a stage. above: what to choose from; watched: what stays in
// view; beside: what has room on a wide page only. Returns the three parts.
export function setStage(card, { above, watched, beside }) {
  const page = document.documentElement;
  const asked = new URLSearchParams(location.search).has("embed");
  page.classList.toggle(EMBEDDED, asked);
  card.root.classList.add("vt-stage");
  card.root.parentElement?.classList.add("vt-stage-ground");
  const part = (kind, ...children) =>
    element("div", { class: `vt-stage-${kind}` }, ...children);
  const parts = {
    above: part("above", ...above),
    watched: part("watched", ...watched),
    beside: part("beside", ...beside),
  };
  card.figure.replaceChildren(...Object.values(parts));
  if (asked) card.details.after(linkToBook());
  return parts;
}

// The page without ?embed, in a window of its own.
function linkToBook() {
  const href = location.href.split(/[?#]/)[0];
  const link = element("a", { href, target: "_blank" }, BOOK);
  return element("p", { class: "vt-label" }, "From ", link);
}
