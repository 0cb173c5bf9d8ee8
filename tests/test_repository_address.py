"""The repository's address: while it has none nothing leads there, and with one all of it does.

(What stands in the address of a page is tested in test_addresses.py.)
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import address
import nbformat
import notebooks
import pytest
import yaml
from bs4 import BeautifulSoup
from IPython.core.inputtransformer2 import TransformerManager

ROOT = notebooks.ROOT
OURS = "https://github.com/Some-One/vit.book"
COPIED = [".ci", "book", "_config.yml", "README.md", "CITATION.cff"]
# Which the theme gives to its buttons, and where the last one leads.
BUTTONS = [".btn-source-repository-button", ".btn-source-issues-button", "[href*='colab.research']"]


def content(folder) -> dict:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A small book, of the files that may hold the address, without one."""
    ignored = shutil.ignore_patterns(
        "__pycache__", ".ipynb_checkpoints", "0*.ipynb", "1[01]_*.ipynb"
    )
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, tmp_path)
    # Every page explains the glossary's terms.
    names = ("12_playground", "trainer", "api", "glossary", "references")
    more = [{"file": f"book/{name}"} for name in names]
    toc = {"format": "jb-book", "root": "book/intro", "parts": [{"chapters": more}]}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc), "utf8")
    for module in (address, notebooks):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    address.set_address("")
    return tmp_path


def first_cells(folder) -> set[str]:
    paths = folder.glob("book/*.ipynb")
    return {nbformat.read(path, as_version=4).cells[0].source for path in paths}


def buttons(page: Path) -> list[str]:
    """Where the page's buttons to the repository lead."""
    soup = BeautifulSoup(page.read_text("utf8"), "html.parser")
    return [link["href"] for link in soup.select(", ".join(BUTTONS))]


# As it stands


def test_whatever_names_the_address_is_as_the_configuration_has_it():
    assert address.changes(notebooks.address()) == {}


def test_no_address_is_made_up():
    """Whoever would register it could have readers install anything."""
    made_up = "/".join(["vit-tutorial", "vit-tutorial"])
    command = ["git", "grep", "--name-only", "-e", made_up]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout == ""


def test_the_built_pages_have_their_buttons_if_there_is_an_address():
    pages = [*ROOT.glob("_build/html/book/*.html")]
    newest = max(path.stat().st_mtime for path in [ROOT / "_config.yml", *ROOT.glob("book/_ext/*")])
    if not pages or min(page.stat().st_mtime for page in pages) < newest:
        pytest.fail("the pages are missing or old: run `make book` first")
    url = notebooks.address()
    for page in pages:
        found = buttons(page)
        assert bool(found) == bool(url), page.name
        assert all(url.removeprefix("https://github.com/") in link for link in found), page.name


def test_without_the_package_the_first_cell_says_how_to_install_it(monkeypatch):
    cell = notebooks.setup_source("")
    exec(cell, {})
    monkeypatch.setitem(sys.modules, "vit_tutorial", None)
    with pytest.raises(ModuleNotFoundError, match="vit_tutorial") as said:
        exec(cell, {})
    for what in ["%pip install PATH", "copy of the book's repository", ".whl file", "vit-book.zip"]:
        assert what in str(said.value)


# Set, and taken back


def test_setting_an_address_writes_it_wherever_it_is_needed(copy, monkeypatch):
    (by_hand,) = first_cells(copy)
    before = content(copy)
    address.set_address(f"{OURS}.git")
    written = {name for name, text in content(copy).items() if text != before[name]}
    chapters = {path.relative_to(copy).as_posix() for path in copy.glob("book/*.ipynb")}
    assert written == {"_config.yml", "README.md", "CITATION.cff"} | chapters
    config = yaml.safe_load((copy / "_config.yml").read_text("utf8"))
    assert config["repository"]["url"] == OURS
    assert config["html"]["baseurl"] == "https://some-one.github.io/vit.book/"
    assert yaml.safe_load((copy / "CITATION.cff").read_text("utf8"))["repository-code"] == OURS
    readme = (copy / "README.md").read_text("utf8")
    assert f'\npip install "vit_tutorial @ git+{OURS}"\n' in readme
    assert "launch button" in readme
    assert "pip install .\n" not in readme

    (cell,) = first_cells(copy)
    assert cell != by_hand
    ran = []

    class Shell:
        def run_line_magic(self, *magic):
            ran.append(magic[:2])

    monkeypatch.setitem(sys.modules, "vit_tutorial", None)
    exec(TransformerManager().transform_cell(cell), {"get_ipython": Shell})
    assert ran == [("pip", f"install -q git+{OURS}")]


