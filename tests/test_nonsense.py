"""Nonsense in; out comes a right answer, or an error of ours that says what is wrong.

Every public function is called with good arguments, of which one or two are replaced by something
that nobody should give. Errors from deep inside PyTorch, numpy or Python do not count as ours.
"""

import dis
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import vit_tutorial
from vit_tutorial import (
    Attention,
    FeedForward,
    PreNorm,
    Transformer,
    ViT,
    attention_on_grid,
    attention_relevance,
    attention_rollout,
    change_temperature,
    create_vit,
    from_huggingface,
    from_npz,
    from_timm,
    from_torchvision,
    layer_predictions,
    load_model,
    load_pretrained,
    mean_attention_distance,
    patchify,
    plots,
    record_attention,
    resize_pos_embedding,
    save_model,
    sincos_2d,
    switch_off_heads,
    unpatchify,
)
from vit_tutorial.architecture import draw_architecture
from vit_tutorial.augment import random_erase, random_flip, random_shift, shift
from vit_tutorial.cnn import CNN
from vit_tutorial.data import load_dataset, load_photo, normalize
from vit_tutorial.patches import Patchify, pair, patch_grid

OURS = Path(vit_tutorial.__file__).parent
IMAGES = torch.rand(2, 1, 6, 8)
BYTES = torch.randint(0, 256, (2, 1, 6, 8), dtype=torch.uint8)
SIZE = {"image_size": (6, 8), "patch_size": 2, "channels": 1, "num_classes": 3}
BODY = {"dim": 8, "depth": 2, "heads": 2, "dim_head": 4, "mlp_dim": 6}
VIT = ViT(**SIZE, **BODY).eval()
SMALL_CNN = CNN(num_classes=3, channels=1, widths=(2, 3, 4)).eval()
MAPS = [torch.rand(2, 2, 13, 13).softmax(dim=-1) for _ in range(2)]
RUN = [{"event": "start"}, {"event": "epoch", "loss": 0.5}, {"event": "test"}]

# What nobody should give. Whole numbers are small or far too large: a model of a million layers is
# no nonsense, only more than this machine can hold.
NUMBERS = st.one_of(
    st.integers(-3, 5),
    st.sampled_from([10**30, -(10**30), 1e300, 1e-300, 0.5, 8.0, -0.0, 1j, True]),
    st.sampled_from([float("nan"), float("inf"), -float("inf")]),
)
TENSORS = st.builds(
    lambda shape, dtype: torch.ones(shape, dtype=dtype),
    st.lists(st.integers(0, 4), max_size=4),
    st.sampled_from([torch.uint8, torch.int64, torch.bool, torch.float32, torch.float64]),
)
SIMPLE = st.one_of(
    st.none(),
    NUMBERS,
    st.text(max_size=3),
    st.binary(max_size=3),
    TENSORS,
    TENSORS.map(torch.Tensor.numpy),
    st.sampled_from([IMAGES, BYTES, IMAGES[0], IMAGES.double(), IMAGES.numpy(), IMAGES.to("meta")]),
    st.sampled_from(
        [object(), nn.Linear(2, 2), VIT, SMALL_CNN, ViT, len, np.float32(1), Path(".")]
    ),
)
NONSENSE = st.one_of(
    SIMPLE,
    st.lists(SIMPLE, max_size=3),
    st.lists(SIMPLE, max_size=3).map(tuple),
    st.dictionaries(st.one_of(st.text(max_size=3), NUMBERS), SIMPLE, max_size=2),
    st.sets(st.integers(0, 3)),
)


def is_ours(error: BaseException) -> bool:
    """Tell whether our code raised it by `raise`, or the system refused a file and names it."""
    if isinstance(error, OSError) and error.filename is not None:
        return True
    traceback = error.__traceback__
    while traceback.tb_next:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code
    raised = dis.opname[code.co_code[traceback.tb_lasti]] == "RAISE_VARARGS"
    return raised and OURS in Path(code.co_filename).parents


def outcome(call) -> tuple[object, Exception | None]:
    """Return what a call gives and None, or None and the error if it is of an expected kind."""
    try:
        return call(), None
    except (ValueError, TypeError, OSError) as error:
        return None, error


# Running what was built


def run_tokens(layer: nn.Module) -> None:
    """A layer that could be built reads tokens of its own width and gives as many, all finite."""
    width = next(m for m in layer.modules() if isinstance(m, nn.Linear)).in_features
    assert layer.eval()(torch.randn(2, 3, width)).isfinite().all()


