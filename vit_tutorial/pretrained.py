"""Load trained models by their names: the book's own, and the official ones of
four publishers."""

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
from vit_tutorial.cnn import CNN
from vit_tutorial.data import ASSETS
from vit_tutorial.downloads import check_digits, fetch, fetch_from_hub
from vit_tutorial.saving import check_numbers, load_model
from vit_tutorial.variants import create_vit
from vit_tutorial.vit import ViT
from vit_tutorial.weights import (
    from_huggingface,
    from_npz,
    from_timm,
    from_torchvision,
)

# The models in `assets`; the README there says how each was made. `make keep`
# adds one.
BUNDLED = tuple(sorted(path.stem for path in ASSETS.glob("*.safetensors")))


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
    `data.normalize`. eps: of its LayerNorms.
    """

    base: str
    read: Callable[[Path], dict[str, Tensor]]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    eps: float


HALF = (0.5, 0.5, 0.5)  # as mean and as std: pixels in [-1, 1]
PUBLISHERS = {
    "timm": Publisher("", read_timm, HALF, HALF, 1e-6),
    "torchvision": Publisher(
        "https://download.pytorch.org/models/",
        read_torchvision,
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        1e-6,
    ),
    "Hugging Face": Publisher("", read_huggingface, HALF, HALF, 1e-12),
    "Google": Publisher(
        "https://storage.googleapis.com/vit_models/imagenet21k+imagenet2012/",
        from_npz,
        HALF,
        HALF,
        1e-6,
    ),
}

# The name that its publisher gives it, the variant, the pixels of a side, and
# the address, {name} being the first again. timm's names stand for what timm
# itself loads by them. All were trained or fine-tuned on ImageNet's 1,000
# classes.
OFFICIAL = {
    "timm": """
        vit_tiny_patch16_224   Ti/16  224  timm/{name}.augreg_in21k_ft_in1k
        vit_tiny_patch16_384   Ti/16  384  timm/{name}.augreg_in21k_ft_in1k
        vit_small_patch32_224  S/32   224  timm/{name}.augreg_in21k_ft_in1k
        vit_small_patch32_384  S/32   384  timm/{name}.augreg_in21k_ft_in1k
        vit_small_patch16_224  S/16   224  timm/{name}.augreg_in21k_ft_in1k
        vit_small_patch16_384  S/16   384  timm/{name}.augreg_in21k_ft_in1k
        vit_base_patch32_224   B/32   224  timm/{name}.augreg_in21k_ft_in1k
        vit_base_patch32_384   B/32   384  timm/{name}.augreg_in21k_ft_in1k
        vit_base_patch16_224   B/16   224  timm/{name}.augreg2_in21k_ft_in1k
        vit_base_patch16_384   B/16   384  timm/{name}.augreg_in21k_ft_in1k
        vit_base_patch8_224    B/8    224  timm/{name}.augreg2_in21k_ft_in1k
        vit_large_patch16_224  L/16   224  timm/{name}.augreg_in21k_ft_in1k
        vit_large_patch16_384  L/16   384  timm/{name}.augreg_in21k_ft_in1k
    """,
    "torchvision": """
        vit_b_16  B/16  224  vit_b_16-c867db91.pth
        vit_b_32  B/32  224  vit_b_32-d86f8d99.pth
        vit_l_16  L/16  224  vit_l_16-852ce7e3.pth
        vit_l_32  L/32  224  vit_l_32-c7638314.pth
    """,
    "Hugging Face": """
        google/vit-base-patch16-224  B/16  224  google/vit-base-patch16-224
        google/vit-base-patch16-384  B/16  384  google/vit-base-patch16-384
        google/vit-base-patch32-384  B/32  384  google/vit-base-patch32-384
    """,
    "Google": """
        ViT-B_16-224  B/16  224  ViT-B_16-224.npz
        ViT-B_16      B/16  384  ViT-B_16.npz
        ViT-B_32      B/32  384  ViT-B_32.npz
        ViT-L_16      L/16  384  ViT-L_16.npz
    """,
}


CLASSES = 1000


@dataclass(frozen=True)
class Checkpoint:
    """One official checkpoint: who publishes it and where, and what
    `create_vit` makes of it."""

    publisher: str
    variant: str
    image_size: int
    address: str

    def build(self, **changes) -> ViT:
        """Build its ViT without values, which takes no time and no memory."""
        arguments = {"num_classes": CLASSES, "image_size": self.image_size}
        arguments |= {"eps": PUBLISHERS[self.publisher].eps}
        return build_empty(create_vit, self.variant, **(arguments | changes))


def read_table(publisher: str) -> dict[str, Checkpoint]:
    """Write a publisher's rows out as {name: Checkpoint}."""
    rows = [line.split() for line in OFFICIAL[publisher].strip().splitlines()]
    return {
        name: Checkpoint(
            publisher, variant, int(pixels), address.format(name=name)
        )
        for name, variant, pixels, address in rows
    }


CHECKPOINTS = {
    name: checkpoint
    for publisher in PUBLISHERS
    for name, checkpoint in read_table(publisher).items()
}


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
            "ViT-B_16-224" (Google's .npz).
        num_classes: where it differs from the checkpoint's, the model has a new
            head of zeros.
        image_size: pixels, one number or (height, width). Where the grid of
            patches differs from the checkpoint's, its position embeddings are
            resized.

    `facts` holds, of the data the model was trained on, its name ("dataset")
    and the "mean" and "std" that `data.normalize` takes; the bundled ones add
    "class_names".

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
    if name not in CHECKPOINTS and name not in BUNDLED:
        raise ValueError(
            f"no pretrained model is called {name!r}{suggestions(name)}"
        )
    changes = {"num_classes": num_classes, "image_size": image_size}
    changes = {
        key: value for key, value in changes.items() if value is not None
    }
    if name in BUNDLED:
        vit = load_bundled(name)
        if changes and not isinstance(vit, ViT):
            raise ValueError(
                f"{name} is a {type(vit).__name__}: it is loaded as it is, and "
                f"reads images of many sizes; {' and '.join(changes)} are for "
                "ViTs"
            )
    else:
        CHECKPOINTS[name].build(**changes)  # before a download for nothing
        vit = load_official(name)
    return adapt(vit, **changes) if changes else vit


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
        if (classes := len(state["mlp_head.1.weight"])) != CLASSES:
            raise ValueError(f"its head has {classes} classes, not {CLASSES}")
        vit.load_state_dict(state, assign=True)
        check_numbers(state, empty)
    except (KeyError, RuntimeError, SafetensorError, ValueError) as error:
        raise ValueError(
            f"{path} does not hold the weights of {name}: {error}. If the file "
            "was damaged on this machine, delete it and load it again"
        ) from error
    vit.facts = {
        "dataset": "ImageNet",
        "mean": publisher.mean,
        "std": publisher.std,
    }
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
