"""The API page: every public name, once, and what it says of each is so."""

import ast
import dataclasses
import importlib
import inspect
import posixpath
import re
import subprocess
import sys
from functools import partial
from urllib.parse import urldefrag

import pytest
import yaml
from bs4 import BeautifulSoup
from notebooks import ROOT
from sphinx.util.inventory import InventoryFile
from test_public_names import MODULES, PACKAGE

PAGE = ROOT / "_build" / "html" / "book" / "api.html"
PUBLIC = {
    (name, id(getattr(importlib.import_module(module), name)))
    for module, names in [
        ("vit_tutorial", PACKAGE),
        *((f"vit_tutorial.{module}", names) for module, names in MODULES.items()),
    ]
    for name in names.split()
}


@pytest.fixture(scope="module")
def entries():
    """What the page lists: (address, its <dl>)."""
    sources = [*ROOT.glob("vit_tutorial/**/*.py"), *ROOT.glob("book/_*/*.*"), ROOT / "book/api.md"]
    if not PAGE.exists() or PAGE.stat().st_mtime < max(path.stat().st_mtime for path in sources):
        pytest.fail("book/api.html is missing or old: run `make book` first")
    page = BeautifulSoup(PAGE.read_text("utf8"), "html.parser")
    return [(entry.dt["id"], entry) for entry in page.select("dl.py")]


def named(address):
    """What an address on the page imports."""
    module, _, name = address.rpartition(".")
    return getattr(importlib.import_module(module), name)


def written_signature(address, entry):
    """The signature on the page, read in the module where its names mean something."""
    thing = named(address)
    heading = BeautifulSoup(str(entry.dt), "html.parser")
    for link in heading.select(".headerlink"):
        link.decompose()
    text = heading.get_text().strip().replace("→", "->")
    arguments = text[text.index("(") :]
    names = {**vars(sys.modules[thing.__module__])}
    exec(f"def written{arguments}: pass", names)
    return inspect.signature(names["written"])


def real_signature(thing):
    """Python's own, with a dataclass's fresh values in the place of what makes them."""
    signature = inspect.signature(thing)
    fresh = {
        field.name: field.default_factory()
        for field in (dataclasses.fields(thing) if dataclasses.is_dataclass(thing) else ())
        if field.default_factory is not dataclasses.MISSING
    }
    parameters = [
        each.replace(default=fresh.get(each.name, each.default))
        for each in signature.parameters.values()
    ]
    is_class = inspect.isclass(thing)  # a dataclass's says that it returns None
    returns = inspect.Signature.empty if is_class else signature.return_annotation
    return signature.replace(parameters=parameters, return_annotation=returns)


def functions_and_classes(entries):
    return [(address, entry) for address, entry in entries if "data" not in entry["class"]]


def rows(entry):
    """An entry's terms, each with its first description."""
    return [(term, term.find_next_sibling("dd")) for term in entry.select("dl.myst > dt")]


def test_the_page_has_every_public_name_once_and_no_other(entries):
    found = [(address.rpartition(".")[2], id(named(address))) for address, _ in entries]
    assert len(found) == len({*found})
    assert {*found} == PUBLIC


def test_names_of_the_package_itself_are_listed_as_such(entries):
    addresses = {address for address, _ in entries}
    assert {f"vit_tutorial.{name}" for name in PACKAGE.split()} <= addresses


def test_every_name_has_a_description(entries):
    for address, entry in entries:
        first = entry.dd.find("p", recursive=False)
        assert first is not None, address
        assert re.search(r"\w+ \w+.*[.?:]$", first.get_text(), re.S), address


def test_signatures_are_python_s(entries):
    listed = functions_and_classes(entries)
    for address, entry in listed:
        assert written_signature(address, entry) == real_signature(named(address)), address
    assert len(listed) > 60


