"""Figures: their descriptions say what the data say, they show as one picture with alternative text, nothing is cut off."""

import itertools
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text
from scipy import stats

from kdcourse import plots
from kdcourse.evaluation import measure
from kdcourse.evaluation.deciding import Answers
from kdcourse.evaluation.intervals import difference
from kdcourse.plots import palette
from kdcourse.plots.paired import LOOKS

CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
RELIABILITY = measure.Reliability(torch.tensor([0.3, 0.9]), torch.tensor([0.2, 0.8]), torch.tensor([10, 30]))
SCORES = pd.DataFrame({"labels only": [79.0, 80.0, 81.0], "KD": [81.0, 82.5, 82.5], "noise": [80.0, 79.0, 81.0]})
SURE = Answers(torch.linspace(0.3, 1, 40), torch.arange(40) % 3 > 0)


@pytest.fixture
def soft():
    return np.random.default_rng(0).dirichlet(np.ones(10), 3)


@pytest.fixture
def images():
    return np.random.default_rng(1).random((3, 28, 28))


@pytest.fixture
def matrix():
    return np.random.default_rng(2).random((10, 10))


def swept(matrix, shown: str = "large") -> plots.Figure:
    """Two students over three temperatures and four alphas, the cell of the largest mean starred."""
    scores = {name: np.stack([add + matrix[:3, :4] + width for width in (0, -1, 1)], axis=2)
              for name, add in (("small", 70), ("large", 80))}  # fmt: skip
    best = np.unravel_index(matrix[:3, :4].argmax(), (3, 4))
    return plots.sweep(
        scores, matrix[:3, :4], {"small": 68.0, "large": 79.5}, (1, 2, 4), (0.25, 0.5, 0.75, 1),
        names=("temperature", "alpha"), shown=shown, chosen=(0, 3), best=best, ylabel="test accuracy, %",
    )  # fmt: skip


