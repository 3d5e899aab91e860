"""Curves along an axis of numbers: which axis it is, where its ticks stand, and the table's own figures on them."""

import math
from pathlib import Path
from typing import Any

import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from records import make, run_of, study_records, sweep_records

from diffect.reports import build, figures, study
from diffect.reports.charts.curves import Curves, Tick, curves, estimates, reason
from diffect.reports.figures.curves import curves_figure
from diffect.reports.paper import document

pytestmark = pytest.mark.slow

SHOTS = ("null", "16", "1", "8", "2", "4")


def built(records: list[dict[str, Any]], **options: Any) -> study.Study:
    return build.build_study("demo", [run_of(Path(record["signature"]), record) for record in records], **options)


def swept(**sweep: tuple[str, ...]) -> study.Study:
    """A study of one seed and category; `data__shots` is data.shots."""
    keys = {key.replace("__", "."): values for key, values in sweep.items()}
    return built(sweep_records(keys, categories=("brick",), seeds=(0,)))


def curves_of(found: study.Study) -> Curves:
    drawn = curves(found)
    assert drawn is not None and reason(found) == ""
    return drawn


def drawn_by(found: study.Study, monkeypatch: pytest.MonkeyPatch) -> Figure:
    """The figure before it is saved."""
    kept: list[Figure] = []
    monkeypatch.setattr("diffect.reports.figures.curves.save", lambda figure, _: kept.append(figure))
    assert curves_figure(found, Path("x")) is None
    return kept[0]


def test_ticks_stand_at_the_logarithms_with_all_beyond_a_gap() -> None:
    drawn = curves_of(swept(data__shots=SHOTS))
    assert drawn.log and drawn.apart
    assert [tick.text for tick in drawn.ticks] == ["1", "2", "4", "8", "16", "all"]
    assert [tick.place for tick in drawn.ticks] == pytest.approx([0, 1 / 4, 2 / 4, 3 / 4, 1, 1.3], abs=1e-12)


@pytest.mark.parametrize(
    ("values", "log", "places"),
    [
        pytest.param(("0.2", "0", "0.1", "0.05"), False, [0, 0.25, 0.5, 1], id="zero has no logarithm"),
        pytest.param(("0", "1", "100"), False, [0, 0.01, 1], id="zero, however wide"),
        pytest.param(("1", "3", "7.9"), False, [0, 2 / 6.9, 1], id="a factor below 8"),
        pytest.param(("1", "3", "8"), True, [0, math.log(3) / math.log(8), 1], id="a factor of 8"),
        pytest.param(("1e-3", "1", "1e-1"), True, [0, 2 / 3, 1], id="powers"),
        pytest.param(("-10", "-1", "2"), False, [0, 0.75, 1], id="negative"),
        pytest.param(("[-2.0]", "[1.0]", "[2.0]"), False, [0, 0.75, 1], id="lists of one number"),
        pytest.param(("10", "NULL", "20", "30"), False, [0, 0.5, 1, 1.3], id="all on a linear scale"),
    ],
)
def test_places_by_hand(values: tuple[str, ...], log: bool, places: list[float]) -> None:
    drawn = curves_of(swept(x__y=values))
    assert drawn.log == log
    assert [tick.place for tick in drawn.ticks] == pytest.approx(places, abs=1e-12)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(("1", "2"), id="two numbers"),
        pytest.param(("1", "2", "null"), id="two numbers and all"),
        pytest.param(("1", "1.0", "2"), id="one number written twice"),
        pytest.param(("1", "2", "4", "many"), id="a word among numbers"),
        pytest.param(("1", "2", "4", "nan"), id="not a number"),
        pytest.param(("1", "2", "4", "inf"), id="no finite number"),
        pytest.param(("[1]", "[2]", "[4]", "[1,2]"), id="a list of two"),
    ],
)
def test_where_no_axis_holds_numbers_there_is_no_figure_and_no_word_of_it(
    values: tuple[str, ...], tmp_path: Path
) -> None:
    found = swept(data__shots=values)
    assert curves(found) is None and reason(found) == ""
    (tmp_path / "curves.pdf").write_bytes(b"of an older report")
    assert not any("along" in sentence or not sentence for sentence in figures.write_figures(found, tmp_path))
    assert not list(tmp_path.glob("curves*"))


