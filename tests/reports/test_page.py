"""report.html holds a study in one file: the same bytes twice, nothing fetched, any name as text, pictures bounded."""

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from records import lay_galleries, make, run_of, study_records

from diffect.reports import build, latex, study
from diffect.reports.charts import study_charts
from diffect.reports.page import document, pictures
from diffect.runs.table import LeftOut

pytestmark = pytest.mark.slow

HOSTILE = '<script>hacked = 1</script><img src=x onerror="hacked = 1">&amp;\u2028'


def built(folder: Path, records: list[dict[str, Any]], name: str = "demo") -> study.Study:
    left_out = [LeftOut("0123456789ab", f"failed: {HOSTILE}")]
    return build.build_study(name, [run_of(folder / record["signature"], record) for record in records], left_out)


def data_of(text: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found)


def write(found: study.Study, out: Path) -> tuple[str, list[str]]:
    problems = document.write_page(found, study_charts(found)[0], out)
    return (out / "report.html").read_text(encoding="utf-8"), problems


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    records = lay_galleries(tmp_path / "runs", study_records())
    found = built(tmp_path / "runs", records)
    assert write(found, tmp_path / "a") == write(found, tmp_path / "b")
    assert (tmp_path / "a" / "report.html").read_bytes() == (tmp_path / "b" / "report.html").read_bytes()


def test_nothing_is_fetched_and_the_page_forbids_it(tmp_path: Path) -> None:
    text, _ = write(built(tmp_path, study_records()), tmp_path)
    assert "default-src 'none'; img-src data:" in text and "unsafe-eval" not in text
    assert not re.search(r"<(?:link|iframe|base)\b|@import|<script src", text)


def test_any_name_is_text(tmp_path: Path) -> None:
    records = study_records(names=("cosine", HOSTILE), categories=(HOSTILE, "__proto__"))
    text, _ = write(built(tmp_path, records, name=HOSTILE), tmp_path)
    assert text.count("<script>") == 2 and text.count("</script>") == 3
    assert "<img src=x" not in text and "\u2028" not in text.partition('id="data">')[2].partition("</script>")[0]
    assert "&lt;script&gt;hacked = 1&lt;/script&gt;" in text
    data = data_of(text)
    assert HOSTILE in data["categories"] and HOSTILE in [group["values"][0] for group in data["groups"]]


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
    text, _ = write(found, tmp_path)
    tables = re.findall(r"<table.*?</table>", text.partition("<script")[0], re.DOTALL)
    summary, differences, each, runs = tables[0], tables[1], tables[-2], tables[-1]
    assert 'data-metric="image_auroc"' in summary and "data-less" not in summary
    place = found.groups.index(found.comparison.baseline) if found.comparison else None
    assert f'data-less="{place}"' in differences
    heads = re.findall(r'<th scope="col"[^>]*data-metric="(\w+)"', differences)
    assert heads[:2] == ["image_auroc", "image_auroc"]  # a difference, and its p
    for table in tables[:-1]:
        rows = re.findall(r"<tr.*?</tr>", table.partition("<tbody>")[2].partition("</tbody>")[0])
        assert rows and all('data-group="' in row for row in rows)
    assert set(re.findall(r'data-category="(\w+)"', each)) == {"brick", "grass", "gravel"}
    assert runs.count("data-run=") == len(found.runs)
    run, source = data_of(text)["runs"][0], found.runs[0].record
    value = source.results[source.categories[0]].metrics["image_auroc"]
    assert run["signature"] == source.signature and run["values"][0]["image_auroc"][0] == f"{value:.3f}"


def test_the_page_shows_the_numbers_of_the_paper(tmp_path: Path) -> None:
    found = built(tmp_path, study_records(seeds=(0, 1, 2)))
    text, _ = write(found, tmp_path)
    shown = re.sub(r"<[^>]*>", "", text.partition("<script")[0])
    for cell in (item for table in found.tables for row in table.rows for item in row if not isinstance(item, str)):
        assert cell.text("{}") in shown or f"{cell.mean} {cell.spread}{cell.mark}" in shown
    for row in data_of(text)["data"]["means"]:
        if row["category"] is None:
            cell = next(one for one in found.tables[0].rows if one[0] == found.groups[row["group"]].values[0])
            assert any(not isinstance(item, str) and row["text"].startswith(item.mean or "–") for item in cell)


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
        ("gallery/words.png", "is not a small JPEG or PNG"),
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
    records[0]["schedule"] = None
    records[0]["training"] = {}
    records[0]["metrics"]["brick"]["image_auroc"] = float("nan")
    text, _ = write(built(tmp_path, records), tmp_path)
    assert "image_auroc" not in data_of(text)["runs"][0]["values"][0]


def test_a_thousand_runs_are_a_small_page(tmp_path: Path) -> None:
    names = tuple(f"schedule {number:02d}" for number in range(42))
    categories = tuple("abcdefgh")
    found = built(tmp_path, study_records(names, categories, seeds=(0, 1, 2)))
    text, _ = write(found, tmp_path)
    assert len(found.runs) == 1008 and len(text) < 4_500_000
    assert repr(found.runs[0].record.results["a"].replicates["image_auroc"][0])[:8] not in text


def test_what_other_parts_left_out_stands_on_it_too(tmp_path: Path) -> None:
    found = build.build_study("demo", [run_of(tmp_path / record["signature"], record) for record in study_records()])
    document.write_page(found, [], tmp_path, ["schedules.pdf: there is nothing to draw"])
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Left out (1)" in text and "schedules.pdf: there is nothing to draw" in text


def test_a_mean_that_lacks_a_category_is_drawn_as_one(tmp_path: Path) -> None:
    records = study_records(names=("cosine", "linear"), categories=("a", "b"))
    kept = [one for one in records if (one["choices"]["schedule"], one["categories"]) != ("cosine", ["b"])]
    data = data_of(write(built(tmp_path, kept), tmp_path)[0])
    whole = [row for row in data["data"]["means"] if row["category"] is None and row["metric"] == "image_auroc"]
    missing = {data["groups"][row["group"]]["label"]: row.get("missing", 0) for row in whole}
    assert missing == {"cosine": 1, "linear": 0}


def titles(folder: Path, names: tuple[str, ...], seeds: tuple[int, ...], estimand: str) -> list[str]:
    records = study_records(names=("cosine", "linear"), categories=names, seeds=seeds)
    found = build.build_study("demo", [run_of(folder / one["signature"], one) for one in records], estimand=estimand)
    told = [unescape(title) for title in re.findall(r'<table aria-label="([^"]*)"', write(found, folder)[0])][:-1]
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