def every_figure(images, soft, matrix):
    grid = [1, 2, 4, 8]
    return {
        "pictures": plots.pictures(images, CLASSES[:3]),
        "soft_labels": plots.soft_labels(images, soft, CLASSES),
        "similarity": plots.similarity(matrix, CLASSES, title="confusions"),
        "two_similarities": plots.two_similarities(matrix, matrix, CLASSES, titles=("soft labels", "confusions")),
        "comparison": plots.comparison(SCORES, baseline="labels only"),
        "estimation": plots.estimation(SCORES[["labels only", "KD"]], baseline="labels only"),
        "estimation of several": plots.estimation(SCORES, baseline="labels only"),
        "curves": plots.curves(
            grid, {"small": matrix[:3, :4]}, levels={"small": 0.5}, xlabel="T", ylabel="%", logarithmic=True
        ),
        "distribution": plots.distribution(soft[0], CLASSES, title="T = 1", picture=images[0]),
        "distributions": plots.distributions({"teacher": soft[0], "student": soft[1]}, CLASSES),
        "opinions": plots.opinions(images[0], "test picture 3", {"teacher": soft[0], "student": soft[1]}, CLASSES),
        "temperature_limits": plots.temperature_limits(matrix[0], CLASSES),
        "gradient_scale": plots.gradient_scale(grid, [1, 0.9, 0.8, 0.7], [1, 0.3, 0.1, 0.01]),
        "rankings": plots.rankings(SCORES, better="KD", than="noise"),
        "history": plots.history(np.linspace(2, 1, 50)),
        "alignment": plots.alignment(matrix[:4, :3], list("abcd"), list("xyz"), chosen=1),
        "relations": plots.relations({"teacher": matrix, "student": matrix}, np.arange(10) // 4, CLASSES),
        "reliability": plots.reliability({"one": RELIABILITY, "two": RELIABILITY}, {"one": 3.0, "two": 4.0}),
        "disagreement": plots.disagreement({"seeds": matrix[:4, :4]}, {"seeds": ["64", "32", "64-64", "128"]}),
        "teacher_and_student": plots.teacher_and_student(
            images[0], 3, soft[0], soft[1], CLASSES, parameters=(2_000_000, 3_000)
        ),
        "mixture": plots.mixture(
            {"a": 80.0, "b": 70.0}, {"a": 1.0, "b": 3.0}, 82.0, soft, CLASSES, ylabel="accuracy, %", picture=images[0]
        ),
        "per_class": plots.per_class({"plain": 100 * soft[0], "KD": 100 * soft[1]}, range(10, 0, -1), CLASSES),
        "sweep": swept(matrix),
        "front": plots.front(
            [10, 20, 40], [70.0, 75, 72], ["4", "8", "16"], [0, 1], xlabel="parameters", ylabel="accuracy, %", budget=30
        ),
        "traced": plots.traced(
            grid,
            {"accuracy, %": {"weights": soft[0][:4], "units": soft[1][:4]}, "ms": {"weights": grid, "units": grid}},
            xlabel="share, %",
            chosen=2,
        ),
        "priced": plots.priced(
            {"labels only": (grid, matrix[:5, :4]), "KD": ([2, 8], matrix[:5, :2])},
            xlabel="billions of multiply-adds",
            ylabel="accuracy, %",
            marked={"KD": 1},
        ),
        "coverage": plots.coverage(
            {"teacher": SURE, "student": SURE}, {"chosen": 0.6, "Chow's rule": 0.9, "nobody": 2.0}, error=10
        ),
        "lines": plots.lines(grid, {"one": [1, 2, 3, 4], "two": [4, 3, 2, 1]}, xlabel="pictures", ylabel="seconds"),
        "profiles": plots.profiles(
            grid, {"one": soft[0][:4], "two": soft[1][:4]}, xlabel="logit", ylabel="density", band=(2, 4, "between")
        ),
        "landscape": plots.landscape(
            np.random.default_rng(3).dirichlet(np.ones(3), 200),
            np.linspace(0.5, 3, 200),
            "abc",
            marks={"student": np.full((1, 3), 1 / 3)},
            arrows={name: [0.1, -0.1, 0] for name in "xyz"},
            path=np.eye(3),
        ),
        "regions": plots.regions(
            [lambda points: np.tile([0.5, 0.3, 0.2], (len(points), 1))] * 3,
            matrix[:, :2],
            [0, 1, 2],
            names=("teacher", "labels", "soft"),
            steps=[0, 10],
            scores=100 * matrix[:8].reshape(2, 2, -1),
            level=90.0,
        ),
        "pixel_maps": plots.pixel_maps(images, {"teacher": images, "student": images}, CLASSES[:3], what="attention"),
        "triangles": plots.triangles({"teacher": (3, 4, 5), "student": (1, 0, 1)}),
        "neighbours": plots.neighbours(images, {"teacher": images}, CLASSES[:3], {"teacher": CLASSES[1:4]}),
    }


def test_bars_lines_and_cells_show_the_numbers(soft, matrix):
    bars = plots.distribution(soft[0], CLASSES, title="T = 1").axes[0].patches
    np.testing.assert_allclose([bar.get_width() for bar in bars], soft[0])
    panels = plots.distributions({"teacher": soft[0], "student": soft[1]}, CLASSES).axes
    np.testing.assert_allclose([[bar.get_height() for bar in axes.patches] for axes in panels], soft[:2])
    line = plots.curves([1, 2], {"s": [[1.0, 5.0], [3.0, 8.0]]}, xlabel="T", ylabel="%").axes[0].lines[0]
    assert line.get_xydata().tolist() == [[1, 2], [2, 6.5]] and line.get_linestyle() == "-"
    cells = plots.alignment(np.array([[0.9, 0.5], [0.25, 0.51]]), ["s1", "s2"], ["t1", "t2"]).axes[0]
    assert [(text.get_position(), text.get_text(), text.get_color()) for text in cells.texts] == [
        ((0, 0), "0.90", "black"), ((1, 0), "0.50", "white"), ((0, 1), "0.25", "white"), ((1, 1), "0.51", "black")
    ]  # fmt: skip
    assert [frame.get_xy() for frame in cells.patches] == [(-0.5, -0.5), (0.5, 0.5)], "the best of each row is framed"


def test_the_scheme_has_the_bars_and_the_words_of_its_example(images):
    teacher, student = np.full(10, 0.02), np.full(10, 0.05)
    teacher[[3, 6]], student[[9, 0]] = [0.64, 0.2], [0.4, 0.2]
    figure = plots.teacher_and_student(images[0], 3, teacher, student, CLASSES, parameters=(2_000_000, 3_000))
    bars = [[bar.get_width() for bar in axes.patches] for axes in figure.axes if axes.get_xlim() == (0, 1)]
    np.testing.assert_allclose(bars, [teacher, student])
    assert "2,000,000 fixed parameters, answers dress with 64%, shirt with 20%." in figure.description
    assert "3,000 parameters to train, answers ankle boot with 40%, T-shirt with 20%." in figure.description
    assert figure.description.startswith("A picture labelled dress ")
    with pytest.raises(ValueError, match=r"student must be a table of shape \(1, 10\), got shape \(1, 3\)"):
        plots.teacher_and_student(images[0], 3, teacher, student[:3], CLASSES, parameters=(2, 1))


def test_a_bin_without_pictures_has_no_bar_and_no_share():
    confidence, accuracy = torch.tensor([0.25, torch.nan, 1.0]), torch.tensor([0.5, torch.nan, 0.75])
    diagram = measure.Reliability(confidence, accuracy, torch.tensor([10, 0, 30]))
    figure = plots.reliability({"net": diagram}, {"net": 1.0})
    assert [bar.get_height() for bar in figure.axes[0].patches] == [0.5, 0, 0.75]
    assert "net: confidence 81%, accuracy 69%, overconfident" in figure.description
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == {"accuracy", "as sure as right"}


def test_every_figure_says_a_sentence_and_cuts_nothing_off(images, soft, matrix):
    for name, figure in every_figure(images, soft, matrix).items():
        assert not any("mathdefault" in text.get_text() for text in figure.findobj(palette.Text)), name
        assert re.search(r"\d.*\.$", figure.description), name
        picture = figure.png()
        assert len(picture) < 150_000, name
        outside = figure.get_tightbbox()
        assert outside.x0 >= -0.02 and outside.y0 >= -0.02, name
        assert outside.x1 <= figure.get_figwidth() + 0.02 and outside.y1 <= figure.get_figheight() + 0.02, name


def scales(figure) -> list:
    """The axes from which something is read off: no pictures, and nothing that is drawn without axes."""
    return [axes for axes in figure.axes if axes.has_data() and axes.axison and axes.get_gid() != "picture"]


def test_every_figure_names_its_axes(images, soft, matrix):
    for name, figure in every_figure(images, soft, matrix).items():
        for axes in scales(figure):
            along_x, along_y = axes.get_shared_x_axes(), axes.get_shared_y_axes()
            assert any(one.get_xlabel() for one in along_x.get_siblings(axes)) or axes.get_label() == "<colorbar>", name
            assert any(one.get_ylabel() for one in along_y.get_siblings(axes)), name


def all_images(figure) -> list:
    return [image for axes in figure.axes for image in axes.images]


def test_every_heat_map_has_numbers_or_a_colour_bar(images, soft, matrix):
    for name, figure in every_figure(images, soft, matrix).items():
        for axes in scales(figure):
            for image in axes.images:
                cells, alike = image.get_array(), [one for one in all_images(figure) if one.norm is image.norm]
                assert cells.ndim == 3 or len(axes.texts) == cells.size or any(one.colorbar for one in alike), name
    maps = plots.pixel_maps(images, {"teacher": images}, CLASSES[:3], what="attention")
    assert [axes.get_ylabel() for axes in maps.axes if axes.get_label() == "<colorbar>"] == [
        "attention, over the largest of each map"
    ]
    landscape = every_figure(images, soft, matrix)["landscape"]
    assert landscape.axes[1].get_ylabel() == "loss"


def legend_words(figure) -> str:
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    shown = [legend for legend in legends if legend is not None]
    titles = [axes.title for axes in figure.axes]
    return "; ".join(
        text.get_text() for text in (*titles, *(one for each in shown for one in (each.get_title(), *each.get_texts())))
    )


def test_bands_running_means_and_dots_are_explained(images, soft, matrix):
    figures = every_figure(images, soft, matrix)
    for name, figure in figures.items():
        bands = [
            part
            for axes in figure.axes
            for part in axes.collections
            if type(part).__name__ == "FillBetweenPolyCollection"
        ]
        assert not bands or "band: its 95 % interval" in legend_words(figure), name
    assert sum("band: its 95 % interval" in legend_words(figure) for figure in figures.values()) == 4
    assert legend_words(figures["history"]).endswith("each step; mean of the last 20 steps")
    assert "mean of the last 3 steps" in legend_words(plots.history([3.0, 2.0, 1.0]))
    assert "accuracy" in legend_words(figures["reliability"])
    for name in ("comparison", "estimation", "estimation of several"):
        assert "one seed" in legend_words(figures[name]) and "95 % interval" in legend_words(figures[name]), name


def test_a_map_is_shown_over_its_own_most_and_below_its_picture(images):
    maps = {"teacher": np.stack([images[0], 5 * images[1], 0 * images[2]])}
    figure = plots.pixel_maps(images, maps, CLASSES[:3], what="gradient")
    shown = [axes.images[0].get_array() for axes in figure.axes[:6]]
    np.testing.assert_allclose(shown[:3], images)
    assert [float(one.max()) for one in shown[3:]] == [1, 1, 0]
    np.testing.assert_allclose(shown[4], images[1] / images[1].max())


def test_shows_as_one_picture_with_alternative_text(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append(bundle))
    figure = plots.history([3.0, 2.0, 1.0])
    figure.description = 'a <small> "loss"'
    figure._ipython_display_()
    (bundle,) = shown
    assert set(bundle) == {"text/html", "text/plain"}
    assert bundle["text/html"].count("<img") == 1 and bundle["text/html"].startswith("<figure")
    assert 'alt="a &lt;small&gt; &quot;loss&quot;"' in bundle["text/html"] and "<figcaption" in bundle["text/html"]


@pytest.mark.parametrize("description", ["", "  "])
def test_refuses_to_be_shown_without_a_description(description):
    figure = plots.Figure(4, 3)
    figure.description = description
    with pytest.raises(ValueError, match="description"):
        figure._ipython_display_()


def test_paper_is_opaque_and_light():
    from io import BytesIO

    from PIL import Image

    picture = Image.open(BytesIO(plots.history([2.0, 1.0]).png()))
    assert picture.mode == "RGB" and picture.getpixel((0, 0)) == (255, 255, 255)


def test_never_imports_pyplot():
    code = "import sys; from kdcourse import plots; plots.history([2., 1.]).png(); assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_numbers_of_a_comparison():
    text = plots.comparison(SCORES, baseline="labels only").description
    assert "over 3 seeds" in text and "labels only 80.0 % ± 2.5" in text
    assert "KD 82.0 % ± 2.2, +2.0 points [+0.8,\xa0+3.2] against labels only, higher for 3 of 3 seeds" in text
    assert "higher for 1 of 3 seeds" in text


def test_an_estimation_plot_says_what_a_comparison_says_and_joins_each_seed():
    for arms in (["labels only", "KD"], list(SCORES)):
        figure = plots.estimation(SCORES[arms], baseline="labels only")
        assert figure.description == plots.comparison(SCORES[arms], baseline="labels only").description
    pair = plots.estimation(SCORES[["KD", "labels only"]], baseline="labels only")
    left, right, *_ = pair.axes
    assert [line.get_ydata().tolist() for line in left.lines[:3]] == [[79.0, 81], [80, 82.5], [81, 82.5]]
    assert right.collections[0].get_offsets()[:, 1].tolist() == [2.0, 2.5, 1.5]
    assert right.get_title() == "+2.0, helps"
    # One scale: zero lies at the baseline's mean, and a point is as long on the right as on the left.
    assert np.subtract(left.get_ylim(), right.get_ylim()) == pytest.approx(80)


def test_an_estimation_plots_intervals_are_the_paired_ones_and_zero_is_a_line():
    left, right, *_ = plots.estimation(SCORES, baseline="labels only").axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["labels only", "KD", "noise"]
    bars = [box.get_segments()[0][:, 0].tolist() for box in right.collections if hasattr(box, "get_segments")]
    for arm, bar in zip(("KD", "noise"), bars, strict=True):
        paired = difference(SCORES[arm] - SCORES["labels only"])
        assert bar == pytest.approx([paired.low, paired.high])
    assert right.lines[0].get_xdata() == [0, 0]


def test_verdicts_differ_in_colour_marker_and_word():
    looks = LOOKS
    assert set(looks) == {"helps", "hurts", "no clear difference", "the same for every seed"}
    assert len({look["marker"] for look in looks.values()}) == len(looks)
    scores = pd.DataFrame(
        {"base": [1.0, 2, 3], "up": [2.0, 3.1, 4], "down": [0.0, 1.1, 2], "same": [3.0, 4, 5], "odd": [1.0, 3, 2]}
    )
    words = [
        text.get_text() for text in plots.estimation(scores, baseline="base").axes[1].child_axes[0].get_yticklabels()
    ]
    assert words == [
        "the baseline", "+1.0, helps", "-1.0, hurts", "+2.0, the same for every seed", "+0.0, no clear difference"
    ]  # fmt: skip


def drawn_words(figure) -> list:
    """Titles, and the labels of axes and of those ticks that lie on their axis."""
    found = []
    for axes in [one for panel in figure.axes for one in (panel, *panel.child_axes)]:
        found.append(axes.title)
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            found += [axis.label, *(label for tick in ticks for label in (tick.label1, tick.label2))]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


@pytest.mark.parametrize("rivals", [1, 4, 16, 41])
@pytest.mark.parametrize("name", ["KD", "KD + gradient attention, by validation", "units pruned, teacher, int8"])
def test_nothing_overlaps_in_an_estimation_plot(rivals, name):
    rng = np.random.default_rng(rivals)
    columns = ["labels only, all of them", *(f"{name} {number}" for number in range(rivals))]
    scores = pd.DataFrame(80 + rng.normal(size=(5, 1 + rivals)).round(1), columns=columns)
    figure = plots.estimation(scores, baseline=columns[0])
    figure.draw_without_rendering()
    words = drawn_words(figure)
    boxes, panels = [text.get_window_extent() for text in words], [axes.get_window_extent() for axes in figure.axes]
    assert len(words) > 2 * rivals
    for word, box, others in zip(
        words, boxes, itertools.accumulate(([box] for box in boxes), initial=[]), strict=False
    ):
        assert not box.count_overlaps(others), word
        assert not box.padded(-1).count_overlaps(panels), f"{word} lies on the data"
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1, word


def test_rankings_count_ties_and_losses_as_wrong():
    scores = pd.DataFrame({"a": [2.0, 1.0], "b": [1.0, 0.0]})  # gaps: 1, 2, 0, 1
    text = plots.rankings(scores, better="a", than="b").description
    assert "All 4 pairs" in text and "from +0.0 to +2.0" in text and "25% of the pairs" in text


def test_curves_say_where_the_mean_is_highest():
    values = np.array([[1.0, 5.0, 3.0], [3.0, 7.0, 5.0]])
    figure = plots.curves([1, 2, 4], {"s": values}, levels={"s": [4.0, 5.0]}, xlabel="T", ylabel="accuracy, %")
    assert "s: highest at 2 with 6.0, lowest 2.0, labels only 4.5" in figure.description
    figure = plots.curves([1, 2, 4], {"s": values}, levels={"alone": [4.0, 5.0]}, xlabel="T", ylabel="accuracy, %")
    assert figure.description.endswith("lowest 2.0; alone: 4.5.")
    assert [text.get_text() for text in figure.axes[0].texts] == ["alone"]


def test_no_axis_shows_a_formula_as_it_is_spelled(images, soft, matrix):
    for name, figure in every_figure(images, soft, matrix).items():
        figure.png()
        ticks = [tick.get_text() for axes in figure.axes for tick in (*axes.get_xticklabels(), *axes.get_yticklabels())]
        assert not [tick for tick in ticks if "$" in tick], name


def test_traced_says_what_stands_at_the_mark_and_at_the_beginning():
    panels = {
        "accuracy, %": {"weights": [90.0, 80.0], "units": [90.0, 60.0]},
        "ms": {"weights": [4, 4], "units": [4, 1]},
    }
    told = [plots.traced([0, 87.5], panels, xlabel="share, %", chosen=chosen).description for chosen in (0, 1)]
    assert told[0].startswith("share, % 0. accuracy, %: weights 90 (90 at 0); units 90")
    assert told[1].endswith("units 60 (90 at 0); ms: weights 4 (4 at 0); units 1 (4 at 0).")
    with pytest.raises(ValueError, match="chosen must be from 0 to 1, got 2"):
        plots.traced([0, 87.5], panels, xlabel="share, %", chosen=2)
    with pytest.raises(ValueError, match=r"weights must be a table of shape \(1, 2\), got shape \(1, 3\)"):
        plots.traced([0, 1], {"ms": {"weights": [1, 2, 3]}}, xlabel="share, %", chosen=0)


def test_each_line_is_drawn_at_its_own_prices_and_told_at_its_ring():
    lines = {"plain": ([1, 4, 16], np.array([[70.0, 80, 75], [72, 82, 77]])), "KD": ([2], np.array([[81.0], [83.0]]))}
    figure = plots.priced(lines, xlabel="price", ylabel="accuracy, %", marked={"KD": 0})
    assert figure.description == (
        "accuracy, % against price, mean over seeds. plain: from 71.0 at 1 to 76.0 at 16, highest 81.0; "
        "KD: from 82.0 at 2 to 82.0 at 2, highest 82.0. Ringed: KD 82.0 at 2."
    )
    assert [line.get_xdata().tolist() for line in figure.axes[0].lines[:2]] == [[1, 4, 16], [2]]
    with pytest.raises(ValueError, match="marked must name lines, of plain, KD, got none"):
        plots.priced(lines, xlabel="price", ylabel="accuracy, %", marked={"none": 0})
    with pytest.raises(ValueError, match=r"plain must be a table of shape \(N, 2\), got shape \(2, 3\)"):
        plots.priced({"plain": ([1, 2], lines["plain"][1])}, xlabel="price", ylabel="accuracy, %")


def test_similarity_names_the_strongest_pair_beside_the_diagonal():
    counts = np.array([[90, 8, 2], [1, 95, 4], [0, 0, 0]])
    assert "a is most like b (8% of its row)" in plots.similarity(counts, "abc", title="confusions").description
    without = plots.similarity(counts, "abc", title="confusions", diagonal=False).description
    assert "a is most like b (80% of its row)" in without


def test_tables_correlate_by_their_ranks_off_the_diagonal(matrix):
    assert "is 1.00." in plots.two_similarities(matrix, 3 * matrix, CLASSES, titles=("one", "other")).description
    one = np.array([[9, 1, 3], [2, 9, 2], [1, 3, 9]])  # off the diagonal: 1, 3, 2, 2, 1, 3 of 12
    text = plots.two_similarities(one, one[:, [0, 2, 1]][[0, 2, 1]], "abc", titles=("one", "other")).description
    # The other's: 3, 1, 1, 3, 2, 2. Their ranks go as (-1, 1, 0, 0, -1, 1) and (1, -1, -1, 1, 0, 0): -2 / 4.
    assert "off the diagonal is -0.50." in text
    assert "one: a is most like c (25% of all). other: a is most like b (25% of all)." in text


def test_softened_meets_torch_and_its_limits():
    logits = torch.tensor([2.0, -1.0, 0.5])
    for temperature in (0.1, 1.0, 4.0, 100.0):
        np.testing.assert_allclose(plots.softened(logits, temperature), (logits.double() / temperature).softmax(0))
    assert plots.softened(logits, 0).tolist() == [1, 0, 0]
    assert plots.softened([1.0, 1.0, 0.0], 0).tolist() == [0.5, 0.5, 0]
    np.testing.assert_allclose(plots.softened(logits, np.inf), 1 / 3)
    assert np.isfinite(plots.softened([1000.0, -1000.0], 0.1)).all()
    with pytest.raises(ValueError, match="temperature"):
        plots.softened(logits, -1)


def test_entropy_meets_scipy_and_its_extremes(soft):
    assert str(plots.entropy([1.0, 0.0])) == "0.0"
    assert plots.entropy(np.full(10, 0.1)) == pytest.approx(np.log(10))
    assert plots.entropy(soft[0]) == pytest.approx(stats.entropy(soft[0]))


def test_limits_are_described():
    text = plots.temperature_limits([0.0, np.log(3), 0.0], "abc", temperatures=(0, 1, np.inf)).description
    assert text == (  # at 1: a fifth, three fifths, a fifth
        "T → 0: most likely b with 100%, entropy 0.00 nats; T = 1: most likely b with 60%, entropy 0.95 nats; "
        "T → ∞: all classes alike with 33%, entropy 1.10 nats."
    )


def test_tensors_do_as_well_as_arrays(images, soft):
    one = plots.soft_labels(images, soft, CLASSES)
    other = plots.soft_labels(torch.tensor(images), torch.tensor(soft, requires_grad=True), CLASSES)
    assert one.description == other.description and one.png() == other.png()


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("images", lambda: plots.pictures(np.zeros((3, 1, 28, 28)))),
        ("images", lambda: plots.pictures(np.full((3, 28, 28), 255))),
        ("titles", lambda: plots.pictures(np.zeros((3, 28, 28)), ["one"])),
        ("titles", lambda: plots.pixel_maps(np.zeros((2, 4, 4)), {}, ["one"], what="gradient")),
        ("maps must hold", lambda: plots.pixel_maps(np.zeros((2, 4, 4)), {}, "ab", what="gradient")),
        (
            "net must be finite maps (2, h, w)",
            lambda: plots.pixel_maps(np.zeros((2, 4, 4)), {"net": np.zeros((1, 4, 4))}, "ab", what="gradient"),
        ),
        (
            "net must be finite maps",
            lambda: plots.pixel_maps(np.zeros((2, 4, 4)), {"net": -np.ones((2, 4, 4))}, "ab", what="gradient"),
        ),
        ("probabilities", lambda: plots.soft_labels(np.zeros((3, 28, 28)), np.ones((2, 10)) / 10, CLASSES)),
        ("labels", lambda: plots.soft_labels(np.zeros((1, 2, 2)), np.ones((1, 10)) / 10, CLASSES, labels=[1, 2])),
        ("matrix", lambda: plots.similarity(np.ones((3, 4)), CLASSES, title="")),
        ("matrix", lambda: plots.similarity(-np.eye(10), CLASSES, title="")),
        ("other", lambda: plots.two_similarities(np.eye(10), np.eye(9), CLASSES, titles=("", ""))),
        ("baseline", lambda: plots.comparison(SCORES, baseline="hard")),
        ("baseline must be one of", lambda: plots.estimation(SCORES, baseline="hard")),
        ("at least one other arm", lambda: plots.estimation(SCORES[["KD"]], baseline="KD")),
        ("at least two seeds", lambda: plots.estimation(SCORES[:1], baseline="KD")),
        ("finite numbers", lambda: plots.estimation(SCORES.replace(81.0, np.nan), baseline="KD")),
        ("better", lambda: plots.rankings(SCORES, better="hard", than="KD")),
        ("s must", lambda: plots.curves([1, 2], {"s": np.ones((3, 3))}, xlabel="", ylabel="")),
        ("NaN", lambda: plots.history([1.0, np.nan])),
        ("probabilities", lambda: plots.distribution(np.ones(3) / 3, CLASSES, title="")),
        ("with T²", lambda: plots.gradient_scale([1, 2, 4], [1, 2], [1, 2, 3])),
    ],
)
def test_errors_name_the_argument(name, call):
    with pytest.raises(ValueError, match=re.escape(name)):
        call()


def test_a_logarithmic_axis_has_numbers_that_can_be_read():
    figure = plots.lines([1, 2, 4], {"loss": [0.3, 0.1, 0.04]}, xlabel="step", ylabel="loss")
    figure.canvas.draw()
    axes = figure.axes[0]
    low, high = axes.get_ylim()
    shown = [label for label in axes.yaxis.get_majorticklabels() if low <= label.get_position()[1] <= high]
    assert [label.get_text() for label in shown] == ["0.05", "0.1", "0.2"] and not axes.yaxis.get_minorticklabels()


XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])  # from linear sRGB


def linear(colour: str) -> np.ndarray:
    code = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(code > 0.04045, ((code + 0.055) / 1.055) ** 2.4, code / 12.92)


def simulated(colour: str, matrix) -> np.ndarray:
    """A colour as people with a missing cone see it (Machado et al. 2009, severity 1, linear RGB), in CIELAB."""
    xyz = XYZ @ np.clip(np.array(matrix) @ linear(colour), 0, 1)
    scaled = xyz / np.array([0.9505, 1, 1.089])
    root = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


@pytest.mark.parametrize(
    "matrix",
    [
        np.eye(3),
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ],
    ids=["all cones", "protanopia", "deuteranopia", "tritanopia"],
)
def test_colours_stay_apart_for_colour_blind_readers(matrix):
    seen = [simulated(colour, matrix) for colour in palette.COLOURS]
    assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(seen, 2)) > 15