def test_a_notebook_with_another_first_cell_is_stored_as_make_notebooks_writes_it(copy):
    before = {path: nbformat.read(path, as_version=4) for path in notebooks.chapters()}
    address.set_address(OURS)
    for path, old in before.items():
        new = nbformat.read(path, as_version=4)
        assert new.cells[1:] == old.cells[1:]
        stored = path.read_text("utf8")
        notebooks.normalise(new)
        assert nbformat.writes(new).rstrip("\n") == stored.rstrip("\n")


def test_setting_it_twice_changes_nothing_and_taking_it_back_everything(copy):
    before = content(copy)
    address.set_address(OURS)
    once = content(copy)
    assert address.set_address(f" {OURS}/ ") == ["nothing had to be written"]
    assert content(copy) == once
    address.set_address("https://github.com/another/book")
    assert b"Some-One" not in b"".join(content(copy).values())
    address.set_address("")
    assert content(copy) == before


def test_a_site_of_one_s_own_stays(copy):
    path = copy / "_config.yml"
    own = path.read_text("utf8").replace('baseurl: ""', "baseurl: https://example.org/vit/")
    path.write_text(own, "utf8")
    address.set_address(OURS)
    assert "baseurl: https://example.org/vit/\n" in path.read_text("utf8")
    address.set_address("")
    assert path.read_text("utf8") == own


@pytest.mark.parametrize(
    ("url", "pages"),
    [
        ("https://github.com/Some-One/Book", "https://some-one.github.io/Book/"),
        ("https://github.com/Some-One/Some-One.github.io", "https://some-one.github.io/"),
    ],
)
def test_the_site_is_where_github_publishes_it(url, pages):
    assert address.site(url) == pages


# What is refused


@pytest.mark.parametrize(
    "given",
    [OURS, f"{OURS}/", f"{OURS}.git", f"{OURS}.git/", "https://GitHub.com/Some-One/vit.book"],
)
def test_an_address_is_written_in_one_way(given):
    assert address.checked(given) == OURS


@pytest.mark.parametrize(
    ("given", "works"),
    [
        ("http://github.com/a/b", "https://github.com/a/b"),
        ("git@github.com:a/b.git", "https://github.com/a/b"),
        ("github.com/a/b", "https://github.com/a/b"),
        ("https://www.github.com/a/b", "https://github.com/a/b"),
        ("https://github.com/a/b/tree/main", "https://github.com/a/b"),
        ("https://github.com/a/b?tab=readme", "https://github.com/a/b"),
        ("https://github.com/a/b c", "https://github.com/a/b"),
        ("https://github.com/a", address.EXAMPLE),
        ("https://github.com/a/..", address.EXAMPLE),
        ("https://github.com/a/.git", address.EXAMPLE),
        ("https://github.com/a b/c", address.EXAMPLE),
        ("https://gitlab.com/a/b", address.EXAMPLE),
        ("https://notgithub.com/a/b", address.EXAMPLE),
        (address.EXAMPLE, address.EXAMPLE),
        ("  ", address.EXAMPLE),
    ],
)
def test_what_is_no_address_is_named_with_what_would_work(given, works):
    with pytest.raises(address.Refused) as refused:
        address.checked(given)
    assert repr(given) in str(refused.value)
    assert re.search(rf"Give {re.escape(works)}(,|$)", str(refused.value))


def test_a_refused_address_changes_nothing_and_is_said_in_a_line(copy, capsys):
    before = content(copy)
    with pytest.raises(SystemExit) as ended:
        address.main(["https://gitlab.com/a/b"])
    assert ended.value.code.startswith("address.py: 'https://gitlab.com/a/b' is not")
    assert ended.value.code.endswith("Nothing was written")
    assert content(copy) == before