def run_model(model: ViT | CNN) -> None:
    size = model.image_size if isinstance(model, ViT) else (6, 8)
    images = torch.rand(2, model.config["channels"], *size)
    logits = model.eval()(images)
    assert logits.shape == (2, model.config["num_classes"])
    assert logits.isfinite().all()


def all_finite(result) -> None:
    for tensor in result if isinstance(result, list) else [result]:
        assert tensor.isfinite().all()


def recorded(vit):
    with record_attention(vit) as maps, torch.no_grad():
        vit(IMAGES)
    return maps


def with_heads_off(vit, heads):
    with switch_off_heads(vit, heads), torch.no_grad():
        return vit(IMAGES)


def at_temperature(vit, temperature):
    with change_temperature(vit, temperature), torch.no_grad():
        return vit(IMAGES)


def prenorm(dim, eps):
    return PreNorm(dim, nn.Identity(), eps=eps)


def run_norm(layer: nn.Module) -> None:
    (width,) = layer.norm.normalized_shape
    assert layer(torch.zeros(2, width)).isfinite().all()


def forward(model):
    def call(images):
        return model(images)

    return call


def on_axes(draw):
    def call(**arguments):
        draw(plt.figure().subplots(), **arguments)

    return call


def random() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def same_size(images: torch.Tensor) -> None:
    assert images.ndim == 4


# name: what is called, its good arguments, and what a right answer is
CALLS = {
    "Attention": (
        Attention,
        {"dim": 8, "heads": 2, "dim_head": 4, "dropout": 0.0, "qkv_bias": True},
        run_tokens,
    ),
    "FeedForward": (FeedForward, {"dim": 8, "hidden_dim": 4, "dropout": 0.0}, run_tokens),
    "PreNorm": (prenorm, {"dim": 8, "eps": 1e-6}, run_norm),
    "Transformer": (
        Transformer,
        BODY | {"dropout": 0.1, "qkv_bias": False, "eps": 1e-6},
        run_tokens,
    ),
    "ViT": (
        ViT,
        SIZE
        | BODY
        | {"pool": "cls", "dropout": 0.0, "emb_dropout": 0.1, "qkv_bias": True}
        | {"position": "learned", "eps": 1e-6},
        run_model,
    ),
    "CNN": (CNN, {"num_classes": 3, "channels": 1, "widths": (2, 3, 4)}, run_model),
    "create_vit": (
        create_vit,
        {"variant": "Ti/16", "num_classes": 3, "image_size": 32, "depth": 1, "dim": 12, "heads": 3},
        run_model,
    ),
    "ViT.forward": (forward(VIT), {"images": IMAGES}, all_finite),
    "CNN.forward": (forward(SMALL_CNN), {"images": IMAGES}, all_finite),
    "pair": (pair, {"size": 3}, None),
    "patch_grid": (patch_grid, {"image_size": (6, 8), "patch_size": 2}, None),
    "patchify": (patchify, {"images": IMAGES, "patch_size": 2}, None),
    "Patchify": (Patchify, {"patch_size": 2}, None),
    "unpatchify": (
        unpatchify,
        {"patches": torch.rand(2, 12, 4), "grid": (3, 4), "patch_size": 2},
        same_size,
    ),
    "sincos_2d": (sincos_2d, {"grid": (2, 3), "dim": 8}, all_finite),
    "resize_pos_embedding": (
        resize_pos_embedding,
        {"pos": torch.rand(1, 7, 4), "old_grid": (2, 3), "new_grid": (3, 4), "num_prefix": 1},
        all_finite,
    ),
    "record_attention": (recorded, {"vit": VIT}, all_finite),
    "switch_off_heads": (with_heads_off, {"vit": VIT, "heads": {0: [1]}}, all_finite),
    "change_temperature": (at_temperature, {"vit": VIT, "temperature": 2.0}, all_finite),
    "attention_on_grid": (
        attention_on_grid,
        {"attention": MAPS[0], "grid": (3, 4), "patch": (0, 1)},
        None,
    ),
    "attention_rollout": (
        attention_rollout,
        {"maps": MAPS, "head_fusion": "mean", "discard_ratio": 0.5},
        all_finite,
    ),
    "attention_relevance": (
        attention_relevance,
        {"vit": VIT, "images": IMAGES, "classes": [0, 1]},
        all_finite,
    ),
    "mean_attention_distance": (
        mean_attention_distance,
        {"maps": MAPS, "grid": (3, 4), "patch_size": 2},
        None,
    ),
    "layer_predictions": (layer_predictions, {"vit": VIT, "images": IMAGES}, all_finite),
    "random_flip": (random_flip, {"images": BYTES, "generator": random()}, same_size),
    "random_shift": (
        random_shift,
        {"images": BYTES, "pixels": 1, "generator": random()},
        same_size,
    ),
    "random_erase": (random_erase, {"images": BYTES, "side": 1, "generator": random()}, same_size),
    "shift": (
        shift,
        {"images": BYTES, "down": torch.tensor([1, 0]), "right": torch.tensor([-1, 2])},
        same_size,
    ),
    "load_dataset": (
        load_dataset,
        {"name": "fashion_mnist", "split": "test", "subset": 10},
        None,
    ),
    "normalize": (normalize, {"images": BYTES, "mean": [0.5], "std": [0.5]}, all_finite),
    "load_photo": (load_photo, {"size": 56}, None),
    "show_picture": (on_axes(plots.show_picture), {"image": IMAGES[0], "title": "boot"}, None),
    "tile": (plots.tile, {"images": torch.rand(4, 2, 3), "columns": 2}, None),
    "show_patch_grid": (
        on_axes(plots.show_patch_grid),
        {"image": IMAGES[0], "patch_size": 2, "selected": 3},
        None,
    ),
    "show_matrix": (on_axes(plots.show_matrix), {"matrix": torch.rand(3, 4)}, None),
    "show_curves": (on_axes(plots.show_curves), {"runs": {"cls": [RUN]}, "key": "loss"}, None),
    "draw_architecture": (
        draw_architecture,
        {"image": IMAGES[0, :, :, :6], "patch_size": 3},
        None,
    ),
    "show_source": (plots.show_source, {"thing": ViT}, None),
    "load_model": (load_model, {"path": "saved.safetensors"}, run_model),
    "save_model": (save_model, {"model": VIT, "path": "new.safetensors"}, None),
    "load_pretrained": (
        load_pretrained,
        {"name": "figure-cls-0", "num_classes": 3, "image_size": 28},
        run_model,
    ),
    "from_timm": (from_timm, {"state_dict": {}}, None),
    "from_torchvision": (from_torchvision, {"state_dict": {}}, None),
    "from_huggingface": (from_huggingface, {"state_dict": {}}, None),
    "from_npz": (from_npz, {"path": "none.npz"}, None),
}


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """What a call may write, it writes here; figures need no window."""
    with pytest.MonkeyPatch.context() as patch, mpl.rc_context({"backend": "agg"}):
        patch.chdir(tmp_path_factory.mktemp("nonsense"))
        patch.delenv("VIT_TUTORIAL_DATA", raising=False)
        save_model(VIT, "saved.safetensors")
        yield
    plt.close("all")