# White, and the two backgrounds of JupyterLab's dark theme. WCAG 2.1 (1.4.11) asks 3 of what is drawn: the first four have it;
# the fifth and sixth are too bright for white, and the last, black, is no colour of the views, which alone turn dark.
@pytest.mark.parametrize("background", [palette.PAPER, "#111111", "#212121"])
@pytest.mark.parametrize(("colours", "least"), [(palette.COLOURS[:4], 3.0), (palette.COLOURS[4:6], 2.2)])
def test_colours_stand_out_on_light_and_on_dark(colours, least, background):
    for colour in colours:
        dark, light = sorted(XYZ[1] @ linear(one) for one in (colour, background))
        assert (light + 0.05) / (dark + 0.05) >= least, f"{colour} on {background}"


def test_every_colour_has_a_second_signal():
    assert len(set(palette.COLOURS)) == len(set(palette.MARKERS)) == len(set(palette.HATCHES)) == len(palette.COLOURS)


def test_numbers_of_the_figures_of_the_inside():
    matrix = np.array([[0.9, 0.2], [0.3, 0.4]])
    text = plots.alignment(matrix, ["s1", "s2"], ["t1", "t2"]).description
    assert "s1 is most like t1 (0.90); s2 is most like t2 (0.40)" in text
    distances = np.array([[0.0, 1, 4], [1, 0, 4], [4, 4, 0]])
    text = plots.relations({"one": distances}, [0, 0, 1], ["a", "b"]).description
    assert "one: mean distance 1.00 within a class, 4.00 between" in text
    picture = np.zeros((2, 4, 4))
    text = plots.neighbours(picture, {"net": picture}, ["a", "b"], {"net": ["a", "c"]}).description
    assert "net finds the right class for 1 of 2" in text


