"""A small convolutional network: the ViT's opponent, with both of the
properties that it lacks.

A convolution looks at neighbours only (locality) and treats every place alike,
so that a shifted image gives a shifted output (translation equivariance):
section 3.1 of the paper.
"""

import torch
from torch import Tensor, nn

from vit_tutorial.checks import arguments_of, check_images, checked

__all__ = ["CNN", "convolution"]


class CNN(nn.Module):
    """Classify images with three stages of convolutions, each at half the
    resolution of the one before.

    (b, c, H, W) -> (b, num_classes), for images of any size from 4 x 4 pixels.

    Args:
        num_classes, channels: of the labels and of the images.
        widths: channels of the three stages.

    `config` holds these arguments, `facts` what the model was trained on, as a
    ViT's do. Raises ValueError for arguments that do not fit.
    """

    @checked
    def __init__(
        self,
        *,
        num_classes: int,
        channels: int = 3,
        widths: tuple[int, int, int] = (32, 64, 96),
    ):
        super().__init__()
        self.config, self.facts = arguments_of(locals()), {}
        first, second, third = widths
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
        # As (b, H, W, c) in memory, which a CPU convolves faster.
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        shape = ("b", self.config["channels"], "H", "W")
        check_images(images, shape, self.head.weight)
        if min(images.shape[2:]) < 4:
            raise ValueError(
                "this model reads images of 4 x 4 pixels or more, got "
                f"{tuple(images.shape)}"
            )
        return self.head(self.stages(images).mean(dim=(2, 3)))  # of all places


def convolution(channels_in: int, channels_out: int) -> nn.Sequential:
    """Convolve 3 x 3 pixels at a time, then normalise over the batch, whose
    shift makes a bias superfluous."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )
