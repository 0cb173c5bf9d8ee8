"""The notation page points at the code as it is."""

import inspect
import re

import pytest
from notebooks import ROOT

from vit_tutorial import patches, positions, vit

ROWS = re.findall(
    r"^\| (.+?) \| (.+?) \| .+ \|$", (ROOT / "book/notation.md").read_text("utf8"), re.M
)
IN_THE_CODE = {symbol: code for symbol, code in ROWS if "`" in code}
CODE = "".join(map(inspect.getsource, (patches, positions, vit)))
MARKED = r"`(\w+)` in `(\w+)\.(\w+)`, after the line of equation (\d)"
POINTERS = re.findall(MARKED, "\n".join(IN_THE_CODE.values()))


def test_the_page_points_at_lines():
    assert [pointer[-1] for pointer in POINTERS] == ["2", "3"]


@pytest.mark.parametrize(("name", "class_name", "method", "equation"), POINTERS)
def test_the_line_of_an_equation_is_where_the_page_says(name, class_name, method, equation):
    source = inspect.getsource(getattr(getattr(vit, class_name), method))
    assert re.search(rf"^ *{name} = .*  # eq\. {equation}$", source, re.M)


@pytest.mark.parametrize("symbol", IN_THE_CODE)
def test_every_name_on_the_page_is_one_of_the_code(symbol):
    names = {
        name
        for code in re.findall(r"`(.+?)`", IN_THE_CODE[symbol])
        for name in re.findall(r"[a-z]\w*", code, re.I)
    }
    assert names
    assert not [name for name in names if not re.search(rf"\b{name}\b", CODE)]