def test_a_triangle_has_its_sides_and_angles_in_its_true_shape():
    figure = plots.triangles({"teacher": (3, 4, 5), "student": (1.0, 1.0, 1.0)})
    assert "teacher: AB 3.00, AC 4.00, BC 5.00, angles 90°, 53°, 37°" in figure.description
    assert "student: AB 1.00, AC 1.00, BC 1.00, angles 60°, 60°, 60°" in figure.description
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xydata(), [[0, 0], [0.6, 0], [0, 0.8], [0, 0]], atol=1e-9)
    assert {"3.00", "4.00", "5.00", "90°", "53°", "37°"} <= {text.get_text() for text in figure.axes[0].texts}
    with pytest.raises(ValueError, match="teacher must be"):
        plots.triangles({"teacher": (3, 4)})


def test_tables_of_one_batch_share_a_scale_of_colours_that_a_bar_explains():
    figure = plots.relations({"one": np.eye(3), "two": 4 * np.eye(3)}, [0, 0, 1], ["a", "b"])
    *panels, bar = figure.axes
    assert [axes.images[0].get_clim() for axes in panels] == [(0, 4), (0, 4)]
    assert bar.get_ylabel() == "distance" and all(axes.get_xlabel() == "picture" for axes in panels)


def test_numbers_of_the_figures_of_schemes():
    text = plots.reliability({"net": RELIABILITY}, {"net": 10.0}).description
    assert "net: confidence 75%, accuracy 65%, overconfident, error 10.0 points" in text
    text = plots.disagreement({"all": np.array([[0, 0.2], [0.2, 0]])}, {"all": ["a", "b"]}).description
    assert "all: members differ on 20.0% of the pictures on average" in text
    scores, answers, look = {"a": 80.0, "b": 70.0}, np.eye(2), {"ylabel": "accuracy, %", "picture": np.zeros((2, 2))}
    text = plots.mixture(scores, {"a": 1.0, "b": 3.0}, 82.0, np.ones((3, 2)) / 2, "xy", **look).description
    assert "a 25%, b 75%: accuracy, % 82.0; the best single teacher, a, has 80.0" in text
    text = plots.mixture(scores, {"a": 0.0, "b": 0.0}, None, answers, "xy", **look).description
    assert text == "No mixture, every weight is 0; the best single teacher, a, has 80.0."
    text = plots.per_class({"KD": [90.0, 50, 10]}, [5, 500, 50], ["x", "y", "z"]).description
    assert "50 % on the 1 most frequent classes, 90 % on the 1 rarest" in text
    text = swept(np.arange(100).reshape(10, 10) / 10, "small").description
    assert text.endswith("labels only: from 70.0 to 72.3, starred at temperature 4 and alpha 1.") and "small" in text
    text = plots.front([1, 2], [3.0, 4], ["s", "m"], [1], xlabel="cost", ylabel="score").description
    assert text == "score against cost of 2 candidates; worth their cost: m (4.0)."


