"""What every test starts from: no network, the same random numbers, libraries that import."""

import os
import shutil
import signal

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports Hugging Face's libraries

import pytest
import torch
import torchvision_operators
import twice
from figure_page import Book, Pages, draw_in_notebook
from playwright.sync_api import sync_playwright
from tiny_run import TINY, few_test_pictures, run

from vit_tutorial import recipes, train

BROWSERS = ["chromium", "chromium-browser", "google-chrome"]

# What takes minutes, the longest first: begun last, it would keep one worker busy and the others
# waiting (`make test` hands out files in this order).
LONGEST = """
    test_every_figure 07_training test_contributing test_pages 09_attention_maps test_browsers
    test_resuming test_stopping test_pretrained test_train test_gpu_run test_experiments
    test_many_processes 03_class_token test_inpage_cnn 10_pretrained
""".split()

TORCHVISION_LIBRARY = torchvision_operators.declare()
torch.set_num_threads(1)  # the tests' tensors are so small that threads only wait for each other


def randomise(model: torch.nn.Module, std: float = 0.2) -> torch.nn.Module:
    """A fresh head is zero, and comparisons of zeros are empty: give every parameter a value."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            around = 1.0 if isinstance(module, torch.nn.LayerNorm) and name == "weight" else 0.0
            torch.nn.init.normal_(parameter, around, std)
    return model.eval()


def pytest_configure(config):
    """Where the chapters are tested too, their cells run twice."""
    config.pluginmanager.register(twice, "twice")


def pytest_collection_modifyitems(items):
    """Begin with what takes longest; the rest stays in its order."""
    order = {stem: place for place, stem in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def fused_calls(monkeypatch):
    """The calls of PyTorch's fused attention, as a list that grows."""
    calls = []
    fused = torch.nn.functional.scaled_dot_product_attention

    def spy(*args, **kwargs):
        calls.append(args)
        return fused(*args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    return calls


@pytest.fixture
def ctrl_c():
    """Let the programs that a test starts hear Ctrl-C, even where pytest does not.

    A shell lets what it starts in the background ignore Ctrl-C, and that is inherited.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def a_tenth_of_the_test_set():
    """What trains in this process reads a tenth of the test set, and no file twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "load_dataset", few_test_pictures)
        patch.setattr(recipes, "load_dataset", few_test_pictures)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory, a_tenth_of_the_test_set):
    """A run that nothing interrupted: its folder, model and records."""
    folder = tmp_path_factory.mktemp("whole")
    return (folder, *run(TINY, folder, command="python a command"))


@pytest.fixture
def command(monkeypatch, capsys):
    """Run the command in this process; what it says when it fails, and that it says so."""
    monkeypatch.setitem(recipes.RECIPES, "tiny", TINY)

    def start(*arguments, fails=True):
        given = ["--recipe", "tiny", "--device", "cpu", *map(str, arguments)]
        if not fails:
            return train.main(given)
        with pytest.raises(SystemExit) as stopped:
            train.main(given)
        assert isinstance(stopped.value.code, str)  # Python prints it and exits with 1
        assert "\n" not in stopped.value.code
        return stopped.value.code

    return start


@pytest.fixture(scope="session")
def playwright():
    """One for all tests: two of them in one process get in each other's way."""
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser(playwright):
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=[
                "--no-sandbox",  # root in a container has none; only our own pages are opened
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ],
        )
    except Exception as error:
        pytest.fail(f"no browser starts: run `playwright install chromium`\n{error}")
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def all_pages(browser):
    return Pages(browser)


@pytest.fixture
def pages(all_pages, request):
    """Pages of a test's own. Those of a test that fails may be in any state: no other gets them."""
    failed = request.session.testsfailed
    yield all_pages
    all_pages.give_back(again=request.session.testsfailed == failed)


@pytest.fixture
def book(pages, tmp_path):
    """A page of the book with figures of the test's choice: `book.open(figure, …)`."""
    return Book(pages, tmp_path)


@pytest.fixture
def notebook(pages):
    """An empty page with a figure of the test's choice: `notebook(figure)`, `before` a script."""
    return lambda *figure, **before: draw_in_notebook(pages.take(), *figure, **before)
