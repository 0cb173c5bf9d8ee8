"""An image, what is left of it, and all that the model makes of that (front
page, chapter 12)."""

import math
from base64 import b64decode, b64encode
from binascii import Error as DamagedError
from collections.abc import Iterable, Mapping, Sequence

import traitlets
from torch import Tensor

from vit_tutorial.checks import check_number
from vit_tutorial.patches import pair, patch_grid, patchify, unpatchify
from vit_tutorial.plots import BLUE, INK
from vit_tutorial.vit import ViT
from vit_tutorial.widgets.base import Figure
from vit_tutorial.widgets.packing import page_vit, unpack
from vit_tutorial.widgets.page_model import (
    check_dropped,
    class_name,
    patch_count,
    predict,
)
from vit_tutorial.widgets.pictures import pack_fitting, unpack_picture
from vit_tutorial.widgets.shuffle import SEEDS, shuffled
from vit_tutorial.widgets.still import (
    drawing,
    hatching,
    panel,
    picture_pixels,
    text,
)

OWN = -1  # the picture that is the reader's own, drawn or brought


class Playground(Figure):
    """How few patches does the model need?

    An image, chosen, drawn or uploaded, in patches that can be removed and
    shuffled; what the model predicts, after each layer and in the end; and what
    a token attends to in every layer and head.

    Args:
        vit: the reader's own, of one channel; the figure computes with its
            weights in 8 bits (see `page_vit`).
        images: uint8 (n, 1, H, W), of the model's size. They are called image 1
            to n.
        labels: what they show, n class numbers. Without them the figure cannot
            show the true label.
        small: the image and the prediction alone, as on the front page.
        picture: which one, counted from 0; -1 is the reader's own.
        dropped: patches whose tokens do not enter the encoder, by their places
            in the image, counted row by row from 0.
        seed: decides the order of the patches; 0 is the image's own.
        positions: whether position embeddings are added.
        temperature: divides the attention scores of all layers once more; 1 is
            the model as it is.
        heads_off: (layer, head) of heads that send nothing.
        query: which token attends: 0 is the class token, where there is one,
            then come the patches.
        challenge: ask for a guess, and show the prediction only then.

    Raises ValueError for a model, images or a number that does not fit.
    """

    script = "playground"

    vit = traitlets.Dict().tag(sync=True, model=True)
    pictures = traitlets.List().tag(sync=True)
    small = traitlets.Bool().tag(sync=True)
    picture = traitlets.Int().tag(sync=True)
    own = traitlets.Unicode().tag(
        sync=True
    )  # the reader's own picture, base64; "" is a black one
    dropped = traitlets.List().tag(sync=True)
    seed = traitlets.Int().tag(sync=True)
    positions = traitlets.Bool(True).tag(sync=True)
    temperature = traitlets.Float(1.0).tag(sync=True)
    heads_off = traitlets.List().tag(sync=True)
    query = traitlets.Int().tag(sync=True)
    challenge = traitlets.Bool().tag(sync=True)

    def __init__(
        self,
        vit: ViT,
        images: Tensor,
        labels: Sequence[int] | Tensor | None = None,
        *,
        small: bool = False,
        picture: int = 0,
        dropped: Iterable[int] = (),
        seed: int = 0,
        positions: bool = True,
        temperature: float = 1.0,
        heads_off: Iterable[Sequence[int]] = (),
        query: int = 0,
        challenge: bool = False,
    ):
        payload = page_vit(vit)
        config = payload["config"]
        if config["channels"] != 1:
            raise ValueError(
                "the playground draws and shrinks grey images, so it takes a "
                f"ViT with channels=1, got channels={config['channels']}"
            )
        names = [f"image {i + 1}" for i in range(len(images))]
        pictures = pack_fitting(config, images, names)
        if labels is not None:
            if len(labels) != len(pictures):
                raise ValueError(
                    f"expected a label for each image, got {len(labels)} for "
                    f"{len(pictures)}"
                )
            for packed, label in zip(pictures, labels, strict=True):
                packed["label"] = check_number(
                    "a label", label, config["num_classes"]
                )
        super().__init__(
            vit=payload,
            pictures=pictures,
            small=small,
            picture=picture,
            dropped=list(dropped),
            seed=seed,
            positions=positions,
            temperature=temperature,
            heads_off=list(heads_off),
            query=query,
            challenge=challenge,
        )

    @traitlets.validate("picture", "seed", "query")
    def _is_there(self, proposal):
        name, value = proposal["trait"].name, proposal["value"]
        if name == "picture" and value == OWN:
            return value
        config = self.vit["config"]
        tokens = patch_count(config) + (config["pool"] == "cls")
        return check_number(
            name,
            value,
            {"picture": len(self.pictures), "seed": SEEDS, "query": tokens}[
                name
            ],
        )

    @traitlets.validate("own")
    def _is_a_picture(self, proposal):
        size = math.prod(pair(self.vit["config"]["image_size"]))
        try:
            found = len(b64decode(proposal["value"], validate=True))
        except DamagedError as error:
            raise ValueError(
                f"own holds {size} bytes in base64, or nothing; {error}"
            ) from None
        if found not in (0, size):
            raise ValueError(
                f"own holds {size} bytes in base64, or nothing; got {found} "
                "bytes"
            )
        return proposal["value"]

    @traitlets.validate("dropped")
    def _are_patches(self, proposal):
        return check_dropped(proposal["value"], self.vit["config"])

    @traitlets.validate("heads_off")
    def _are_heads(self, proposal):
        config, pairs = self.vit["config"], []
        for each in proposal["value"]:
            if not isinstance(each, Sequence) or len(each) != 2:
                raise ValueError(f"heads_off holds (layer, head), got {each!r}")
            layer = check_number(
                "a layer of heads_off", each[0], config["depth"]
            )
            pairs.append(
                [
                    layer,
                    check_number(
                        "a head of heads_off", each[1], config["heads"]
                    ),
                ]
            )
        return pairs

    @traitlets.validate("temperature")
    def _is_positive(self, proposal):
        if not 0 < proposal["value"] < math.inf:
            raise ValueError(
                f"a temperature is positive and finite, got {proposal['value']}"
            )
        return proposal["value"]

    def shown(self) -> dict:
        """Find the picture that is shown, as `pack_picture` packs it."""
        if self.picture != OWN:
            return self.pictures[self.picture]
        height, width = pair(self.vit["config"]["image_size"])
        pixels = self.own or b64encode(bytes(height * width)).decode()
        return {
            "shape": [1, height, width],
            "pixels": pixels,
            "name": "the reader's own image",
        }

    def still(self) -> tuple[str, str]:
        config = self.vit["config"]
        rows, columns = grid = patch_grid(
            config["image_size"], config["patch_size"]
        )
        order = shuffled(rows * columns, self.seed)
        patches = patchify(
            unpack_picture(self.shown())[None], config["patch_size"]
        )[:, order]
        moved = unpatchify(patches, grid, config["patch_size"])[0]
        gone = [
            place for place, patch in enumerate(order) if patch in self.dropped
        ]
        parts = [
            panel(
                picture_pixels(moved), 0, 200, self.shown()["name"], grid=grid
            ),
            hatching(grid, gone, 0, 200),
        ]
        kept = f"{rows * columns - len(gone)} of {rows * columns} patches"
        words = f"{self.shown()['name']}, {kept} visible".capitalize()
        words += ", shuffled" if self.seed else ""
        if self.challenge and not self.small:
            return drawing(420, 226, *parts), f"{words}. What is it?"
        shares = predict(
            unpack(self.vit).double(),
            unpack_picture(self.shown()),
            dropped=self.dropped,
            seed=self.seed,
            positions=self.positions,
            temperature=self.temperature,
            heads_off=self.heads_off,
        )[-1]
        if shares.isnan().any():  # no token at all
            words += ". There is nothing to predict from."
            return drawing(420, 226, *parts), words
        parts.append(bars(config, shares, 220))
        best = int(shares.argmax())
        answer = f"{class_name(config, best)}, {shares[best]:.0%}"
        words += f". The model predicts {answer}."
        return drawing(420, 226, *parts), words


def bars(config: Mapping, shares: Tensor, x: int) -> str:
    """Draw the ten highest answers as bars in whole percent, in the order of
    the classes."""
    listed = sorted(shares.topk(min(10, len(shares))).indices.tolist())
    best = int(shares.argmax())
    parts = []
    for row, index in enumerate(listed):
        whole, y = round(100 * shares[index].item()), 34 + 20 * row
        colour = BLUE if index == best else INK
        label = class_name(config, index)
        parts.append(
            f'{text(x, y, label)}<rect x="{x + 84}" y="{y - 9}" '
            f'width="{0.8 * whole:.1f}" height="9" fill="{colour}"/>'
            f'<text x="{x + 200}" y="{y}" font-family="sans-serif" '
            f'font-size="12" text-anchor="end" fill="{INK}">{whole}%</text>'
        )
    return "".join(parts)
