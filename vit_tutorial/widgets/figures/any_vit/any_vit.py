"""Any ViT on any photo: where it attends, and what it predicts (chapter 10)."""

import io
from base64 import b64decode, b64encode
from binascii import Error as DamagedError
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path

import torch
import traitlets
from PIL import Image
from torch import Tensor

from vit_tutorial.attention_maps import attention_rollout
from vit_tutorial.checks import check_number
from vit_tutorial.data import PHOTOS
from vit_tutorial.preprocess import preprocess
from vit_tutorial.vit import ViT
from vit_tutorial.widgets.base import Figure
from vit_tutorial.widgets.packing import page_vit, unpack
from vit_tutorial.widgets.page_model import (
    check_dropped,
    class_name,
    look,
    patch_count,
    token_name,
)
from vit_tutorial.widgets.pictures import (
    pack_fitting,
    pack_picture,
    unpack_picture,
)
from vit_tutorial.widgets.still import (
    attention_pixels,
    drawing,
    hatching,
    panel,
    picture_pixels,
)

OVERLAYS = {
    "rollout": "rollout through all layers",
    "head": "layer {layer}, head {head}",
    "mean": "layer {layer}, mean of its heads",
    "none": "",
}


class AnyViT(Figure):
    """What does a ViT make of your photo?

    A stage to look inside a model: the one that is given at first, then, in the
    page, any ViT's checkpoint that the reader opens there. A photo in patches,
    with one head's map, a layer's mean or rollout laid over it; the maps of all
    heads for one token; the prediction, after each layer and in the end; what
    the prediction loses without each patch.

    Args:
        vit: the reader's own; the figure computes with its weights in 8 bits
            (see `page_vit`). A checkpoint opened in the page is computed in
            float32, and the kernel does not see it.
        images: uint8 (n, c, H, W), of the model's size, to begin with; None
            for photos alone.
        photos: JPEG files by their names; those that come with the package
            unless others are given.
        picture: which of images and photos, counted from 0.
        query: which token attends: 0 is the class token, where there is one,
            then come the patches.
        dropped: patches whose tokens do not enter the encoder, counted row by
            row from 0. If one of them is to attend, the first token that is
            there attends instead.
        layer, head: the map that is chosen, counted from 0.
        overlay: what lies over the photo: "rollout", "head" (the chosen map),
            "mean" (of the chosen layer) or "none".
        smooth: blur the overlay's patches into each other.

    Raises ValueError for a model, images, photos or a number that does not fit.
    """

    script = "any_vit"

    vit = traitlets.Dict().tag(sync=True, model=True)
    pictures = traitlets.List().tag(sync=True)
    photos = traitlets.List().tag(sync=True)
    picture = traitlets.Int().tag(sync=True)
    query = traitlets.Int().tag(sync=True)
    dropped = traitlets.List().tag(sync=True)
    layer = traitlets.Int().tag(sync=True)
    head = traitlets.Int().tag(sync=True)
    overlay = traitlets.Unicode("rollout").tag(sync=True)
    smooth = traitlets.Bool().tag(sync=True)

    def __init__(
        self,
        vit: ViT,
        images: Tensor | None = None,
        photos: Mapping[str, str | PathLike] = PHOTOS,
        *,
        picture: int = 0,
        query: int = 0,
        dropped: Iterable[int] = (),
        layer: int = 0,
        head: int = 0,
        overlay: str = "rollout",
        smooth: bool = False,
    ):
        payload, pictures = page_vit(vit), []
        if images is not None:
            names = [f"image {i + 1}" for i in range(len(images))]
            pictures = pack_fitting(payload["config"], images, names)
        elif not photos:
            raise ValueError("there is nothing to show: give images or photos")
        super().__init__(
            vit=payload,
            pictures=pictures,
            photos=[pack_photo(name, path) for name, path in photos.items()],
            picture=picture,
            query=query,
            dropped=list(dropped),
            layer=layer,
            head=head,
            overlay=overlay,
            smooth=smooth,
        )

    @traitlets.validate("pictures")
    def _are_pictures(self, proposal):
        return self.checked(proposal) if proposal["value"] else []

    @traitlets.validate("photos")
    def _are_photos(self, proposal):
        for each in proposal["value"]:
            open_photo(each)
        return proposal["value"]

    @traitlets.validate("picture", "query", "layer", "head")
    def _is_there(self, proposal):
        name, config = proposal["trait"].name, self.vit["config"]
        counts = {
            "picture": len(self.pictures) + len(self.photos),
            "query": patch_count(config) + (config["pool"] == "cls"),
            "layer": config["depth"],
            "head": config["heads"],
        }
        return check_number(name, proposal["value"], counts[name])

    @traitlets.validate("dropped")
    def _are_patches(self, proposal):
        return check_dropped(proposal["value"], self.vit["config"])

    @traitlets.validate("overlay")
    def _is_an_overlay(self, proposal):
        if proposal["value"] not in OVERLAYS:
            raise ValueError(
                f"overlay is one of {', '.join(OVERLAYS)}, got "
                f"{proposal['value']}"
            )
        return proposal["value"]

    def shown(self, vit: ViT) -> tuple[str, Tensor]:
        """Return what is shown, its name and pixels as the model reads them:
        uint8 (c, h, w)."""
        if self.picture < len(self.pictures):
            packed = self.pictures[self.picture]
            return packed["name"], unpack_picture(packed)
        photo = self.photos[self.picture - len(self.pictures)]
        return photo["name"], preprocess(vit).cut(open_photo(photo))

    def still(self) -> tuple[str, str]:
        vit = unpack(self.vit).double()
        count, prefix = patch_count(vit.config), vit.num_prefix
        name, image = self.shown(vit)
        keep = [place for place in range(count) if place not in self.dropped]
        left = panel(picture_pixels(image), 0, 200, name, grid=vit.grid)
        parts = [left, hatching(vit.grid, self.dropped, 0, 200)]
        words = (
            f"{name[:1].upper()}{name[1:]}, {len(keep)} of {count} patches "
            f"visible, for a Vision Transformer of {vit.config['depth']} "
            f"layers of {vit.config['heads']} heads."
        )
        if not keep and not prefix:
            return drawing(420, 226, *parts), f"{words} There is nothing left."
        shares, maps = look(vit, pack_picture(image), keep)
        there = [*range(prefix), *(prefix + place for place in keep)]
        asking = self.query if self.query in there else there[0]
        over = self.laid(maps, there.index(asking))
        if over is not None:
            title = OVERLAYS[self.overlay].format(
                layer=self.layer + 1, head=self.head + 1
            )
            given = torch.zeros(count).double()
            given[keep] = over[prefix:]
            pixels = attention_pixels(given.view(vit.grid))
            parts.append(panel(pixels, 220, 200, title))
            parts.append(hatching(vit.grid, self.dropped, 220, 200))
            who = "the class token"
            if self.overlay != "rollout":
                who = token_name(asking, prefix)
            words += f" Beside it, what {who} attends to: {title}."
        best = int(shares.argmax())
        words += (
            f" The model predicts {class_name(vit.config | vit.facts, best)}, "
            f"{shares[best]:.0%}."
        )
        return drawing(420, 226, *parts), words

    def laid(self, maps: Sequence[Tensor], row: int) -> Tensor | None:
        """Return the weights of the overlay, one for each token that is there;
        None for no overlay."""
        layer = maps[self.layer][0]  # (heads, n, n)
        if self.overlay == "head":
            return layer[self.head, row]
        if self.overlay == "mean":
            return layer[:, row].mean(dim=0)
        if self.overlay == "rollout" and self.vit["config"]["pool"] == "cls":
            return attention_rollout(maps)[0, 0]
        return None


def pack_photo(name: str, path: str | PathLike) -> dict[str, str]:
    """Put a JPEG file into a trait. Raises ValueError for another file."""
    content = Path(path).read_bytes()
    photo = {"name": str(name), "jpeg": b64encode(content).decode()}
    open_photo(photo)
    return photo


def open_photo(photo: Mapping[str, str]) -> Image.Image:
    """Open what `pack_photo` packed; ValueError where it is no JPEG file."""
    try:
        content = b64decode(photo["jpeg"], validate=True)
        return Image.open(io.BytesIO(content), formats=["JPEG"])
    except (DamagedError, KeyError, OSError, TypeError) as error:
        raise ValueError(
            f"photos: expected what pack_photo makes of a JPEG file ({error})"
        ) from error