def test_every_public_name_is_fed_nonsense():
    assert set(vit_tutorial.__all__) <= set(CALLS)


SETTINGS = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=40,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("name", CALLS)
@SETTINGS
@given(data=st.data())
def test_nonsense_gives_a_right_answer_or_an_error_of_ours(name, data):
    call, good, check = CALLS[name]
    spoiled = data.draw(st.lists(st.sampled_from([*good]), min_size=1, max_size=2, unique=True))
    arguments = good | {argument: data.draw(NONSENSE, label=argument) for argument in spoiled}
    extra = {"answer": "boot"} if name == "draw_architecture" else {}
    result, error = outcome(lambda: call(**arguments, **extra))
    plt.close("all")
    if error:
        assert is_ours(error), f"not an error of ours: {error!r}"
    elif check:
        check(result)


def test_good_arguments_are_answered():
    """So that no call is refused for what is good in it."""
    for name, (call, good, check) in CALLS.items():
        if name.startswith("from_"):  # what they read well is in test_weights.py
            continue
        extra = {"answer": "boot"} if name == "draw_architecture" else {}
        result, error = outcome(lambda call=call, good=good, extra=extra: call(**good, **extra))
        assert error is None, f"{name} refuses what is good: {error!r}"
        if check:
            check(result)


def test_errors_of_others_are_told_from_ours():
    for call in (
        lambda: patchify(IMAGES, 5),  # a `raise` of ours
        lambda: from_npz("nowhere.npz"),  # the system's word on a file that it names
    ):
        with pytest.raises((ValueError, OSError)) as caught:
            call()
        assert is_ours(caught.value)
    for call in (
        lambda: VIT.classify(None),  # an operator inside our code
        lambda: VIT.transformer(IMAGES),  # PyTorch
        lambda: int("x"),
    ):
        with pytest.raises((TypeError, ValueError, RuntimeError)) as caught:
            call()
        assert not is_ours(caught.value)
