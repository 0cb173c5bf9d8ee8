"""Film ten seconds of the playground for the README: what a reader does, and what the ViT answers.

    make book
    python .ci/moving_picture.py

A browser opens the built page. Between two frames the pointer moves a step; a frame is taken once
the page has drawn what it did. So the film shows what the page computes, at a speed that does not
depend on the machine.
"""

import io
import re
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import FloatRect, Page, sync_playwright

from vit_tutorial.records import write_whole

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "_build" / "html" / "book" / "12_playground.html"
TARGET = ROOT / ".github" / "playground.webp"
FRAME = 125  # milliseconds
WIDTH = 960  # of the film, in pixels
POINTER = """
const pointer = document.createElement("div");
pointer.style = "position: fixed; z-index: 9999; width: 18px; height: 18px; border-radius: 50%;"
  + "margin: -9px 0 0 -9px; background: #d55e0099; border: 2px solid #d55e00; pointer-events: none";
document.body.append(pointer);
const follow = (event) => {
  pointer.style.left = `${event.clientX}px`;
  pointer.style.top = `${event.clientY}px`;
};
for (const kind of ["pointermove", "pointerdown"]) addEventListener(kind, follow, true);
"""


class Film:
    """Frames of one page, and the pointer that acts in it."""

    def __init__(self, page: Page):
        self.page, self.frames, self.at = page, [], (640.0, 640.0)
        card = page.locator(".vt-card").bounding_box()
        lowest = page.locator(".vt-discoveries").bounding_box()
        assert card is not None
        assert lowest is not None
        bottom = lowest["y"] + lowest["height"] + 8
        width, height = card["width"], bottom - card["y"]
        self.clip: FloatRect = {"x": card["x"], "y": card["y"], "width": width, "height": height}

    def take(self, frames: int = 1) -> None:
        """Take as many frames of what there is to see now."""
        # Two of the browser's own frames later, what was pressed has been drawn.
        self.page.evaluate(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        shot = self.page.screenshot(clip=self.clip)
        image = Image.open(io.BytesIO(shot)).convert("RGB")
        height = round(image.height * WIDTH / image.width)
        image = image.resize((WIDTH, height), Image.Resampling.LANCZOS)
        self.frames += [image] * frames

    def move(self, to: tuple[float, float], steps: int) -> None:
        """Move the pointer to a place, one frame a step."""
        (x, y), (to_x, to_y) = self.at, to
        for step in range(1, steps + 1):
            part = step / steps
            self.page.mouse.move(x + (to_x - x) * part, y + (to_y - y) * part)
            self.take()
        self.at = to

    def patch(self, row: int, column: int) -> tuple[float, float]:
        cell = self.page.get_by_role(
            "gridcell", name=re.compile(rf"^patch {7 * row + column + 1},")
        )
        return centre(cell.bounding_box())

    def press(self, locator, steps: int = 4, rest: int = 5) -> None:
        """Go to a control, press it, and look at what it did."""
        self.move(centre(locator.bounding_box()), steps)
        self.page.mouse.click(*self.at)
        self.take(rest)


def centre(box) -> tuple[float, float]:
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def act(film: Film) -> None:
    """Remove patches by hand, let the page find the few that suffice, switch heads off."""
    card = film.page.locator(".vt-card")
    undo = card.get_by_role("button", name="Undo")
    film.take(6)
    film.move(film.patch(4, 6), 4)
    film.page.mouse.down()
    for row, column in ((4, 4), (3, 3), (3, 5), (4, 2), (3, 1), (4, 0), (3, 0)):
        film.move(film.patch(row, column), 2)
    film.page.mouse.up()
    film.take(8)
    film.press(undo, rest=3)
    film.press(card.locator(".vt-discoveries button").first, rest=11)
    film.press(undo, rest=3)
    for layer, head in ((6, 3), (6, 1)):
        name = f"layer {layer}, head {head}:"
        film.press(card.get_by_role("gridcell", name=name), steps=4, rest=5)
    film.take(max(0, 10_000 // FRAME - len(film.frames)))


def main() -> None:
    if not PAGE.exists():
        sys.exit(f"{PAGE.relative_to(ROOT)} is not built; run make book first")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page(viewport={"width": 1280, "height": 800}, device_scale_factor=1.5)
        page.goto(PAGE.as_uri())
        page.wait_for_selector(".vt-card .vt-outcome")
        page.locator(".vt-discoveries button").first.wait_for(timeout=120_000)
        page.locator(".vt-card:not([aria-busy=true])").wait_for(timeout=120_000)
        page.evaluate(POINTER)
        film = Film(page)
        act(film)
        browser.close()
    first, *others = film.frames
    # Shown twice; then it rests.
    look = {"duration": FRAME, "loop": 2, "quality": 55, "method": 6}
    made = io.BytesIO()
    first.save(made, "WEBP", save_all=True, append_images=others, **look)
    write_whole(TARGET, made.getvalue())
    seconds, size = len(film.frames) * FRAME / 1000, len(made.getvalue())
    print(f"{len(film.frames)} frames, {seconds} seconds, {size:,} bytes")


if __name__ == "__main__":
    main()
