"""The arithmetic of the pages' models: what is compiled is the source, and computes as PyTorch."""

import importlib.util
import re
import subprocess
import sys

import kernels
import pytest
import torch
from torch.nn import functional as F

from vit_tutorial.widgets.bundle import join


def test_source_and_result_change_together():
    message = "kernels.c or kernels.wasm has changed alone: run `python .ci/kernels.py`"
    assert kernels.sums() == kernels.SUMS.read_text("utf8"), message


@pytest.mark.skipif(
    importlib.util.find_spec("ziglang") is None, reason="ziglang, the compiler, is not installed"
)
def test_compiling_again_gives_the_same_bytes(tmp_path):
    version = [sys.executable, "-m", "ziglang", "version"]
    found = subprocess.run(version, capture_output=True, text=True, check=True).stdout.strip()
    if found != kernels.COMPILER:
        pytest.skip(f"ziglang {found} is installed, not {kernels.COMPILER}")
    kernels.compile_to(tmp_path / "again.wasm")
    assert (tmp_path / "again.wasm").read_bytes() == kernels.RESULT.read_bytes()


# Each matrix stands before eight numbers that no kernel may write.
CALL = """({ kernel, given }) => {
    const sizes = given.map((each) => (each.length ?? 0) + 8);
    const memory = new $memory.Memory(sizes);
    const guard = Array(8).fill(7);
    const args = given.map((each) => Array.isArray(each) ? memory.put([...each, ...guard]) : each);
    memory.kernels[kernel](...args);
    return given.map((each, i) =>
        Array.isArray(each) ? [...memory.read(args[i], each.length + 8)] : each);
}"""


@pytest.fixture(scope="module")
def call(browser):
    """Call a kernel with matrices and numbers; what the matrices are then, in the same order."""
    page = browser.new_page()
    page.add_script_tag(content=re.sub(r"^const \$", "globalThis.$", join(["memory"]), flags=re.M))

    def call(kernel, *given):
        flat = [each.flatten().tolist() if torch.is_tensor(each) else each for each in given]
        found = page.evaluate(CALL, {"kernel": kernel, "given": flat})
        matrices = []
        for before, after in zip(given, found, strict=True):
            if torch.is_tensor(before):
                assert after[-8:] == [7] * 8, f"{kernel} writes behind its matrix"
                matrices.append(torch.tensor(after[:-8], dtype=torch.float).view_as(before))
        return matrices

    yield call
    page.close()


SIDES = [(1, 1, 1), (2, 3, 5), (3, 4, 2), (4, 5, 1), (5, 8, 6), (6, 7, 3), (9, 10, 4), (8, 13, 7)]


@pytest.mark.parametrize(("rows", "columns", "length"), SIDES)
def test_products_are_products_at_every_edge(call, rows, columns, length):
    a, b = torch.randn(rows, length), torch.randn(length, columns)
    c, bias = torch.full((rows, columns), torch.pi), torch.randn(columns)
    *_, c, _ = call("product", rows, columns, length, a, length, 1, b, columns, c, columns, bias, 0)
    torch.testing.assert_close(c, a @ b + bias)
    # a's columns are its rows now
    turned = a.T.contiguous()
    _, _, d = call("product", rows, columns, length, turned, 1, rows, b, columns, c, columns, 0, 0)
    torch.testing.assert_close(d, a @ b)
    # added to what is there, from rows that overlap
    band = torch.randn(length + 2 * (rows - 1))
    overlapping = torch.stack([band[2 * i : 2 * i + length] for i in range(rows)])
    there = torch.randn(rows, columns)
    sizes = (rows, columns, length)
    *_, c, _ = call("product", *sizes, band, 2, 1, b, columns, c, columns, there, columns)
    torch.testing.assert_close(c, overlapping @ b + there)


@pytest.mark.parametrize(
    ("rows", "columns"), [(1, 1), (7, 3), (2, 4), (4, 6), (3, 9), (5, 64), (6, 1)]
)
def test_rows_are_transposed_normed_and_turned_into_weights(call, rows, columns):
    x, weight, bias = torch.randn(rows, columns), torch.randn(columns), torch.randn(columns)
    turned, _ = call("transpose", torch.zeros(columns, rows), x, rows, columns)
    assert torch.equal(turned, x.T)
    normed, *_ = call("norm", torch.zeros_like(x), x, rows, columns, weight, bias, 1e-5)
    torch.testing.assert_close(normed, F.layer_norm(x, (columns,), weight, bias, 1e-5))
    (shares,) = call("softmax", 9 * x, rows, columns, 0.5)
    torch.testing.assert_close(shares, (4.5 * x).softmax(dim=1), rtol=2e-6, atol=1e-12)


def test_what_is_far_below_the_largest_gets_exactly_nothing(call):
    scores = torch.tensor([3.0, -83.0, -85.0, -197.0, -1e6, 3.0])
    (shares,) = call("softmax", scores, 1, 6, 1.0)
    expected = scores.double().softmax(dim=0)
    assert torch.equal(shares[2:5], torch.zeros(3))
    kept = [0, 1, 5]
    torch.testing.assert_close(shares[kept].double(), expected[kept], rtol=1e-6, atol=0)


def test_gelu_is_right_to_4e7(call):
    x = torch.cat([torch.linspace(-9, 9, 4001), torch.tensor([-1e4, 1e4])])
    (ours,) = call("gelu", x, len(x))
    assert (ours.double() - F.gelu(x.double())).abs().max() < 4e-7
