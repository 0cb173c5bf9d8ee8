"""A small convolutional network: the ViT's opponent, with both of the
properties that it lacks.

A convolution looks at neighbours only (locality) and does the same everywhere,
so that what is shifted in comes out shifted (translation equivariance): section
3.1 of the paper.
"""

import torch
from torch import Tensor, nn

from vit_tutorial.checks import check_images, check_sizes


class CNN(nn.Module):
    """Classify pictures with three stages of convolutions, each on half the
    resolution.

    (b, c, H, W) -> (b, num_classes), for pictures of any size from 4 x 4
    pixels.

    Args:
        num_classes, channels: of the labels and of the pictures.
        widths: channels of the three stages.

    `config` holds these arguments. Raises ValueError for numbers that do not
    fit.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        channels: int = 3,
        widths: tuple[int, int, int] = (32, 64, 96),
    ):
        super().__init__()
        num_classes, channels = check_sizes(
            num_classes=num_classes, channels=channels
        )
        if not isinstance(widths, (tuple, list)) or len(widths) != 3:
            raise ValueError(f"widths are three whole numbers, got {widths!r}")
        first, second, third = widths = check_sizes(
            **{f"widths[{index}]": width for index, width in enumerate(widths)}
        )
        self.config = {
            "num_classes": num_classes,
            "channels": channels,
            "widths": widths,
        }
        self.stages = nn.Sequential(
            convolution(channels, first),  # (b, first, H, W)
            convolution(first, first),
            nn.MaxPool2d(2),
            convolution(first, second),  # (b, second, H/2, W/2)
            convolution(second, second),
            nn.MaxPool2d(2),
            convolution(second, third),  # (b, third, H/4, W/4)
            convolution(third, third),
        )
        self.head = nn.Linear(third, num_classes)
        # (b, H, W, c) in memory: a CPU convolves faster so, and nothing else
        # changes.
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        shape = ("b", self.config["channels"], "H", "W")
        check_images(images, shape, self.head.weight)
        if min(images.shape[2:]) < 4:
            raise ValueError(
                f"this model reads images of 4 x 4 pixels or more, got {tuple(images.shape)}"
            )
        return self.head(
            self.stages(images).mean(dim=(2, 3))
        )  # the mean of all places


def convolution(channels_in: int, channels_out: int) -> nn.Sequential:
    """3 x 3 pixels at a time, then batch normalisation (whose shift makes a
    bias superfluous)."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )
