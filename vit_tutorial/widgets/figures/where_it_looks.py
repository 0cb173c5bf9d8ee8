"""Where the class token and the patches look, in every layer and every head
(chapter 9)."""

from collections.abc import Iterable, Sequence

import torch
import traitlets
from torch import Tensor

from vit_tutorial.checks import check_number
from vit_tutorial.plots import ACCENT, INK
from vit_tutorial.vit import ViT
from vit_tutorial.widgets.base import Figure
from vit_tutorial.widgets.packing import page_vit, unpack
from vit_tutorial.widgets.page_model import class_name, look, patch_count
from vit_tutorial.widgets.pictures import pack_fitting, unpack_picture
from vit_tutorial.widgets.still import (
    attention_pixels,
    bitmap,
    drawing,
    hatching,
    panel,
    picture_pixels,
)


class WhereItLooks(Figure):
    """Where does it look?

    All maps of one token, a row a head and a column a layer, and one of them
    large. Patches can be dropped and heads switched off; the maps and the
    answer follow.

    Args:
        vit: the reader's own; the figure computes with its weights in 8 bits
            (see `page_vit`).
        images: uint8 (n, c, H, W), of the model's size.
        names: what the figure calls each picture; without them they are
            numbered.
        picture: which of them, counted from 0.
        layer, head: the map drawn large, counted from 0; without `layer` the
            last one.
        query: which token looks: 0 is the class token, where there is one, then
            come the patches.
        dropped: patches whose tokens do not enter the encoder, counted row by
            row from 0. If one of them is to look, the first token that is there
            looks instead.
        heads_off: (layer, head) of heads that send nothing.

    Raises ValueError for a model, pictures or a number that does not fit.
    """

    script = "where_it_looks"

    vit = traitlets.Dict().tag(sync=True, model=True)
    pictures = traitlets.List().tag(sync=True)
    picture = traitlets.Int().tag(sync=True)
    layer = traitlets.Int().tag(sync=True)
    head = traitlets.Int().tag(sync=True)
    query = traitlets.Int().tag(sync=True)
    dropped = traitlets.List().tag(sync=True)
    heads_off = traitlets.List().tag(sync=True)

    def __init__(
        self,
        vit: ViT,
        images: Tensor,
        names: Sequence[str] | None = None,
        *,
        picture: int = 0,
        layer: int | None = None,
        head: int = 0,
        query: int = 0,
        dropped: Iterable[int] = (),
        heads_off: Iterable[Sequence[int]] = (),
    ):
        payload = page_vit(vit)
        super().__init__(
            vit=payload,
            pictures=pack_fitting(payload["config"], images, names),
            picture=picture,
            layer=payload["config"]["depth"] - 1 if layer is None else layer,
            head=head,
            query=query,
            dropped=list(dropped),
            heads_off=list(heads_off),
        )

    @traitlets.validate("picture", "layer", "head", "query")
    def _is_there(self, proposal):
        name, config = proposal["trait"].name, self.vit["config"]
        counts = {
            "picture": len(self.pictures),
            "layer": config["depth"],
            "head": config["heads"],
            "query": (config["pool"] == "cls") + patch_count(config),
        }
        return check_number(name, proposal["value"], counts[name])

    @traitlets.validate("dropped")
    def _are_patches(self, proposal):
        config = self.vit["config"]
        count = patch_count(config)
        dropped = [
            check_number("a dropped patch", place, count)
            for place in proposal["value"]
        ]
        if len(set(dropped)) < len(dropped):
            raise ValueError(f"each dropped patch is named once, got {dropped}")
        if len(dropped) == count and config["pool"] != "cls":
            raise ValueError(
                "without a class token one patch has to stay, got all of them dropped"
            )
        return sorted(dropped)

    @traitlets.validate("heads_off")
    def _are_heads(self, proposal):
        config, pairs = self.vit["config"], []
        for each in proposal["value"]:
            if not isinstance(each, Sequence) or len(each) != 2:
                raise ValueError(
                    f"a head that is off is named (layer, head), got {each!r}"
                )
            layer = check_number(
                "the layer of a head that is off", each[0], config["depth"]
            )
            pairs.append(
                [
                    layer,
                    check_number(
                        "a head that is off", each[1], config["heads"]
                    ),
                ]
            )
        return [each for i, each in enumerate(pairs) if each not in pairs[:i]]

    def still(self) -> tuple[str, str]:
        vit = unpack(self.vit).double()
        config, grid = self.vit["config"], vit.grid
        count, prefix = patch_count(config), vit.num_prefix
        keep = [place for place in range(count) if place not in self.dropped]
        picture = self.pictures[self.picture]
        shares, maps = look(vit, picture, keep, self.heads_off)

        tokens = [*range(prefix), *(prefix + place for place in keep)]
        asking = self.query if self.query in tokens else tokens[0]
        name = (
            "the class token"
            if asking < prefix
            else f"patch {asking - prefix + 1}"
        )
        looks = torch.zeros(
            config["depth"], config["heads"], count, dtype=torch.double
        )
        looks[..., keep] = torch.cat(maps)[:, :, tokens.index(asking), prefix:]
        chosen = looks[self.layer, self.head]

        parts = [
            panel(
                picture_pixels(unpack_picture(picture)),
                0,
                200,
                f"{name} looks",
                grid=grid,
                selected=asking - prefix if asking >= prefix else None,
            ),
            panel(
                attention_pixels(chosen.view(grid)),
                220,
                200,
                f"layer {self.layer + 1}, head {self.head + 1}",
            ),
        ]
        parts += [hatching(grid, self.dropped, x, 200) for x in (0, 220)]
        side = 44
        for layer in range(config["depth"]):
            x = 440 + layer * (side + 4)
            parts.append(
                f'<text x="{x}" y="14" font-family="sans-serif" font-size="12" fill="{INK}">'
                f"{layer + 1}</text>"
            )
            for head in range(config["heads"]):
                y = 22 + head * (side + 4)
                parts.append(
                    f'<image x="{x}" y="{y}" width="{side}" height="{side}" '
                    'preserveAspectRatio="none" style="image-rendering:pixelated" '
                    f'href="{bitmap(attention_pixels(looks[layer, head].view(grid)))}"/>'
                )
                if (layer, head) == (self.layer, self.head):
                    parts.append(
                        f'<rect x="{x}" y="{y}" width="{side}" height="{side}" fill="none" '
                        f'stroke="{ACCENT}" stroke-width="3"/>'
                    )
        width = 440 + config["depth"] * (side + 4)
        svg = drawing(
            width, max(226, 22 + config["heads"] * (side + 4)), *parts
        )

        first = shares.argmax().item()
        taken = (
            f"takes most, {chosen.max():.0%}, from patch {chosen.argmax() + 1}"
        )
        words = (
            f"{picture['name']}, and where {name} looks in {config['depth']} layers of "
            f"{config['heads']} heads. In layer {self.layer + 1}, head {self.head + 1}, it "
            f"{taken if chosen.any() else 'takes nothing'}. With {len(keep)} of "
            f"{count} patches the model says {class_name(config, first)}, {shares[first]:.0%}."
        )
        return svg, words
