"""report.html holds a study in one file: the same bytes twice, nothing fetched, any name as text, pictures bounded."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from records import lay_galleries, make, run_of, study_records, sweep_records

from diffect.reports import build, figures, latex, study
from diffect.reports.page import document, pictures
from diffect.runs.record import METRICS
from diffect.runs.table import LeftOut

HOSTILE = '<script>hacked = 1</script><img src=x onerror="hacked = 1">&amp;\u2028'


def built(folder: Path, records: list[dict[str, Any]], name: str = "demo") -> study.Study:
    left_out = [LeftOut("0123456789ab", f"failed: {HOSTILE}")]
    return build.build_study(name, [run_of(folder / record["signature"], record) for record in records], left_out)


def data_of(text: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found)


def write(found: study.Study, out: Path) -> tuple[str, list[str]]:
    problems = document.write_page(found, out)
    return (out / "report.html").read_text(encoding="utf-8"), problems


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    records = lay_galleries(tmp_path / "runs", study_records())
    found = built(tmp_path / "runs", records)
    assert document.write_page(found, tmp_path / "a") == document.write_page(found, tmp_path / "b") == []
    assert (tmp_path / "a" / "report.html").read_bytes() == (tmp_path / "b" / "report.html").read_bytes()


def test_nothing_is_fetched_and_the_page_forbids_it(tmp_path: Path) -> None:
    text, _ = write(built(tmp_path, study_records()), tmp_path)
    assert "default-src 'none'; img-src data:" in text
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(?:link|iframe|base)\b|@import|\burl\(|<script src", text)


def test_any_name_is_text(tmp_path: Path) -> None:
    records = study_records(names=("cosine", HOSTILE), categories=(HOSTILE, "__proto__"))
    text, _ = write(built(tmp_path, records, name=HOSTILE), tmp_path)
    assert text.count("<script") == text.count("</script") == 2
    assert "<img" not in text and "\u2028" not in text.partition('id="data">')[2]
    assert "&lt;script&gt;hacked = 1&lt;/script&gt;" in text
    data = data_of(text)
    assert HOSTILE in data["categories"] and HOSTILE in [group["label"] for group in data["groups"]]


def test_what_was_left_out_and_the_notes_stand_on_it_without_scripts(tmp_path: Path) -> None:
    found = built(tmp_path, study_records())
    text, _ = write(found, tmp_path)
    body = text.partition('id="data">')[0]
    assert "Left out (1)" in body and "0123456789ab: failed: " in body
    assert all(document.escape(note) in body for note in found.notes)
    verdicts = re.search(r'<ul class="verdicts">(.*?)</ul>', body, re.DOTALL)
    assert verdicts is not None and verdicts[1].count("<li>") == 3 and "image AUROC" in verdicts[1]


def test_a_study_that_is_no_evidence_says_so_first(tmp_path: Path) -> None:
    records = study_records()
    for record in records:
        record["config"]["evidence"] = False
    text, _ = write(built(tmp_path, records), tmp_path)
    assert re.search(r'<ul class="verdicts">\s*<li>this ranking is no evidence', text)


def test_every_figure_leads_to_its_runs(tmp_path: Path) -> None:
    found = built(tmp_path, study_records())
    data = data_of(write(found, tmp_path)[0])
    titles = [metric.title for metric in METRICS]
    for table in data["tables"]:
        for row in table["rows"]:
            assert row["foot"] or row["group"] is not None, (table["title"], row)
    summary, differences = data["tables"][:2]
    assert [column["metric"] for column in summary["columns"]][2:4] == [titles.index("image AUROC"), 3]
    assert differences["paired"] and not summary["paired"]
    assert [column["metric"] for column in differences["columns"]][2:4] == [0, 0]  # a difference, and its p
    by_category = data["tables"][-1]
    assert {data["categories"][row["category"]] for row in by_category["rows"]} == {"brick", "grass", "gravel"}
    run, source = data["runs"][0], found.runs[0].record
    assert run["signature"] == source.signature
    assert run["values"][0][0][0] == pytest.approx(
        source.results[source.categories[0]].metrics["image_auroc"], rel=1e-5
    )


def test_pictures_that_runs_share_are_embedded_once(tmp_path: Path) -> None:
    records = lay_galleries(tmp_path, study_records(names=("cosine",)))
    data = data_of(write(built(tmp_path, records), tmp_path / "out")[0])
    assert len(data["pictures"]) == len(records) + 2  # a map each; one photograph, one outline
    entry = next(iter(data["galleries"][0].values()))[1]
    assert entry["mask"] is None and data["pictures"][entry["image"]].startswith("data:image/png;base64,")


def test_pictures_have_a_bound_and_every_group_has_some(tmp_path: Path) -> None:
    records = lay_galleries(tmp_path, study_records())
    found = built(tmp_path, records)
    whole, _, _ = pictures.embed_galleries(found)
    held, galleries, problems = pictures.embed_galleries(found, room=2 * sum(map(len, whole)) // 3)
    assert sum(map(len, held)) <= 2 * sum(map(len, whole)) // 3
    shown = {study_run.choice("schedule") for study_run, one in zip(found.runs, galleries, strict=True) if one}
    assert len(shown) == 4
    missing = galleries.count(None)
    assert missing and [f"{missing} runs" in problem for problem in problems] == [True]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../../secret.png", "does not lie in the run's gallery/"),
        ("gallery/..", "does not lie in the run's gallery/"),
        ("gallery/absent.png", "cannot be read: No such file"),
        ("gallery/words.png", "is no small JPEG or PNG"),
    ],
)
def test_a_picture_that_is_none_is_told_and_not_shown(name: str, said: str, tmp_path: Path) -> None:
    (record,) = lay_galleries(tmp_path / "runs", [make()])
    (tmp_path / "secret.png").write_bytes(b"\x89PNG secret")
    (tmp_path / "runs" / record["signature"] / "gallery" / "words.png").write_text("words")
    record["gallery"]["brick"][0]["image"] = name
    text, problems = write(built(tmp_path / "runs", [record]), tmp_path)
    assert len(problems) == 1 and said in problems[0] and document.escape(said) in text
    assert data_of(text)["galleries"] == [None]


def test_runs_from_a_log_have_no_pictures_and_the_page_says_so(tmp_path: Path) -> None:
    (record,) = lay_galleries(tmp_path / "runs", [make()])
    found = build.build_study("demo", [run_of(tmp_path / "run-1.wandb", record)])
    assert "the gallery of 1 run read from W&B" in write(found, tmp_path)[1][0]


def test_odd_records_still_make_a_page(tmp_path: Path) -> None:
    records = study_records(names=("cosine",), categories=("brick",), seeds=(0, 1))
    records[0]["schedule"] = {"name": "x", "t": [0.0], "log_snr": [], "density": [], "weight": []}
    records[0]["training"] = {}
    records[0]["metrics"]["brick"]["image_auroc"] = float("nan")
    text, _ = write(built(tmp_path, records), tmp_path)
    assert data_of(text)["runs"][0]["values"][0][0][0] is None


@pytest.mark.slow
def test_a_thousand_runs_are_a_small_page(tmp_path: Path) -> None:
    names = tuple(f"schedule {number:02d}" for number in range(42))
    categories = tuple("abcdefgh")
    found = built(tmp_path, study_records(names, categories, seeds=(0, 1, 2)))
    text, _ = write(found, tmp_path)
    assert len(found.runs) == 1008 and len(text) < 2_000_000
    assert repr(found.runs[0].record.results["a"].replicates["image_auroc"][0])[:8] not in text


def test_what_other_parts_left_out_stands_on_it_too(tmp_path: Path) -> None:
    found = build.build_study("demo", [run_of(tmp_path / record["signature"], record) for record in study_records()])
    document.write_page(found, tmp_path, ["schedules.pdf: there is nothing to draw"])
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Left out (1)" in text and "schedules.pdf: there is nothing to draw" in text


def test_a_mean_that_lacks_a_category_is_drawn_as_one(tmp_path: Path) -> None:
    records = study_records(names=("cosine", "linear"), categories=("a", "b"))
    kept = [one for one in records if (one["choices"]["schedule"], one["categories"]) != ("cosine", ["b"])]
    data = data_of(write(built(tmp_path, kept), tmp_path)[0])
    missing = {group["label"]: data["estimates"][0][0][place][2] for place, group in enumerate(data["groups"])}
    assert missing == {"cosine": 1, "linear": 0}


def test_only_schedules_that_runs_train_by_are_on_it_under_the_names_of_the_figure(tmp_path: Path) -> None:
    records = study_records(names=("cosine", "edm", "linear"), categories=("a",), seeds=(0, 1))
    for record in records:
        if record["choices"]["schedule"] == "edm":
            record["training"] = {"steps": 0, "losses": []}  # solved at once
        record["schedule"]["name"] = "shifted"
    found = built(tmp_path, records)
    data = data_of(write(found, tmp_path)[0])
    assert [one["name"] for one in data["schedules"]] == [one["name"] for one in figures.schedules_of(found)]
    assert [one["name"] for one in data["schedules"]] == ["shifted, cosine", "shifted, linear"]
    assert [found.runs[place].choice("schedule") for place in data["schedules"][1]["runs"]] == ["linear", "linear"]


def test_what_plots_leave_out_is_told_with_the_reason(tmp_path: Path) -> None:
    records = study_records(names=("cosine", "linear"), categories=("a", "b"))
    kept = [one for one in records if (one["choices"]["schedule"], one["categories"]) != ("cosine", ["b"])]
    for record in kept:
        if record["choices"]["schedule"] == "linear":
            record["levels"] = {record["categories"][0]: [{"log_snr": level, "image_auroc": 0.9} for level in (0, 1)]}
    found = built(tmp_path, kept)
    data = data_of(write(found, tmp_path)[0])
    places = {group["label"]: place for place, group in enumerate(data["groups"])}
    whole, a, b = data["tradeoffs"]["metrics"]["0"]
    assert whole == {"drawn": [places["linear"]], "left_out": [[places["cosine"], "without b"]]}
    assert a["left_out"] == [[places["cosine"], "latency ms without b"]]
    assert b["left_out"] == [[places["cosine"], "no image AUROC and latency ms without b"]]
    assert data["tradeoffs"]["unlike"] is None
    assert data["levels"]["left_out"].endswith(": cosine.")
    kept[0]["device"] = "another"
    data = data_of(write(built(tmp_path, kept), tmp_path)[0])
    assert data["tradeoffs"]["unlike"] == "latency was measured on 2 different devices"


def test_lines_along_numbers_join_the_groups_in_order_with_all_in_the_end(tmp_path: Path) -> None:
    sweep = {"data.shots": ("null", "16", "1", "4"), "outlier_removal": ("none", "z_score")}
    data = data_of(write(built(tmp_path, sweep_records(sweep)), tmp_path)[0])
    along = data["along"]
    assert data["axes"][along["axis"]] == "shots" and along["log"] and along["apart"]
    assert along["ticks"] == [[0, "1", True], [0.5, "4", True], [1, "16", True], [1.3, "all", True]]
    for line in along["lines"]:
        values = [data["groups"][place]["values"] for place in line["groups"]]
        assert values == [[text, line["name"]] for text in ("1", "4", "16", "null")]
    assert data_of(write(built(tmp_path, study_records()), tmp_path)[0])["along"] is None


def titles(folder: Path, names: tuple[str, ...], seeds: tuple[int, ...], estimand: str) -> list[str]:
    records = study_records(names=("cosine", "linear"), categories=names, seeds=seeds)
    found = build.build_study("demo", [run_of(folder / one["signature"], one) for one in records], estimand=estimand)
    told = [table["title"] for table in data_of(write(found, folder)[0])["tables"]]
    captions = latex.latex_tables(found)
    assert all(f"{title}." in captions.replace("$\\pm$", "±").replace("\\%", "%") for title in told)
    return told


def test_titles_of_tables_say_what_the_means_are_over_as_the_papers_captions_do(tmp_path: Path) -> None:
    half = "± the half-width of a 95% interval over"
    whole, less = titles(tmp_path, ("brick",), (0,), "fixed")
    assert whole == f"Mean of each group over the category brick, with seed 0, {half} test images"
    assert less.startswith("Mean difference of each group from ") and less.endswith(f"{half} test images")
    whole, less, tests, each = titles(tmp_path, ("brick", "grass"), (0, 1, 2), "fixed")
    assert whole == f"Mean of each group over these 2 categories and its seeds, {half} seeds and test images"
    assert ", which has the best mean image AUROC, over the pairs of category and seed compared, ±" in less
    assert "with seeds as blocks" in tests
    assert each == f"Mean of each group over its seeds in each category, {half} seeds and test images"
    whole, less, tests, _ = titles(tmp_path, tuple("abcdef"), (0, 1), "random")
    assert whole.endswith(f"over its seeds, then over 6 categories, a sample of their kind, {half} categories")
    assert less.endswith("95% interval over categories") and "with categories as blocks" in tests
