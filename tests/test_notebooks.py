"""The notebooks run from top to bottom: on a finished run, on a study's records without torch, on nothing."""

import json
import os
from pathlib import Path

import pytest
from records import lay, study_records

from diffect.cli.main import main
from diffect.runs.record_file import RECORD

pytestmark = pytest.mark.slow

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def execute(name: str, folder: Path, last: str = "") -> tuple[int, str]:
    """Run a notebook in `folder`, and then the code `last`: how many pictures it drew, and all that it printed."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(last))
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = sum("image/png" in output.get("data", {}) for output in outputs)
    return pictures, "".join(output.get("text", "") for output in outputs)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with nothing in it, and a kernel that draws inline."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MPLBACKEND")


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_committed_without_outputs(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells and not any(cell["outputs"] or cell["execution_count"] for cell in cells)


def test_open_a_run_draws_scores_and_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = ["data.size=64", "data.category=brick", "data.batch_size=8", "denoiser=conv", "denoiser.network.width=32"]
    small += ["training.steps=4", "training.validate_every=2", "evaluation.replicates=20", "panel=2"]
    assert main(["train", *small]) == 0
    (record,) = tmp_path.glob(f"outputs/single/*/{RECORD}")
    monkeypatch.setenv("DIFFECT_RUN", str(record.parent))
    pictures, _ = execute("open_a_run", tmp_path)
    assert pictures == 2


@pytest.mark.parametrize("named", [True, False])
def test_study_leads_from_the_logs_to_a_figure_and_back(
    named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the study that is named, or the newest, and prints what is shown and which runs are behind it."""
    seeds = tuple(range(5))
    old = lay(tmp_path / "outputs" / "old", study_records(("edm", "linear"), seeds=seeds, study="old"))
    lay(tmp_path / "outputs" / "new", study_records(seeds=seeds, study="new"))
    for path in old.glob(f"*/{RECORD}"):
        os.utime(path, (0, 0))
    monkeypatch.delenv("DIFFECT_STUDY", raising=False)
    if named:
        monkeypatch.setenv("DIFFECT_STUDY", str(old))
    pictures, printed = execute("study", tmp_path, "import sys; print('torch' in sys.modules)")
    study, best, count = ("old", "linear", 30) if named else ("new", "cosine", 60)
    assert pictures == 1
    assert f"{study}: {count} runs" in printed
    assert f"image AUROC, against {best}: shown worse: edm" in printed
    behind = printed.partition(f"image AUROC of {best} ({study})")[2]
    records = study_records((best,), seeds=seeds, study=study)
    assert all(record["signature"] in behind for record in records) and "in the tables: 0." in behind
    assert printed.endswith("False\n")


def test_schedules_draws_its_six_pictures(tmp_path: Path) -> None:
    """The figures it prints are those of the literature's schedules, at t = 0.25, in dB."""
    pictures, printed = execute("schedules", tmp_path)
    assert pictures == 6
    rows = [line.split() for line in printed.splitlines()]
    decibels = {row[0]: row[2] for row in rows if len(row) == 5}
    assert {name: decibels[name] for name in ("Linear", "ScaledLinear", "Cosine")} == {
        "Linear": "0.4",
        "ScaledLinear": "3.2",
        "Cosine": "7.4",
    }
    assert "reaches only [-5.36, 20.00]" in printed
