// The class token as a round badge, for it has no place in the image.

import { element } from "./elements.js";

// pick(): it was clicked.
export function badge(pick) {
  const button = element(
    "button",
    { type: "button", class: "vt-badge", onclick: pick },
    "cls",
  );
  return {
    el: button,
    show({ selected, name, colour }) {
      button.setAttribute("aria-pressed", selected);
      button.setAttribute("aria-label", name);
      if (colour) button.style.setProperty("--vt-badge", colour);
    },
  };
}
