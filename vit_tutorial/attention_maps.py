"""What the attention layers computed: the maps that the fused kernel never holds."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from vit_tutorial.vit import Attention


@contextmanager
def record_attention(vit: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the attention maps of every forward pass made inside the `with` block.

        with record_attention(vit) as maps:
            logits = vit(images)

    Yields:
        A list over layers of (b, heads, n, n): row i holds how much token i takes from each
        token, and sums to 1. It is filled by the forward pass; a second pass replaces it. The maps
        keep their graph, so gradients reach them unless the pass ran under `torch.no_grad()`.

    Raises ValueError for a model that has no `Attention` layer of ours, and RuntimeError where a
    layer's map would be missing: a compiled model, or a block in which the model did not run.
    On leaving, also by an exception, the model is as it was.
    """
    layers = [module for module in vit.modules() if isinstance(module, Attention)]
    if not layers:
        raise ValueError(
            f"{type(vit).__name__} has no vit_tutorial.vit.Attention layer to record; "
            "load its weights into a ViT of this package with the readers in weights.py"
        )
    if any(hasattr(m, "_orig_mod") or m._compiled_call_impl is not None for m in vit.modules()):
        raise RuntimeError(
            "a compiled model has fused its attention; record the model that went into "
            "torch.compile (compiled._orig_mod), or one that was not compiled"
        )
    maps: list[Tensor | None] = [None] * len(layers)

    def listen(index):
        def hook(_module, _inputs, attention):
            maps[index] = attention

        return layers[index].attend.register_forward_hook(hook)

    handles = [listen(index) for index in range(len(layers))]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()
    missing = [index for index, attention in enumerate(maps) if attention is None]
    if missing:
        raise RuntimeError(
            f"layers {missing} of {len(layers)} did not run inside record_attention, so there is "
            "no map of them; call the model itself inside the with block, not a function that "
            "torch.compile has made of it"
        )
