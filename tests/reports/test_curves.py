"""Curves along an axis of numbers: which axis it is, where its ticks stand, and the table's own figures on them."""

from pathlib import Path
from typing import Any

import pytest
from records import make, run_of, study_records, sweep_records

from diffect.reports import build, study
from diffect.reports.charts import render, study_charts
from diffect.reports.charts.axes import numeric_axis
from diffect.reports.charts.base import Chart, group_rows

pytestmark = pytest.mark.slow

SHOTS = ("null", "16", "1", "8", "2", "4")


def built(records: list[dict[str, Any]], **options: Any) -> study.Study:
    return build.build_study("demo", [run_of(Path(record["signature"]), record) for record in records], **options)


def swept(**sweep: tuple[str, ...]) -> study.Study:
    """A study of one seed and category; `data__shots` is data.shots."""
    keys = {key.replace("__", "."): values for key, values in sweep.items()}
    return built(sweep_records(keys, categories=("brick",), seeds=(0,)))


def curves_of(found: study.Study) -> Chart:
    (chart,) = [one for one in study_charts(found)[0] if one.name == "curves"]
    return chart


def reasons(found: study.Study) -> list[str]:
    return [reason for reason in study_charts(found)[1] if "along" in reason]


def test_null_stands_beyond_a_gap_on_the_scale() -> None:
    along = numeric_axis(swept(data__shots=SHOTS))
    assert along is not None and along.log and along.numbers == (1, 2, 4, 8, 16)
    assert along.all_at == pytest.approx(16 * 16**0.3)
    linear = numeric_axis(swept(x__y=("10", "NULL", "20", "30")))
    assert linear is not None and not linear.log and linear.all_at == pytest.approx(36)


@pytest.mark.parametrize(
    ("values", "log", "numbers"),
    [
        pytest.param(("0.2", "0", "0.1", "0.05"), False, [0, 0.05, 0.1, 0.2], id="zero has no logarithm"),
        pytest.param(("0", "1", "100"), False, [0, 1, 100], id="zero, however wide"),
        pytest.param(("1", "3", "7.9"), False, [1, 3, 7.9], id="a factor below 8"),
        pytest.param(("1", "3", "8"), True, [1, 3, 8], id="a factor of 8"),
        pytest.param(("1e-3", "1", "1e-1"), True, [0.001, 0.1, 1], id="powers"),
        pytest.param(("-10", "-1", "2"), False, [-10, -1, 2], id="negative"),
        pytest.param(("[-2.0]", "[1.0]", "[2.0]"), False, [-2, 1, 2], id="lists of one number"),
    ],
)
def test_numbers_of_an_axis(values: tuple[str, ...], log: bool, numbers: list[float]) -> None:
    along = numeric_axis(swept(x__y=values))
    assert along is not None and along.log == log and list(along.numbers) == numbers and along.all_at is None


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
def test_where_no_axis_holds_numbers_there_is_no_figure_and_no_word_of_it(values: tuple[str, ...]) -> None:
    found = swept(data__shots=values)
    charts, said = study_charts(found)
    assert numeric_axis(found) is None and reasons(found) == [] and all(said)
    assert "curves" not in {chart.name for chart in charts}


def test_of_two_axes_with_numbers_none_is_drawn_and_the_reason_told() -> None:
    found = swept(data__shots=("1", "2", "4"), training__steps=("10", "20", "30", "null"))
    said = (
        "no figure along a number: data.shots and training.steps each hold three or more, and a curve follows only one"
    )
    assert numeric_axis(found) is None and reasons(found) == [said]


def test_an_axis_of_numbers_without_figures_has_a_reason() -> None:
    records = sweep_records({"data.shots": SHOTS}, categories=("brick",), seeds=(0,))
    for record in records:
        record["metrics"]["brick"] |= {"image_auroc": None, "pixel_aupro_30": None}
    assert reasons(built(records)) == ["no figure along data.shots: no run has image AUROC or AUPRO 30%"]


def test_a_line_is_what_the_other_axes_hold_and_its_figures_are_the_tables() -> None:
    found = built(sweep_records({"data.shots": SHOTS, "outlier_removal": ("none", "z_score")}, names=("cosine", "edm")))
    chart, groups = curves_of(found), group_rows(found)
    lines = {row["line"] for row in groups}
    assert lines == {f"{one}, {other}" for one in ("none", "z_score") for other in ("cosine", "edm")}
    assert all(row["line"] == ", ".join(group.values[1:]) for row, group in zip(groups, found.groups, strict=True))
    assert [row["all"] for row in groups] == [group.values[0] == "null" for group in found.groups]
    for panel in chart.paper[:2]:
        rows = [row for row in chart.rows if all(row.get(key) == value for key, value in panel.only)]
        metric = dict(panel.only)["metric"]
        for row in rows:
            estimate = found.estimates[metric][row["group"]]
            assert row["value"] == pytest.approx(estimate.value, rel=1e-5) and estimate.half is not None
            assert row["low"] >= estimate.value - estimate.half - 1e-5 and row["text"].startswith(
                f"{estimate.value:.3f}"
            )
    each = [row for row in chart.rows if row["category"] == "grass" and row["metric"] == "image_auroc"]
    values = [one.value for one in found.by_category["grass"]["image_auroc"]]
    assert [row["value"] for row in each] == pytest.approx(values, rel=1e-5)


@pytest.mark.parametrize(("count", "panels"), [(1, 2), (2, 4), (5, 4), (6, 2)])
def test_categories_have_lines_of_their_own_where_few(count: int, panels: int) -> None:
    records = sweep_records({"data.shots": ("1", "2", "4")}, categories=tuple("abcdef"[:count]), seeds=(0,))
    assert len(curves_of(built(records)).paper) == panels


def test_a_hole_parts_a_line_and_a_mean_that_lacks_a_category_is_hollow() -> None:
    records = sweep_records({"data.shots": ("1", "2", "3", "4"), "x": ("a", "b")}, categories=("a", "b"))
    kept = [one for one in records if (one["choices"]["data.shots"], one["choices"]["x"]) != ("2", "a")]
    kept = [one for one in kept if (one["choices"]["data.shots"], one["categories"]) != ("3", ["b"])]
    found = built(kept)
    parts = {group.values: row["part"] for group, row in zip(found.groups, group_rows(found), strict=True)}
    assert [parts[number, "a"] for number in ("1", "3", "4")] == [0, 1, 1]
    assert [parts[number, "b"] for number in ("1", "2", "3", "4")] == [0, 0, 0, 0]
    hollow = {row["group"] for row in curves_of(found).rows if row.get("missing")}
    assert {found.groups[place].values[0] for place in hollow} == {"3"}


def test_the_figure_says_where_all_there_are_stand() -> None:
    found = built(sweep_records({"data.shots": SHOTS, "data.augment_copies": ("0", "7")}))
    chart = curves_of(found)
    assert chart.caption == (
        "Image AUROC and AUPRO 30% along data.shots: mean and 95% interval of each group. A hollow marker is a mean"
        " that lacks a category. The last place, apart from the scale, is that of all there are."
    )
    assert "along" not in " ".join(chart.caption for chart in study_charts(built(study_records()))[0])
    svg = render.figure_svg(chart, group_rows(found))
    assert all(f">{text}</text>" in svg for text in ("1", "16", "all", "shots (log scale)"))


def test_any_text_is_a_value_of_an_axis() -> None:
    records = [make(signature=f"{place:012x}") for place in range(3)]
    for record, value in zip(records, ("[", "]", ""), strict=True):
        record["choices"]["data.shots"] = value
    assert numeric_axis(built(records)) is None
