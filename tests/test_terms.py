"""No term of the glossary is used before it is taught, but for the places that are listed here.

A chapter teaches a term where its text links it to the glossary. Earlier pages may name it only if
they are listed with it: they say in passing what it is or where it is explained, or mean the
everyday word (a key, a pixel's value).
"""

import json
import re

import pytest
import yaml
from notebooks import ROOT

INTRO, PIXELS, PATCHES, CLASS, PLACES, ATTENTION, ENCODER, TRAINING, BIAS, MAPS = (
    "intro",
    "01_pixels_to_tokens",
    "02_patches",
    "03_class_token",
    "04_position_embeddings",
    "05_attention",
    "06_encoder",
    "07_training",
    "08_inductive_bias",
    "09_attention_maps",
)
# term: (the page that teaches it, the earlier pages that name it)
TERMS = {
    "token": (INTRO, ()),
    "patch": (PATCHES, (INTRO, PIXELS)),
    "patch projection": (PATCHES, ()),
    "class token": (CLASS, (INTRO,)),
    "mean pooling": (CLASS, ()),
    "linear probe": (CLASS, ()),
    "position embedding": (PLACES, (INTRO, PIXELS, CLASS)),
    "attention": (ATTENTION, (INTRO, PIXELS, PLACES)),
    "self-attention": (ATTENTION, ()),
    "query": (ATTENTION, (INTRO,)),
    "key": (ATTENTION, (INTRO,)),
    "value": (ATTENTION, (INTRO, PATCHES, PLACES)),
    "softmax": (ATTENTION, (PIXELS,)),
    "softmax temperature": (ATTENTION, ()),
    "head": (ATTENTION, (PIXELS, CLASS)),
    "attention rollout": (MAPS, ()),
    "relevance": (MAPS, ()),
    "mean attention distance": (MAPS, ()),
    "deletion test": (MAPS, ()),
    "MLP": (ENCODER, (INTRO, PIXELS, PLACES)),
    "GELU": (ENCODER, ()),
    "layer norm": (CLASS, ()),
    "pre-norm": (ENCODER, ()),
    "skip connection": (ENCODER, (INTRO, PLACES)),
    "residual stream": (ENCODER, ()),
    "encoder": (ENCODER, (INTRO, CLASS, PLACES)),
    "logits": (CLASS, ()),
    "cross-entropy": (TRAINING, ()),
    "epoch": (CLASS, ()),
    "warm-up": (ENCODER, ()),
    "weight decay": (TRAINING, ()),
    "augmentation": (TRAINING, ()),
    "equivariance": (PIXELS, ()),
    "invariance": (PLACES, ()),
    "inductive bias": (BIAS, ()),
    "locality": (PIXELS, ()),
    "receptive field": (BIAS, ()),
}


def pages():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf8"))
    files = [toc["root"], *(page["file"] for part in toc["parts"] for page in part["chapters"])]
    return [name for name in files if (ROOT / f"{name}.ipynb").exists()]


def markdown(page):
    cells = json.loads((ROOT / f"{page}.ipynb").read_text("utf8"))["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def prose(text):
    """What markdown says: no code, equations or addresses."""
    for pattern in (r"```.*?```", r"\$\$.*?\$\$", r"\]\([^)]*\)", r"`[^`]*`"):
        text = re.sub(pattern, " ", text, flags=re.S)
    return text


LINK = re.compile(r"\]\(glossary\.md#([^)]*)\)")
SOURCES = {page.removeprefix("book/"): markdown(page) for page in pages()}
TEXTS = {page: prose(text) for page, text in SOURCES.items()}


def names(text, term):
    """Whether a text names a term, also as a plural or across a line's end."""
    words = r"[\s-]".join(map(re.escape, term.split()))
    return re.search(rf"\b{words}(?:e?s)?\b", text, re.I) is not None


def test_the_table_is_the_glossary():
    text = (ROOT / "book" / "glossary.md").read_text("utf8")
    entries = re.search(r"```\{glossary\}\n(.*?)```", text, re.S)[1].splitlines()
    assert {*TERMS} == {line for line in entries if line and not line.startswith(" ")}


@pytest.mark.parametrize("term", TERMS)
def test_a_term_is_taught_before_it_is_used(term):
    taught, before = TERMS[term]
    order = [*TEXTS]
    anchor = term.replace(" ", "_").lower()
    linked = [
        page for page, text in SOURCES.items() if anchor in map(str.lower, LINK.findall(text))
    ]
    assert taught in linked
    earlier = order[: order.index(taught)]
    assert [page for page in earlier if names(TEXTS[page], term)] == [*before]