def test_of_two_axes_with_numbers_none_is_drawn_and_the_reason_told(tmp_path: Path) -> None:
    found = swept(data__shots=("1", "2", "4"), training__steps=("10", "20", "30", "null"))
    assert curves(found) is None
    (said,) = [sentence for sentence in figures.write_figures(found, tmp_path) if "number" in sentence]
    assert said == (
        "no figure along a number: data.shots and training.steps each hold three or more, and a curve follows only one"
    )
    assert not list(tmp_path.glob("curves*"))


def test_an_axis_of_numbers_without_figures_has_a_reason(tmp_path: Path) -> None:
    records = sweep_records({"data.shots": SHOTS}, categories=("brick",), seeds=(0,))
    for record in records:
        record["metrics"]["brick"] |= {"image_auroc": None, "pixel_aupro_30": None}
    said = "no figure along data.shots: no run has image AUROC or AUPRO 30%"
    assert said in figures.write_figures(built(records), tmp_path)


def test_a_line_is_what_the_other_axes_hold_and_its_figures_are_the_tables() -> None:
    records = sweep_records({"data.shots": SHOTS, "outlier_removal": ("none", "z_score")}, names=("cosine", "edm"))
    found = built(records)
    drawn = curves_of(found)
    assert found.axes[drawn.axis] == "data.shots" and drawn.metrics == ("image_auroc", "pixel_aupro_30")
    names = [f"{one}, {other}" for one in ("none", "z_score") for other in ("cosine", "edm")]
    assert sorted(line.name for line in drawn.lines) == sorted(names)
    assert drawn.lines[0].name == ", ".join(found.groups[0].values[1:])  # the best's
    for line in drawn.lines:
        for place, text in zip(line.groups, ("1", "2", "4", "8", "16", "null"), strict=True):
            assert place is not None
            removal, schedule = line.name.split(", ")
            assert found.groups[place].values == (text, removal, schedule)
        for metric in drawn.metrics:
            row = found.estimates[metric]
            assert estimates(found, line, metric) == [row[place] for place in line.groups if place is not None]
            each = found.by_category["grass"][metric]
            shown = estimates(found, line, metric, "grass")
            assert shown == [each[place] for place in line.groups if place is not None]
    values = [estimate.value for estimate in found.estimates["image_auroc"]]
    assert values == sorted(values, key=lambda value: -(value or 0.0))  # groups stand as they did, by their mean


