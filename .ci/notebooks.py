"""Execute the book's notebooks and store them so that a diff shows what has changed.

    python .ci/notebooks.py                          # all of them, in the book's order
    python .ci/notebooks.py book/05_attention.ipynb

A notebook is replaced only when every cell has run, nothing was printed to stderr, and every figure
has a description. Running it again without a change gives the same bytes.
"""

import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import yaml
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from paragraphs import join_lines

ROOT = Path(__file__).resolve().parents[1]
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
WIDGET = "application/vnd.jupyter.widget-view+json"
MACHINE = [str(ROOT), sys.prefix, tempfile.gettempdir()]  # paths that no reader has


def chapters() -> list[Path]:
    """The book's notebooks, in the order of _toc.yml."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf8"))
    files = [toc["root"], *(page["file"] for part in toc["parts"] for page in part["chapters"])]
    return [path for file in files if (path := ROOT / f"{file}.ipynb").exists()]


def address() -> str:
    """Return the repository's address, "" if it has none yet: .ci/address.py writes it."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf8"))
    return config["repository"]["url"]


def pip_requirement(url: str) -> str:
    """Return what pip installs from a repository; "" for none."""
    return f"git+{url}" if url else ""


def setup_source(requirement: str | None = None) -> str:
    """Return the first cell of every notebook, which sees to it that the package is there.

    requirement: what pip installs where it is missing; by default the repository in _config.yml. ""
        stands for no address: the cell then says how to install the package by hand.
    """
    if requirement is None:
        requirement = pip_requirement(address())
    return INSTALL.format(requirement) if requirement else BY_HAND


INSTALL = """\
# Where the book's package is missing (Colab), install it; PyTorch stays.
try:
    import vit_tutorial  # noqa: F401
except ModuleNotFoundError:
    %pip install -q {}\
"""
# Without an address, a reader has the notebook, and a copy of the repository or a release's zip.
BY_HAND = """\
# Where the book's package is missing, say how to install it.
try:
    import vit_tutorial  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error}. Run %pip install PATH, and then this cell again. PATH is "
        "your copy of the book's repository, or the .whl file in a release's "
        "vit-book.zip. In Colab, upload that file first (Files, on the left)."
    ) from None\
"""


def code_cells(notebook):
    """The code cells, numbered as nbval numbers them."""
    return list(enumerate(cell for cell in notebook.cells if cell.cell_type == "code"))


def has_figure(cell) -> bool:
    kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
    return any(kind.startswith("image/") for kind in kinds)


def alt_text(cell) -> str:
    """What a reader who does not see the cell's figure is told; empty where nobody wrote it."""
    return cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "").strip()


def complaints(notebook) -> list[str]:
    """What keeps an executed notebook from being stored."""
    found = []
    if notebook.cells[0].outputs:
        found.append("the package is not installed here: pip install -e .")
    for number, cell in code_cells(notebook):
        name = f"code cell {number} ({cell.source.strip().splitlines()[0]})"
        if has_figure(cell) and not alt_text(cell):
            found.append(
                f"{name}: the figure has no alt text; write it into the cell's metadata: "
                '"mystnb": {"image": {"alt": "…"}}'
            )
        if cell.source.rstrip().endswith(";"):
            found.append(f"{name}: ends with `;`, which nbval does not honour; assign to `_`")
        for output in cell.outputs:
            if "needs_background" in output.get("metadata", {}):
                found.append(
                    f"{name}: JupyterLab would put a black or a white box behind the figure; "
                    "call plots.use_style() before it is drawn"
                )
            if output.output_type == "error":
                found.append(f"{name}: ends in an error: {output.ename}")
            elif output.get("name") == "stderr":
                found.append(f"{name}: prints to stderr: {output.text.strip()}")
            elif any(path in text for path in MACHINE for text in texts(output)):
                found.append(f"{name}: prints a path of this machine")
    return found


def texts(output) -> list[str]:
    """What an output shows as text."""
    data = output.get("data", {})
    return [output.get("text", ""), *(data[kind] for kind in data if kind.startswith("text/"))]


def put_setup_first(notebook, requirement: str | None = None) -> None:
    if not notebook.cells or "import vit_tutorial  # noqa" not in notebook.cells[0].source:
        notebook.cells.insert(0, nbformat.v4.new_code_cell())
    notebook.cells[0].source = setup_source(requirement)
    notebook.cells[0].metadata["tags"] = ["remove-cell"]


class OwnKernel(AsyncKernelManager):
    """This environment's Python, even where the user's home has another kernel named python3."""

    def _kernel_spec_manager_default(self):
        return KernelSpecManager(kernel_dirs=[])


