"""Load trained models by their names: the book's own, and the official ones of
five publishers; or from a file."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vit_tutorial.adapt import adapt, build_empty
from vit_tutorial.checkpoint_files import PICKLES, read_checkpoint
from vit_tutorial.cnn import CNN
from vit_tutorial.data import ASSETS
from vit_tutorial.downloads import check_digits, fetch, fetch_from_hub
from vit_tutorial.saving import check_numbers, load_model
from vit_tutorial.variants import SIZES, create_vit
from vit_tutorial.vit import ViT
from vit_tutorial.weights import (
    from_huggingface,
    from_npz,
    from_timm,
    from_torchvision,
)

__all__ = [
    "BUNDLED",
    "CHECKPOINTS",
    "PUBLISHERS",
    "adapt",
    "imagenet_class_names",
    "load_pretrained",
]

BUNDLED = tuple(sorted(path.stem for path in ASSETS.glob("*.safetensors")))
"""The names of the models that come with the package.

assets/README.md says how each was made. `make keep` adds one.
"""


def read_timm(path: Path) -> dict[str, Tensor]:
    return from_timm(load_file(path))


def read_torchvision(path: Path) -> dict[str, Tensor]:
    check_digits(path, path.name)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # junk makes PyTorch raise a dozen kinds
        kind = type(error).__name__  # its text advises to trust the file
        raise ValueError(f"PyTorch reads no weights in it ({kind})") from error
    return from_torchvision(state)


def read_huggingface(path: Path) -> dict[str, Tensor]:
    return from_huggingface(load_file(path))


@dataclass(frozen=True)
class Publisher:
    """What all the checkpoints of one publisher have in common.

    base: where its files are; "" for the hub, whose addresses are "owner/name".
    mean, std: of the pixels in [0, 1], as its models were trained; see
    `data.normalize`. eps: of its LayerNorms. interpolation, stretch: see
    `preprocess`. classes: of their heads, ImageNet's; 0 without a head.
    """

    base: str
    read: Callable[[Path], dict[str, Tensor]]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    eps: float
    interpolation: str
    stretch: bool = False
    classes: int = 1000


HALF = (0.5, 0.5, 0.5)  # as mean and as std: pixels in [-1, 1]
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of its own pixels
PUBLISHERS = {
    "timm": Publisher("", read_timm, HALF, HALF, 1e-6, "bicubic"),
    "torchvision": Publisher(
        "https://download.pytorch.org/models/",
        read_torchvision,
        *IMAGENET,
        1e-6,
        "bilinear",
    ),
    "Hugging Face": Publisher(
        "", read_huggingface, HALF, HALF, 1e-12, "bilinear", stretch=True
    ),
    "Google": Publisher(
        "https://storage.googleapis.com/vit_models/imagenet21k+imagenet2012/",
        from_npz,
        HALF,
        HALF,
        1e-6,
        "bilinear",
        stretch=True,
    ),
    # DINO and DINOv2, trained without labels, as timm keeps them on the hub.
    "Meta": Publisher("", read_timm, *IMAGENET, 1e-6, "bicubic", classes=0),
}
"""What the checkpoints of each publisher have in common."""

# The name that its publisher gives it, the variant, the pixels of a side, those
# that the shorter side is resized to before the centre is cut out, and the
# address, {name} being the first again. timm's names stand for what timm itself
# loads by them.
OFFICIAL = {
    "timm": """
        vit_tiny_patch16_224   Ti/16  224 248  timm/{name}.augreg_in21k_ft_in1k
        vit_tiny_patch16_384   Ti/16  384 384  timm/{name}.augreg_in21k_ft_in1k
        vit_small_patch32_224  S/32   224 248  timm/{name}.augreg_in21k_ft_in1k
        vit_small_patch32_384  S/32   384 384  timm/{name}.augreg_in21k_ft_in1k
        vit_small_patch16_224  S/16   224 248  timm/{name}.augreg_in21k_ft_in1k
        vit_small_patch16_384  S/16   384 384  timm/{name}.augreg_in21k_ft_in1k
        vit_base_patch32_224   B/32   224 248  timm/{name}.augreg_in21k_ft_in1k
        vit_base_patch32_384   B/32   384 384  timm/{name}.augreg_in21k_ft_in1k
        vit_base_patch16_224   B/16   224 248  timm/{name}.augreg2_in21k_ft_in1k
        vit_base_patch16_384   B/16   384 384  timm/{name}.augreg_in21k_ft_in1k
        vit_base_patch8_224    B/8    224 248  timm/{name}.augreg2_in21k_ft_in1k
        vit_large_patch16_224  L/16   224 248  timm/{name}.augreg_in21k_ft_in1k
        vit_large_patch16_384  L/16   384 384  timm/{name}.augreg_in21k_ft_in1k
    """,
    "torchvision": """
        vit_b_16  B/16  224  256  vit_b_16-c867db91.pth
        vit_b_32  B/32  224  256  vit_b_32-d86f8d99.pth
        vit_l_16  L/16  224  242  vit_l_16-852ce7e3.pth
        vit_l_32  L/32  224  256  vit_l_32-c7638314.pth
    """,
    "Hugging Face": """
        google/vit-base-patch16-224  B/16  224  224  google/vit-base-patch16-224
        google/vit-base-patch16-384  B/16  384  384  google/vit-base-patch16-384
        google/vit-base-patch32-384  B/32  384  384  google/vit-base-patch32-384
    """,
    "Google": """
        ViT-B_16-224  B/16  224  224  ViT-B_16-224.npz
        ViT-B_16      B/16  384  384  ViT-B_16.npz
        ViT-B_32      B/32  384  384  ViT-B_32.npz
        ViT-L_16      L/16  384  384  ViT-L_16.npz
    """,
    "Meta": """
        vit_small_patch16_224.dino          S/16  224  248  timm/{name}
        vit_small_patch8_224.dino           S/8   224  248  timm/{name}
        vit_base_patch16_224.dino           B/16  224  248  timm/{name}
        vit_base_patch8_224.dino            B/8   224  248  timm/{name}
        vit_small_patch14_dinov2.lvd142m    S/14  518  518  timm/{name}
        vit_base_patch14_dinov2.lvd142m     B/14  518  518  timm/{name}
        vit_large_patch14_dinov2.lvd142m    L/14  518  518  timm/{name}
    """,
}


@dataclass(frozen=True)
class Checkpoint:
    """One official checkpoint: who publishes it and where, and what
    `create_vit` makes of it."""

    publisher: str
    variant: str
    image_size: int
    resized: int
    address: str

    @property
    def outputs(self) -> int:
        """Length of what it gives: logits, or features without a head."""
        size, _ = self.variant.split("/")
        return PUBLISHERS[self.publisher].classes or SIZES[size]["dim"]

    @property
    def facts(self) -> dict:
        """What its model was trained on, and what `preprocess` needs."""
        publisher = PUBLISHERS[self.publisher]
        return {
            "dataset": "ImageNet",
            "mean": publisher.mean,
            "std": publisher.std,
            "crop": self.image_size / self.resized,
            "stretch": publisher.stretch,
            "interpolation": publisher.interpolation,
        }

    def build(self, **changes) -> ViT:
        """Build its ViT without values, which takes no time and no memory."""
        size, patch = self.variant.split("/")
        arguments = {
            "num_classes": self.outputs,
            "image_size": self.image_size,
            "patch_size": int(patch),  # DINO's are in no table of variants
            "eps": PUBLISHERS[self.publisher].eps,
        }
        return build_empty(create_vit, f"{size}/16", **(arguments | changes))


def read_table(publisher: str) -> dict[str, Checkpoint]:
    """Write a publisher's rows out as {name: Checkpoint}."""
    rows = [line.split() for line in OFFICIAL[publisher].strip().splitlines()]
    return {
        name: Checkpoint(
            publisher,
            variant,
            int(pixels),
            int(resized),
            address.format(name=name),
        )
        for name, variant, pixels, resized, address in rows
    }


