"""The arithmetic of the pages' models: what is compiled is the source, and computes as PyTorch."""

import importlib.util
import re
import subprocess
import sys
from functools import partial

import kernels
import pytest
import torch
from torch.nn import functional as F

from vit_tutorial.widgets.bundle import join


def test_source_and_result_change_together():
    message = "a source or a module has changed alone: run `python .ci/kernels.py`"
    assert kernels.sums() == kernels.SUMS.read_text("utf8"), message


@pytest.mark.skipif(
    importlib.util.find_spec("ziglang") is None, reason="ziglang, the compiler, is not installed"
)
@pytest.mark.parametrize("name", kernels.MODULES)
def test_compiling_again_gives_the_same_bytes(name, tmp_path):
    version = [sys.executable, "-m", "ziglang", "version"]
    found = subprocess.run(version, capture_output=True, text=True, check=True).stdout.strip()
    if found != kernels.COMPILER:
        pytest.skip(f"ziglang {found} is installed, not {kernels.COMPILER}")
    again = tmp_path / f"{name}.wasm"
    kernels.compile_to(again)
    assert again.read_bytes() == (kernels.ENGINE / again.name).read_bytes()


# Each matrix stands before eight numbers that no kernel may write. plain: as in a browser that
# cannot compute the faster product.
CALL = """({ kernel, given, plain }) => {
    const sizes = given.map((each) => (each.length ?? 0) + 8);
    class Plain extends $memory.Memory { static modules = [$kernels.kernels]; }
    const memory = new (plain ? Plain : $training_memory.TrainingMemory)(sizes);
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
    script = join(["training_memory"])
    page.add_script_tag(content=re.sub(r"^const \$", "globalThis.$", script, flags=re.M))

    def call(kernel, *given, plain=False):
        flat = [each.flatten().tolist() if torch.is_tensor(each) else each for each in given]
        found = page.evaluate(CALL, {"kernel": kernel, "given": flat, "plain": plain})
        matrices = []
        for before, after in zip(given, found, strict=True):
            if torch.is_tensor(before):
                assert after[-8:] == [7] * 8, f"{kernel} writes behind its matrix"
                matrices.append(torch.tensor(after[:-8], dtype=torch.float).view_as(before))
        return matrices

    yield call
    page.close()


SIDES = [(1, 1, 1), (2, 3, 5), (3, 4, 2), (4, 5, 1), (5, 8, 6), (6, 7, 3), (9, 10, 4), (8, 21, 7)]


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize(("rows", "columns", "length"), SIDES)
def test_products_are_products_at_every_edge(call, rows, columns, length, plain):
    call = partial(call, "product", plain=plain)
    a, b = torch.randn(rows, length), torch.randn(length, columns)
    c, bias = torch.full((rows, columns), torch.pi), torch.randn(columns)
    *_, c, _ = call(rows, columns, length, a, length, 1, b, columns, c, columns, bias, 0)
    torch.testing.assert_close(c, a @ b + bias)
    # a's columns are its rows now
    turned = a.T.contiguous()
    _, _, d = call(rows, columns, length, turned, 1, rows, b, columns, c, columns, 0, 0)
    torch.testing.assert_close(d, a @ b)
    # b in panels of eight columns, one after the other
    panels = F.pad(b, (0, -columns % 8)).view(length, -1, 8).transpose(0, 1).contiguous()
    *_, c, _ = call(rows, columns, length, a, length, 1, panels, 8, c, columns, bias, 0)
    torch.testing.assert_close(c, a @ b + bias)
    # added to what is there, from rows that overlap
    band = torch.randn(length + 2 * (rows - 1))
    overlapping = torch.stack([band[2 * i : 2 * i + length] for i in range(rows)])
    there = torch.randn(rows, columns)
    sizes = (rows, columns, length)
    *_, c, _ = call(*sizes, band, 2, 1, b, columns, c, columns, there, columns)
    torch.testing.assert_close(c, overlapping @ b + there)


@pytest.mark.parametrize(
    ("rows", "columns"), [(1, 1), (7, 3), (2, 4), (4, 6), (3, 9), (5, 64), (6, 1)]
)
def test_rows_are_transposed_normed_and_turned_into_weights(call, rows, columns):
    x, weight, bias = torch.randn(rows, columns), torch.randn(columns), torch.randn(columns)
    turned, _ = call("transpose", torch.zeros(columns, rows), x, rows, columns, columns)
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


# The gradients, and the steps of the optimisers


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (7, 3), (3, 9), (5, 64)])
def test_gradients_are_autograds_at_every_edge(call, rows, columns):
    x, dy = torch.randn(rows, columns), torch.randn(rows, columns)
    weight, bias = torch.randn(columns), torch.randn(columns)
    double = [each.double().requires_grad_() for each in (x, weight, bias)]
    normed = F.layer_norm(double[0], (columns,), *double[1:], 1e-5)
    expected = torch.autograd.grad(normed, double, dy.double())
    there = [torch.randn_like(each) for each in (x, weight, bias)]  # gradients are added to it
    dx, _, _, _, dweight, dbias = call(
        "norm_back", there[0], dy, x, rows, columns, weight, *there[1:], 1e-5
    )
    for ours, before, exact in zip((dx, dweight, dbias), there, expected, strict=True):
        torch.testing.assert_close(ours.double(), before + exact, rtol=1e-5, atol=2e-5)

    shares = (0.5 * double[0]).softmax(dim=1)
    (expected,) = torch.autograd.grad(shares, double[:1], dy.double())
    ours, *_ = call("softmax_back", dy, shares.detach().float(), rows, columns, 0.5)
    torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=1e-6)

    wide = torch.randn(rows, columns + 3)  # only the first of each row's numbers count
    ours, *_ = call("add_rows", bias, wide, rows, columns, columns + 3)
    torch.testing.assert_close(ours, bias + wide[:, :columns].sum(dim=0))
    ours, *_ = call("multiply", torch.zeros_like(x), x, dy, x.numel())
    torch.testing.assert_close(ours, x * dy)
    ours, *_ = call("blend", torch.zeros_like(x), x, 0.25, dy, -2.0, x.numel())
    torch.testing.assert_close(ours, 0.25 * x - 2 * dy)


def test_gelus_slope_is_right_to_1e6(call):
    x = torch.cat([torch.linspace(-9, 9, 4001), torch.tensor([-1e4, 0.0, 1e4])])
    value, slope = call("gelu_with_slope", x, torch.zeros_like(x), len(x))
    double = x.double().requires_grad_()
    (expected,) = torch.autograd.grad(F.gelu(double).sum(), double)
    assert (slope.double() - expected).abs().max() < 1e-6
    assert (value.double() - F.gelu(x.double())).abs().max() < 4e-7


def test_adamw_takes_pytorchs_steps(call):
    beta1, beta2, eps, lr, decay = 0.9, 0.98, 1e-8, 0.01, 0.5
    weight = torch.randn(7)
    theirs = torch.nn.Parameter(weight.clone())
    optimizer = torch.optim.AdamW([theirs], lr, (beta1, beta2), eps, decay)
    mean, square = torch.zeros(7), torch.zeros(7)
    for step in range(1, 4):
        theirs.grad = torch.randn(7)
        optimizer.step()
        rate, root = lr / (1 - beta1**step), (1 - beta2**step) ** 0.5
        weight, _, mean, square = call(
            "adamw", weight, theirs.grad, mean, square, 7, 1 - lr * decay,
            beta1, beta2, rate, root, eps,
        )  # fmt: skip
        torch.testing.assert_close(weight, theirs.data)


def test_the_faster_product_is_used_where_the_browser_runs_it_and_not_elsewhere(browser):
    script = re.sub(r"^const \$", "globalThis.$", join(["training_memory"]), flags=re.M)
    counts = "[$memory.Memory.modules.length, $training_memory.TrainingMemory.modules.length]"
    refused = "WebAssembly.validate = () => false;"
    for before, expected in [("", [2, 3]), (refused, [1, 2])]:
        page = browser.new_page()
        page.add_script_tag(content=before + script)
        assert page.evaluate(counts) == expected
        page.close()
