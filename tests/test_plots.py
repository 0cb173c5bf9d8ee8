"""Figures are legible on both backgrounds and show what they are given."""

import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from vit_tutorial import ViT, plots
from vit_tutorial.architecture import draw_architecture

LIGHT, DARK = "#ffffff", "#121212"  # the theme's two page backgrounds


@pytest.fixture(autouse=True)
def own_style():
    with mpl.rc_context({"backend": "agg"}):
        plots.use_style()
        yield
    plt.close("all")


def contrast(one, other):
    """The contrast ratio of the Web Content Accessibility Guidelines, 1 to 21."""

    def luminance(colour):
        rgb = np.array(to_rgb(colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return linear @ (0.2126, 0.7152, 0.0722)

    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize("background", [LIGHT, DARK])
@pytest.mark.parametrize("colour", [plots.INK, plots.ACCENT, plots.BLUE, plots.PLUM])
def test_ink_is_legible_on_both_backgrounds(colour, background):
    assert contrast(colour, background) >= 3  # what the guidelines ask of graphics


# What is left of a colour (linear RGB) for readers without one kind of cones: Machado, Oliveira and
# Fernandes, A Physiologically-based Model for Simulation of Color Vision Deficiency, 2009.
EYES = {
    "all cones": np.eye(3),
    "no red": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "no green": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "no blue": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
# From linear RGB to Oklab, in which equal distances look about equally far apart:
# https://bottosson.github.io/posts/oklab
TO_CONES = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
TO_OKLAB = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]


@pytest.mark.parametrize("eyes", EYES)
def test_four_curves_have_colours_that_every_reader_can_tell_apart(eyes):
    """CSS Color 4 takes 0.02 for the least difference that is seen; lines are thin, and apart."""
    colours = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    assert len(colours) == 4
    rgb = np.array([to_rgb(colour) for colour in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(EYES[eyes]), 0, 1)
    places = np.cbrt(seen @ np.transpose(TO_CONES)) @ np.transpose(TO_OKLAB)
    apart = np.linalg.norm(places[:, None] - places, axis=-1)
    assert (apart + np.eye(4)).min() > 0.08


def test_a_plot_does_not_load_the_trainer():
    program = (
        "import sys, vit_tutorial.plots; "
        "print([name for name in sys.modules if name in ('vit_tutorial.train', "
        "'vit_tutorial.experiments')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_figures_have_no_background_of_their_own(tmp_path):
    figure, ax = plt.subplots()
    ax.plot([0, 1])
    figure.savefig(tmp_path / "figure.png", facecolor=figure.get_facecolor())  # as Jupyter does
    alpha = plt.imread(tmp_path / "figure.png")[..., 3]
    assert alpha[0, 0] == 0  # outside the axes
    assert np.median(alpha) == 0  # and inside


def test_the_grid_has_a_line_between_any_two_patches_and_marks_the_selected_one():
    _, ax = plt.subplots()
    plots.show_patch_grid(ax, torch.rand(3, 28, 56), (4, 8), selected=8)
    horizontal, vertical = (lines.get_segments() for lines in ax.collections)
    assert [s[0, 1] for s in horizontal] == [4 * i - 0.5 for i in range(1, 7)]
    assert [s[0, 0] for s in vertical] == [8 * i - 0.5 for i in range(1, 7)]
    corners = {patch.get_xy() for patch in ax.patches}
    assert corners == {(7.5, 3.5)}  # patch 8 of rows of 7: second row, second column


@pytest.mark.parametrize("shape", [(28, 28), (2, 28, 28), (1, 1, 28, 28)])
def test_what_is_no_picture_is_refused(shape):
    _, ax = plt.subplots()
    with pytest.raises(ValueError, match=r"an image is \(1 or 3, H, W\), got"):
        plots.show_picture(ax, torch.rand(shape))


@pytest.mark.parametrize("thing", [None, "image", [[1], [2, 3]], 7])
def test_what_is_no_array_is_refused(thing):
    _, ax = plt.subplots()
    for draw in (
        lambda: plots.show_picture(ax, thing),
        lambda: plots.show_patch_grid(ax, thing, 2),
        lambda: plots.show_matrix(ax, thing),
    ):
        with pytest.raises(ValueError, match=r"an image is|a matrix (is|has)"):
            draw()
    with pytest.raises(TypeError, match=r"images come as a torch\.Tensor"):
        draw_architecture(thing, 4, "boot")


@pytest.mark.parametrize("gap", [None, 0.5])
@pytest.mark.parametrize("colours", [(), (3,)])
def test_tiles_stand_in_rows_with_a_line_between_them(colours, gap):
    images = torch.rand(6, 2, 4, *colours)
    tiled = plots.tile(images, 3, gap=gap)
    assert tiled.shape == (5, 14, *colours)
    lines = np.ones(tiled.shape, dtype=bool)
    for number, image in enumerate(images):
        row, column = divmod(number, 3)
        here = np.s_[3 * row : 3 * row + 2, 5 * column : 5 * column + 4]
        np.testing.assert_array_equal(tiled[here], image)
        lines[here] = False
    assert np.isnan(tiled[lines]).all() if gap is None else (tiled[lines] == gap).all()


@pytest.mark.parametrize(
    ("shape", "columns", "message"),
    [
        ((2, 2), 1, r"images are \(n, h, w\) or \(n, h, w, c\), got \(2, 2\)"),
        ((0, 2, 2), 1, "images are"),
        ((4, 2, 2), 3, "4 images fill no whole rows of 3"),
        ((4, 2, 2), 0, "no whole rows of 0"),
        ((4, 2, 2), 2.0, r"no whole rows of 2\.0: columns must be a whole number"),
    ],
)
def test_images_that_make_no_tiles_are_refused(shape, columns, message):
    with pytest.raises(ValueError, match=message):
        plots.tile(torch.zeros(shape), columns)


@pytest.mark.parametrize("selected", [49, 99, -1, 1.0, "first"])
def test_a_patch_that_is_not_there_cannot_be_selected(selected):
    _, ax = plt.subplots()
    with pytest.raises(ValueError, match=r"there is no patch .*0 to 48, 7 rows of 7"):
        plots.show_patch_grid(ax, torch.rand(1, 28, 28), 4, selected=selected)
    assert not ax.images  # nothing is half drawn


def test_signed_values_have_zero_in_the_middle_of_the_colours():
    _, ax = plt.subplots()
    plots.show_matrix(ax, [[-1.0, 0.5]], signed=True)
    assert ax.images[0].get_clim() == (-1, 1)
    assert ax.images[0].norm(0) == 0.5


def test_attention_is_drawn_from_zero_in_cividis():
    _, ax = plt.subplots()
    plots.show_matrix(ax, [[0.2, 0.7]])
    assert ax.images[0].get_clim() == (0, 0.7)
    assert ax.images[0].get_cmap().name == "cividis"


def test_the_architecture_shows_every_patch_of_the_picture():
    picture = torch.rand(3, 12, 12)
    (ax,) = draw_architecture(picture, patch_size=4, answer="boot").axes
    whole, *parts = [image.get_array() for image in ax.images]
    np.testing.assert_array_equal(whole, picture.permute(1, 2, 0))
    rows = [np.concatenate(parts[3 * i : 3 * i + 3], axis=1) for i in range(3)]
    np.testing.assert_array_equal(np.concatenate(rows), whole)
    assert "boot" in {text.get_text() for text in ax.texts}


def test_equations_stand_beside_the_lines_that_name_them():
    rows = plots.equations_beside_code().data.splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows] == ["1", "2", "3", "4"]
    assert "`x = torch.cat((cls, x), dim=1)`" in rows[0]
    assert rows[1].endswith("`x = attention(x) + x` |")
    assert rows[2].endswith("`x = feed_forward(x) + x` |")
    assert rows[3].endswith("`return self.mlp_head(x)` |")


def test_an_equation_without_a_line_is_an_error(monkeypatch):
    monkeypatch.setitem(plots.EQUATIONS, 9, "x = y")
    with pytest.raises(ValueError, match=r"no line .* is marked '# eq\. 9'"):
        plots.equations_beside_code()


def test_a_listing_is_the_source_itself():
    listing = plots.show_source(ViT.forward).data
    assert "return self.classify(self.transformer(self.embed(images)))" in listing
    assert listing.startswith("```python\n")
    assert listing.endswith("\n```")
    with pytest.raises(TypeError, match="a function or a class has a source, 7 has none"):
        plots.show_source(7)


def run_of(*accuracies):
    epochs = [{"event": "epoch", "validation_accuracy": a, "loss": 1 - a} for a in accuracies]
    return [{"event": "start"}, *epochs, {"event": "test", "test_accuracy": 0.9}]


def test_curves_show_the_mean_and_every_run_by_epoch():
    _, ax = plt.subplots()
    runs = {"cls": [run_of(0.25, 0.5), run_of(0.75, 1)], "mean": [run_of(0.5, 0.25)]}
    plots.show_curves(ax, runs, "validation_accuracy", title="held out")
    drawn = [(*line.get_xdata(), *line.get_ydata()) for line in ax.lines]
    assert drawn[:3] == [(1, 2, 0.5, 0.75), (1, 2, 0.25, 0.5), (1, 2, 0.75, 1)]
    assert drawn[3:] == [(1, 2, 0.5, 0.25)] * 2
    cls, mean = ax.get_legend().legend_handles
    assert cls.get_color() == ax.lines[1].get_color() == ax.lines[2].get_color()
    assert cls.get_color() != mean.get_color()
    assert cls.get_linestyle() != mean.get_linestyle()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["cls", "mean"]
    assert ax.get_title() == "held out"
    assert ax.get_xlabel() == "epoch"
    assert all(tick == round(tick) for tick in ax.get_xticks())


def test_four_arms_have_four_colours_and_four_kinds_of_line():
    _, ax = plt.subplots()
    plots.show_curves(ax, {str(arm): [run_of(0.5, 0.6)] for arm in range(4)}, "loss")
    means = ax.get_legend().legend_handles
    assert len({line.get_color() for line in means}) == 4
    assert len({line.get_linestyle() for line in means}) == 4


@pytest.mark.parametrize(("key", "written"), [("validation_accuracy", "50%"), ("loss", "0.5")])
def test_accuracies_are_drawn_in_percent_and_other_quantities_as_they_are(key, written):
    figure, ax = plt.subplots()
    plots.show_curves(ax, {"cls": [run_of(0, 1)]}, key)
    ax.set_yticks([0.5])
    figure.canvas.draw()
    assert [label.get_text() for label in ax.get_yticklabels()] == [written]


@pytest.mark.parametrize("runs", [[], [run_of(0.5), run_of(0.5, 0.6)]])
def test_runs_that_have_no_mean_are_refused(runs):
    _, ax = plt.subplots()
    with pytest.raises(ValueError, match="'cls' needs runs of one length"):
        plots.show_curves(ax, {"cls": runs}, "validation_accuracy")


def test_a_key_that_no_record_has_is_named():
    _, ax = plt.subplots()
    with pytest.raises(ValueError, match=r"no 'accuracy' in .*'cls'; .*validation_accuracy, loss"):
        plots.show_curves(ax, {"cls": [run_of(0.5, 0.6)]}, "accuracy")
    for runs in ([run_of(0.5)], {"cls": run_of(0.5)}, {"cls": [None]}, None):
        with pytest.raises(TypeError, match=r"runs are|needs a list of runs"):
            plots.show_curves(ax, runs, "loss")