CHECKPOINTS = {
    name: checkpoint
    for publisher in PUBLISHERS
    for name, checkpoint in read_table(publisher).items()
}
"""The official checkpoints that `load_pretrained` knows by name."""


def load_pretrained(
    name: str,
    *,
    num_classes: int | None = None,
    image_size: int | tuple[int, int] | None = None,
) -> ViT | CNN:
    """Load a trained model by its name: in eval mode, on the CPU, its weights
    float32.

    Args:
        name: "fashion", the book's own, or another of BUNDLED, small models
            that the chapters' figures compare, some of them CNNs (see
            assets/README.md): these need no network. Or an official one, a key
            of CHECKPOINTS, such as "vit_base_patch16_224" (timm), "vit_b_16"
            (torchvision), "google/vit-base-patch16-224" (Hugging Face),
            "ViT-B_16-224" (Google's .npz), "vit_small_patch16_224.dino" (Meta's
            DINO). Or the path of a .safetensors or .npz file, written by
            `save_model` or under the names of one of these libraries; the
            config.json beside it is read, too.
        num_classes: where it differs from the checkpoint's, the model has a new
            head of zeros.
        image_size: pixels, one number or (height, width). Where the grid of
            patches differs from the checkpoint's, its position embeddings are
            resized.

    A model without a head, as DINO is, gives D features in place of logits.

    `facts` holds, of the data the model was trained on, its name ("dataset")
    and the "mean" and "std" that `data.normalize` takes; the bundled ones add
    "class_names", the official ones what else `preprocess` needs.

    Official files are downloaded once, with a progress bar: from the hub by
    huggingface_hub (the extra [weights]), else by pooch. They are checked:
    against the SHA-256 sum that the hub names, against the first 8 digits of
    one that torchvision's file names carry. Google publishes none, but each
    array in an .npz has a CRC-32, and that is checked.

    Raises ValueError for an unknown name, for sizes that do not fit (or any for
    a CNN, which is loaded as it is), before anything is fetched, and for a file
    that does not hold the model it should; TypeError for a name that is no
    string; ConnectionError where a download fails, is cut short, stalls or is
    damaged; ImportError without huggingface_hub.
    """
    if not isinstance(name, str):
        raise TypeError(
            "load_pretrained takes a name, such as 'fashion', not "
            f"{name!r} ({type(name).__name__})"
        )
    changes = {"num_classes": num_classes, "image_size": image_size}
    changes = {
        key: value for key, value in changes.items() if value is not None
    }
    if name.endswith((".safetensors", ".npz", *PICKLES)):
        return adapted(read_checkpoint(Path(name)), name, changes)
    if name not in CHECKPOINTS and name not in BUNDLED:
        raise ValueError(
            f"no pretrained model is called {name!r}{suggestions(name)}"
        )
    if name in BUNDLED:
        return adapted(load_bundled(name), name, changes)
    CHECKPOINTS[name].build(**changes)  # before a download for nothing
    return adapted(load_official(name), name, changes)