def test_names_along_a_front_lie_inside_and_on_nothing():
    costs, scores = [0.033, 0.036, 0.039, 0.041, 0.3], [85.6, 87.73, 87.76, 88.5, 89.0]
    names = ["a long name of its own", "close", "closer", "not far", "far"]
    look = {"xlabel": "ms", "ylabel": "accuracy, %", "budget": 0.2}
    figure = plots.front([*costs, 0.05], [*scores, 88.0], [*names, "beaten"], range(5), **look)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    frame, boxes = axes.get_window_extent(), [note.get_window_extent() for note in axes.texts]
    assert [note.get_text().replace("\n", " ") for note in axes.texts] == names
    points = axes.transData.transform(np.column_stack([[*costs, 0.05], [*scores, 88.0]]))
    for number, box in enumerate(boxes):
        assert frame.count_contains(box.corners()) == 4, names[number]
        assert not box.count_overlaps(boxes[:number]) and not box.count_contains(points), names[number]


def test_baselines_of_a_front_are_ringed_and_named_though_they_are_beaten():
    look = {"xlabel": "ms", "ylabel": "accuracy, %", "baselines": [2, 1]}
    figure = plots.front([1, 2, 2.1], [80.0, 90, 70], ["cut", "as it was", "from nothing"], [0, 1], **look)
    (axes,) = figure.axes
    assert {note.get_text().replace("\n", " ") for note in axes.texts} == {"cut", "as it was", "from nothing"}
    (rings,) = [dots for dots in axes.collections if dots.get_label() == "baselines"]
    assert rings.get_offsets().tolist() == [[2.1, 70], [2, 90]]
    assert figure.description.endswith(
        "worth their cost: cut (80.0), as it was (90.0). Baselines: from nothing (70.0), as it was (90.0)."
    )