def test_what_is_on_paper_is_the_tables_mean_and_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    found = built(sweep_records({"data.shots": SHOTS}, seeds=(0, 1, 2, 3, 4)))
    figure = drawn_by(found, monkeypatch)
    (line,) = curves_of(found).lines
    for panel, metric in zip(figure.axes[:2], ("image_auroc", "pixel_aupro_30"), strict=True):
        bars = [one for one in panel.containers if isinstance(one, ErrorbarContainer)]
        assert [bar[0].get_xdata()[0] for bar in bars] == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1.3])
        for bar, estimate in zip(bars, estimates(found, line, metric), strict=True):
            assert estimate is not None and estimate.value is not None and estimate.half is not None
            ((_, low), (_, high)) = bar[2][0].get_segments()[0]
            assert bar[0].get_ydata()[0] == estimate.value
            assert (low, high) == pytest.approx((estimate.value - estimate.half, estimate.value + estimate.half))
    assert [text.get_text() for text in figure.axes[2].get_xticklabels()] == ["1", "2", "4", "8", "16", "all"]
    assert figure.axes[2].get_xlabel() == "shots (log scale)"
    below = {tuple(one.get_ydata()) for one in figure.axes[2].lines if len(one.get_ydata()) == 5}
    each = {c: estimates(found, line, "image_auroc", c) for c in found.by_category}
    assert below == {tuple(one.value for one in row[:-1] if one is not None) for row in each.values()}


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (2, 2), (5, 2), (6, 1)])
def test_categories_have_lines_of_their_own_where_few(count: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    records = sweep_records({"data.shots": ("1", "2", "4")}, categories=tuple("abcdef"[:count]), seeds=(0,))
    assert len(drawn_by(built(records), monkeypatch).axes) == 2 * rows


def test_a_hole_parts_a_line_and_a_mean_that_lacks_a_category_is_hollow(monkeypatch: pytest.MonkeyPatch) -> None:
    records = sweep_records({"data.shots": ("1", "2", "3", "4")}, categories=("a", "b"))
    records = [one for one in records if (one["choices"]["data.shots"], one["categories"]) != ("3", ["b"])]
    for record in records:
        if record["choices"]["data.shots"] == "2":
            record["metrics"][record["categories"][0]]["image_auroc"] = None
    found = built(records)
    auroc, aupro, *_ = drawn_by(found, monkeypatch).axes
    heights = next(one.get_ydata() for one in auroc.lines if len(one.get_ydata()) == 4)
    assert [math.isnan(height) for height in heights] == [False, True, False, False]
    for panel, hollow in ((auroc, [False, True, False]), (aupro, [False, False, True, False])):
        bars = [one for one in panel.containers if isinstance(one, ErrorbarContainer)]
        assert [bar[0].get_markerfacecolor() == "white" for bar in bars] == hollow
    assert "A hollow marker is a mean that lacks a category." in document.paper_tex(found, ["curves.pdf"], [], [])


def test_ticks_without_room_have_no_name_but_both_ends_have() -> None:
    def named(*ticks: tuple[float, str]) -> set[int]:
        return Curves(0, False, tuple(Tick(*tick) for tick in ticks), (), (), ()).named()

    assert named((0, "1"), (0.069, "2"), (0.5, "3"), (1, "4")) == {0, 2, 3}
    assert named((0, "1"), (0.0701, "2"), (0.5, "3"), (1, "4")) == {0, 1, 2, 3}
    assert named((0, "1"), (0.9, "900000"), (1, "1000000")) == {0, 2}
    assert len(named(*((place / 100, str(place)) for place in range(101)))) < 12


def test_the_figure_is_written_the_same_twice_and_the_paper_takes_it(tmp_path: Path) -> None:
    found = built(sweep_records({"data.shots": SHOTS, "data.augment_copies": ("0", "7")}))
    for folder in ("a", "b"):
        assert not any("along" in sentence for sentence in figures.write_figures(found, tmp_path / folder))
    for name in ("curves.pdf", "curves.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    text = document.paper_tex(found, ["curves.pdf"], [], [])
    assert (
        r"\caption{Image AUROC and AUPRO 30\% along data.shots: mean over categories and seeds, with 95\% intervals, a"
        r" line for each augment\_copies. The last place, apart from the scale, is that of all there are."
        r" Below, each category by itself.}"
    ) in text
    assert "along" not in document.paper_tex(built(study_records()), ["comparison.pdf"], [], [])


def test_many_lines_are_grey_beyond_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    names = tuple(f"name {number}" for number in range(10))
    found = built(sweep_records({"data.shots": ("1", "2", "4")}, names=names, categories=("a",), seeds=(0,)))
    (legend,) = drawn_by(found, monkeypatch).legends
    assert len(legend.get_texts()) == 8 and legend.get_title().get_text() == "schedule (grey: 2 more)"


def test_any_text_is_a_value_of_an_axis() -> None:
    records = [make(signature=f"{place:012x}") for place in range(3)]
    for record, value in zip(records, ("[", "]", ""), strict=True):
        record["choices"]["data.shots"] = value
    assert curves(built(records)) is None
