"""Groups are ranked, and said to differ only where their paired differences show it; every table has the TPR."""

import csv
import io
import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from records import run_of, study_records
from studies import CATEGORIES, built, detection

from diffect.cli import report
from diffect.reports import build, cells, csv_tables, latex, markdown, study
from diffect.reports.comparison import COMPARED
from diffect.runs import table


def notes(found: study.Study) -> str:
    return "\n".join(found.tables[1].notes)


def test_groups_are_ranked_and_their_parts_are_no_columns() -> None:
    found = built(detection(("noise", "padim", "diffusion")))
    assert found.axes == ("detector",)
    assert [row[0] for row in found.tables[0].rows] == ["padim", "diffusion", "noise", "reference"]
    assert found.tables[0].header[:2] == ("detector", "runs")
    assert any(note.startswith("detector also sets denoiser (diffusion: diffusion net;") for note in found.notes)


def test_differences_are_from_the_best_or_from_the_one_that_is_named() -> None:
    sheet = built(detection()).tables[1]
    assert sheet.title == "differences from padim, the best mean image AUROC"
    assert [row[0] for row in sheet.rows] == ["diffusion", "noise"]
    figure = sheet.rows[0][2]
    assert isinstance(figure, cells.Cell) and figure.spread.startswith("± ")
    assert float(figure.mean) == pytest.approx(-0.05, abs=0.004)
    assert float(figure.spread[2:]) < 0.01 < 0.03  # what the test images do to both is gone
    assert figure.mark == cells.SHOWN and sheet.rows[0][3] == "<0.001"
    for text in (
        "diffusion",
        "detector=diffusion",
        "denoiser=diffusion net",
        "detector=diffusion, denoiser=diffusion net",
    ):
        sheet = built(detection(), baseline=text).tables[1]
        assert sheet.title == "differences from diffusion"
        assert [row[0] for row in sheet.rows] == ["padim", "noise"]


def test_verdicts_name_who_is_shown_to_be_better_or_worse() -> None:
    text = notes(built(detection(), baseline="diffusion"))
    for title in ("image AUROC", "TPR at 5% FPR", "AUPRO 30%"):
        assert f"{title}, against diffusion: shown better: padim; shown worse: noise. Tested on 5 seeds." in text
    assert "Holm's correction for the 6 tests of this table" in text
    text = notes(built(detection()))
    assert "for the 9 tests of all pairs of groups, since padim was chosen by its result" in text


def test_where_nothing_is_shown_a_sentence_says_so() -> None:
    text = notes(built(study_records(names=("cosine", "linear", "edm"))))
    assert text.startswith("image AUROC: no group is shown to be better or worse than cosine. Tested on 2 seeds.")
    assert "2 seeds cannot show it, nor could they give a p below 0.5" in text
    alone = built(study_records(names=("cosine",)))
    assert alone.comparison is None
    assert "one group: there is nothing to compare it with." in alone.notes


def test_one_seed_speaks_of_its_runs_alone() -> None:
    found = built(detection(seeds=1))
    assert "fewer than two common seeds: the differences are of these runs, and another seed may change them." in notes(
        found
    )
    assert "by seed" not in notes(found)
    alone = "Tested on seed 0 alone: that covers the test images only, and another seed may change it."
    assert notes(found).splitlines()[0] == f"image AUROC, against padim: shown worse: diffusion, noise. {alone}"
    bare = detection(seeds=1)
    for record in bare:
        del record["replicates"]
    text = notes(built(bare))
    assert "image AUROC: no difference from padim can be tested." in text
    assert "no interval: there are fewer than two common seeds" in text


