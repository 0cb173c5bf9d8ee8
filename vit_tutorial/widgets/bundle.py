"""One script out of several modules, for places that cannot load modules from
files.

A page opened by double-click may load classic scripts alone, and a widget hands
its front end over as one text. So the modules here import each other as modules
do, and are joined before they leave. The kernels are WebAssembly, which travels
as text too: `kernels.wasm` counts as a module that exports its bytes in
hexadecimal digits, which compress better than base64.

A notebook's widget has all of its modules from the beginning. A page's script
leaves some to parts: scripts beside it, loaded when a reader needs them
(page/parts.js). Parts are what `await import("./x.js")` asks for, and what a
Worker has to know beyond the figures' own passes.

The standard library is all this file needs: it also runs where the book is
built.
"""

import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

FOLDER = Path(__file__).parent  # with engine/, page/ and figures/ in it
IMPORT = re.compile(
    r'^import \{([^}]*)\} from "(\.{1,2}/[\w./]*?(\w+)\.(?:js|wasm))";\n',
    re.M,
)
LATER = re.compile(r'\bimport\("(\.{1,2}/[\w./]*?(\w+)\.js)"\)')
EXPORT = re.compile(
    r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.M
)
DEFAULT = re.compile(r"^export default ", re.M)
# What is for those who read the modules: pages do without it.
COMMENT = re.compile(r"^ *//.*\n| +// .*$|^ +|^/\*[^*]*\*/\n+", re.M)
OPERATOR = re.compile(r'("[^"]*")| *(=>|[=!]==|[=:?,{}()&|;*]) *')
# Modules that ask something of a Worker, and those that answer there: from the
# beginning, and as a part.
WORKERS = {"background": "worker", "checkpoint": "photo_worker"}
WORKER_PARTS = {
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
    """Join a figure with all that it imports, at once or later, into one
    module, as anywidget takes it."""
    return "export default " + whole([figure], f"${figure}.default")


def whole(names: Sequence[str], result: str) -> str:
    """Join modules with all that they import, at once or later, into a function
    that is called and returns `result`."""
    asking = in_order(names, later=True)
    answering = [WORKERS[name] for name in WORKERS if name in asking]
    answering += [WORKER_PARTS[name] for name in WORKER_PARTS if name in asking]
    found = in_order([*answering, *names], later=True)
    return function(found, answering, result, {})


def page_script(*figures: str) -> str:
    """Join figures (none named: all) and the host that brings them to life into
    a classic script, without their parts.

    A page loads the one with its own figures, so none is heavy.
    """
    names = figures or figure_names()
    found, answering = page_modules(names)
    table = ", ".join(f"{name}: ${name}.default" for name in names)
    result = f"$host.start({{ {table} }})"
    version = sha256("".join(part_scripts(*names).values()).encode())
    return function(
        found, answering, result, parts_of(names), version.hexdigest()[:8]
    )


def part_scripts(*figures: str) -> dict[str, str]:
    """Join the parts of figures (none named: all), each into a classic script,
    by its name: a function that takes modules of the page's script."""
    names = figures or figure_names()
    found, _ = page_modules(names)
    return {
        name: (
            f"globalThis.vitTutorialPart = ({taken([part], found)}) => {{\n"
            f"{texts(part, has_parts=True)}return ${name};\n}};\n"
        )
        for name, part in parts_of(names).items()
    }


def page_modules(figures: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
    """Find the modules of a page's script, and name those that answer in a
    Worker."""
    names = [*figures, "host"]
    found = in_order(names)
    answering = [WORKERS[name] for name in WORKERS if name in found]
    return in_order([*answering, *names]), answering


def parts_of(figures: Sequence[str]) -> dict[str, dict[str, Path]]:
    """Find the parts of figures, by their names: of each, the modules that the
    page's script lacks."""
    found, _ = page_modules(figures)
    everything = in_order(figures, later=True)
    later = [name for path in everything.values() for name in later_of(path)]
    later += [WORKER_PARTS[name] for name in WORKER_PARTS if name in everything]
    return {
        part: {
            name: path
            for name, path in in_order([part]).items()
            if name not in found
        }
        for part in dict.fromkeys(later)
    }


def taken(parts: Sequence[dict[str, Path]], found: dict[str, Path]) -> str:
    """List what parts import of a page's script: "{ $vit, $memory }"."""
    imported = {
        name
        for part in parts
        for path in part.values()
        for name in imports_of(path)
        if name in found
    }
    return f"{{ {', '.join(f'${name}' for name in sorted(imported))} }}"


def function(
    found: dict[str, Path],
    answering: Sequence[str],
    result: str,
    parts: dict[str, dict[str, Path]],
    version: str = "",
) -> str:
    """Put modules into a function, `whole`, that is called and returns
    `result`.

    A figure that computes in a Worker (background.js) gives it this function's
    own text, so that no code travels twice. There it returns before the first
    module that only a page can run. `part` is what the Worker has to know
    besides.
    """
    for_worker = taken(
        [parts[name] for name in WORKER_PARTS.values() if name in parts], found
    )
    first = in_order([*answering, *re.findall(r"\$(\w+)", for_worker)])
    rest = {name: path for name, path in found.items() if name not in first}
    serve = offer = ""
    if answering:
        answers = "".join(f"...${name}.ANSWERS, " for name in answering)
        serve = (
            f"if (!globalThis.document) return $worker.serve({{ {answers}"
            f"...part?.({for_worker}).ANSWERS }});\n"
        )
    if parts:
        given = taken([*parts.values()], found)
        offer = f'$parts.offer({given}, "{version}");\n'
    has_parts = bool(parts)
    return (
        f"(function whole(part) {{\n{texts(first, has_parts)}{serve}"
        f"{texts(rest, has_parts)}{offer}return {result};\n}})();\n"
    )


def style_sheet(*figures: str) -> str:
    """Join the look of figures (none named: all): what all of them share, and
    the sheet beside each module, in the order of `join`."""
    scripts = in_order(figures or figure_names(), later=True)
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
    return texts(in_order(names), has_parts=False)


def texts(found: dict[str, Path], has_parts: bool) -> str:
    return "".join(wrapped(*each, has_parts) for each in found.items())


def in_order(names: Sequence[str], *, later: bool = False) -> dict[str, Path]:
    """Find modules and all that they import, also what they import later if
    that is asked for: each one's file, by its name, behind those of its
    imports."""
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
        imported = imports_of(paths[name])
        for each in imported + later_of(paths[name]) * later:
            visit(each)
        open_.remove(name)
        done[name] = paths[name]

    for name in names:
        visit(name)
    return done


def imports_of(path: Path) -> list[str]:
    """Name the modules that a module imports at once.

    Raises ValueError where its import does not lead to a module of ours.
    """
    found = IMPORT.findall(source_of(path))
    return checked(path, [(address, name) for _, address, name in found])


def later_of(path: Path) -> list[str]:
    """Name the modules that a module imports later, with the same error."""
    return checked(path, LATER.findall(source_of(path)))


def checked(path: Path, imports: Sequence[tuple[str, str]]) -> list[str]:
    names = []
    for address, name in imports:
        target = (path.parent / address).resolve()
        if not target.exists() or FOLDER.resolve() not in target.parents:
            raise ValueError(
                f"there is no {name}.js at {address}, where {path.name} "
                "imports it from"
            )
        names.append(name)
    return names


def wrapped(name: str, path: Path, has_parts: bool) -> str:
    """Turn a module into a constant, `$name`, that holds its exports.

    What it imports later is a part, or where there are none one more constant.
    Comments and indents stay behind: nobody reads them in a page.
    """
    source = COMMENT.sub("", source_of(path))
    exported = EXPORT.findall(source)
    source = IMPORT.sub(
        lambda match: f"const {{{match[1]}}} = ${match[3]};\n", source
    )
    source = LATER.sub(r'$parts.part("\2")' if has_parts else r"$\2", source)
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
