"""The notebooks run from top to bottom on a finished run."""

from pathlib import Path

import pytest

from diffect.__main__ import main

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.chdir(tmp_path)
    small = ["data.size=64", "data.category=brick", "data.batch_size=8", "denoiser=conv", "denoiser.network.width=32"]
    small += ["training.steps=4", "training.validate_every=2", "evaluation.replicates=20", "panel=2"]
    assert main(["train", *small]) == 0
    (record,) = tmp_path.glob("outputs/single/*/record.json")
    monkeypatch.setenv("DIFFECT_RUN", str(record.parent))
    monkeypatch.delenv("MPLBACKEND")  # the kernel draws inline
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
