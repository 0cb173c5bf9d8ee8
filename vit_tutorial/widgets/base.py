"""A figure's two lives: a widget where there is a kernel, and a page's own where there is none."""

import html
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence

import anywidget
import torch
from torch import Tensor

from vit_tutorial.widgets.bundle import style_sheet, widget_script
from vit_tutorial.widgets.packing import bundled_name


class Figure(anywidget.AnyWidget):
    """An interactive figure that is alive in a notebook and in the book's pages alike.

    A subclass names its JavaScript module, `script = "cutter"`, declares its state as traits tagged
    `sync=True`, and draws itself once for readers without JavaScript. The module's
    `render({model, el})` is the same in both lives.

    Shown in a notebook it is a widget, and carries as `text/html` a picture, what the picture shows
    in words, and the state as data. That is what the notebook stores and the book displays; the
    book's one script brings it to life (host.js). There is no code in it and no id, and the same
    state gives the same text on every machine.

    A trait tagged `model=True` holds what `page_model` makes of a model. Where that is a bundled
    checkpoint, its name stands for it in the HTML, and the page loads the weights when they are
    needed.
    """

    script: str

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "script" in vars(cls):
            cls._esm = widget_script(cls.script)
            cls._css = style_sheet(cls.script)

    def still(self) -> tuple[str, str]:
        """Draw the figure as it is: an SVG, legible on light and dark, and what it shows in words.

        Numbers are to be rounded so that another CPU gives the same text.
        """
        raise NotImplementedError(f"{type(self).__name__} has no still()")

    def state(self) -> dict:
        """Collect the traits that the figure's front end reads and writes."""
        inherited = anywidget.AnyWidget.class_trait_names()
        return {
            name: getattr(self, name)
            for name in sorted(self.trait_names(sync=True))
            if name not in inherited and not name.startswith("_")
        }

    def to_html(self) -> str:
        """Write the figure as the book's pages take it."""
        state = self.state()
        bundled = {name: bundled_name(state[name]) for name in self.trait_names(model=True)}
        bundled = {name: found for name, found in sorted(bundled.items()) if found}
        state |= {name: {"bundled": found} for name, found in bundled.items()}
        drawing, words = self.still()
        names = " ".join(dict.fromkeys(bundled.values()))
        models = f' data-models="{html.escape(names)}"' if names else ""
        data = json.dumps(state, separators=(",", ":")).replace("<", "\\u003c")  # no tag in it
        source = b64encode(drawing.encode()).decode()
        return (
            f'<div class="vt-live" data-figure="{self.script}"{models}>\n'
            f'<img class="dark-light" alt="{html.escape(words)}" '
            f'src="data:image/svg+xml;base64,{source}">\n'
            f'<script type="application/json">{data}</script>\n'
            "</div>"
        )

    def _repr_mimebundle_(self, **kwargs):
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return {**data, "text/plain": self.still()[1], "text/html": self.to_html()}, metadata


def pack_picture(image: Tensor) -> dict:
    """Put a picture into a trait: uint8 (c, H, W), with one channel or three.

    Raises ValueError for anything else.
    """
    if (
        not isinstance(image, Tensor)
        or image.dtype != torch.uint8
        or image.ndim != 3
        or image.shape[0] not in (1, 3)
    ):
        found = f"{image.dtype} {tuple(image.shape)}" if isinstance(image, Tensor) else repr(image)
        raise ValueError(f"a picture is uint8 of shape (1 or 3, H, W), got {found}")
    pixels = image.cpu().contiguous().numpy().tobytes()
    return {"shape": list(image.shape), "pixels": b64encode(pixels).decode()}


def pack_pictures(images: Tensor, names: Sequence[str]) -> list[dict]:
    """Put pictures, uint8 (n, c, H, W), into a trait, each with what the figure is to call it."""
    if len(images) != len(names) or not len(names):
        raise ValueError(f"expected a name for each picture, got {len(names)} for {len(images)}")
    return [
        {**pack_picture(image), "name": name} for image, name in zip(images, names, strict=True)
    ]


def unpack_picture(picture: Mapping) -> Tensor:
    """Read a picture back from a trait: uint8 (c, H, W)."""
    pixels = torch.frombuffer(bytearray(b64decode(picture["pixels"])), dtype=torch.uint8)
    return pixels.view(*picture["shape"])
