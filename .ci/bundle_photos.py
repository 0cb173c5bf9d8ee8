"""Make the small photos in `vit_tutorial/assets/photos/` from those that two packages come with.

    pip download --no-deps scikit-image==0.26.0 && unzip scikit_image-*.whl -d scikit-image
    python .ci/bundle_photos.py --from scikit-image/skimage/data --to vit_tutorial/assets/photos

Pillow 13 makes the same bytes; another JPEG encoder may make others that look alike.
"""

import argparse
from pathlib import Path

from matplotlib.cbook import get_sample_data
from PIL import Image

LONGEST = 450  # pixels of the longer side
PHOTOS = {"cat": "chelsea.png", "coffee": "coffee.png", "rocket": "rocket.jpg"}
FACE = (16, 0, 496, 600)  # of Grace Hopper's portrait, without its margins


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="source", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True)
    arguments = parser.parse_args()
    photos = {name: Image.open(arguments.source / file) for name, file in PHOTOS.items()}
    portrait = get_sample_data("grace_hopper.jpg", asfileobj=False)
    photos["portrait"] = Image.open(portrait).crop(FACE)
    arguments.to.mkdir(parents=True, exist_ok=True)
    for name, photo in photos.items():
        small = photo.convert("RGB")
        small.thumbnail((LONGEST, LONGEST))
        small.save(arguments.to / f"{name}.jpg", quality=80, optimize=True)


if __name__ == "__main__":
    main()
