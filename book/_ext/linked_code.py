"""Code within a sentence leads to where it is documented.

`patchify` and `patchify(images, 4)` lead to the API page's entry, unless the
page itself defines a `patchify`; `nn.Linear` leads to PyTorch's documentation.
"""

import json
import re
from pathlib import Path

from docutils import nodes
from own_style import add_style
from package_names import public_address
from sphinx import addnodes

ARGUMENTS = r"\((?:[^()]|\([^()]*\))*\)"
NAME = re.compile(rf"([A-Za-z_][\w.]*)(?:{ARGUMENTS})?")
OTHERS = (nodes.reference, addnodes.pending_xref, nodes.title, addnodes.desc)
# PyTorch has a page for each of its names. Tests hold that the names exist,
# and `make links` that the pages do.
PYTORCH = "https://docs.pytorch.org/docs/stable/generated/{}.html"
SHORT = {"torch": "torch", "nn": "torch.nn", "F": "torch.nn.functional"}


def names_of(path):
    """Find the names that a chapter's own code defines."""
    if path.suffix != ".ipynb":
        return set()
    cells = json.loads(path.read_text("utf8"))["cells"]
    code = "\n".join(
        "".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"
    )
    return {*re.findall(r"^(?:def |class |(?=\w+ = ))(\w+)", code, re.M)}


def pytorch_address(name):
    """Find the page about one of PyTorch's names, such as `F.cross_entropy`."""
    module, _, rest = name.partition(".")
    if module not in SHORT or not rest:
        return None
    return PYTORCH.format(f"{SHORT[module]}.{rest}")


def link(app, doctree):
    """Wrap what is a name in a link."""
    page = app.env.docname
    own = names_of(Path(app.env.doc2path(page)))
    for code in [*doctree.findall(nodes.literal)]:
        found = NAME.fullmatch(code.astext())
        if not found or found[1] in own or is_within(code, OTHERS):
            continue
        if address := public_address(found[1]):
            wrapper = addnodes.pending_xref(
                "",
                refdomain="py",
                reftype="obj",
                reftarget=address,
                refdoc=page,
                refexplicit=True,
                refwarn=True,
            )
        elif address := pytorch_address(found[1]):
            wrapper = nodes.reference("", "", refuri=address)
        else:
            continue
        code.replace_self(wrapper)
        code["classes"].append("linked-code")
        wrapper += code


def is_within(node, kinds):
    while node := node.parent:
        if isinstance(node, kinds):
            return True
    return False


def setup(app):
    app.connect("doctree-read", link)
    add_style(app, "linked_code.css", "linked-code")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