def test_a_text_without_the_lines_that_hold_the_address_is_named(copy):
    readme = copy / "README.md"
    readme.write_text(readme.read_text("utf8").replace("pip install .", "pip install  ."), "utf8")
    before = content(copy)
    with pytest.raises(address.Refused, match=r"README\.md should have once"):
        address.set_address(OURS)
    assert content(copy) == before


def test_a_full_disk_changes_nothing(copy, monkeypatch):
    before = content(copy)
    write = Path.write_bytes

    def until_full(path, data):
        if path.name.startswith("12_"):
            write(path, data[:100])
            raise OSError("No space left on device")
        write(path, data)

    monkeypatch.setattr(Path, "write_bytes", until_full)
    with pytest.raises(OSError, match="No space"):
        address.set_address(OURS)
    assert content(copy) == before


# Publishing


def test_a_repository_publishes_with_its_own_address_and_no_other(copy):
    said = address.set_address(OURS, publish=True)
    assert notebooks.address() == OURS
    assert said[-1].startswith("::warning::")  # Colab opens what is committed
    assert f"make address URL={OURS}" in said[-1]
    mine = content(copy)
    assert address.set_address(OURS.lower(), publish=True) == ["nothing had to be written"]
    assert content(copy) == mine
    with pytest.raises(address.Refused) as refused:
        address.set_address("https://github.com/a-fork/vit.book", publish=True)
    assert f"is {OURS}, but this is https://github.com/a-fork/vit.book" in str(refused.value)
    with pytest.raises(address.Refused):
        address.set_address("", publish=True)
    assert content(copy) == mine


@pytest.mark.parametrize(("name", "then"), [("publish", "make book"), ("release", "make zip")])
def test_a_workflow_sets_its_own_address_before_it_builds(name, then):
    workflow = yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text("utf8"))
    steps = [step.get("run", "") for step in workflow["jobs"]["build"]["steps"]]
    own = "make address URL=https://github.com/$GITHUB_REPOSITORY PUBLISH=1"
    assert steps.index(own) + 1 == steps.index(then)


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        ([], ""),
        (["URL="], ' "$URL"'),
        (["URL=https://github.com/a/b"], ' "$URL"'),
        (["URL=https://github.com/a/b", "PUBLISH=1"], ' --publish "$URL"'),
    ],
)
def test_make_tells_no_address_from_an_empty_one(given, arguments):
    command = ["make", "-n", "address", *given]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    (line,) = re.findall(r"\.ci/address\.py(.*)", said)
    assert line.split() == arguments.split()


# The pages of a book with an address


@pytest.fixture
def pages(copy):
    """The small book's pages, built while it has an address."""
    address.set_address(OURS)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "vit_tutorial", copy / "vit_tutorial", ignore=ignored)
    # No -W: their links to the other pages lead nowhere.
    build = "from jupyter_book.cli.main import main; main(['build', '.'])"
    done = subprocess.run([sys.executable, "-c", build], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return copy / "_build" / "html" / "book"


def test_with_an_address_the_buttons_and_the_links_to_the_code_lead_there(pages):
    chapter = buttons(pages / "trainer.html")
    assert len(chapter) == len(BUTTONS)
    assert OURS in chapter
    colab = "https://colab.research.google.com/github/Some-One/vit.book/blob/main"
    assert f"{colab}/book/trainer.ipynb" in chapter
    assert any(link.startswith(f"{OURS}/issues/new?") for link in chapter)
    api = buttons(pages / "api.html")
    assert len(api) == len(BUTTONS) - 1  # no notebook
    text = (pages / "api.html").read_text("utf8")
    assert f'href="{OURS}/blob/main/vit_tutorial/patches.py#L' in text
    head = BeautifulSoup((pages / "trainer.html").read_text("utf8"), "html.parser").head
    shown = head.select_one("meta[property='og:image']")["content"]
    assert shown == "https://some-one.github.io/vit.book/_static/sneaker.png"
