"""Interactive figures: alive in a notebook with a kernel, and in the book's
pages without one."""

from vit_tutorial.widgets.base import Figure
from vit_tutorial.widgets.figures.any_vit.any_vit import AnyViT
from vit_tutorial.widgets.figures.attention_row import AttentionRow
from vit_tutorial.widgets.figures.class_token import ClassToken
from vit_tutorial.widgets.figures.cutter import PatchCutter
from vit_tutorial.widgets.figures.deletion import Deletion
from vit_tutorial.widgets.figures.encoder_walk import EncoderWalk
from vit_tutorial.widgets.figures.patch_cost import PatchCost
from vit_tutorial.widgets.figures.patch_order import PatchOrder
from vit_tutorial.widgets.figures.playback import Playback
from vit_tutorial.widgets.figures.playground.playground import Playground
from vit_tutorial.widgets.figures.position_similarity import PositionSimilarity
from vit_tutorial.widgets.figures.shift import Shift
from vit_tutorial.widgets.figures.side_by_side import SideBySide
from vit_tutorial.widgets.figures.train_here.train_here import TrainHere
from vit_tutorial.widgets.figures.where_it_looks import WhereItLooks
from vit_tutorial.widgets.packing import dequantised, page_cnn, page_vit

__all__ = [
    "AnyViT",
    "AttentionRow",
    "ClassToken",
    "Deletion",
    "EncoderWalk",
    "Figure",
    "PatchCost",
    "PatchCutter",
    "PatchOrder",
    "Playback",
    "Playground",
    "PositionSimilarity",
    "Shift",
    "SideBySide",
    "TrainHere",
    "WhereItLooks",
    "dequantised",
    "page_cnn",
    "page_vit",
]
