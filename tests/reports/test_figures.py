"""The pictures: distinct schedules get distinct names, gaps stay gaps, and fonts are embedded."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image
from records import make, run_of, schedule, study_records, sweep_records

from diffect.reports import build, figures, maps, study
from diffect.reports.charts import groups_left_out, tradeoff
from diffect.reports.charts.levels import curve
from diffect.reports.figures import comparison, levels, pareto, schedules
from diffect.runs.record_file import PANEL

pytestmark = pytest.mark.slow


def built(records: list, folder: Path = Path()) -> study.Study:
    return build.build_study("demo", [run_of(folder / record["signature"], record) for record in records])


def test_schedules_are_drawn_alone_with_gaps_and_any_name(tmp_path: Path) -> None:
    broken = schedule("$x_$ <b>")
    broken["density"][3] = None
    pdf, png = figures.schedule_figure([schedule("cosine"), broken], tmp_path / "sub" / "picture.pdf")
    assert (pdf.name, png.name) == ("picture.pdf", "picture.png")
    assert b"/FontFile2" in pdf.read_bytes() and b"CreationDate" not in pdf.read_bytes()
    with Image.open(png) as image:
        assert image.width > 1000 and "Software" not in image.info


def test_lists_of_different_lengths_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"schedule 'cosine'.*weight 128"):
        figures.schedule_figure([{**schedule("cosine"), "weight": [1.0] * 128}], tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_each_distinct_schedule_is_one_line_with_its_own_name() -> None:
    records = []
    for weight, shift in (("eps", 0.0), ("matched", 3.0)):
        for record in study_records(names=("cosine", "linear"), categories=("a",)):
            record["choices"]["weight"] = weight
            name = record["choices"]["schedule"]
            record["schedule"] = schedule(name, shift if name == "cosine" else 1.0)
            record["signature"] = f"{len(records):012x}"
            records.append(record)
    names = [entry["name"] for entry in figures.schedules_of(built(records))]
    assert names == ["cosine, eps", "cosine, matched", "linear"]


def test_namesakes_without_an_axis_are_numbered() -> None:
    records = study_records(names=("cosine",), categories=("a",), seeds=(0, 1))
    records[1]["schedule"] = schedule("cosine", 3.0)
    assert [entry["name"] for entry in figures.schedules_of(built(records))] == ["cosine", "cosine #2"]


def leveled(records: list) -> list:
    """The records with what each of three levels alone would give."""
    for place, record in enumerate(records):
        rows = [
            {"log_snr": level, "image_auroc": 0.9 - 0.01 * (place % 5), "pixel_aupro_30": 0.8 + 0.01 * level}
            for level in (-1.0, 1.0, 3.0)
        ]
        record["levels"] = dict.fromkeys(record["categories"], rows)
    return records


def test_every_figure_of_a_study_is_drawn_the_same_twice(tmp_path: Path) -> None:
    found = built(leveled(sweep_records({"data.shots": ("1", "2", "4")}, seeds=(0, 1, 2, 3, 4))))
    for folder in ("a", "b"):
        assert figures.write_figures(found, tmp_path / folder) == []
    names = sorted(f"{name}{suffix}" for name in figures.FIGURES for suffix in (".pdf", ".png"))
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_what_cannot_be_drawn_has_a_reason_and_no_old_picture(tmp_path: Path) -> None:
    sweep = {"data.shots": ("1", "2", "4")}
    assert figures.write_figures(built(leveled(sweep_records(sweep, seeds=(0, 1, 2, 3, 4)))), tmp_path) == []
    records = sweep_records(sweep)
    for place, record in enumerate(records):
        record["schedule"] = None
        record["device"] = f"machine {place % 2}"
        for values in record["metrics"].values():
            values |= dict.fromkeys(("image_auroc", "image_tpr_at_5fpr", "pixel_aupro_30"))
    reasons = figures.write_figures(built(records), tmp_path)
    assert len(reasons) == len(figures.FIGURES) and all(reason.startswith("no ") for reason in reasons)
    assert "no record holds one" in reasons[0]
    assert "2 different devices" in reasons[4]
    assert list(tmp_path.iterdir()) == []


def test_a_level_that_only_some_cells_have_is_not_drawn() -> None:
    records = leveled(study_records(names=("cosine",)))
    records[0]["levels"]["brick"] = records[0]["levels"]["brick"][1:]
    (group,) = built(records).groups
    assert [level for level, _ in curve(group, "image_auroc")] == [1.0, 3.0]
    assert curve(group, "image_auroc")[0][1].half is not None


def axes_of(draw: Any, found: study.Study, path: Path, monkeypatch: pytest.MonkeyPatch) -> Figure:
    """The figure that `draw` makes, before it is saved."""
    kept: list[Figure] = []
    monkeypatch.setattr(f"{draw.__module__}.save", lambda figure, _: kept.append(figure))
    assert draw(found, path) is None
    return kept[0]


def test_next_to_no_difference_between_levels_looks_like_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = study_records(names=("cosine",), seeds=(0,))
    for record in records:
        rows = [
            {"log_snr": level, "image_auroc": 0.9998 + level / 1e4, "pixel_aupro_30": 0.5 + level / 10}
            for level in (0, 1)
        ]
        record["levels"] = dict.fromkeys(record["categories"], rows)
    found = built(records)
    assert not levels.with_intervals(found)
    (low, high), (least, most) = (
        panel.get_ylim() for panel in axes_of(levels.levels_figure, found, tmp_path / "x", monkeypatch).axes
    )
    assert high - low == pytest.approx(0.05) and low < 0.9998 < 0.9999 < high < 1.01
    assert 0.1 < most - least < 0.15
    assert levels.with_intervals(built(leveled(study_records(names=("cosine",), seeds=(0, 1)))))


def test_a_line_over_fewer_categories_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = leveled(study_records(names=("cosine", "edm")))
    found = built([r for r in records if (r["choices"]["schedule"], r["categories"]) != ("edm", ["brick"])])
    figure = axes_of(levels.levels_figure, found, tmp_path / "x", monkeypatch)
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert labels == {"cosine", "edm (2 of 3 categories)"}


def test_dots_are_promised_only_where_they_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seeds in ((0,), (0, 1)):
        found = built(study_records(seeds=seeds))
        figure = axes_of(comparison.comparison_figure, found, tmp_path / "x", monkeypatch)
        promised = "dots: seeds" in figure.axes[1].get_xlabel()
        drawn = any(line.get_marker() == "." for panel in figure.axes for line in panel.lines)
        assert promised == drawn == comparison.seeds_drawn(found) == (len(seeds) > 1)


def test_only_schedules_that_runs_train_by_are_drawn(tmp_path: Path) -> None:
    records = study_records(names=("cosine", "edm", "linear"), seeds=(0,))
    for record in records:
        if record["choices"]["schedule"] == "edm":
            record["training"] = {"steps": 0}
        if record["choices"]["schedule"] == "linear":
            record["config"] = {"denoiser": {"_target_": "diffect.denoisers.learned.NoDenoiser"}}
    assert [entry["name"] for entry in figures.schedules_of(built(records))] == ["cosine"]
    solved = built([record for record in records if record["choices"]["schedule"] == "edm"])
    assert schedules.study_schedules_figure(solved, tmp_path / "x") == (
        "no figure of the noise schedules: no run trains by one"
    )
    assert list(tmp_path.iterdir()) == []


def test_groups_that_lack_a_category_are_named_beside_the_front(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [
        record
        for record in study_records()
        if (record["choices"]["schedule"], record["categories"]) != ("edm", ["brick"])
    ]
    found = built(records)
    assert tradeoff.left_out(found) == ["edm (without brick)"]
    figure = axes_of(pareto.pareto_figure, found, tmp_path / "x", monkeypatch)
    assert figure.legends[0].get_title().get_text().endswith("\nnot drawn, since not comparable: edm (without brick)")
    assert tradeoff.left_out(built(study_records())) == []


def test_what_a_group_lacks_to_be_drawn_is_told_by_metric() -> None:
    records = study_records(names=("cosine", "edm", "linear"), categories=("a", "b"))
    for record in records:
        name, (category,) = record["choices"]["schedule"], record["categories"]
        if name == "edm" and category == "a":
            record["metrics"][category]["latency_ms"] = None
        if name == "linear":
            record["metrics"][category]["pixel_aupro_30"] = None
    found = built(records)
    assert tradeoff.left_out(found) == ["linear (no AUPRO 30%)", "edm (latency ms without a)"]
    places = {group.label: place for place, group in enumerate(found.groups)}
    by_category = tradeoff.tradeoff(found, "image_auroc", "b")
    assert set(by_category.points) == {places["cosine"], places["linear"]}
    assert by_category.left_out == {places["edm"]: "latency ms without a"}


def test_groups_without_figures_by_level_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = leveled(study_records(names=("cosine", "edm", "linear")))
    for record in records:
        if record["choices"]["schedule"] != "cosine":
            record["levels"] = {}
    found = built(records)
    said = "not drawn, for want of figures by level (there are none where a single level is scored)"
    assert groups_left_out(found) == {"levels": f"{said}: linear, edm"}
    figure = axes_of(levels.levels_figure, found, tmp_path / "x", monkeypatch)
    assert figure.legends[0].get_title().get_text() == f"schedule\n{said}:\nlinear, edm"
    assert groups_left_out(built(leveled(study_records()))) == groups_left_out(built(study_records())) == {}


def test_the_pareto_front_is_what_nothing_beats_in_both() -> None:
    points = {0: (10.0, 0.8), 1: (20.0, 0.9), 2: (15.0, 0.7), 3: (30.0, 0.9), 4: (5.0, 0.5), 5: (20.0, 0.85)}
    assert tradeoff.front(points) == [4, 0, 1]


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
    records = [make(f"name {i}", signature=f"{i:012x}") for i in range(60)]
    assert figures.comparison_figure(built(records), tmp_path / "comparison") is None
    with Image.open(tmp_path / "comparison.png") as image:
        assert image.height < 3600  # 18 inches
