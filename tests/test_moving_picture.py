"""The film in the README: where it is, how long it runs, and what it weighs."""

import re
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]


def film():
    readme = (ROOT / "README.md").read_text(encoding="utf8")
    (alt, name) = re.search(r"!\[([^\]]+)\]\(([^)]+\.webp)\)", readme).groups()
    return alt, ROOT / name


def test_the_film_says_in_words_what_it_shows():
    alt, path = film()
    assert path.exists()
    assert "playground" in alt
    assert len(alt.split()) > 15


def test_the_film_runs_ten_seconds_and_then_rests():
    _, path = film()
    with Image.open(path) as image:
        assert image.n_frames > 20
        durations = []
        for frame in range(image.n_frames):
            image.seek(frame)
            image.load()
            durations.append(image.info["duration"])
        assert 9_500 <= sum(durations) <= 11_000
        assert image.info["loop"] == 2
        assert image.width >= 900
    assert path.stat().st_size < 800_000
