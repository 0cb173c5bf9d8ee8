"""The interactive figures in the pages: their scripts, style and models.

All of it is joined from the package's own files at every build, so no notebook
holds a copy. The package itself is not imported: it needs PyTorch, and building
does not.
"""

import importlib.util
import re
from collections import Counter
from pathlib import Path

from sphinx.errors import ExtensionError

PACKAGE = Path(__file__).resolve().parents[2] / "vit_tutorial"


def read_module(name):
    """Load one of the package's files that need only the standard library."""
    spec = importlib.util.spec_from_file_location(
        name, PACKAGE / "widgets" / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def with_ids(body):
    """Give every figure an id, so that a link can lead to it: figure-cutter,
    and figure-cutter-2 for a second one of its kind."""
    seen = Counter()

    def with_id(found):
        seen[found[1]] += 1
        number = f"-{seen[found[1]]}" if seen[found[1]] > 1 else ""
        return f'<div id="figure-{found[1]}{number}"{found[0][4:]}'

    return re.sub(r'<div class="vt-live" data-figure="(\w+)"', with_id, body)


def add_to_page(app, pagename, templatename, context, doctree):
    """Let a page load its figures; write their script and models."""
    body = context.get("body", "")
    figures = list(dict.fromkeys(re.findall(r'data-figure="(\w+)"', body)))
    if app.builder.format != "html" or not figures:
        return
    bundle = read_module("bundle")
    if unknown := set(figures) - set(bundle.figure_names()):
        raise ExtensionError(
            f"{pagename}: there is no figure {', '.join(unknown)}"
        )
    context["body"] = with_ids(body)
    folder = Path(app.outdir, "_static")
    folder.mkdir(parents=True, exist_ok=True)
    name = "-".join(["figures", *figures])
    (folder / f"{name}.js").write_text(bundle.page_script(*figures), "utf8")
    for part, script in bundle.part_scripts(*figures).items():
        (folder / f"{name}.{part}.js").write_text(script, "utf8")
    (folder / f"{name}.css").write_text(bundle.style_sheet(*figures), "utf8")
    app.add_js_file(f"{name}.js", loading_method="defer")
    app.add_css_file(f"{name}.css")
    if "training_data" in bundle.in_order(figures, later=True):
        write_training_data(folder / "training_data.js")
    names = " ".join(re.findall(r'data-models="([\w -]+)"', body))
    for name in sorted(set(names.split())):
        write_model(
            Path(app.outdir, "_static", "models", f"{name}.js"), name, pagename
        )


def write_model(path, name, pagename):
    checkpoint = PACKAGE / "assets" / f"{name}.safetensors"
    if not checkpoint.exists():
        raise ExtensionError(
            f"{pagename}: a figure asks for {checkpoint.name}, which is missing"
        )
    if path.exists() and path.stat().st_mtime > checkpoint.stat().st_mtime:
        return
    quantise = read_module("quantise")
    payload = quantise.quantise(*quantise.read_checkpoint(checkpoint))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(quantise.model_script(name, payload), "utf8")


def write_training_data(path):
    """Write the images that figures of some pages train on."""
    training_data = read_module("training_data")
    sources = [Path(training_data.__file__), *training_data.files()]
    newest = max(source.stat().st_mtime for source in sources)
    if not path.exists() or path.stat().st_mtime < newest:
        path.write_text(training_data.script(), "utf8")


def setup(app):
    app.connect("html-page-context", add_to_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
