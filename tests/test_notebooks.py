"""The chapters are stored as `make notebooks` writes them, and nbval checks every cell of them.

That the outputs are what the code prints is nbval's business; here is what nbval would overlook.
"""

import ast
import json
import os
import re
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import notebooks
import numpy as np
import pytest
import yaml
from nbval.plugin import find_comment_markers, find_metadata_tags
from paragraphs import join_lines

ROOT = notebooks.ROOT
CHAPTERS = sorted((ROOT / "book").glob("**/*.ipynb"))


def weak_cells(notebook) -> list[str]:
    """The cells that nbval does not execute, or whose output it does not compare for no reason."""
    found = []
    for number, cell in notebooks.code_cells(notebook):
        markers = dict([*find_metadata_tags(cell.metadata), *find_comment_markers(cell.source)])
        if "skip" in markers:
            found.append(f"code cell {number} is not executed")
        elif markers.get("check") is True:
            found.append(f"code cell {number} is marked for nbval's lax mode")
        elif "check_exception" in markers:
            found.append(f"code cell {number} may raise anything: catch what it shows")
        elif markers.get("check") is False and not asserts(cell.source):
            found.append(f"code cell {number}: its output is ignored, and it asserts nothing")
    return found


def asserts(source: str) -> bool:
    """Whether the code holds an `assert`, or calls a function such as `assert_close`."""
    return any(
        isinstance(node, ast.Assert)
        or (isinstance(node, ast.Call) and re.search(r"\bassert_\w+$", ast.unparse(node.func)))
        for node in ast.walk(ast.parse(source))
    )


def stored_badly(path: Path) -> bool:
    """Whether the file differs from what `make notebooks` would write for the same outputs."""
    notebook = nbformat.read(path, as_version=4)
    notebooks.normalise(notebook)
    return nbformat.writes(notebook).rstrip("\n") != path.read_text(encoding="utf8").rstrip("\n")