def test_arguments_that_are_described_exist(entries):
    described = 0
    for address, entry in functions_and_classes(entries):
        names = [
            code.get_text()
            for term, _ in rows(entry)
            if not term.find("em")  # such as Returns
            for code in term.find_all("code")
        ]
        # TrainHere(**choices) takes what a reader can change.
        choices = getattr(named(address), "STATE", ())
        assert {*names} <= {*inspect.signature(named(address)).parameters, *choices}, address
        assert len(names) == len({*names}), address
        described += len(names)
    assert described > 100


def test_what_a_docstring_promises_stands_in_rows_of_its_own(entries):
    labels = {term.get_text() for _, entry in entries for term, _ in rows(entry) if term.find("em")}
    assert labels == {"Shapes", "Returns", "Yields", "Raises", "Source", "Keys", "Code"}
    for address, entry in functions_and_classes(entries):
        raises = [term for term, _ in rows(entry) if term.get_text() == "Raises"]
        assert bool(raises) == ("Raises" in named(address).__doc__), address


def test_shapes_are_code(entries):
    (patchify,) = [entry for address, entry in entries if address == "vit_tutorial.patchify"]
    texts = {term.get_text(): text for term, text in rows(patchify)}
    assert texts["images"].code.get_text() == "(b, c, H, W)"
    assert texts["Returns"].code.get_text() == "(b, n, p1*p2*c)"


def test_values_and_keys_are_the_constants_own(entries):
    shown = 0
    for address, entry in entries:
        _, is_shown, value = entry.dt.get_text().rstrip("¶#\n").partition(" = ")
        if "data" in entry["class"] and is_shown:
            assert ast.literal_eval(value) == named(address), address
            shown += 1
        for term, text in rows(entry):
            if term.get_text() == "Keys":
                keys = [ast.literal_eval(code.get_text()) for code in text.find_all("code")]
                assert keys == [*named(address)], address
                shown += 1
    assert shown > 5


def test_links_lead_to_the_code_and_to_a_chapter_that_has_it(entries):
    url = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))["repository"]["url"]
    for address, entry in entries:
        (places,) = [text for term, text in rows(entry) if term.get_text() == "Code"]
        chapter = [link["href"] for link in places.find_all("a")]
        name = address.rpartition(".")[2]
        lines = (ROOT / places.code.get_text()).read_text("utf8").splitlines()
        first, last = 1, len(lines)
        if url:  # else the code has no address to lead to
            code, place = urldefrag(chapter.pop(0))
            assert code == f"{url}/blob/main/{places.code.get_text()}", address
            first, last = map(int, re.fullmatch(r"L(\d+)-L(\d+)", place).groups())
        source = "\n".join(lines[first - 1 : last])
        pattern = rf"^((@.*\n)*(def|class) {name}\b|{name} = )"
        find = re.match if url else partial(re.search, flags=re.M)
        assert find(pattern, source), address
        for link in chapter:
            notebook = ROOT / "book" / link.replace(".html", ".ipynb")
            assert re.search(rf"\b{name}\b", notebook.read_text("utf8")), address


def test_other_pages_can_link_to_a_name_where_it_is_imported_and_where_it_is_defined(entries):
    with (PAGE.parents[1] / "objects.inv").open("rb") as file:
        targets = InventoryFile.load(file, "", posixpath.join)
    for address, entry in entries:
        thing = named(address)
        kind = next(kind for kind in ("class", "function", "data") if kind in entry["class"])
        assert targets[f"py:{kind}"][address][2] == f"book/api.html#{address}"
        if kind != "data":
            path = f"{thing.__module__}.{thing.__name__}"
            assert targets[f"py:{kind}"][path][2] == f"book/api.html#{address}"


def test_reading_the_code_needs_no_pytorch_and_imports_none_of_it():
    program = """
import sys
sys.path.insert(0, "book/_ext")
sys.modules["torch"] = None  # an import would fail
import api
assert len(api.addresses()) > 80
assert all(api.members(module) for module in api.package().modules.values() if module.exports)
assert "vit_tutorial" not in sys.modules
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
