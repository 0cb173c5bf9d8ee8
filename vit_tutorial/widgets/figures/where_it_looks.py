"""What does each token attend to, in every layer and head? (Chapter 9)"""

from collections.abc import Iterable, Sequence

import torch
import traitlets
from einops import rearrange
from torch import Tensor

from vit_tutorial.checks import check_number
from vit_tutorial.plots import ACCENT
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
from vit_tutorial.widgets.pictures import pack_fitting, unpack_picture
from vit_tutorial.widgets.still import (
    TOP,
    attention_pixels,
    drawing,
    hatching,
    panel,
    picture_pixels,
    square,
    text,
)

SIDE, STEP = 44, 48  # of a small map, and from one to the next: pixels


class WhereItLooks(Figure):
    """What does each head attend to?

    All maps of one token, a row for each head and a column for each layer, and
    one of them large. Patches can be removed and heads switched off; the maps
    and the prediction follow.

    Args:
        vit: the reader's own; the figure computes with its weights in 8 bits
            (see `page_vit`).
        images: uint8 (n, c, H, W), of the model's size.
        names: what the figure calls each image; without them they are numbered.
        picture: which of them, counted from 0.
        layer, head: the map drawn large, counted from 0; without `layer` the
            last one.
        query: which token attends: 0 is the class token, where there is one,
            then come the patches.
        dropped: patches whose tokens do not enter the encoder, counted row by
            row from 0. If one of them is to attend, the first token that is
            there attends instead.
        heads_off: (layer, head) of heads that send nothing.

    Raises ValueError for a model, images or a number that does not fit.
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
        dropped = check_dropped(proposal["value"], config)
        if len(dropped) == patch_count(config) and config["pool"] != "cls":
            raise ValueError(
                "without a class token one patch has to stay, got all of them "
                "dropped"
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
            layer, head = (
                "the layer of a head that is off",
                "a head that is off",
            )
            pairs.append(
                [
                    check_number(layer, each[0], config["depth"]),
                    check_number(head, each[1], config["heads"]),
                ]
            )
        return [each for i, each in enumerate(pairs) if each not in pairs[:i]]

    def still(self) -> tuple[str, str]:
        vit = unpack(self.vit).double()
        config, prefix = vit.config, vit.num_prefix
        count = patch_count(config)
        keep = [place for place in range(count) if place not in self.dropped]
        image = self.pictures[self.picture]
        shares, maps = look(vit, image, keep, self.heads_off)

        there = [*range(prefix), *(prefix + place for place in keep)]
        asking = self.query if self.query in there else there[0]
        looks = torch.zeros(config["depth"], config["heads"], count).double()
        looks[..., keep] = torch.cat(maps)[:, :, there.index(asking), prefix:]
        looks = rearrange(looks, "l heads (h w) -> l heads h w", h=vit.grid[0])
        chosen = looks[self.layer, self.head]

        name = token_name(asking, prefix)
        parts = [
            panel(
                picture_pixels(unpack_picture(image)),
                0,
                200,
                f"{name} attends",
                grid=vit.grid,
                selected=asking - prefix if asking >= prefix else None,
            ),
            panel(
                attention_pixels(chosen),
                220,
                200,
                f"layer {self.layer + 1}, head {self.head + 1}",
            ),
            *(hatching(vit.grid, self.dropped, x, 200) for x in (0, 220)),
            small_maps(looks, (self.layer, self.head), 440),
        ]
        width = 440 + config["depth"] * STEP
        svg = drawing(width, max(226, TOP + config["heads"] * STEP), *parts)

        first = int(shares.argmax())
        most = (
            f"attends most to patch {chosen.argmax() + 1} ({chosen.max():.0%})"
        )
        words = (
            f"{image['name']}, and what {name} attends to in "
            f"{config['depth']} layers of {config['heads']} heads. In layer "
            f"{self.layer + 1}, head {self.head + 1}, it "
            f"{most if chosen.any() else 'attends to nothing'}. With "
            f"{len(keep)} of {count} patches, the model predicts "
            f"{class_name(self.vit['config'], first)}, {shares[first]:.0%}."
        )
        return svg, words


def small_maps(looks: Tensor, chosen: tuple[int, int], left: int) -> str:
    """Draw every map, a row for each head and a column for each layer.

    Args:
        looks: (layers, heads, rows, columns).
        chosen: (layer, head) of the map that is marked.
        left: where they begin, in pixels.
    """
    layers, heads = looks.shape[:2]
    parts = []
    for layer in range(layers):
        x = left + layer * STEP
        parts.append(text(x, 14, str(layer + 1)))
        for head in range(heads):
            y = TOP + head * STEP
            parts.append(
                square(attention_pixels(looks[layer, head]), x, y, SIDE)
            )
            if (layer, head) == chosen:
                parts.append(
                    f'<rect x="{x}" y="{y}" width="{SIDE}" height="{SIDE}" '
                    f'fill="none" stroke="{ACCENT}" stroke-width="3"/>'
                )
    return "".join(parts)
