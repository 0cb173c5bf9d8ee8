"""Code within a sentence leads to where it is documented: the package's, and PyTorch's."""

import importlib
import re
import sys
from types import SimpleNamespace
from urllib.parse import urldefrag

import nbformat
import pytest
import torch
from bs4 import BeautifulSoup
from docutils import nodes
from notebooks import ROOT
from sphinx import addnodes
from test_public_names import MODULES, PACKAGE

BUILT = ROOT / "_build" / "html" / "book"
NOTEBOOKS = sorted(path.stem for path in ROOT.glob("book/*.ipynb"))
PUBLIC = {name for names in [PACKAGE, *MODULES.values()] for name in names.split()}
TORCH = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional}


@pytest.fixture(scope="module")
def linked_code():
    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    try:
        return importlib.import_module("linked_code")
    finally:
        sys.path.remove(str(ROOT / "book" / "_ext"))


def prose_code(chapter):
    """The code within a page's sentences: (text, its link or None)."""
    page = BeautifulSoup((BUILT / f"{chapter}.html").read_text("utf8"), "html.parser")
    return [
        (code.get_text(), code.find_parent("a"))
        for code in page.select("article :is(p, li, td) code.literal")
    ]


def called(text):
    """What code is about: `patchify` in `patchify(images, 4)`."""
    return re.sub(r"\(.*\)$", "", text, flags=re.S)


def test_a_public_name_leads_to_its_entry():
    found = 0
    for chapter in NOTEBOOKS:
        for text, link in prose_code(chapter):
            if called(text).rpartition(".")[2] not in PUBLIC:
                continue
            assert link is not None, (chapter, text)
            page, address = urldefrag(link["href"])
            module, _, name = address.rpartition(".")
            assert page == "api.html"
            assert f".{address}".endswith(f".{called(text)}")
            assert hasattr(importlib.import_module(module), name), address
            found += 1
    assert found > 30


def test_a_name_of_pytorch_leads_to_the_page_about_it():
    found = 0
    for chapter in NOTEBOOKS:
        for text, link in prose_code(chapter):
            module, _, name = called(text).partition(".")
            if not (module in TORCH and hasattr(TORCH[module], name)):
                assert link is None or "pytorch.org" not in link["href"], (chapter, text)
                continue
            assert callable(getattr(TORCH[module], name))  # a module would have no such page
            full = f"{TORCH[module].__name__}.{name}"
            assert link["href"] == f"https://docs.pytorch.org/docs/stable/generated/{full}.html"
            found += 1
    assert found > 5


def test_all_other_code_stays_as_it_is():
    texts = {text for chapter in NOTEBOOKS for text, link in prose_code(chapter) if link is None}
    assert {"D", "reshape", "mlp_dim", "(b, n, D)"} <= texts


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("patchify", "vit_tutorial.patchify"),
        ("patchify(images, (4, 4))", "vit_tutorial.patchify"),
        ("data.normalize", "vit_tutorial.data.normalize"),
        ("F.cross_entropy", "torch.nn.functional.cross_entropy"),
        ("nn.Linear(8, 2)", "torch.nn.Linear"),
        ("unpatchify", None),  # the page defines its own
        ("rollout", None),
        ("safetensors.torch.save_file(vit)", None),
        ("patchify(a) + patchify(b)", None),
        ("nn", None),
    ],
)
def test_what_is_a_name(linked_code, tmp_path, text, target):
    chapter = nbformat.v4.new_notebook()
    chapter.cells = [nbformat.v4.new_code_cell("def unpatchify(patches):\n    pass")]
    nbformat.write(chapter, tmp_path / "page.ipynb")
    env = SimpleNamespace(docname="page", doc2path=lambda page: tmp_path / f"{page}.ipynb")
    titled, alone = nodes.literal(text, text), nodes.literal(text, text)
    document = nodes.section("", nodes.title("", "", titled), nodes.paragraph("", "", alone))
    linked_code.link(SimpleNamespace(env=env), document)
    assert isinstance(titled.parent, nodes.title)
    link = alone.parent
    if target is None:
        assert isinstance(link, nodes.paragraph)
    elif target.startswith("torch"):
        assert link["refuri"].endswith(f"/{target}.html")
    else:
        assert isinstance(link, addnodes.pending_xref)
        assert link["reftarget"] == target
