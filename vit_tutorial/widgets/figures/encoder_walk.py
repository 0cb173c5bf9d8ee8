"""One token on its way through the encoder, step by step (chapter 6)."""

from collections.abc import Mapping, Sequence

import torch
import traitlets
from torch import Tensor

from vit_tutorial.checks import check_number
from vit_tutorial.patches import patch_grid
from vit_tutorial.plots import ACCENT, BLUE, INK
from vit_tutorial.vit import ViT
from vit_tutorial.widgets.base import Figure
from vit_tutorial.widgets.packing import page_vit, unpack
from vit_tutorial.widgets.page_model import normalized, patch_count
from vit_tutorial.widgets.pictures import pack_fitting, unpack_picture
from vit_tutorial.widgets.still import drawing, panel, picture_pixels


class EncoderWalk(Figure):
    """What happens to one token, layer by layer?

    The stages of equations 1 to 4 for one token of one picture: what comes in,
    what each step adds, what goes out, and what the head would read off at that
    point.

    Args:
        vit: the reader's own; the figure computes with its weights in 8 bits
            (see `page_vit`).
        images: uint8 (n, c, H, W), of the model's size.
        names: what each picture is called.
        picture: which of the pictures, from 0.
        token: which token; 0 is the class token, where there is one. Without
            it, the middle patch.
        stage: from 0, the patches, to 3 + 6 * depth, the head. Stage 1 is the
            embedding; then each layer has six: norm, attention, sum, norm, MLP,
            sum; then comes the last norm.

    Raises ValueError for a model, pictures or a number that does not fit.
    """

    script = "encoder_walk"

    vit = traitlets.Dict().tag(sync=True, model=True)
    pictures = traitlets.List().tag(sync=True)
    picture = traitlets.Int().tag(sync=True)
    token = traitlets.Int().tag(sync=True)
    stage = traitlets.Int().tag(sync=True)

    def __init__(
        self,
        vit: ViT,
        images: Tensor,
        names: Sequence[str],
        *,
        picture: int = 0,
        token: int | None = None,
        stage: int = 0,
    ):
        payload = page_vit(vit)
        pictures = pack_fitting(payload["config"], images, names)
        rows, columns = vit.grid
        if token is None:
            token = vit.num_prefix + rows // 2 * columns + columns // 2
        super().__init__(
            vit=payload,
            pictures=pictures,
            picture=picture,
            token=token,
            stage=stage,
        )

    @traitlets.validate("picture", "token", "stage")
    def _fits(self, proposal):
        name, value = proposal["trait"].name, proposal["value"]
        config = self.vit["config"]
        count = {
            "picture": len(self.pictures),
            "token": patch_count(config) + (config["pool"] == "cls"),
            "stage": 4 + 6 * config["depth"],
        }[name]
        return check_number(name, value, count)

    def still(self) -> tuple[str, str]:
        config, shown = self.vit["config"], self.pictures[self.picture]
        image = unpack_picture(shown)
        grid = rows, columns = patch_grid(
            config["image_size"], config["patch_size"]
        )
        place = self.token - (config["pool"] == "cls")
        name = "the class token" if place < 0 else f"patch {place + 1}"
        lengths, added = walk(self.vit, image, self.token)
        selected = None if place < 0 else place
        title = f"{shown['name']}, and {name}"
        svg = drawing(
            520,
            226,
            panel(
                picture_pixels(image),
                0,
                200,
                title,
                grid=grid,
                selected=selected,
            ),
            chart(lengths, added),
        )
        words = (
            f"A picture ({shown['name']}) in {rows} by {columns} patches, and the way of {name} "
            f"through the encoder: it enters {lengths[0]:.1f} long, {len(added)} steps each add a "
            f"vector, {min(added):.1f} to {max(added):.1f} long, and it leaves {lengths[-1]:.1f} "
            "long."
        )
        return svg, words


def walk(
    payload: Mapping, image: Tensor, token: int
) -> tuple[list[float], list[float]]:
    """Follow a token through the encoder as the page does, in double precision.

    Returns the lengths of its vector, before the first step and after each, and
    those of what the steps add.
    """
    vit = unpack(payload).double()
    with torch.no_grad():
        stream = vit.embed(normalized(vit, image))
        lengths, added = [stream[0, token].norm().item()], []
        for layer in vit.transformer.layers:
            for step in layer:
                contribution = step(stream)
                stream = stream + contribution
                added.append(contribution[0, token].norm().item())
                lengths.append(stream[0, token].norm().item())
    return lengths, added


def chart(lengths: list[float], added: list[float]) -> str:
    """Draw the stream's length as a line, and that of what is added as bars
    below it."""
    left, width, height = 236, 276, 180
    step, highest = width / len(lengths), max(*lengths, *added)
    y = [212 - height * length / highest for length in lengths]
    x = [left + step * (i + 0.5) for i in range(len(lengths))]
    text = f'font-family="sans-serif" font-size="12" fill="{INK}"'
    parts = [
        f'<text x="{left}" y="14" {text}>its length, and the length of what is added</text>'
    ]
    for i, length in enumerate(added, start=1):
        tall = height * length / highest
        parts.append(
            f'<rect x="{x[i] - 0.3 * step:.1f}" y="{212 - tall:.1f}" width="{0.6 * step:.1f}" '
            f'height="{tall:.1f}" fill="{BLUE if i % 2 else INK}"/>'
        )
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    parts.append(
        f'<polyline points="{line}" fill="none" stroke="{ACCENT}" stroke-width="2"/>'
    )
    parts.append(f'<path d="M{left} 212h{width}" stroke="{INK}"/>')
    return "".join(parts)
