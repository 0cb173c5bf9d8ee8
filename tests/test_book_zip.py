"""The zip that a release offers: unzipped anywhere, it opens by double-click and is complete."""

import re
import zipfile
from urllib.parse import unquote, urlparse

import book_zip
import pytest
from notebooks import ROOT
from playwright.sync_api import expect

HTML = ROOT / "_build" / "html"


@pytest.fixture(scope="module")
def unzipped(tmp_path_factory):
    if not (HTML / "index.html").exists():
        pytest.fail("no book is built: run `make book` first")
    folder = tmp_path_factory.mktemp("zip")
    wheel = folder / "vit_tutorial-0-py3-none-any.whl"  # tests/test_wheel.py tries a real one
    wheel.write_bytes(b"a wheel")
    book_zip.put_into_zip(HTML, wheel, folder / "vit-book.zip")
    with zipfile.ZipFile(folder / "vit-book.zip") as file:
        file.extractall(folder / "elsewhere")
    return folder / "elsewhere"


def test_one_folder_comes_out_with_one_file_to_open(unzipped):
    (top,) = unzipped.iterdir()
    assert top.name == "vit-book"
    names = {path.name for path in top.iterdir()}
    assert names == {"index.html", "pages", "vit_tutorial-0-py3-none-any.whl"}


def test_the_pages_are_those_that_were_built(unzipped):
    def files(folder):
        every = (path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder): path.read_bytes() for path in every}

    built = {path: data for path, data in files(HTML).items() if not path.name.startswith(".")}
    assert files(unzipped / "vit-book" / "pages") == built
    assert any(path.suffix == ".ipynb" for path in built)  # the chapters, for whoever runs them


def test_no_link_leads_out_of_the_folder_or_nowhere(unzipped):
    top = (unzipped / "vit-book").resolve()
    found = 0
    for page in top.rglob("*.html"):
        if page.parent.name == "_static":  # the theme's, a template for no page of ours
            continue
        text = page.read_text("utf8")
        links = re.findall(r'<(?:a|link|script|img)\b[^>]*?\s(?:href|src)="([^"]*)"', text)
        links += re.findall(r'http-equiv="refresh" content="0; url=([^"]*)"', text, re.I)
        for link in links:
            parts = urlparse(link)
            assert parts.scheme in ("", "http", "https", "data"), (page, link)
            if parts.scheme or parts.netloc or not parts.path:
                continue
            target = (page.parent / unquote(parts.path)).resolve()
            assert target.is_relative_to(top), (page, link)
            assert target.is_file(), (page, link)
            found += 1
    assert found > 1000


def test_its_file_opens_the_book_with_its_figure(unzipped, browser):
    page = browser.new_page()
    page.goto((unzipped / "vit-book" / "index.html").as_uri())
    page.wait_for_url("**/vit-book/pages/book/intro.html")
    expect(page.locator("article h1")).to_contain_text("The Vision Transformer, line by line")
    expect(page.locator(".vt-card").first).to_be_visible()
    page.close()


def test_the_same_files_give_the_same_zip(tmp_path):
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / "index.html").write_text("a page", "utf8")
    wheel = tmp_path / "a.whl"
    wheel.write_bytes(b"a wheel")
    zips = [tmp_path / "1.zip", tmp_path / "2.zip"]
    for target in zips:
        wheel.touch()
        book_zip.put_into_zip(tmp_path / "html", wheel, target)
    assert zips[0].read_bytes() == zips[1].read_bytes()
