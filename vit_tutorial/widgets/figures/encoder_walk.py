"""One token on its way through the encoder, step by step (chapter 6)."""

from collections.abc import Sequence

import torch
import traitlets
from torch import Tensor

from vit_tutorial.checks import check_number
from vit_tutorial.plots import ACCENT, BLUE, INK
from vit_tutorial.vit import ViT
from vit_tutorial.widgets.base import Figure
from vit_tutorial.widgets.packing import page_vit, unpack
from vit_tutorial.widgets.page_model import normalized, patch_count
from vit_tutorial.widgets.pictures import pack_fitting, unpack_picture
from vit_tutorial.widgets.still import drawing, panel, picture_pixels


class EncoderWalk(Figure):
    """What happens to one token, layer by layer?

    The stages of equations 1 to 4 for one token of one image: what comes in,
    what each step adds, what goes out, and what the head would predict at that
    point.

    Args:
        vit: the reader's own; the figure computes with its weights in 8 bits
            (see `page_vit`).
        images: uint8 (n, c, H, W), of the model's size.
        names: what each image is called.
        picture: which of the images, counted from 0.
        token: which token; 0 is the class token, where there is one. The
            default is the middle patch.
        stage: from 0, the patches, to 3 + 6 * depth, the head. Stage 1 is the
            embedding; then each layer has six: norm, attention, sum, norm, MLP,
            sum; then comes the last norm.

    Raises ValueError for a model, images or a number that does not fit.
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
        config = self.vit["config"]
        counts = {
            "picture": len(self.pictures),
            "token": patch_count(config) + (config["pool"] == "cls"),
            "stage": 4 + 6 * config["depth"],
        }
        name = proposal["trait"].name
        return check_number(name, proposal["value"], counts[name])

    def still(self) -> tuple[str, str]:
        shown = self.pictures[self.picture]
        image = unpack_picture(shown)
        vit = unpack(self.vit).double()
        lengths, added = walk(vit, image, self.token)
        place = self.token - vit.num_prefix
        name = "the class token" if place < 0 else f"patch {place + 1}"
        picture = panel(
            picture_pixels(image),
            0,
            200,
            f"{shown['name']}, and {name}",
            grid=vit.grid,
            selected=None if place < 0 else place,
        )
        rows, columns = vit.grid
        words = (
            f"An image ({shown['name']}) in {rows} by {columns} patches, and "
            f"the way of {name} through the encoder: it enters with norm "
            f"{lengths[0]:.1f}, {len(added)} steps each add a vector with norm "
            f"{min(added):.1f} to {max(added):.1f}, and it leaves with norm "
            f"{lengths[-1]:.1f}."
        )
        return drawing(520, 226, picture, chart(lengths, added)), words


@torch.no_grad()
def walk(
    vit: ViT, image: Tensor, token: int
) -> tuple[list[float], list[float]]:
    """Follow one token through the encoder.

    Returns the norms of its vector, before the first step and after each, and
    the norms of what the steps add.
    """
    tokens = vit.embed(normalized(vit, image))
    stream = [x[0, token] for x in vit.transformer.stream(tokens)]
    way = torch.stack(stream)  # (1 + 2 * depth, D)
    lengths, added = way.norm(dim=-1), way.diff(dim=0).norm(dim=-1)
    return lengths.tolist(), added.tolist()


def chart(lengths: list[float], added: list[float]) -> str:
    """Draw the stream's norm as a line, and as bars the norm of what each step
    adds."""
    left, width, height, bottom = 236, 276, 180, 212
    step, highest = width / len(lengths), max(*lengths, *added)
    parts = [
        f'<text x="{left}" y="14" font-family="sans-serif" font-size="12" '
        f'fill="{INK}">its norm, and the norm of what is added</text>'
    ]
    for i, length in enumerate(added, start=1):
        x, tall = left + step * (i + 0.5), height * length / highest
        colour = BLUE if i % 2 else INK  # attention, MLP
        parts.append(
            f'<rect x="{x - 0.3 * step:.1f}" y="{bottom - tall:.1f}" '
            f'width="{0.6 * step:.1f}" height="{tall:.1f}" fill="{colour}"/>'
        )
    points = [
        f"{left + step * (i + 0.5):.1f},"
        f"{bottom - height * length / highest:.1f}"
        for i, length in enumerate(lengths)
    ]
    parts.append(
        f'<polyline points="{" ".join(points)}" fill="none" '
        f'stroke="{ACCENT}" stroke-width="2"/>'
    )
    parts.append(f'<path d="M{left} {bottom}h{width}" stroke="{INK}"/>')
    return "".join(parts)
