"""`make links` finds the dead links to others, names where they stand, and runs every week."""

import http.server
import json
import subprocess
import sys
import threading

import nbformat
import pytest
import yaml
from notebooks import ROOT

CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))["sphinx"]["config"]
TOC = "format: jb-book\nroot: book/intro\nchapters:\n  - file: book/other\n"
OTHER = """\
# Other

- [There]({host}/there), [a page of the book](intro.ipynb), {host}/bare
- [gone]({host}/gone-too#part)
"""


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(404 if "gone" in self.path else 200)
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What the check says of a small book with two dead links: (host, status, lines)."""
    book = tmp_path_factory.mktemp("book")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"http://127.0.0.1:{server.server_port}"
        own = {name: value for name, value in CONFIG.items() if name.startswith("linkcheck_")}
        config = {"execute": {"execute_notebooks": "off"}, "sphinx": {"config": own}}
        (book / "_config.yml").write_text(json.dumps(config), "utf8")
        (book / "_toc.yml").write_text(TOC, "utf8")
        (book / "book").mkdir()
        (book / "book" / "other.md").write_text(OTHER.format(host=host), "utf8")
        chapter = nbformat.v4.new_notebook()
        chapter.cells = [
            nbformat.v4.new_markdown_cell("# Intro"),
            nbformat.v4.new_markdown_cell(f"One.\n\nTwo: [gone]({host}/gone).\n\nThree."),
        ]
        nbformat.write(chapter, book / "book" / "intro.ipynb")
        command = [sys.executable, str(ROOT / ".ci" / "links.py"), str(book)]
        done = subprocess.run(command, capture_output=True, text=True)
        server.shutdown()
    assert sorted(path.name for path in book.iterdir()) == ["_config.yml", "_toc.yml", "book"]
    return host, done.returncode, done.stdout.splitlines()


def test_a_dead_link_is_named_with_page_line_and_address(said):
    host, status, lines = said
    assert status == 1
    assert f"book/intro.ipynb, cell 2, line 3: {host}/gone" in lines
    assert f"book/other.md, line 4: {host}/gone-too#part" in lines


def test_links_that_work_are_asked_and_those_within_the_book_are_not(said):
    assert said[2][-1] == "4 addresses asked, 2 of them dead."


def test_the_rules_leave_no_host_of_others_out():
    """Whoever adds one for a host that refuses robots says so beside it, and here."""
    assert CONFIG["linkcheck_ignore"] == [
        "(?!https?://)",
        r"https://github\.com/[^/]+/[^/]+/blob/",
    ]


def test_the_weekly_workflow_runs_it():
    weekly = yaml.safe_load((ROOT / ".github/workflows/weekly.yml").read_text("utf8"))
    commands = [step.get("run") for job in weekly["jobs"].values() for step in job["steps"]]
    assert "make links" in commands
