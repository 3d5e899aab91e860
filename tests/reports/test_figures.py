"""The charts on paper: what each draws, with fonts embedded, the same bytes twice, or why there is none."""

import functools
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from records import make, run_of, schedule, study_records, sweep_records

from diffect.reports import build, maps, study
from diffect.reports.charts import render, study_charts
from diffect.reports.charts.base import Chart, group_rows
from diffect.reports.charts.levels import curve
from diffect.reports.charts.pareto import left_out
from diffect.reports.charts.training import schedule_rows
from diffect.runs.record_file import PANEL

pytestmark = pytest.mark.slow


def built(records: list[dict[str, Any]], folder: Path = Path()) -> study.Study:
    return build.build_study("demo", [run_of(folder / record["signature"], record) for record in records])


def leveled(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records with what each of three levels alone would give."""
    for place, record in enumerate(records):
        rows = [
            {"log_snr": level, "image_auroc": 0.9 - 0.01 * (place % 5), "pixel_aupro_30": 0.8 + 0.01 * level}
            for level in (-1.0, 1.0, 3.0)
        ]
        record["levels"] = dict.fromkeys(record["categories"], rows)
    return records


@functools.cache
def whole() -> study.Study:
    """A study that has every chart."""
    return built(leveled(sweep_records({"data.shots": ("1", "2", "4")}, seeds=(0, 1, 2, 3, 4))))


def chart_of(found: study.Study, name: str) -> Chart:
    (one,) = [chart for chart in study_charts(found)[0] if chart.name == name]
    return one


def svg_of(found: study.Study, name: str) -> str:
    return render.figure_svg(chart_of(found, name), group_rows(found))


def test_every_figure_of_a_study_is_drawn_the_same_twice_with_its_fonts(tmp_path: Path) -> None:
    found = whole()
    for folder in ("a", "b"):
        charts, reasons = study_charts(found)
        assert reasons == [] and len(render.write_figures(found, charts, tmp_path / folder)) == len(render.NAMES)
    names = sorted(f"{name}{suffix}" for name in render.NAMES for suffix in (".pdf", ".png"))
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names
    for name in names:
        data = (tmp_path / "a" / name).read_bytes()
        assert data == (tmp_path / "b" / name).read_bytes(), name
        assert name.endswith(".png") or (b"/FontFile2" in data and b"CreationDate" not in data)


def test_no_letter_of_a_figure_is_below_seven_points_on_a_page() -> None:
    charts = {chart.name: chart for chart in study_charts(whole())[0]}
    for name in render.NAMES:
        svg = render.figure_svg(charts[name], group_rows(whole()))
        (width,) = re.findall(r'<svg[^>]* width="([\d.]+)"', svg)
        least = min(map(float, re.findall(r'font-size="([\d.]+)px"', svg)))
        assert least * min(1, 468 / float(width)) >= 7, name  # a page with margins of an inch is 468 points wide


def test_what_cannot_be_drawn_has_a_reason_and_no_old_picture(tmp_path: Path) -> None:
    for name in render.NAMES:
        for suffix in (".pdf", ".png"):
            (tmp_path / f"{name}{suffix}").touch()
    records = sweep_records({"data.shots": ("1", "2", "4")})
    for place, record in enumerate(records):
        record["schedule"] = None
        record["device"] = f"machine {place % 2}"
        for values in record["metrics"].values():
            values |= dict.fromkeys(("image_auroc", "image_tpr_at_5fpr", "pixel_aupro_30"))
    charts, reasons = study_charts(found := built(records))
    assert [chart.name for chart in charts] == ["losses"] and render.write_figures(found, charts, tmp_path) == []
    assert len(reasons) == len(render.NAMES) and all(reason.startswith("no ") for reason in reasons)
    assert "no record holds one" in reasons[-1] and "2 different devices" in reasons[2]
    assert list(tmp_path.iterdir()) == []


def test_any_name_is_text_in_a_figure() -> None:
    name = '$x_$ <b> & "q" {{1}}'
    assert "&lt;b> &amp; " in svg_of(built(study_records(names=(name, "linear"))), "comparison").replace("&gt;", ">")


def test_schedules_have_a_colour_each_and_the_same_in_every_chart() -> None:
    found = built(leveled(study_records(seeds=(0, 1, 2, 3, 4))))
    for name in ("schedules", "levels", "comparison"):
        assert set(re.findall(r'(?:stroke|fill)="(#\w+)"', svg_of(found, name))) >= set(render.COLOURS[:4]), name
    own = {name: name for name in ("cosine", "edm", "laplace", "linear")}
    assert {row["label"]: row["hue"] for row in group_rows(found)} == own
    assert {row["name"]: row["hue"] for row in schedule_rows(found)} == own


def test_schedules_are_drawn_alone_and_lists_of_different_lengths_are_refused_by_name(tmp_path: Path) -> None:
    render.schedule_figure([schedule("cosine"), schedule("$x_$ <b>")], tmp_path / "sub" / "picture")
    assert sorted(path.name for path in (tmp_path / "sub").iterdir()) == ["picture.pdf", "picture.png"]
    with pytest.raises(ValueError, match=r"schedule 'cosine'.*four lists of one length"):
        render.schedule_figure([{**schedule("cosine"), "weight": [1.0] * 128}], tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["sub"]


def test_each_distinct_schedule_is_one_line_with_its_own_name() -> None:
    records = []
    for weight, shift in (("eps", 0.0), ("matched", 3.0)):
        for record in study_records(names=("cosine", "linear"), categories=("a",)):
            record["choices"]["weight"] = weight
            name = record["choices"]["schedule"]
            record["schedule"] = schedule(name, shift if name == "cosine" else 1.0)
            record["signature"] = f"{len(records):012x}"
            records.append(record)
    assert [row["name"] for row in schedule_rows(built(records))] == ["cosine, eps", "cosine, matched", "linear"]


def test_namesakes_without_an_axis_are_numbered() -> None:
    records = study_records(names=("cosine",), categories=("a",), seeds=(0, 1))
    records[1]["schedule"] = schedule("cosine", 3.0)
    assert [row["name"] for row in schedule_rows(built(records))] == ["cosine", "cosine #2"]


def test_the_effective_weight_has_unit_area_and_gaps_stay_gaps() -> None:
    records = study_records(names=("cosine",), categories=("a",), seeds=(0,))
    records[0]["schedule"]["density"][3] = None
    (row,) = schedule_rows(built(records))
    pairs = list(zip(row["log_snr"], row["weight"], strict=True))
    area = sum((a[0] - b[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(pairs))
    assert area == pytest.approx(1, rel=1e-4) and row["density"][3] is None


def test_only_schedules_that_runs_train_by_are_drawn() -> None:
    records = study_records(names=("cosine", "edm"), seeds=(0,))
    for record in records:
        if record["choices"]["schedule"] == "edm":
            record["description"] = {}
    assert [row["name"] for row in schedule_rows(built(records))] == ["cosine"]
    solved = built([record for record in records if record["choices"]["schedule"] == "edm"])
    assert "no figure of the noise schedules: no run trains by one" in study_charts(solved)[1]


def test_a_level_that_only_some_cells_have_is_not_drawn() -> None:
    records = leveled(study_records(names=("cosine",), seeds=(0, 1, 2)))
    records[0]["levels"]["brick"] = records[0]["levels"]["brick"][1:]
    (group,) = built(records).groups
    assert [level for level, _ in curve(group, "image_auroc")] == [1.0, 3.0]
    assert curve(group, "image_auroc")[0][1].half is not None


def test_next_to_no_difference_between_levels_looks_like_none() -> None:
    records = study_records(names=("cosine",), seeds=(0,))
    for record in records:
        rows = [
            {"log_snr": level, "image_auroc": 0.9998 + level / 1e4, "pixel_aupro_30": 0.5 + level / 10}
            for level in (0, 1)
        ]
        record["levels"] = dict.fromkeys(record["categories"], rows)
    texts = re.findall(r">(0\.\d+|1\.\d+)</text>", svg_of(built(records), "levels"))
    ticks = [float(text) for text in texts if float(text) > 0.8]
    assert min(ticks) <= 0.96 and max(ticks) == 1.0


def test_groups_over_fewer_categories_say_so() -> None:
    records = leveled(study_records(names=("cosine", "edm")))
    found = built([r for r in records if (r["choices"]["schedule"], r["categories"]) != ("edm", ["brick"])])
    assert chart_of(found, "levels").lacking == "Hollow, since not comparable: edm (2 of 3 categories)."
    assert {row["group"] for row in chart_of(found, "comparison").rows if row.get("missing")} == {1}


def test_groups_without_figures_by_level_are_named() -> None:
    records = leveled(study_records(names=("cosine", "edm", "linear")))
    for record in records:
        if record["choices"]["schedule"] != "cosine":
            record["levels"] = {}
    said = "Not drawn, for want of figures by level (there are none where a single level is scored): linear, edm."
    assert chart_of(built(records), "levels").lacking == said
    assert chart_of(built(leveled(study_records())), "levels").lacking == ""


def test_dots_are_promised_only_where_they_are_drawn() -> None:
    for seeds in ((0,), (0, 1)):
        one = chart_of(built(study_records(seeds=seeds)), "comparison")
        drawn = any("seeds" in row for row in one.rows)
        assert ("Small dots" in one.caption) == drawn == (len(seeds) > 1)


def test_what_a_group_lacks_to_be_drawn_is_told_by_metric() -> None:
    records = study_records(names=("cosine", "edm", "linear"), categories=("a", "b"))
    for record in records:
        name, (category,) = record["choices"]["schedule"], record["categories"]
        if name == "edm" and category == "a":
            record["metrics"][category]["latency_ms"] = None
        if name == "linear":
            record["metrics"][category]["pixel_aupro_30"] = None
    found = built(records)
    assert left_out(found) == ["linear (no AUPRO 30%)", "edm (latency ms without a)"]
    drawn = {row["group"] for row in chart_of(found, "pareto").rows if row["metric"] == "pixel_aupro_30"}
    assert drawn == {[group.label for group in found.groups].index("cosine")}
    gone = [one for one in study_records() if (one["choices"]["schedule"], one["categories"]) != ("edm", ["brick"])]
    assert left_out(built(gone)) == ["edm (without brick)"] and left_out(built(study_records())) == []


def test_the_pareto_front_is_what_nothing_beats_in_both() -> None:
    figures = {
        "a": (10.0, 0.8),
        "b": (20.0, 0.9),
        "c": (15.0, 0.7),
        "d": (30.0, 0.9),
        "e": (5.0, 0.5),
        "f": (20.0, 0.85),
    }
    records = study_records(names=tuple(figures), categories=("x",), seeds=(0,))
    for record in records:
        time, quality = figures[record["choices"]["schedule"]]
        record["metrics"]["x"] |= {"latency_ms": time, "image_auroc": quality, "pixel_aupro_30": quality}
        record["replicates"]["x"] = {}
    dotted = r'd="(M[^"]*)" stroke="#555555" stroke-width="\d+" stroke-dasharray="2,3"'
    (path, _) = re.findall(dotted, svg_of(built(records), "pareto"))
    assert path.count("L") == 4  # two steps join three groups: e, a and b


def test_maps_are_never_enlarged_and_a_torn_panel_is_named(tmp_path: Path) -> None:
    records = [make(name) for name in ("cosine", "linear", "edm")]
    for record, size in zip(records, ((3000, 1200), (40, 30), None), strict=True):
        folder = tmp_path / record["signature"]
        folder.mkdir()
        if size:
            Image.new("RGB", size).save(folder / PANEL)
        else:
            (folder / PANEL).write_bytes(b"not a picture")
    problems = maps.write_maps(built(records, tmp_path), tmp_path / "maps.png")
    assert len(problems) == 1 and records[2]["signature"] in problems[0]
    with Image.open(tmp_path / "maps.png") as image:
        assert image.width <= 2000 and image.height <= 2000


def test_many_groups_stay_a_picture(tmp_path: Path) -> None:
    found = built([make(f"name {i}", signature=f"{i:012x}") for i in range(60)])
    render.write_figures(found, [chart_of(found, "comparison")], tmp_path)
    with Image.open(tmp_path / "comparison.png") as image:
        assert image.height < 3600  # 18 inches
