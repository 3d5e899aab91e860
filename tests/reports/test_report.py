"""`report` makes a study's tables and pictures from its records, the same bytes twice, or says why not."""

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image
from records import MEASURED, lay, make, run_of, study_records

from diffect.cli import report
from diffect.reports import build, cells, latex, markdown, study
from diffect.runs.record_file import PANEL

ALL = [
    "comparison.pdf",
    "comparison.png",
    "differences.csv",
    "long.csv",
    "methods.tex",
    "numbers.tex",
    "paper.tex",
    "pareto.pdf",
    "pareto.png",
    "ranks.csv",
    "references.bib",
    "report.html",
    "runs.csv",
    "schedules.pdf",
    "schedules.png",
    "table.csv",
    "table.md",
    "table.tex",
]


def go(folder: Path, name: str | None = "demo", out: str = "out") -> Path:
    config = {"experiment": name, "out": str(folder / out), "outputs": str(folder / "outputs")}
    report.run(OmegaConf.create(config))
    return folder / out


def built(records: list[dict[str, Any]], name: str = "demo") -> study.Study:
    return build.build_study(name, [run_of(Path(record["signature"]), record) for record in records])


def cell(found: study.Study, row: str, column: str, sheet: int = 0) -> cells.Cell:
    place = found.tables[sheet].header.index(column)
    (line,) = [line for line in found.tables[sheet].rows if line[0] == row]
    assert isinstance(line[place], cells.Cell)
    return line[place]


@pytest.mark.slow
def test_a_report_is_complete_and_the_same_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = study_records()
    outputs = lay(tmp_path / "outputs" / "demo", records)
    for record in records:
        picture = np.full((90, 160, 3), 40, np.uint8)
        Image.fromarray(picture).save(outputs / record["signature"] / PANEL)
    first = go(tmp_path, out="a")
    printed = capsys.readouterr().out
    second = go(tmp_path, out="b")
    assert sorted(path.name for path in first.iterdir()) == sorted([*ALL, "maps.png", "written.json"])
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name
    assert max(len(line) for line in printed.splitlines() if str(tmp_path) not in line) <= 120
    assert "cosine" in printed and "reference" in printed
    assert Image.open(first / "maps.png").size[0] > 160


@pytest.mark.slow
def test_a_picture_that_can_no_longer_be_made_is_removed(tmp_path: Path) -> None:
    records = study_records(names=("cosine",), seeds=(0,))
    outputs = lay(tmp_path / "outputs" / "demo", records)
    panel = outputs / records[0]["signature"] / PANEL
    Image.new("RGB", (8, 8)).save(panel)
    out = go(tmp_path)
    assert (out / "maps.png").exists()
    panel.write_bytes(b"torn")
    for record in records:
        record["schedule"] = None
    lay(outputs, records)
    go(tmp_path)
    kept = [name for name in ALL if name[:-4] not in ("pareto", "schedules")]
    assert sorted(path.name for path in out.iterdir()) == sorted([*kept, "written.json"])