def nbval_arguments() -> list[str]:
    """What the Makefile gives to pytest when all is tested."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf8")
    return re.search(r"^test:.*\n\t.*-m pytest (.*)$", makefile, re.M)[1].split()


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
class TestChapter:
    def test_nbval_compares_every_cell_or_the_cell_asserts(self, path):
        assert weak_cells(nbformat.read(path, as_version=4)) == []

    def test_nothing_keeps_it_from_being_stored(self, path):
        assert notebooks.complaints(nbformat.read(path, as_version=4)) == []

    def test_the_first_cell_installs_the_package_or_says_how(self, path):
        cell = nbformat.read(path, as_version=4).cells[0]
        assert cell.source == notebooks.setup_source()
        assert "remove-cell" in cell.metadata.tags

    def test_it_is_stored_as_make_notebooks_writes_it(self, path):
        assert not stored_badly(path), f"run: make notebooks NB={path.relative_to(ROOT)}"


def test_the_table_of_contents_names_every_notebook():
    assert sorted(notebooks.chapters()) == CHAPTERS


def test_the_setup_cell_s_address_is_the_repository_of_the_configuration():
    url = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf8"))["repository"]["url"]
    installed = re.findall(r"%pip install -q (.*)", notebooks.setup_source())
    assert installed == ([f"git+{url}"] if url else [])


def test_nbval_collects_every_code_cell_of_every_notebook():
    arguments = nbval_arguments()
    files_at_once = {"-n3", "--dist=loadfile", "--no-loadscope-reorder"}
    assert {"--nbval", "--nbval-current-env", "tests", "book"} == set(arguments) - files_at_once
    arguments.remove("tests")
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, "--collect-only", "-q"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout
    for path in CHAPTERS:
        cells = notebooks.code_cells(nbformat.read(path, as_version=4))
        lines = re.findall(rf"^{path.relative_to(ROOT).as_posix()}::", collected, re.M)
        assert len(lines) == len(cells), f"{path.name}: {collected[-500:]}"


def test_the_cells_that_cannot_be_run_twice_are_found(tmp_path):
    notebook = notebook_of(
        "import random\nrandom.seed(0)\nrows, other = [1, 2, 3, 4], [1, 2, 3]",
        "print(len(rows))",
        "print(random.random())",
        "rows = rows[2:]\nprint(len(rows))",  # fails: 2, then 0
        "other.append(4)\nprint(other)",  # fails: one 4, then two
        "# NBVAL_IGNORE_OUTPUT\nother.remove(1)\nassert other",  # fails: nothing to remove
        "print(random.random())",
    )
    notebooks.execute(notebook, tmp_path)
    nbformat.write(notebook, tmp_path / "chapter.ipynb")
    done = subprocess.run(
        # -rN: no summary. Where $CI is set, pytest's would name each failure whole a second time.
        [sys.executable, "-m", "pytest", "-rN", "-p", "twice", "--nbval", "--nbval-current-env"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT / ".ci")},
        capture_output=True,
        text=True,
    )
    failed = re.findall(r"Cell (\d+): .* \(when the cell is run a second time\)", done.stdout)
    assert failed == ["3", "4", "5"], done.stdout
    assert "3 failed, 4 passed" in done.stdout


# The checks themselves, on notebooks that should not pass them.


def notebook_of(*sources: str, tags: list[str] | None = None, **metadata):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[-1].metadata = nbformat.from_dict({"tags": tags or [], **metadata})
    return nbformat.v4.new_notebook(cells=cells)


@pytest.mark.parametrize(
    "bad",
    [
        notebook_of("# NBVAL_SKIP\nassert f()"),
        notebook_of("f()", tags=["nbval-skip"]),
        notebook_of("# NBVAL_CHECK_OUTPUT\nf()"),
        notebook_of("f()", tags=["nbval-check-output"]),
        notebook_of("# NBVAL_IGNORE_OUTPUT\nprint('assert')  # assert x"),
        notebook_of("f()", tags=["nbval-ignore-output"]),
        notebook_of("# PYTEST_VALIDATE_IGNORE_OUTPUT\nf()"),
        notebook_of("f()", tags=["raises-exception"]),
        notebook_of("# NBVAL_RAISES_EXCEPTION\nf()"),
    ],
    ids=lambda notebook: str(notebook.cells[0].metadata.tags or notebook.cells[0].source[:30]),
)
def test_a_cell_that_nbval_would_let_pass_is_found(bad):
    assert len(weak_cells(bad)) == 1


@pytest.mark.parametrize(
    "source", ["assert 1 < time()", "torch.testing.assert_close(a, b)", "for x in y:\n    assert x"]
)
def test_an_ignored_output_is_fine_where_the_cell_asserts(source):
    assert weak_cells(notebook_of("# NBVAL_IGNORE_OUTPUT\n" + source)) == []


def test_a_figure_without_alt_text_is_found():
    figure = nbformat.v4.new_output("display_data", {"image/png": "iVBO", "text/plain": "<Figure>"})
    bad = notebook_of("setup()", "plot()")
    bad.cells[1].outputs = [figure]
    assert "alt text" in notebooks.complaints(bad)[0]
    good = notebook_of("setup()", "plot()", mystnb={"image": {"alt": "A line that rises"}})
    good.cells[1].outputs = [figure]
    assert notebooks.complaints(good) == []


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        (nbformat.v4.new_output("stream", name="stderr", text="UserWarning"), "stderr"),
        (nbformat.v4.new_output("error", ename="ValueError", evalue="", traceback=[]), "error"),
        (nbformat.v4.new_output("stream", text=f"{ROOT}/book"), "path of this machine"),
        (nbformat.v4.new_output("display_data", {"text/html": f"<b>{ROOT}"}), "path of this"),
    ],
)
def test_output_that_readers_should_not_see_is_found(output, complaint):
    bad = notebook_of("setup()", "f()")
    bad.cells[1].outputs = [output]
    assert complaint in notebooks.complaints(bad)[0]


def test_a_figure_that_gets_a_box_in_jupyterlab_is_found():
    """JupyterLab paints a black one in its light theme where the metadata ask for it."""
    figure = nbformat.v4.new_output(
        "display_data", {"image/png": "iVBO"}, metadata={"needs_background": "dark"}
    )
    bad = notebook_of("setup()", "plot()", mystnb={"image": {"alt": "A line"}})
    bad.cells[1].outputs = [figure]
    (complaint,) = notebooks.complaints(bad)
    assert "use_style" in complaint


def test_a_figure_in_the_book_s_style_is_stored_without_a_box(tmp_path):
    """Executed by a kernel: the image is transparent, and asks for no background."""
    notebook = notebook_of(
        "import matplotlib.pyplot as plt",
        "from vit_tutorial import plots\nplots.use_style()",
        "_ = plt.plot([1, 3, 2])",
        "figure, ax = plt.subplots()\n_ = ax.plot([1, 3, 2])",
    )
    notebooks.execute(notebook, tmp_path)
    for cell in notebook.cells[2:]:
        (output,) = cell.outputs
        assert "needs_background" not in output.metadata
        (tmp_path / "figure.png").write_bytes(b64decode(output.data["image/png"]))
        alpha = plt.imread(tmp_path / "figure.png")[..., 3]
        assert alpha[0, 0] == 0  # outside the axes
        assert np.median(alpha) == 0  # and inside


def test_a_chapter_can_import_torchvision_wherever_the_tests_can(tmp_path):
    """Though its compiled part may not fit to PyTorch's; and no name is put into the chapter."""
    notebook = notebook_of("import torchvision", "print('torch' in globals())")
    notebooks.execute(notebook, tmp_path)
    assert notebook.cells[1].outputs[0].text == "False\n"


