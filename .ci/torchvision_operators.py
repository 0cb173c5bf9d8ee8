"""Let `import torchvision` succeed beside a PyTorch that its compiled part does not fit.

The tests call `declare()` before they import anything; `make notebooks` gives this file to every
kernel that it starts, so that chapter 10 can ask torchvision and timm, which imports it.
"""

import torch

OPERATORS = [
    "nms",
    "qnms",
    "deform_conv2d",
    "_deform_conv2d_backward",
    "ps_roi_align",
    "_ps_roi_align_backward",
    "ps_roi_pool",
    "_ps_roi_pool_backward",
    "roi_align",
    "_roi_align_backward",
    "qroi_align",
    "roi_pool",
    "_roi_pool_backward",
]


def declare():
    """Declare torchvision's operators where it does not import without them.

    A torchvision built for CUDA next to a CPU-only PyTorch registers no operators and then fails to
    import, and so do timm and vit_pytorch, which import it. No Vision Transformer uses these
    operators: declaring their names is enough. Where torchvision imports, nothing is declared.

    Returns the library that holds the declarations (they go with it), or None.
    """
    try:
        import torchvision
    except ImportError:
        return None  # a reader's environment may do without it
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        for name in OPERATORS:
            library.define(f"{name}(Tensor x) -> Tensor")
        import torchvision  # noqa: F401

        return library


if __name__ == "__main__":  # in a kernel, which keeps the library as long as it lives
    torchvision_library = declare()
