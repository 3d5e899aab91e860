"""What a study says beyond its means: ties, tests by block, ranks, the first place; and what it refuses to say."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from records import study_records
from studies import built, detection

from diffect.reports import cells, csv_tables, latex, markdown, study
from diffect.reports.comparison import COMPARED
from diffect.runs import table
from diffect.runs.statistics import RANDOM

SIX = tuple("abcdef")


def text(found: study.Study) -> str:
    """All notes, of the study and of its tables."""
    return "\n".join([*found.notes, *(note for sheet in found.tables for note in sheet.notes)])


def column(found: study.Study, sheet: int, title: str) -> list[Any]:
    place = found.tables[sheet].header.index(title)
    return [row[place] for row in found.tables[sheet].rows]


def spread(categories: tuple[str, ...], seeds: int, gap: float = 0.05) -> list[dict[str, Any]]:
    """Two schedules that differ by about `gap` in every figure."""
    records = study_records(names=("cosine", "edm"), categories=categories, seeds=tuple(range(seeds)))
    for record in records:
        (category,) = record["categories"]
        for metric in COMPARED:
            record["metrics"][category][metric] -= (gap - 0.05) * (record["choices"]["schedule"] == "edm")
    return records


def test_three_seeds_are_too_few_for_an_exact_test_and_no_p_is_printed() -> None:
    found = built(study_records(seeds=(0, 1, 2)), baseline="linear")
    sheet = found.tables[2]
    assert sheet.title == "tests of the differences from linear"
    assert {str(seeds) for seeds in column(found, 2, "seeds")} == {"3"}
    assert set(column(found, 2, "permutation p")) == set(column(found, 2, "Wilcoxon p")) == {cells.NONE}
    assert (
        "3 seeds give no p below 0.25 (1 after Holm's correction for 9 tests), so none is printed; 9 would be enough."
        in text(found)
    )
    assert len(sheet.rows) == 9 and sheet.rules == (3, 6)


def test_nine_seeds_are_enough_and_every_test_is_corrected() -> None:
    found = built(detection(seeds=9), baseline="diffusion")
    assert set(column(found, 2, "permutation p")) == {"0.023"}  # 6 / 2^8: Holm's correction of the smallest there is
    assert set(column(found, 2, "superiority")) == {"1.00", "0.00"}
    assert found.comparison is not None
    for row in found.comparison.differences.values():
        for one in row:
            assert len(one.blocks) == 9 and one.permutation == one.wilcoxon == 6 * 2.0**-8
            assert one.p is not None and one.p != one.permutation  # the declared one is that of the interval
            assert one.standardised is not None and abs(one.standardised) > 3
    assert "on these test images" not in "\n".join(found.tables[1].notes)
    assert "what they show holds for these test images" in text(found)


def test_random_categories_are_the_blocks_and_the_permutation_is_the_declared_test() -> None:
    found = built(spread(tuple("abcdefghij"), 3), baseline="edm", estimand=RANDOM)
    assert found.estimand == RANDOM and found.comparison is not None
    for row in found.comparison.differences.values():
        (one,) = row
        assert one.estimate.sources == ("categories",) and len(one.blocks) == 10
        assert one.p == one.permutation and one.p is not None and one.p >= 3 * 2.0**-9
    assert found.estimates["image_auroc"][0].sources == ("categories",)
    assert found.by_category["a"]["image_auroc"][0].sources == ("seeds", "images")
    said = text(found)
    assert "over the categories, taken as a sample of their kind (Student's t)." in said
    assert any("over seeds (Student's t) and test images (bootstrap)" in note for note in found.tables[-1].notes)
    assert "Tested on 10 categories." in said
    assert "a permutation of the categories' signs" in said
    assert not any("Student's factor" in note for note in found.notes)
    assert "blocks: categories, each the mean difference over their seeds." in said


def test_random_with_too_few_categories_is_refused_and_with_few_does_not_test() -> None:
    with pytest.raises(
        ValueError, match="estimand=random takes the categories as a sample, of at least 6; there are 3"
    ):
        built(study_records(), estimand=RANDOM)
    found = built(spread(SIX, 2), estimand=RANDOM)
    said = text(found)
    assert "6 categories give no p below 0.031 (0.094 after Holm's correction for 3 tests), so none is printed" in said
    assert "image AUROC: no difference from cosine can be tested." in said
    assert "in 10,000 simulated studies with 6 categories: of 95% intervals of a mean" in said


def test_a_metric_of_too_few_categories_has_no_interval_and_says_so() -> None:
    records = spread(SIX, 2)
    for record in records:
        if record["categories"] == ["a"]:
            record["metrics"]["a"]["pixel_aupro_30"] = None
            record["undefined"] = {"a": {"pixel_aupro_30": "no masks"}}
    found = built(records, estimand=RANDOM)
    assert "AUPRO 30%: no interval, fewer than 6 categories have it." in text(found)
    assert found.estimates["pixel_aupro_30"][0].value is not None


def test_each_table_says_what_its_own_intervals_cover() -> None:
    """A category that has one seed leaves that seed to the means, but not to the other categories."""
    records = [r for r in study_records(seeds=(0, 1, 2)) if r["seed"] == 0 or r["categories"] != ["gravel"]]
    found = built(records)
    pooled, own = "\n".join(found.notes), "\n".join(found.tables[-1].notes)
    assert "a 95% interval over test images (bootstrap); the" in pooled and cells.IMAGES not in pooled
    assert "fewer than three seeds: the intervals do not cover" in pooled and "use seed 0" in found.tables[0].title
    assert "a 95% interval over seeds (Student's t) and test images (bootstrap); the" in own
    assert "3 seeds say little" in own and f"{cells.IMAGES} fewer than three whole seeds" in own
    column_of = zip(found.tables[-1].rows, column(found, -1, "image AUROC"), strict=True)
    assert {row[0] for row, cell in column_of if cells.IMAGES in cell.mark} == {"gravel"}
    assert not any(cells.IMAGES in cell.mark for cell in column(found, 0, "image AUROC"))


def test_small_studies_say_what_their_intervals_achieve() -> None:
    said = text(built(study_records(seeds=(0, 1, 2))))
    assert "in 10,000 simulated studies with 3 seeds: of 95% intervals of a mean" in said
    assert "in 10,000 simulated studies with 3 seeds: of 95% intervals of a difference" in said
    assert "simulated" not in text(built(detection(seeds=10)))
    assert "simulated" not in text(built(study_records(seeds=(0,))))


def test_below_three_seeds_a_mean_has_no_interval_over_them() -> None:
    for seeds in (2, 3):
        found = built(study_records(seeds=tuple(range(seeds))))
        sources = ("images",) if seeds == 2 else ("seeds", "images")
        assert all(one.sources == sources for one in found.estimates["image_auroc"])
        assert ("fewer than three seeds: the intervals do not cover" in text(found)) == (seeds == 2)
        assert found.comparison is not None  # a test with two seeds is honest: its interval is very wide
        assert all(one.estimate.sources == ("seeds", "images") for one in found.comparison.differences["image_auroc"])


def test_no_interval_leaves_the_range_of_its_figure() -> None:
    records = detection(("padim", "diffusion"))
    for record in records:
        (category,) = record["categories"]
        shift = 0.985 - 0.95 if record["choices"]["detector"] == "padim" else 0.0
        record["metrics"][category]["image_auroc"] += shift
        record["metrics"][category]["pixel_auroc"] = 1.0
        record["replicates"][category]["pixel_auroc"] = [1.0] * 200
    found = built(records)
    near, away = column(found, 0, "image AUROC")[:2]
    low, high = map(float, near.spread.strip("[]").split(", "))
    assert 0.75 < low < float(near.mean) < high < 1.0 and away.spread.startswith("± 0.0")
    assert "[low, high]: where ± would leave the range of the figure, the same interval on the logit scale." in text(
        found
    )
    assert {(cell.mean, cell.spread) for cell in column(found, 0, "pixel AUROC")[:2]} == {("1.000", "")}
    assert "such as 0 or 1, has no interval" in text(found)
    assert rf"{{\scriptstyle{near.spread.replace('0.', '.')}}}" in latex.latex_tables(found)
    (row,) = (
        csv_tables.means(found)
        .query("metric == 'image_auroc' and category == 'all' and detector == 'padim'")
        .itertuples()
    )
    assert (f"{row.low:.3f}", f"{row.high:.3f}") == (f"{low:.3f}", f"{high:.3f}")


def test_ties_are_marked_and_clear_losers_and_the_best_are_not() -> None:
    records = detection(("padim", "diffusion", "noise"))
    for record in records:
        if record["choices"]["detector"] == "diffusion":
            (category,) = record["categories"]
            for metric in COMPARED:  # so near to padim that its seeds cannot tell
                record["metrics"][category][metric] += 0.0495
    found = built(records)
    assert [cells.TIED in cell.mark for cell in column(found, 0, "image AUROC")[:3]] == [False, True, False]
    assert [cell.best for cell in column(found, 0, "image AUROC")[:3]] == [True, False, False]
    assert not any(cells.TIED in cell.mark for cell in column(found, 0, "conformal FPR"))
    assert [cells.TIED in cell.mark for cell in column(found, 3, "image AUROC")][:3] == [False, True, False]
    assert cells.TIED in markdown.markdown_report(found) and "tied with it" in markdown.terminal_report(found)


def test_a_group_without_an_interval_or_a_category_ties_with_nobody() -> None:
    bare = study_records(seeds=(0,))
    for record in bare:
        del record["replicates"]
    assert not any(cells.TIED in cell.mark for cell in column(built(bare), 0, "image AUROC"))
    lacking = [r for r in study_records() if (r["choices"]["schedule"], r["categories"]) != ("linear", ["brick"])]
    found = built(lacking)
    place = [group.label for group in found.groups].index("linear")
    assert cells.TIED not in column(found, 0, "image AUROC")[place].mark
    assert "linear" not in found.ranking.groups and len(found.ranking.groups) == 3


def test_ranks_and_the_first_place_are_in_the_study_and_told() -> None:
    found = built(detection(seeds=6))
    assert found.ranking.groups == ("padim", "diffusion", "noise") and found.ranking.ranks == (1, 2, 3)
    assert found.ranking.critical_difference is not None
    assert found.stability.shares == (1.0, 0.0, 0.0)
    said = text(found)
    assert (
        "averaged over 6 seeds, on these test images: Friedman's chi2 = 12.00, p < 0.001 (Iman and Davenport)" in said
    )
    assert "no difference shown within: padim, diffusion; diffusion, noise" in said
    assert "padim in 100%; with so few seeds this looks more certain than it is" in said
    rows = list(csv.DictReader(io.StringIO(table.csv_text(csv_tables.ranks(found)))))
    assert [rows[0][key] for key in ("group", "rank", "first")] == ["padim", "1.0", "1.0"]


def test_one_seed_has_neither() -> None:
    found = built(study_records(seeds=(0,)))
    assert found.ranking.p is None and found.stability.shares == ()
    said = text(found)
    assert "no critical difference of ranks: Friedman's test takes at least 3 groups and 5 seeds that all have" in said
    assert "it cannot be said whether other seeds would change the first place: it takes at least two groups" in said
    assert not any(sheet.title.startswith("tests of") for sheet in found.tables)
    alone = built(study_records(names=("cosine",)))
    assert "first place" not in text(alone) and alone.ranking.groups == ("demo",)


def test_a_metric_that_only_some_runs_have_is_named_and_the_rest_is_made() -> None:
    records = study_records(seeds=(0, 1, 2))
    records[0]["metrics"]["brick"]["image_auroc"] = float("nan")  # cosine brick seed 0
    del records[1]["metrics"]["brick"]["pixel_auroc"]
    for record in records:
        record["metrics"][record["categories"][0]]["conformal_tpr"] = None
        record["metrics"][record["categories"][0]].pop("pixel_peak_hit", None)
    found = built(records)
    said = text(found)
    assert "image AUROC: no finite figure in 1 of 36 cells (cosine brick seed 0); the sentences about it use" in said
    assert "pixel AUROC: no finite figure in 1 of 36 cells (cosine brick seed 1)" in said
    assert "conformal TPR: no run has a finite figure." in said
    assert "pixel_peak_hit" not in found.estimates  # never recorded: no column, no note
    assert all("peak hit" not in sheet.header for sheet in found.tables) and "peak hit" not in said
    assert all(estimate.value is not None for estimate in found.estimates["image_auroc"])
    assert found.ranking.blocks == 2
    records[0]["undefined"] = {"brick": {"image_auroc": "one class only"}}
    said = text(built(records))
    assert "undefined: brick image_auroc: one class only." in said and "image AUROC: no finite" not in said


def test_differences_csv_has_every_test() -> None:
    frame = csv_tables.differences(built(detection(seeds=9), baseline="noise"))
    rows = list(csv.DictReader(io.StringIO(table.csv_text(frame))))
    assert {row["blocks"] for row in rows} == {"9"}
    assert all(float(row["permutation_p"]) == float(row["wilcoxon_p"]) == 6 * 2.0**-8 for row in rows)
    assert {row["superiority"] for row in rows} == {"1.0"}
    diffusion = [row for row in rows if row["detector"] == "diffusion"]
    assert len(diffusion) == 3 and all(float(row["g_z"]) > 3 for row in diffusion)


def test_the_command_line_takes_an_estimand() -> None:
    folder = Path(__file__).parents[2] / "conf" / "logged"
    with initialize_config_dir(str(folder), version_base="1.3"):
        assert compose("report", ["experiment=demo"]).estimand == "fixed"
        assert compose("report", ["experiment=demo", "estimand=random"]).estimand == "random"
