"""A figure's two lives: a widget where there is a kernel, and a page's own
where there is none."""

import html
import json
import math
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence

import anywidget
import numpy as np
import torch
import traitlets
from torch import Tensor

from vit_tutorial.widgets.bundle import style_sheet, widget_script
from vit_tutorial.widgets.packing import bundled_name, unpack
from vit_tutorial.widgets.still import speakable

# Traits that the others must fit: models, pictures, a recorded run.
MODELS = ("vit", "cls_vit", "mean_vit", "with_positions", "without")
MODELS += ("vit_few", "cnn_few", "vit_many", "cnn_many")
FOUNDATIONS = (*MODELS, "pictures", "run", "sizes")


class Figure(anywidget.AnyWidget):
    """An interactive figure that is alive in a notebook and in the book's pages
    alike.

    A subclass names its JavaScript module, `script = "cutter"`, declares its
    state as traits tagged `sync=True`, and draws itself once for readers
    without JavaScript. The module's `render({model, el})` is the same in both
    lives.

    Shown in a notebook it is a widget, and carries as `text/html` a picture,
    what the picture shows in words, and the state as data. That is what the
    notebook stores and the book displays; the book's one script brings it to
    life (host.js). There is no code in it and no id, and the same state gives
    the same text on every machine.

    A trait tagged `model=True` holds what `page_model` makes of a model. Where
    that is a bundled checkpoint, its name stands for it in the HTML, and the
    page loads the weights when they are needed.
    """

    script: str
    _built = False

    def __init__(self, **traits):
        super().__init__(**traits)
        self._built = True

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "script" in vars(cls):
            cls._esm = widget_script(cls.script)
            cls._css = style_sheet(cls.script)

    def still(self) -> tuple[str, str]:
        """Draw the figure as it is: an SVG, legible on light and dark, and what
        it shows in words.

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

    @traitlets.validate(*FOUNDATIONS)
    def _fits_the_rest(self, proposal):
        return self.checked(proposal)

    def checked(self, proposal):
        """Refuse a new model, picture or run with which this figure cannot be
        drawn.

        The other traits stay as they are, so they have to fit it: a figure that
        shows its third picture takes no list of two.
        """
        trait, value = proposal["trait"], proposal["value"]
        if trait.metadata.get("model"):
            check_model(trait.name, value)
        elif trait.name == "pictures":
            check_packed("pictures", value)
        elif trait.name == "picture":
            check_packed("picture", [value])
        if self._built:
            before = self._trait_values.get(trait.name)
            self._trait_values[trait.name] = value
            try:
                for name, other in self.traits(sync=True).items():
                    if name in self.state() and name not in (
                        *FOUNDATIONS,
                        trait.name,
                    ):
                        other._cross_validate(self, getattr(self, name))
                self.still()
            except Exception as error:
                raise ValueError(
                    f"this {trait.name} does not fit the figure: {error}"
                ) from error
            finally:
                self._trait_values[trait.name] = before
        return value

    def to_html(self) -> str:
        """Write the figure as the book's pages take it.

        Raises ValueError for a trait that JSON cannot hold, such as one with a
        NaN.
        """
        state = self.state()
        bundled = {
            name: bundled_name(state[name])
            for name in self.trait_names(model=True)
        }
        bundled = {
            name: found for name, found in sorted(bundled.items()) if found
        }
        state |= {name: {"bundled": found} for name, found in bundled.items()}
        drawing, words = self.still()
        names = " ".join(dict.fromkeys(bundled.values()))
        models = f' data-models="{html.escape(names)}"' if names else ""
        data = as_json(state).replace("<", "\\u003c")  # no tag in it
        source = b64encode(drawing.encode()).decode()
        return (
            f'<div class="vt-live" data-figure="{self.script}"{models}>\n'
            f'<img class="dark-light" alt="{html.escape(speakable(words))}" '
            f'src="data:image/svg+xml;base64,{source}">\n'
            f'<script type="application/json">{data}</script>\n'
            "</div>"
        )

    def _repr_mimebundle_(self, **kwargs):
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return {
            **data,
            "text/plain": self.still()[1],
            "text/html": self.to_html(),
        }, metadata


def as_json(state: Mapping) -> str:
    """Write a figure's state; raises ValueError that names the trait that JSON
    cannot hold."""
    for name, value in state.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name} holds what no page can read: {error}"
            ) from None
    return json.dumps(state, separators=(",", ":"))


def check_model(name: str, payload: Mapping) -> None:
    try:
        unpack(payload)
    except Exception as error:
        raise ValueError(
            f"{name} is a model as page_vit or page_cnn packs it, which this is not: {error!r}"
        ) from error


def check_packed(name: str, pictures: Sequence[Mapping]) -> None:
    if not len(pictures):
        raise ValueError(f"{name} holds at least one picture, got none")
    for each in pictures:
        try:
            fits = len(b64decode(each["pixels"], validate=True)) == math.prod(
                each["shape"]
            )
        except (KeyError, TypeError, ValueError):
            fits = False
        if (
            not fits
            or len(each["shape"]) != 3
            or each["shape"][0] not in (1, 3)
        ):
            raise ValueError(
                f"{name}: expected what pack_picture makes of one, got {each!r:.80}"
            )


def as_image(image) -> Tensor | object:
    """Turn an image of PIL or NumPy, (H, W) or (H, W, 3), into a tensor; leave
    the rest alone."""
    if hasattr(image, "convert"):  # PIL's
        image = np.array(
            image if image.mode in ("L", "RGB") else image.convert("RGB")
        )
    if not isinstance(image, np.ndarray):
        return image
    if image.ndim == 2:
        image = image[None]
    elif (
        image.ndim == 3
        and image.shape[-1] in (1, 3)
        and image.shape[0] not in (1, 3)
    ):
        image = np.moveaxis(image, -1, 0)
    return torch.from_numpy(np.ascontiguousarray(image))


def as_images(images) -> Tensor | object:
    """Turn several images, of PIL, NumPy or PyTorch, into one tensor; leave the
    rest alone."""
    if isinstance(images, np.ndarray) and images.ndim in (3, 4):
        images = list(images)
    if isinstance(images, list | tuple) and images:
        each = [as_image(image) for image in images]
        if all(
            isinstance(one, Tensor) and one.shape == each[0].shape
            for one in each
        ):
            return torch.stack(each)
    return images


def pack_picture(image: Tensor) -> dict:
    """Put an image into a trait: uint8 (c, H, W), with one channel or three.

    An image of PIL, and a NumPy array (H, W) or (H, W, c), will do as well.

    Raises ValueError for anything else.
    """
    image = as_image(image)
    if (
        not isinstance(image, Tensor)
        or image.dtype != torch.uint8
        or image.ndim != 3
        or image.shape[0] not in (1, 3)
    ):
        raise ValueError(
            "a picture is uint8 of shape (1 or 3, H, W), as a PyTorch tensor, a NumPy array or an "
            f"image of PIL; got {described(image)}"
        )
    pixels = image.cpu().contiguous().numpy().tobytes()
    return {"shape": list(image.shape), "pixels": b64encode(pixels).decode()}


def described(image) -> str:
    """Name what was given in a few words: a tensor by its type and shape."""
    return (
        f"{image.dtype} {tuple(image.shape)}"
        if isinstance(image, Tensor)
        else f"{image!r:.80}"
    )


def pack_pictures(images: Tensor, names: Sequence[str]) -> list[dict]:
    """Put images, uint8 (n, c, H, W), into a trait, each with what the figure
    is to call it."""
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TypeError(
            f"names are a list with a name for each picture, got {names!r:.80}"
        )
    if len(images) != len(names) or not len(names):
        raise ValueError(
            f"expected a name for each picture, got {len(names)} for {len(images)}"
        )
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise TypeError(f"a picture's name is a string, got {wrong[0]!r:.80}")
    return [
        {**pack_picture(image), "name": name}
        for image, name in zip(images, names, strict=True)
    ]


def unpack_picture(picture: Mapping) -> Tensor:
    """Read an image back from a trait: uint8 (c, H, W)."""
    pixels = torch.frombuffer(
        bytearray(b64decode(picture["pixels"])), dtype=torch.uint8
    )
    return pixels.view(*picture["shape"])