@pytest.mark.slow
def test_runs_csv_has_a_row_per_run_and_category(tmp_path: Path) -> None:
    records = study_records(names=("cosine", "linear"))
    lay(tmp_path / "outputs" / "demo", records)
    with (go(tmp_path) / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert list(rows[0])[:5] == ["signature", "study", "schedule", "category", "seed"]
    by_signature = {record["signature"]: record for record in records}
    for row in rows:
        values = by_signature[row["signature"]]["metrics"][row["category"]]
        assert all(float(row[metric.name]) == values[metric.name] for metric in MEASURED)


def test_the_best_is_marked_the_conformal_pair_and_a_lone_group_never() -> None:
    found = built(study_records(names=("cosine", "linear")))
    for column in ("image AUROC", "latency ms"):
        cells = [cell(found, row, column) for row in ("cosine", "linear")]
        better = (max if column == "image AUROC" else min)(float(c.mean) for c in cells)
        assert [c.best for c in cells] == [float(c.mean) == better for c in cells]
    assert not cell(found, "cosine", "conformal FPR").best
    assert not cell(built(study_records(names=("cosine",))), "demo", "image AUROC").best


def test_the_reference_is_the_last_row_and_labelled_and_not_in_a_paper() -> None:
    found = built(study_records())
    assert found.tables[0].rows[-1][0] == "reference"
    assert cell(found, "reference", "image AUROC").mean == "0.940"
    assert cell(found, "reference", "TPR at 5% FPR").mean == "0.890"
    assert cell(found, "reference", "latency ms").mean == "100.0"
    assert any("not measured here" in note for note in found.notes)
    assert "| reference " in markdown.markdown_report(found) and "reference &" not in latex.latex_tables(found)


def test_notes_say_what_the_ranking_is_worth() -> None:
    records = study_records(seeds=(0,))
    for record in records:
        record["config"] |= {"evidence": False, "study_note": "Steps are few."}
    records[0]["training"]["loss_best"] = 1.0
    records[1]["audit"]["grass"] = {"warning": "brightness alone has AUROC 1.00"}
    records[2]["undefined"] = {"gravel": {"pixel_auroc": "no masks"}}
    notes = built(records).notes
    text = "\n".join(notes)
    assert notes[0].startswith("this ranking is no evidence")
    assert notes[1] == "Steps are few."
    assert "fewer than three seeds: the intervals do not cover what other seeds would change." in text
    assert "11 of 12 learned runs" in text and records[0]["signature"] in text
    assert "† grass: brightness alone has AUROC 1.00" in text
    assert "undefined: gravel pixel_auroc: no masks." in text
    found = built(records)
    assert "grass†" in [row[0] for row in found.tables[-1].rows] and "grass†" in found.tables[0].title


def test_data_sets_that_only_share_a_name_are_told_apart() -> None:
    records = study_records(categories=("brick",))
    assert not any("different data sets" in note for note in built(records).notes)
    for number, record in enumerate(records):
        record["fingerprint"] = f"data {number % 2}"
    assert any(note.startswith("brick: 2 different data sets of this name") for note in built(records).notes)


def test_runs_launched_one_by_one_are_no_grid_with_holes() -> None:
    records = study_records(study="single")[:-1]
    assert not any(note.startswith(("missing:", "not run:")) for note in built(records, "single").notes)
    for record in records:
        record["study"] = "mine"
    assert any(note.startswith("missing:") for note in built(records, "mine").notes)


def test_holes_show_as_holes() -> None:
    records = []
    for weight in ("eps", "matched"):
        for record in study_records(names=("cosine", "linear"), categories=("a", "b"), seeds=(0, 1, 2)):
            record["choices"]["weight"] = weight
            record["signature"] = f"{len(records):012x}"
            records.append(record)
    kept = [r for r in records if (r["choices"]["schedule"], r["choices"]["weight"]) != ("linear", "matched")]
    found = built(kept[1:])
    rows = [row[:3] for row in found.tables[0].rows]
    assert sorted(rows[:3]) == [("cosine", "eps", "4 of 5/6"), ("cosine", "matched", "6"), ("linear", "eps", "6")]
    assert rows[3:] == [("linear", "matched", "0"), ("reference", "", "")]
    assert cell_of(found, rows.index(("cosine", "eps", "4 of 5/6"))).mark == cells.IMAGES
    assert any("missing: 1 cell of the grid (cosine eps a seed 0)" in note for note in found.notes)
    assert any("1 of the 4 combinations of schedule x weight (linear matched)" in note for note in found.notes)


def cell_of(found: study.Study, row: int, column: str = "image AUROC") -> cells.Cell:
    item = found.tables[0].rows[row][found.tables[0].header.index(column)]
    assert isinstance(item, cells.Cell)
    return item


def test_a_mean_over_other_categories_is_marked_and_never_best() -> None:
    records = study_records(names=("cosine", "linear"), categories=("a", "b"))
    records = [r for r in records if (r["choices"]["schedule"], r["categories"]) != ("cosine", ["b"])]
    found = built(records)
    assert cell(found, "cosine", "image AUROC").mark == cells.PARTIAL
    assert not cell(found, "cosine", "image AUROC").best
    assert any(note.startswith("‡ a mean over fewer") and note.endswith(": cosine without b.") for note in found.notes)


@pytest.mark.slow
def test_null_metrics_are_dashes(tmp_path: Path) -> None:
    records = study_records(names=("cosine", "linear"))
    for record in records:
        for name in record["metrics"][record["categories"][0]]:
            if name.startswith(("pixel", "conformal")):
                record["metrics"][record["categories"][0]][name] = None
    found = built(records)
    assert cell(found, "cosine", "AUPRO 30%").mean == ""
    assert re.search(r"\| – +\|", markdown.markdown_report(found)) and "& -- &" in latex.latex_tables(found)
    lay(tmp_path / "outputs" / "demo", records)
    assert (go(tmp_path) / "comparison.png").exists()


@pytest.mark.slow
def test_names_show_as_the_text_they_are(tmp_path: Path) -> None:
    names = ("50%_of_$x^2$ & {more} #1~\\", "[8,16]", "<b>x</b>|y*")
    records = study_records(names=names, categories=("a_b", "c&d"), seeds=(0,))
    for place, record in enumerate(records):
        record["choices"]["schedule"] = names[place // 2]
        record["config"]["study_note"] = "*100% [sure]"
    lay(tmp_path / "outputs" / "demo", records)
    out = go(tmp_path)
    tex = (out / "table.tex").read_text()
    name = r"50\%\_of\_$\mathdollar$x\textasciicircum{}2$\mathdollar$ \& \{more\} \#1\textasciitilde{}\textbackslash{}"
    assert f"{name} &" in tex
    assert "{[}8,16] &" in tex and r"c\&d" in tex and r"{*}100\% {[}sure]\par" in tex
    body = re.sub(r"\\[\\&%$#_{}]", "", "\n".join(line for line in tex.splitlines() if not line.startswith("%")))
    assert not re.search(r"[#%_~]", re.sub(r"\\label\{[^}]*\}", "", body).replace(r"\textasciicircum", ""))
    text = (out / "table.md").read_text()
    assert "<b>" not in text and r"&lt;b&gt;x&lt;/b&gt;\|y\*" in text


def test_wide_tables_continue_below(capsys: pytest.CaptureFixture[str]) -> None:
    records = study_records(names=("a" * 80, "b" * 80), categories=tuple(f"category_{i:02d}" for i in range(15)))
    text = markdown.terminal_report(built(records))
    assert max(map(len, text.splitlines())) <= 120
    assert all(f"category_{i:02d}" in text for i in range(15))


def test_the_config_takes_a_plain_name_and_lets_hydra_write_nothing(tmp_path: Path) -> None:
    """In a folder without a group `experiment`, as the command line composes it."""
    (source,) = (Path(__file__).parents[2] / "conf").rglob("report.yaml")
    (tmp_path / "report.yaml").write_bytes(source.read_bytes())
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        cfg = compose("report", ["experiment=demo", "out=x"], return_hydra_config=True)
    assert (cfg.experiment, cfg.out, cfg.outputs) == ("demo", "x", "outputs")
    assert cfg.hydra.run.dir == "." and cfg.hydra.output_subdir is None
    assert cfg.hydra.job_logging.root is None or not cfg.hydra.job_logging.root.get("handlers")


def test_nothing_to_report_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no runs yet"):
        go(tmp_path, None)
    with pytest.raises(ValueError, match=r"no runs of 'demo' in .*has no runs yet.*diffect train experiment=demo"):
        go(tmp_path)
    outputs = tmp_path / "outputs" / "demo"
    outputs.mkdir(parents=True)
    with pytest.raises(ValueError, match=r"there are no runs in .*; `diffect train experiment=demo` makes them"):
        go(tmp_path)
    with pytest.raises(ValueError, match=r"did you mean demo\?; `diffect train study=dmo \.\.\.` makes them"):
        go(tmp_path, "dmo")
    with pytest.raises(ValueError, match="cannot be the name of a study"):
        go(tmp_path, "../demo")
    lay(outputs, [make(status="failed", error="loss is NaN at step 3")])
    with pytest.raises(ValueError, match=r"none of the 1 runs .* is finished.*loss is NaN at step 3"):
        go(tmp_path)
    assert not (tmp_path / "out").exists()


def test_without_the_extra_a_sentence_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "find_spec", lambda name: None if name == "altair" else True)
    with pytest.raises(ValueError, match=r"^a report needs altair: pip install 'diffect\[report\]'$"):
        go(tmp_path)


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    lay(tmp_path / "outputs" / "demo", [make()])
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write"):
        go(tmp_path, out="file/out")
