"""Interactive figures: alive in a notebook with a kernel, and in the book's pages without one."""

from vit_tutorial.widgets.attention_row import AttentionRow
from vit_tutorial.widgets.base import Figure
from vit_tutorial.widgets.packing import dequantised, page_cnn, page_vit

__all__ = [
    "AttentionRow",
    "Figure",
    "dequantised",
    "page_cnn",
    "page_vit",
]
