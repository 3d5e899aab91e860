"""The notebooks run from top to bottom: on a finished run, on a study's records without torch, on nothing."""

import json
import os
from itertools import pairwise
from pathlib import Path

import pytest
from records import lay, study_records

from diffect.cli.main import main
from diffect.runs.record_file import RECORD

pytestmark = pytest.mark.slow

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def execute(folder: Path, *parts: str) -> list[tuple[int, str]]:
    """Run notebooks, and code between them, in one kernel: how many pictures each drew, and what it printed."""
    import nbformat
    from nbclient import NotebookClient

    notebook, done, ends = nbformat.v4.new_notebook(), [], []
    for part in parts:
        path = NOTEBOOKS / f"{part}.ipynb"
        cells = nbformat.read(path, as_version=4).cells if path.is_file() else [nbformat.v4.new_code_cell(part)]
        notebook.cells += [nbformat.v4.new_code_cell(cell.source) for cell in cells if cell.cell_type == "code"]
        ends.append(len(notebook.cells))
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    for start, end in pairwise([0, *ends]):
        outputs = [output for cell in notebook.cells[start:end] for output in cell.outputs]
        pictures = sum("image/png" in output.get("data", {}) for output in outputs)
        done.append((pictures, "".join(output.get("text", "") for output in outputs)))
    return done


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with nothing in it, and a kernel that draws inline."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MPLBACKEND")


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_committed_without_outputs(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells and not any(cell["outputs"] or cell["execution_count"] for cell in cells)


def test_schedules_and_a_run_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The printed figures are those of the literature's schedules, at t = 0.25, in dB."""
    small = ["data.size=64", "data.category=brick", "denoiser=gaussian", "backbone.blocks=[4]", "evaluation.folds=2"]
    assert main(["train", *small, "evaluation.replicates=20", "evaluation.latency_repeats=1", "panel=2"]) == 0
    (record,) = tmp_path.glob(f"outputs/single/*/{RECORD}")
    monkeypatch.setenv("DIFFECT_RUN", str(record.parent))
    (curves, printed), (pictures, _) = execute(tmp_path, "schedules", "open_a_run")
    assert (curves, pictures) == (6, 2)
    rows = [line.split() for line in printed.splitlines()]
    decibels = {row[0]: row[2] for row in rows if len(row) == 5}
    assert {name: decibels[name] for name in ("Linear", "ScaledLinear", "Cosine")} == {
        "Linear": "0.4",
        "ScaledLinear": "3.2",
        "Cosine": "7.4",
    }
    assert "reaches only [-5.36, 20.00]" in printed


def test_study_leads_from_the_logs_to_a_figure_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads the newest study, or the one that is named, and prints what is shown and which runs are behind it."""
    seeds = tuple(range(5))
    old = lay(tmp_path / "outputs" / "old", study_records(("edm", "linear"), seeds=seeds, study="old"))
    lay(tmp_path / "outputs" / "new", study_records(seeds=seeds, study="new"))
    for path in old.glob(f"*/{RECORD}"):
        os.utime(path, (0, 0))
    monkeypatch.delenv("DIFFECT_STUDY", raising=False)
    named = f"import os, sys; os.environ['DIFFECT_STUDY'] = {str(old)!r}"
    newest, _, chosen, (_, torch) = execute(tmp_path, "study", named, "study", "print('torch' in sys.modules)")
    for (pictures, printed), study, best, count in ((newest, "new", "cosine", 60), (chosen, "old", "linear", 30)):
        assert pictures == 1
        assert f"{study}: {count} runs" in printed
        assert f"image AUROC, against {best}: shown worse: edm" in printed
        behind = printed.partition(f"image AUROC of {best} ({study})")[2]
        records = study_records((best,), seeds=seeds, study=study)
        assert all(record["signature"] in behind for record in records) and "in the tables: 0." in behind
    assert torch == "False\n"
