"""Many passes are computed in a Worker, which may fail, and may be slower than a reader."""

import pytest
import torch
from conftest import randomise
from figure_page import cards, said, soon
from playwright.sync_api import expect

from vit_tutorial import ViT
from vit_tutorial.data import load_dataset
from vit_tutorial.widgets import Deletion, Playground

# A page's Workers: `mode` says how they fail from now on, or that their answers are held back.
WORKERS = """
globalThis.mode = "none";
globalThis.asked = [];
globalThis.held = [];
const BAD = {
    throws: (code) => `${code} onmessage = () => { throw new Error("it broke"); };`,
    "no memory": (code) => `WebAssembly.Memory = class { constructor() { throw 0; } }; ${code}`,
};
let code; // a Worker's
globalThis.Blob = class extends Blob {
    constructor(parts) {
        super(parts);
        code ??= parts[0];
    }
};
const later = setTimeout;
globalThis.setTimeout = (work, delay) => later(work, mode === "silent" ? 0 : delay);
globalThis.Worker = class extends Worker {
    constructor(address) {
        if (mode === "none") throw new Error("no Worker");
        super(mode in BAD ? URL.createObjectURL(new Blob([BAD[mode](code)])) : address);
    }
    postMessage(message) {
        asked.push(message);
        super.postMessage(message);
        if (mode === "silent") this.terminate();
    }
    set onmessage(hear) {
        super.onmessage = (event) => (mode === "held" ? held.push(() => hear(event)) : hear(event));
    }
};
"""


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    vit = ViT(
        image_size=28,
        patch_size=4,
        num_classes=10,
        channels=1,
        dim=16,
        depth=2,
        heads=2,
        dim_head=8,
        mlp_dim=16,
    )
    return randomise(vit, std=0.4)


@pytest.fixture(scope="module")
def images():
    return load_dataset("fashion_mnist", "test", subset=10)[0][:3]


def patch(card, number):
    return card.get_by_role("grid").first.get_by_role("gridcell").nth(number - 1)


def worth(card):
    return card.locator(".vt-worth .vt-label").first


def test_a_worker_that_fails_is_named_in_a_line_and_asked_again(book, vit, images):
    page = book.open(Playground(vit, images), Deletion(vit, images), before=WORKERS)
    page.locator(".vt-live").nth(1).scroll_into_view_if_needed()
    card, deletion = cards(page, 2)
    deletion.get_by_role("button", name="Show me").click()
    card.get_by_role("button", name="Remove each patch in turn").click()
    failures = {
        "none": "this browser allows no Worker on this page",
        "throws": "the page’s Worker has stopped",
        "no memory": "its model needs 1 MB of memory, which this browser refuses",
        "silent": "the page’s Worker does not respond",
    }
    for number, (mode, why) in enumerate(failures.items(), 1):
        page.evaluate("(next) => { mode = next; }", mode)
        patch(card, number).click()
        assert f"{number} of 49 patches removed" in said(card)  # one pass needs no Worker
        expect(worth(card)).to_have_text(f"What each patch is worth cannot be computed: {why}.")
        line = card.locator(".vt-discoveries")
        expect(line).to_have_text(f"TryThe discoveries cannot be computed: {why}.")
        card.get_by_role("button", name="Surprise me").click()
        assert said(card) == f"The surprise cannot be computed: {why}."
        patch(deletion, number).click()
        assert "patches removed by the last layer" in said(deletion)
        line = deletion.get_by_text("The curves cannot be computed")
        expect(line).to_have_text(f"The curves cannot be computed: {why}.")
        deletion.get_by_role("button", name="surprise me").click()
        assert said(deletion) == f"The surprise cannot be computed: {why}."
        expect(card).not_to_have_attribute("aria-busy", "true")
    page.evaluate("mode = 'works'; 0")
    patch(card, 5).click()
    expect(worth(card)).to_contain_text("changes most without patch")
    expect(card.locator(".vt-discoveries")).not_to_contain_text("cannot")
    patch(deletion, 5).click()
    assert "smallest area" in said(deletion)


def test_of_clicks_faster_than_answers_the_last_one_counts_and_none_queue_up(book, vit, images):
    page = book.open(Playground(vit, images), before=WORKERS)
    (card,) = cards(page, 1)
    card.get_by_role("button", name="Remove each patch in turn").click()
    page.evaluate("mode = 'held'; asked.length = 0")
    for number in (9, 10, 17, 25):
        patch(card, number).click()
    assert soon(page.evaluate, "held.length") == 1
    assert soon(page.evaluate, "asked.length") == 1
    assert said(card).endswith("4 of 49 patches removed.")
    for width, height in ((390, 844), (844, 390)):  # a phone that is turned meanwhile
        page.set_viewport_size({"width": width, "height": height})
        assert soon(page.evaluate, "document.documentElement.scrollWidth") <= width
    page.evaluate("mode = 'works'; held.pop()(); 0")
    expect(worth(card)).to_contain_text("changes most without patch")
    shown = worth(card).inner_text()
    measured = "asked.map(({ given }) => given[1]).filter(([{ order }]) => order?.length)"
    sizes = f"{measured}.map((changes) => changes.length).filter((length) => length > 1)"
    assert page.evaluate(sizes)[-1] == 45
    assert len(page.evaluate(sizes)) <= 2  # the first, and the last

    page = book.open(Playground(vit, images, dropped=[8, 9, 16, 24]))
    (card,) = cards(page, 1)
    card.get_by_role("button", name="Remove each patch in turn").click()
    expect(worth(card)).to_have_text(shown)
    assert page.noise == []


# Take all the memories there are and drop them; a Worker is refused one then.
FULL = """async () => {
    const some = { initial: 1, maximum: 1 };
    const take = (held) => { for (;;) held.push(new WebAssembly.Memory(some)); };
    const probe = `onmessage = () => {
        try { new WebAssembly.Memory({ initial: 1, maximum: 1 }); } catch { return postMessage(1); }
        postMessage(0);
    }`;
    const address = URL.createObjectURL(new Blob([probe]));
    const isRefused = () => new Promise((resolve) => {
        const worker = new Worker(address);
        worker.onmessage = ({ data }) => { worker.terminate(); resolve(data); };
        worker.postMessage(0);
    });
    do try { take([]); } catch {} while (!(await isRefused()));
}"""


def test_a_worker_gets_memory_that_nothing_on_its_page_uses_any_longer(book, vit, images):
    page = book.open(Playground(vit, images), before=WORKERS)
    (card,) = cards(page, 1)
    card.get_by_role("button", name="Remove each patch in turn").click()
    expect(worth(card)).to_contain_text("this browser allows no Worker on this page")
    page.evaluate("mode = 'works'; 0")
    page.evaluate(FULL)
    patch(card, 5).click()
    expect(worth(card)).to_contain_text("changes most without patch")
