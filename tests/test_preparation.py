"""How the publishers prepare images: what chapter 10 says, read from them."""

import timm
import torchvision
import transformers

from vit_tutorial.pretrained import CHECKPOINTS, PUBLISHERS


def test_images_are_prepared_as_chapter_10_says():
    """The publishers' own settings for the sizes of 224 pixels."""
    timms = timm.create_model("vit_base_patch16_224").pretrained_cfg
    assert timms["tag"] == "augreg2_in21k_ft_in1k"
    assert int(224 / timms["crop_pct"]) == 248
    assert timms["interpolation"] == "bicubic"
    assert timms["mean"] == timms["std"] == (0.5, 0.5, 0.5)
    dino = timm.models.get_pretrained_cfg("vit_base_patch16_224.dino")
    assert (dino.mean, dino.std) == (
        PUBLISHERS["torchvision"].mean,
        PUBLISHERS["torchvision"].std,
    )
    names = [n for n, c in CHECKPOINTS.items() if c.publisher == "torchvision"]
    resized = []
    for name in names:
        weights = torchvision.models.get_model_weights(name).IMAGENET1K_V1
        prepare = weights.transforms()
        assert prepare.crop_size == [224]
        assert prepare.interpolation.value == "bilinear"
        resized += prepare.resize_size
    assert sorted(resized) == [242, 256, 256, 256]
    squeezed = transformers.ViTImageProcessor()
    assert (squeezed.size["height"], squeezed.size["width"]) == (224, 224)
    assert squeezed.resample == 2  # PIL's bilinear
    assert not squeezed.do_center_crop
