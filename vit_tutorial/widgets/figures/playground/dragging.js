// Patches under a pointer that is held down and moved: each is handed over
// once. A click that does not move stays a click.

// start(place): the drag begins there, false if it may not. over(place): each
// further patch, none left out, however fast. end(): the pointer is up.
export function onDrag({ el, cells, columns }, { start, over, end }) {
  let from = null; // where the pointer went down, or the last patch of a drag
  let isDrag = false;

  const placeAt = ({ clientX, clientY }) => {
    const box = el.getBoundingClientRect();
    const rows = cells.length / columns;
    const at = (offset, length, count) =>
      Math.min(Math.max(Math.floor((offset / length) * count), 0), count - 1);
    const column = at(clientX - box.left, box.width, columns);
    return at(clientY - box.top, box.height, rows) * columns + column;
  };
  el.addEventListener("pointerdown", (event) => {
    isDrag = false;
    from = event.button ? null : placeAt(event);
  });
  el.addEventListener("pointermove", (event) => {
    if (from === null || !(event.buttons & 1)) return;
    const to = placeAt(event);
    if (to === from) return;
    if (!isDrag) {
      if (start(from) === false) return void (from = null);
      isDrag = true;
      el.setPointerCapture(event.pointerId);
    }
    for (const place of between(from, to, columns)) over(place);
    from = to;
  });
  const stop = () => {
    if (isDrag) end();
    from = null;
  };
  el.addEventListener("pointerup", stop);
  el.addEventListener("pointercancel", stop);
  const capture = true; // before the grid takes it for a click on a patch
  el.addEventListener(
    "click",
    (event) => {
      if (isDrag) event.stopPropagation();
      isDrag = false;
    },
    capture,
  );
}

// The patches on the way from one to another, without the first.
function between(from, to, columns) {
  const [top, left] = [Math.floor(from / columns), from % columns];
  const [down, right] = [Math.floor(to / columns) - top, (to % columns) - left];
  const steps = Math.max(Math.abs(down), Math.abs(right));
  return Array.from({ length: steps }, (_, i) => {
    const part = (i + 1) / steps;
    const row = top + Math.round(part * down);
    return row * columns + left + Math.round(part * right);
  });
}