def test_only_common_cells_enter_and_the_others_are_named() -> None:
    records = [
        r for r in detection() if (r["choices"]["detector"], r["categories"], r["seed"]) != ("noise", ["cable"], 4)
    ]
    found = built(records)
    rows = found.tables[1].rows
    assert [row[1] for row in rows] == ["10", "8/10"]
    assert (
        "pairs: a category and seed that both the group and padim have, on the same test images. Left out for noise: 1"
        " that only one of the two groups has (cable seed 4), and 1 of seeds without a pair in every category (bottle"
        " seed 4)."
    ) in notes(found)
    assert found.comparison is not None
    assert found.comparison.differences["image_auroc"][1].estimate.seeds == (0, 1, 2, 3)
    seeds = "seeds 0, 1, 2, 3, 4 of padim, diffusion; seeds 0, 1, 2, 3 of noise"
    used = f"a mean uses only seeds that have every category, here {seeds}: not 1 run (noise bottle seed 4)."
    assert used in found.notes
    assert [row[1] for row in found.tables[0].rows] == ["10", "10", "8 of 9/10", ""]
    assert found.tables[0].title.endswith(
        "5 seeds (0, 1, 2, 3, 4), of which means over all categories use fewer, as noted"
    )


def test_seeds_that_some_categories_lack_for_all_are_named_too() -> None:
    records = [record for record in detection() if record["seed"] < 3 or record["categories"] == ["bottle"]]
    found = built(records)
    assert [row[1] for row in found.tables[1].rows] == ["6/8", "6/8"]
    assert {row[1] for row in found.tables[0].rows[:-1]} == {"6 of 8"}
    assert found.tables[0].title.endswith(
        "5 seeds (0, 1, 2, 3, 4), of which means over all categories use seeds 0, 1, 2"
    )
    assert any("not 6 runs (padim bottle seed 3, padim bottle seed 4, diffusion" in note for note in found.notes)


def test_a_group_with_too_little_in_common_is_shown_and_not_tested() -> None:
    records = detection()
    kept = [
        r for r in records if r["choices"]["detector"] != "noise" or (r["categories"] == ["bottle"] and r["seed"] == 0)
    ]
    found = built(kept)
    figure, p = found.tables[1].rows[1][2:4]
    assert isinstance(figure, cells.Cell)
    assert (figure.mark, p) == (cells.PARTIAL + cells.IMAGES, cells.NONE)
    assert "image AUROC, against padim: shown worse: diffusion; not tested: noise. Tested on 5 seeds." in notes(found)
    assert "‡ over fewer categories, and not tested: noise without cable." in notes(found)
    only = "9 that only one of the two groups has (bottle seeds 1/2/3/4, cable seeds 0/1/2/3/4)"
    assert f"Left out for noise: {only}." in notes(found)
    assert "§ fewer than two common seeds" in notes(found)
    assert found.tables[0].rows[2][0] == "noise"  # ranked last whatever its mean
    for record in records:
        if record["choices"]["detector"] == "noise":
            record["scores"] = {record["categories"][0]: []}
    figure, p = built(records).tables[1].rows[1][2:4]
    assert (figure, p) == (cells.Cell(""), cells.NONE)  # other test images: nothing pairs
    assert "Left out for noise: 10 that were tested on other images (bottle seeds 0/1/" in notes(built(records))


def test_what_each_group_lacks_is_told_by_group_and_by_metric_where_these_differ() -> None:
    records = detection()
    for record in records:
        name, category = record["choices"]["detector"], record["categories"][0]
        if (name, category) == ("noise", "cable"):
            record["metrics"][category] |= {"image_auroc": None, "image_tpr_at_5fpr": None, "pixel_aupro_30": None}
        if (name, category) == ("diffusion", "bottle"):
            record["metrics"][category]["pixel_aupro_30"] = None
    found = built(records)
    lacking = "diffusion without bottle (AUPRO 30%); noise without cable"
    assert f"‡ over fewer categories, and not tested: {lacking}." in notes(found)
    (note,) = [text for text in found.notes if text.startswith("‡")]
    assert note.endswith(
        "never marked: diffusion without bottle (AUPRO 30%); noise without cable (image AUROC, TPR at 5% FPR, AUPRO"
        " 30%)."
    )


def test_a_baseline_that_is_no_group_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="baseline=padum fits no group; give one of: padim; diffusion; noise"):
        built(detection(), baseline="padum")
    records = detection(("padim", "diffusion"))
    for record in records:
        record["choices"]["anomaly_map"] = f"{record['seed'] % 2}"
    with pytest.raises(ValueError, match=r"detector=padim fits 2 groups \(anomaly_map=[01], padim; anomaly_map=[01]"):
        built(records, baseline="detector=padim")
    for text in ("anomaly_map=1,detector=padim", "1, padim", "1,padim"):
        assert built(records, baseline=text).tables[1].title == "differences from anomaly_map=1, padim"