@pytest.mark.parametrize(
    ("tags", "folded"),
    [
        (["hide-input"], {"source_hidden"}),
        (["hide-output"], {"outputs_hidden"}),
        (["hide-cell"], {"source_hidden", "outputs_hidden"}),
        (["remove-cell"], {"source_hidden"}),
        ([], set()),
    ],
)
def test_what_the_page_folds_is_folded_in_jupyterlab(tags, folded):
    notebook = notebook_of("setup()", "f()", tags=tags, jupyter={"source_hidden": True})
    notebooks.normalise(notebook)
    assert notebook.cells[1].metadata.get("jupyter", {}) == dict.fromkeys(folded, True)


def saved_by_jupyterlab(kernel="python3", **widget):
    """A notebook as JupyterLab hands it to be saved: dicts, with what its editor adds."""
    view = {notebooks.WIDGET: {"model_id": "5f3"}, "text/plain": "Cutter()", **widget}
    notebook = notebook_of("figure")
    notebook.cells[0].outputs = [nbformat.v4.new_output("execute_result", view)]
    notebook.cells[0].metadata = {"trusted": True, "slideshow": {"slide_type": "slide"}}
    notebook.metadata = {
        "kernelspec": {"name": kernel, "display_name": "Python 3 (ipykernel)"},
        "language_info": {"name": "python", "version": "3.12.1"},
        "widgets": {"application/vnd.jupyter.widget-state+json": {"state": {}}},
        "toc": {"base_numbering": 1},
    }
    return json.loads(json.dumps(notebook))


def test_saving_keeps_the_picture_of_a_figure_and_all_that_readers_set():
    saved = saved_by_jupyterlab(**{"text/html": "<img>"})
    notebooks.tidy(saved)
    (cell,) = saved["cells"]
    assert cell["outputs"][0]["data"] == {"text/plain": "Cutter()", "text/html": "<img>"}
    assert cell["metadata"] == {"trusted": True, "slideshow": {"slide_type": "slide"}}
    assert saved["metadata"] == {**notebooks.METADATA, "toc": {"base_numbering": 1}}


