"""One script out of several modules, for places that cannot load modules from files.

A page opened by double-click may load classic scripts alone, and a widget hands its front end over
as one text. So the modules here import each other as modules do, and are joined before they leave.
The standard library is all this file needs: it also runs where the book is built.
"""

import re
from pathlib import Path

FOLDER = Path(__file__).parent
IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";\n', re.M)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.M)
DEFAULT = re.compile(r"^export default ", re.M)


def figure_names() -> list[str]:
    """Name the figures: the modules whose default export can be rendered."""
    return sorted(
        path.stem for path in FOLDER.glob("*.js") if DEFAULT.search(path.read_text("utf8"))
    )


def widget_script(figure: str) -> str:
    """Join a figure with all that it imports into one module, as anywidget takes it."""
    return join([figure]) + f"export default ${figure}.default;\n"


def page_script(*figures: str) -> str:
    """Join figures (none named: all) and the host that brings them to life into a classic script.

    A page loads the one with its own figures, so none is heavy.
    """
    figures = figures or figure_names()
    table = ", ".join(f"{name}: ${name}.default" for name in figures)
    return f"(() => {{\n{join([*figures, 'host'])}$host.start({{ {table} }});\n}})();\n"


def style_sheet(*figures: str) -> str:
    """Join the look that all figures share with what these (none named: all) add to it."""
    sheets = [FOLDER / f"{name}.css" for name in figures or figure_names()]
    return "\n".join(
        path.read_text("utf8") for path in [FOLDER / "figures.css", *sheets] if path.exists()
    )


def join(names: list[str]) -> str:
    """Put modules behind those that they import, each in a function of its own.

    Raises ValueError for a module that is not there, for an import or export that is written in
    another way than ours are, and for modules that import each other in a circle.
    """
    done: dict[str, str] = {}
    open_: list[str] = []

    def visit(name):
        if name in done:
            return
        if name in open_:
            raise ValueError(f"{' -> '.join([*open_, name])}.js import each other in a circle")
        path = FOLDER / f"{name}.js"
        if not path.exists():
            raise ValueError(f"there is no {path.name} beside {Path(__file__).name}")
        open_.append(name)
        source = path.read_text("utf8")
        for _, imported in IMPORT.findall(source):
            visit(imported)
        open_.remove(name)
        exported = EXPORT.findall(source)
        source = IMPORT.sub(lambda match: f"const {{{match[1]}}} = ${match[2]};\n", source)
        source = EXPORT.sub("", source)
        if DEFAULT.search(source):
            source = DEFAULT.sub("const $default = ", source)
            exported.append("default: $default")
        if left := re.search(r"^(import|export)\b.*", source, re.M):
            raise ValueError(f"{path.name} writes {left[0]!r} in a way that cannot be joined")
        body = f'"use strict";\n{source}return {{ {", ".join(exported)} }};\n'
        done[name] = f"const ${name} = (() => {{\n{body}}})();\n"

    for name in names:
        visit(name)
    return "".join(done.values())
