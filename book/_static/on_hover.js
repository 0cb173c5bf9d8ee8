// Shows what a term means, or which work a citation names, while the pointer or
// the keyboard's focus is on the link, or the pointer on the explanation itself.
// Escape closes it. A finger follows the link at once, as ever.

(() => {
  if (!("popover" in HTMLElement.prototype)) return; // an old browser
  const REST = 250; // milliseconds; a pointer on its way elsewhere opens nothing
  const GRACE = 150; // milliseconds to get from the link to the explanation
  const MARGIN = 8; // pixels between it and the window's edges
  let timer = 0;
  let shown = null; // { box, link }

  function wait(milliseconds, then) {
    clearTimeout(timer);
    timer = setTimeout(then, milliseconds);
  }

  // Below the line that was pointed at, or above where there is no room.
  function place(box, link, y) {
    const lines = [...link.getClientRects()];
    const line = lines.find(({ bottom }) => y <= bottom) ?? lines[0];
    const { clientWidth, clientHeight } = document.documentElement;
    const { offsetWidth, offsetHeight } = box;
    const most = clientWidth - offsetWidth - MARGIN;
    const left = Math.max(MARGIN, Math.min(line.left, most));
    const above = line.top - offsetHeight;
    const isBelow = line.bottom + offsetHeight <= clientHeight || above < 0;
    box.style.left = `${left + scrollX}px`;
    box.style.top = `${(isBelow ? line.bottom : above) + scrollY}px`;
  }

  function show(box, link, y) {
    clearTimeout(timer);
    if (!box.matches(":popover-open")) box.showPopover(); // closes another
    shown = { box, link };
    place(box, link, y);
  }

  function settle() {
    const { box, link } = shown ?? {};
    if (!box?.matches(":popover-open")) return;
    const isWanted = [box, link].some((e) => e.matches(":hover, :focus-visible"));
    if (!isWanted) box.hidePopover();
  }

  const leave = () => wait(GRACE, settle);

  addEventListener("keydown", ({ key }) => {
    if (key !== "Escape") return;
    clearTimeout(timer);
    if (shown?.box.matches(":popover-open")) shown.box.hidePopover();
  });

  for (const link of document.querySelectorAll("a[aria-describedby^=about-]")) {
    const id = link.getAttribute("aria-describedby");
    const box = document.getElementById(id).closest(".on-hover");
    link.removeAttribute("title"); // the browser would show it, too
    link.addEventListener("pointerenter", ({ pointerType, clientY }) => {
      if (pointerType !== "touch") wait(REST, () => show(box, link, clientY));
    });
    link.addEventListener("focus", () => {
      if (link.matches(":focus-visible")) show(box, link, 0);
    });
    for (const event of ["pointerleave", "blur"])
      link.addEventListener(event, leave);
    box.addEventListener("pointerenter", () => clearTimeout(timer));
    box.addEventListener("pointerleave", leave);
    box.popover = "auto";
    box.hidden = false;
  }
})();