def execute(notebook, folder: Path) -> None:
    """Run every cell with `folder` as working directory, as JupyterLab does."""
    operators = str(ROOT / ".ci" / "torchvision_operators.py")
    NotebookClient(
        notebook,
        kernel_name="python3",
        kernel_manager_class=OwnKernel,
        extra_arguments=[
            "--log-level=ERROR",
            # What the file defines stays out of the notebook's names: a cell imports what it uses.
            "--IPKernelApp.exec_lines=torchvision_operators = "
            f"__import__('runpy').run_path({operators!r}, run_name='__main__')",
        ],
        timeout=600,
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    ).execute()


def cell_ids(sources: list[str]) -> list[str]:
    """An id for every cell, made from its text alone, so that it stays when nothing changes."""
    ids: list[str] = []
    for source in sources:
        repeat = 0
        while (name := hashlib.sha256(f"{repeat}{source}".encode()).hexdigest()[:8]) in ids:
            repeat += 1
        ids.append(name)
    return ids


def renew_ids(notebook) -> None:
    names = cell_ids([cell.source for cell in notebook.cells])
    for cell, name in zip(notebook.cells, names, strict=True):
        cell.id = name


# What a tag folds on the page is folded in JupyterLab as well, which reads other keys.
FOLDED = {
    "hide-input": ["source_hidden"],
    "hide-output": ["outputs_hidden"],
    "hide-cell": ["source_hidden", "outputs_hidden"],
    "remove-cell": ["source_hidden"],
}


def cell_metadata(cell) -> dict:
    """Return what is kept of a cell's metadata, and what follows from its tags."""
    kept = {key: cell.metadata[key] for key in ("tags", "mystnb") if cell.metadata.get(key)}
    folded = {key: True for tag in kept.get("tags", []) for key in FOLDED.get(tag, [])}
    return kept | ({"jupyter": folded} if folded else {})


def normalise(notebook) -> None:
    """Drop whatever differs from one run, machine or editor to the next; join wrapped lines."""
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for cell in notebook.cells:
        cell.source = cell.source.strip("\n")
        if cell.cell_type == "markdown":
            cell.source = join_lines(cell.source)
        cell.metadata = nbformat.from_dict(cell_metadata(cell))
    for count, (_, cell) in enumerate(code_cells(notebook), start=1):
        cell.execution_count = count
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
            # A widget is live in a running notebook only; what is stored is its picture or text.
            output.get("data", {}).pop(WIDGET, None)
    renew_ids(notebook)


def tidy(notebook: dict) -> None:
    """Drop what JupyterLab adds to a notebook that it saves, and only that.

    A saved widget cannot be shown once its kernel is gone, and hides the picture that is saved
    beside it: where there is a picture, the widget goes. (normalise, above, also resets ids, counts
    and whatever a reader may have set, which is for the book's own files.)
    """
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    bundles = [output["data"] for output in outputs if "data" in output]
    for bundle in bundles:
        if "text/html" in bundle:
            bundle.pop(WIDGET, None)
    if not any(WIDGET in bundle for bundle in bundles):
        notebook["metadata"].pop("widgets", None)
    if notebook["metadata"].get("kernelspec", {}).get("name") == "python3":
        notebook["metadata"].update(METADATA)


def renew(path: Path) -> None:
    """Execute the notebook at `path` and replace it. A failure leaves it as it is.

    Raises:
        SystemExit: naming the notebook and the cell.
    """
    start = time.monotonic()
    print(f"{path.relative_to(ROOT)} …", end=" ", flush=True)
    notebook = nbformat.read(path, as_version=4)
    put_setup_first(notebook)
    try:
        execute(notebook, path.parent)
    except CellExecutionError as error:
        failed = next(
            number
            for number, cell in code_cells(notebook)
            if any(output.output_type == "error" for output in cell.outputs)
        )
        sys.exit(f"code cell {failed} fails; the notebook stays as it was.\n\n{error}")
    if found := complaints(notebook):
        sys.exit("the notebook stays as it was.\n" + "\n".join(found))
    normalise(notebook)
    nbformat.validate(notebook)
    new = path.with_suffix(".new")
    nbformat.write(notebook, new)
    new.replace(path)
    print(f"{len(code_cells(notebook))} code cells, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    os.environ["PYTHONHASHSEED"] = "0"  # the order of a printed set is the same in every run
    os.environ["HF_HUB_OFFLINE"] = "1"  # the stored outputs are those of a machine without a hub
    for notebook_path in [Path(name).resolve() for name in sys.argv[1:]] or chapters():
        renew(notebook_path)