def test_the_command_line_takes_a_baseline() -> None:
    folder = Path(__file__).parents[2] / "conf" / "logged"
    with initialize_config_dir(str(folder), version_base="1.3"):
        assert compose("report", ["experiment=demo"]).baseline is None
        assert compose("report", ["experiment=demo", "baseline=padim"]).baseline == "padim"
        assert compose("report", ["experiment=demo", 'baseline="a=b, c=d"']).baseline == "a=b, c=d"
    assert "baseline" in (report.run.__doc__ or "")


def test_every_table_has_the_tpr_pooled_and_by_category_with_its_interval() -> None:
    found = built(detection(("padim", "diffusion")))
    for sheet in (found.tables[0], found.tables[1], found.tables[3]):
        place = sheet.header.index("TPR at 5% FPR")
        for row in sheet.rows:
            figure = row[place]
            assert isinstance(figure, cells.Cell) and figure.mean and (figure.spread or row[0] == "reference")
    assert [row[:2] for row in found.tables[3].rows] == [(c, d) for c in CATEGORIES for d in ("padim", "diffusion")]
    assert (
        len(re.findall(r"^\| (detector|category) .*\| TPR at 5% FPR +\|", markdown.markdown_report(found), re.M)) == 3
    )
    assert len(re.findall(r"^(?:detector|category) .*TPR at 5% FPR", markdown.terminal_report(found), re.M)) == 3
    assert latex.latex_tables(found).count(r"\shortstack[r]{TPR at\\5\% FPR}") == 3
    rows = list(csv.DictReader(io.StringIO(table.csv_text(csv_tables.means(found)))))
    tpr = [row for row in rows if row["metric"] == "image_tpr_at_5fpr"]
    assert {row["category"] for row in tpr} == {"all", *CATEGORIES}
    assert all(float(row["value"]) > 0 and float(row["half"]) > 0 for row in tpr)
    rows = list(csv.DictReader(io.StringIO(table.csv_text(csv_tables.differences(found)))))
    assert [(row["metric"], row["baseline"], row["shown"]) for row in rows] == [(m, "padim", "true") for m in COMPARED]


def test_the_conformal_rate_is_in_the_table_by_category() -> None:
    sheet = built(detection()).tables[-1]
    place = sheet.header.index("conformal FPR")
    assert all(isinstance(row[place], cells.Cell) and row[place].mean == "0.050" for row in sheet.rows)


def test_a_tall_table_is_whole_on_a_screen_and_cut_between_categories_on_paper() -> None:
    found = built(study_records(categories=tuple(f"c{i:02d}" for i in range(15)), seeds=(0,)))
    table = found.tables[-1]
    assert len(table.rows) == 60 and table.rules == tuple(range(4, 60, 4))
    parts = [part for part in latex.latex_tables(found).split(r"\begin{table}") if "in each category" in part]
    rows = [re.findall(r"^(c\d\d) & (\w+) ", part, re.M) for part in parts]
    assert len(parts) == 2 and [row for part in rows for row in part] == [row[:2] for row in table.rows]
    assert rows[0][-1][0] < rows[1][0][0]
    assert all(f"({number} of 2)" in part for number, part in enumerate(parts, 1))


def test_names_with_commas_are_kept_apart_in_sentences() -> None:
    records = detection(seeds=6)
    for record in records:
        record["choices"]["anomaly_map"] = str(record["seed"] % 2)
        record["seed"] //= 2
        record["signature"] = f"{record['signature']}{record['choices']['anomaly_map']}"
    text = notes(built(records))
    assert "[anomaly_map=0, noise], [anomaly_map=1, noise]" in text
    found = build.build_study("demo", [run_of(Path(one["signature"]), one) for one in records])
    (first,) = [note for note in found.notes if note.startswith("first by")]
    assert ", padim]" in first