def adapted(model: ViT | CNN, name: str, changes: dict) -> ViT | CNN:
    """Return the model of another size or head, if that was asked for."""
    if not changes:
        return model
    if not isinstance(model, ViT):
        raise ValueError(
            f"{name} is a {type(model).__name__}: it is loaded as it is, and "
            f"reads images of many sizes; {' and '.join(changes)} are for ViTs"
        )
    return adapt(model, **changes)


def load_bundled(name: str) -> ViT | CNN:
    path = ASSETS / f"{name}.safetensors"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} comes with the package and is gone: install it again"
        )
    return load_model(path)


def load_official(name: str) -> ViT:
    """Fetch a checkpoint of CHECKPOINTS, and build the model that it is said to
    hold."""
    checkpoint = CHECKPOINTS[name]
    publisher = PUBLISHERS[checkpoint.publisher]
    if publisher.base:
        path = fetch(publisher.base + checkpoint.address)
    else:
        path = fetch_from_hub(checkpoint.address, "model.safetensors")
    vit = checkpoint.build()
    empty = vit.state_dict()
    try:
        state = {
            key: tensor.float() for key, tensor in publisher.read(path).items()
        }
        classes, expected = len(state["mlp_head.1.weight"]), checkpoint.outputs
        if classes != expected:
            raise ValueError(f"its head has {classes} classes, not {expected}")
        vit.load_state_dict(state, assign=True)
        check_numbers(state, empty)
    except (KeyError, RuntimeError, SafetensorError, ValueError) as error:
        raise ValueError(
            f"{path} does not hold the weights of {name}: {error}. If the file "
            "was damaged on this machine, delete it and load it again"
        ) from error
    vit.facts = checkpoint.facts
    return vit.eval()


def imagenet_class_names() -> list[str]:
    """Name ImageNet's 1,000 classes, in the order of the official checkpoints'
    logits.

    They stand in the config.json of google/vit-base-patch16-224 on the hub.
    Raises what `fetch_from_hub` raises, and ValueError where there are not
    1,000.
    """
    path = fetch_from_hub("google/vit-base-patch16-224", "config.json")
    try:
        names = json.loads(path.read_text(encoding="utf8"))["id2label"]
        if len(names) != 1000:
            raise ValueError(f"found {len(names)}")
        return [names[str(number)] for number in range(1000)]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} should name 1,000 classes in id2label: {error!r}"
        ) from error


def suggestions(name: str) -> str:
    """Return the names nearest to a wrong one, or all names."""
    names = [*BUNDLED, *CHECKPOINTS]
    near = get_close_matches(name, names, n=3, cutoff=0.7)
    return (
        f"; did you mean {' or '.join(near)}?"
        if near
        else f"; there are {', '.join(names)}"
    )
