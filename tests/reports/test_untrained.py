"""Reports show what training gained over the untrained network, with a dash for what is solved at once."""

import csv
import io
from typing import Any

from records import make
from studies import built

from diffect.reports import latex, markdown, study, tables
from diffect.reports.csv_tables import means
from diffect.reports.page.tables import runs_html, tables_html
from diffect.runs.record import GAINS
from diffect.runs.table import csv_text, wide

GAIN = {"conv": 0.1, "mlp": 0.01}


def learned(name: str, category: str, seed: int) -> dict[str, Any]:
    """A record with the gain of `name`, whose replicates lie 0.02 around it."""
    flat = make(name, category, seed)
    flat["choices"]["denoiser"] = flat["choices"].pop("schedule")
    for place, gain in enumerate(GAINS.values()):
        value = GAIN[name] * (1 + place) + 0.001 * seed
        drawn = [value + 0.02 * (-1) ** number for number in range(200)]
        flat["metrics"][category][gain] = value
        flat["intervals"][category][gain] = [value - 0.02, value + 0.02]
        flat["replicates"][category][gain] = drawn
    flat["untrained"] = {category: {"metrics": {"image_auroc": 0.8}}}
    return flat


def closed(category: str, seed: int) -> dict[str, Any]:
    flat = make("padim", category, seed)
    flat["choices"]["denoiser"] = flat["choices"].pop("schedule")
    return flat


def compared(**changes: Any) -> study.Study:
    cells = [(category, seed) for category in ("brick", "grass") for seed in range(2)]
    return built([*(learned(name, *cell) | changes for name in GAIN for cell in cells), *(closed(*c) for c in cells)])


def rows(found: study.Study) -> dict[str, dict[str, str]]:
    """The summary's texts by group and title."""
    (sheet, *_) = found.tables
    return {
        str(row[0]): {
            title: cell if isinstance(cell, str) else cell.text("{}")
            for title, cell in zip(sheet.header, row, strict=True)
        }
        for row in sheet.rows
    }


def test_the_gain_is_a_column_with_a_paired_interval_and_a_dash_without_training() -> None:
    texts = rows(compared())
    assert texts["conv"]["AUROC gain over untrained"] == "+0.101 ± 0.039"  # 1.96 deviations of the replicates
    assert texts["mlp"]["AUPRO gain over untrained"] == "+0.021 ± 0.039"
    assert texts["padim"]["AUROC gain over untrained"] == texts["padim"]["AUPRO gain over untrained"] == "–"


def test_the_notes_say_what_the_gain_is_and_whose_is_not_clear_of_zero() -> None:
    notes = compared().notes
    (said,) = (note for note in notes if note.startswith("gain over untrained"))
    assert "before its first step of training" in said and "– where nothing learns by steps" in said
    assert "AUROC gain over untrained: not clear of zero for mlp; there training may add nothing." in notes
    assert not any("no finite figure" in note for note in notes)  # a closed form lacks nothing
    assert "fine-tuned" not in said
    tuned = compared(finetuned_from={"signature": "0" * 12, "study": "demo", "categories": ["brick"]})
    assert any("in a fine-tuned run that is the network it started from" in note for note in tuned.notes)


def test_every_kind_of_table_has_it() -> None:
    found = compared()
    assert "+0.101 ± 0.039" in markdown.markdown_report(found)
    assert r"\shortstack[r]{AUROC\\gain\\over\\untrained}" in latex.latex_tables(found)
    assert r"$+0.101{\scriptstyle\pm.039}$" in latex.latex_tables(found)
    assert "AUROC gain over untrained" in tables_html(found) and "+0.101" in runs_html(found)
    figures = csv.DictReader(io.StringIO(csv_text(means(found))))
    assert {row["denoiser"] for row in figures if row["metric"] == "image_auroc_gain" and row["value"]} == set(GAIN)
    runs = list(csv.DictReader(io.StringIO(csv_text(wide(found.runs, found.axes)))))
    assert {row["image_auroc_gain"] for row in runs if row["denoiser"] == "padim"} == {""}
    assert all(float(row["image_auroc_gain_lo"]) > 0.07 for row in runs if row["denoiser"] == "conv")
    assert tables.category_table(found).header[2:] == tuple(
        title for title in found.tables[0].header[2:] if title != "latency ms"
    )


def test_a_study_without_learned_runs_has_no_such_column() -> None:
    found = built([closed(category, 0) for category in ("brick", "grass")])
    assert not any("untrained" in title for title in found.tables[0].header)
    assert not any("untrained" in note for note in found.notes)
