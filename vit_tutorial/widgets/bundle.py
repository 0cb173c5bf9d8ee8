"""One script out of several modules, for places that cannot load modules from
files.

A page opened by double-click may load classic scripts alone, and a widget hands
its front end over as one text. So the modules here import each other as modules
do, and are joined before they leave. The kernels are WebAssembly, which travels
as text too: `kernels.wasm` counts as a module that exports its bytes in
hexadecimal digits, which compress better than base64. The standard library is
all this file needs: it also runs where the book is built.
"""

import re
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent  # with engine/, page/ and figures/ in it
IMPORT = re.compile(
    r'^import \{([^}]*)\} from "(\.{1,2}/[\w./]*?(\w+)\.(?:js|wasm))";\n',
    re.M,
)
EXPORT = re.compile(
    r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.M
)
DEFAULT = re.compile(r"^export default ", re.M)
# What is for those who read the modules: pages do without it.
COMMENT = re.compile(r"^ *//.*\n| +// .*$|^ +|^/\*[^*]*\*/\n+", re.M)
OPERATOR = re.compile(r'("[^"]*")| *(=>|[=!]==|[=:?,{}()&|;*]) *')
# What a page asks of a Worker, and the module that answers it there.
WORKERS = {
    "background": "worker",
    "checkpoint": "checkpoint_worker",
    "training": "training_worker",
}
DECLARED = re.compile(r"^  static (state|inputs) = \[([^\]]*)\];$", re.M)


def modules() -> dict[str, Path]:
    """Find every module: its file, by its name.

    Raises ValueError for two of one name, which could not be joined.
    """
    found: dict[str, Path] = {}
    for path in sorted([*FOLDER.rglob("*.js"), *FOLDER.rglob("*.wasm")]):
        if path.stem in found:
            raise ValueError(f"{path} and {found[path.stem]} have one name")
        found[path.stem] = path
    return found


def source_of(path: Path) -> str:
    """Read a module; WebAssembly becomes one that exports `kernels`, its
    bytes in hexadecimal digits."""
    if path.suffix == ".wasm":
        return f'export const {path.stem} = "{path.read_bytes().hex()}";\n'
    return path.read_text("utf8")


def figure_names() -> list[str]:
    """Name the figures: the modules whose default export can be rendered."""
    return sorted(
        name
        for name, path in modules().items()
        if DEFAULT.search(source_of(path))
    )


def declared(figure: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Read a figure's traits from its module: its state, then its inputs.

    The module declares both lists (see live.js), and nothing else does.

    Raises ValueError for a module without them.
    """
    path = modules()[figure]
    found = dict(DECLARED.findall(path.read_text("utf8")))
    if found.keys() != {"state", "inputs"}:
        raise ValueError(f"{path.name} declares no static state and inputs")
    state, inputs = (
        tuple(re.findall(r'"(\w+)"', found[name]))
        for name in ("state", "inputs")
    )
    return state, inputs


def widget_script(figure: str) -> str:
    """Join a figure with all that it imports into one module, as anywidget
    takes it."""
    return "export default " + whole([figure], f"${figure}.default")


def page_script(*figures: str) -> str:
    """Join figures (none named: all) and the host that brings them to life into
    a classic script.

    A page loads the one with its own figures, so none is heavy.
    """
    names = figures or figure_names()
    table = ", ".join(f"{name}: ${name}.default" for name in names)
    return whole([*names, "host"], f"$host.start({{ {table} }})")


def whole(names: Sequence[str], result: str) -> str:
    """Join modules into a function, `whole`, that is called and returns
    `result`.

    A figure that computes in a Worker (background.js) gives it this function's
    own text, so that no code travels twice. There it returns before the first
    module that only a page can run.
    """
    script = join(names)
    found = in_order(names)
    if workers := [WORKERS[name] for name in WORKERS if name in found]:
        start = join(workers)
        rest = join([*workers, *names]).removeprefix(start)
        answers = ", ".join(f"...${name}.ANSWERS" for name in workers)
        serve = f"return $worker.serve({{ {answers} }});\n"
        script = start + f"if (!globalThis.document) {serve}" + rest
    return f"(function whole() {{\n{script}return {result};\n}})();\n"


def style_sheet(*figures: str) -> str:
    """Join the look of figures (none named: all): what all of them share, and
    the sheet beside each module, in the order of `join`."""
    scripts = in_order(figures or figure_names())
    sheets = [path.with_suffix(".css") for path in scripts.values()]
    return "\n".join(
        COMMENT.sub("", path.read_text("utf8"))
        for path in [FOLDER / "page" / "figures.css", *sheets]
        if path.exists()
    )


def join(names: Sequence[str]) -> str:
    """Put modules behind those that they import, each in a function of its own.

    Raises ValueError for a module that is not there, for an import or export
    that is written in another way than ours are, and for modules that import
    each other in a circle.
    """
    return "".join(wrapped(*found) for found in in_order(names).items())


def in_order(names: Sequence[str]) -> dict[str, Path]:
    """Find modules and all that they import: each one's file, by its name,
    behind those of its imports."""
    paths = modules()
    done: dict[str, Path] = {}
    open_: list[str] = []

    def visit(name: str) -> None:
        if name in done:
            return
        if name in open_:
            circle = " -> ".join([*open_, name])
            raise ValueError(f"{circle}.js import each other in a circle")
        if name not in paths:
            raise ValueError(f"there is no {name}.js under {FOLDER}")
        open_.append(name)
        for imported in imports_of(paths[name]):
            visit(imported)
        open_.remove(name)
        done[name] = paths[name]

    for name in names:
        visit(name)
    return done


def imports_of(path: Path) -> list[str]:
    """Name the modules that a module imports.

    Raises ValueError where its import does not lead to a module of ours.
    """
    names = []
    for _, address, name in IMPORT.findall(source_of(path)):
        target = (path.parent / address).resolve()
        if not target.exists() or FOLDER.resolve() not in target.parents:
            raise ValueError(
                f"there is no {name}.js at {address}, where {path.name} "
                "imports it from"
            )
        names.append(name)
    return names


def wrapped(name: str, path: Path) -> str:
    """Turn a module into a constant, `$name`, that holds its exports.

    Comments and indents stay behind: nobody reads them in a page.
    """
    source = COMMENT.sub("", source_of(path))
    exported = EXPORT.findall(source)
    source = IMPORT.sub(
        lambda match: f"const {{{match[1]}}} = ${match[3]};\n", source
    )
    source = EXPORT.sub("", source)
    if DEFAULT.search(source):
        source = DEFAULT.sub("const $default = ", source)
        exported.append("default: $default")
    if left := re.search(r"^(import|export)\b.*", source, re.M):
        raise ValueError(
            f"{path.name} writes {left[0]!r} in a way that cannot be joined"
        )
    body = (
        f'"use strict";\n{narrow(source)}return {{ {", ".join(exported)} }};\n'
    )
    return f"const ${name} = (() => {{\n{body}}})();\n"


def narrow(source: str) -> str:
    """Leave out the spaces around operators, and line ends that say nothing.

    A line that holds part of a template, a regular expression or an escaped
    character keeps its spaces, and so does what stands in quotes; a template
    keeps its lines.
    """
    lines, in_template = [], False
    for line in source.splitlines(keepends=True):
        if not in_template and not re.search(r"[`'/\\]", line):
            line = OPERATOR.sub(lambda match: match[1] or match[2], line)
        in_template ^= line.count("`") % 2 == 1
        if not in_template and line.endswith((";\n", ",\n", "{\n", "(\n")):
            line = line[:-1]
        lines.append(line)
    return "".join(lines)