def test_saving_changes_no_widget_without_a_picture_and_no_other_kernel():
    saved = saved_by_jupyterlab(kernel="julia")
    before = json.dumps(saved)
    notebooks.tidy(saved)
    assert json.dumps(saved) == before


def test_a_semicolon_that_should_hide_a_value_is_found():
    assert "assign to `_`" in notebooks.complaints(notebook_of("setup()", "ax.legend();"))[0]


def test_a_missing_package_is_found():
    bad = notebook_of("setup()")
    bad.cells[0].outputs = [nbformat.v4.new_output("stream", text="ERROR: pip")]
    assert "pip install -e ." in notebooks.complaints(bad)[0]


def spoil_id(notebook):
    notebook.cells[0].id = "random"


def spoil_count(notebook):
    notebook.cells[0].execution_count = 7


def spoil_kernel(notebook):
    del notebook.metadata["kernelspec"]


def spoil_widgets(notebook):
    notebook.metadata["widgets"] = {"state": {}}


def spoil_timing(notebook):
    notebook.cells[0].metadata["execution"] = {"iopub.execute_input": "2026-01-01"}


def spoil_prose(notebook):
    notebook.cells.append(nbformat.v4.new_markdown_cell("One\nsentence.", id="0" * 8))
    notebooks.normalise(notebook)
    notebook.cells[-1].source = "One\nsentence."


def spoil_version(notebook):
    notebook.metadata["language_info"]["version"] = "3.12.1"


@pytest.mark.parametrize(
    "spoil",
    [spoil_id, spoil_count, spoil_kernel, spoil_widgets, spoil_timing, spoil_version, spoil_prose],
)
def test_what_would_differ_from_run_to_run_is_found(spoil, tmp_path):
    path = tmp_path / "chapter.ipynb"
    notebook = notebook_of("print(1)", "print(1)")
    notebooks.normalise(notebook)
    nbformat.write(notebook, path)
    assert not stored_badly(path)
    spoil(notebook)
    nbformat.write(notebook, path)
    assert stored_badly(path)


@pytest.mark.parametrize(
    ("wrapped", "joined"),
    [
        ("One sentence\ngoes on.\n\nAnother\none.", "One sentence goes on.\n\nAnother one."),
        ("- an item\n  goes on\n- another", "- an item goes on\n- another"),
        ("1. an item\n\n   and its\n   second", "1. an item\n\n   and its second"),
        (":::{exercise}\n:label: ex\n:class: x\n\nDo\nit.\n:::", None),
        ("before\n\n$$\na\nb\n$$\n\nafter", "before\n\n$$\na\nb\n$$\n\nafter"),
    ],
)
def test_a_paragraph_is_one_line(wrapped, joined):
    joined = joined or wrapped.replace("Do\nit", "Do it")
    assert join_lines(wrapped) == joined
    assert join_lines(joined) == joined


@pytest.mark.parametrize(
    "kept",
    [
        "# A heading\nits text",
        "two lines,  \nby a hard break",
        "two lines,\\\nby a hard break",
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "$$\n\\begin{aligned}\na &= b\n\\end{aligned}\n$$",
        "```python\na = 1\nb = 2\n```",
        ":::{math}\na\nb\n:::",
        "> quoted\n> twice",
        "(target)=\n## A heading",
        "- one\n- two",
    ],
)
def test_lines_that_are_no_paragraph_stay(kept):
    assert join_lines(kept) == kept


def test_cells_of_the_same_text_have_ids_of_their_own_that_do_not_change():
    ids = notebooks.cell_ids(["x", "y", "x"])
    assert len(set(ids)) == 3
    assert notebooks.cell_ids(["x", "y", "x", "z"])[:3] == ids
