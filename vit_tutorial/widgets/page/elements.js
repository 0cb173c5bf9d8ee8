// Elements of a page, made in one call each.

// Make an element: element("button", { type: "button", onclick }, "Reset")
export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(
    document.createElementNS("http://www.w3.org/2000/svg", tag),
    attributes,
    children,
  );
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null)
      node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// A line of small print. `kind`: a class of its own.
export function label(text = "", kind = "") {
  return element("p", { class: `vt-label ${kind}`.trim() }, text);
}

// A part of a figure, its children one below the other.
export function column(...children) {
  return element("div", { class: "vt-column" }, ...children);
}

// A picture's pixels, (c, H, W) bytes with one channel or three.
export function picture([channels, height, width], pixels) {
  const canvas = element("canvas", {
    width,
    height,
    class: "vt-picture",
    "aria-hidden": "true",
  });
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