def test_names_of_points_that_nearly_coincide_move_apart():
    costs, scores = np.linspace(1, 1.004, 5), np.linspace(88, 88.02, 5)
    names = [f"candidate {number}, int8" for number in range(5)]
    figure = plots.front([*costs, 9], [*scores, 99], [*names, "far"], range(6), xlabel="ms", ylabel="accuracy, %")
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(note) for note in figure.axes[0].texts]
    assert len(boxes) == 6 and not any(box.count_overlaps(boxes[:number]) for number, box in enumerate(boxes))


def test_another_librarys_axes_are_adopted_under_a_sentence():
    axes = plots.history([3.0, 2.0]).axes[0]
    figure = plots.adopted(axes, "A loss of 3 falls to 2.")
    assert figure.description == "A loss of 3 falls to 2." and len(figure.png()) > 2000


def test_an_adopted_figure_is_not_shown_a_second_time():
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    _, axes = pyplot.subplots()
    plots.adopted(axes, "Nothing yet.")
    assert not pyplot.get_fignums()


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.alignment(np.zeros((2, 3)), ["a"], ["b"]), "matrix must be a table"),
        (lambda: plots.relations({"t": np.zeros((2, 3))}, [0, 1], ["a", "b"]), "t must be a table"),
    ],
)
def test_wrong_shapes_of_the_inside_are_named(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


ODD = ["Ba$$in", "cat|dog", "犬", "🐕 dog", "<b>bold</b>", "a name that is much too long for the axis of any figure"]


@pytest.mark.filterwarnings("error")
def test_class_names_of_every_kind_can_be_drawn():
    logits = np.linspace(-2, 3, len(ODD))
    figures = [
        plots.distribution(plots.softened(logits, 1), ODD, title="Ba$$in and 犬"),
        plots.distributions({"Ba$$in": plots.softened(logits, 1), "b": plots.softened(logits, 4)}, ODD),
        plots.similarity(np.eye(len(ODD)), ODD, title="犬"),
        plots.temperature_limits(logits, ODD),
    ]
    for figure in figures:
        assert figure.png()
        ticks = [tick for axes in figure.axes for tick in (*axes.get_xticklabels(), *axes.get_yticklabels())]
        shown = {tick.get_text() for tick in ticks}
        assert {"Ba$$in", "cat|dog", "class 2", "class 3", "<b>bold</b>", "a name that is mu…"} <= shown
    page = figures[0].as_html()
    assert "<b>" not in page and "犬" in page, "the description has every name, and none is markup"
