"""A report of 24 runs is there in under 20 seconds and one of 1000 in under 60, all in, and torch is never loaded."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import records

REPORT = """
import sys
from omegaconf import OmegaConf
from diffect.cli import report
report.run(OmegaConf.create({"source": sys.argv[1], "out": sys.argv[2], "outputs": "none"}))
print("loaded", [name for name in ("torch", "wandb", "pytorch_lightning") if name in sys.modules])
"""


@pytest.mark.parametrize(
    ("groups", "categories", "seeds", "seconds"),
    [pytest.param(4, 3, 2, 20, marks=pytest.mark.slow), pytest.param(10, 10, 10, 60, marks=pytest.mark.long)],
)
def test_a_report_is_made_in_time(
    groups: int, categories: int, seeds: int, seconds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "REPLICATES", 1000)
    made = records.study_records(
        tuple(f"schedule{i}" for i in range(groups)),
        tuple(f"category{i}" for i in range(categories)),
        tuple(range(seeds)),
    )
    records.lay(tmp_path / "runs", made)
    command = [sys.executable, "-c", REPORT, str(tmp_path / "runs"), str(tmp_path / "out")]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert time.monotonic() - began < seconds
    assert done.stdout.splitlines()[-1] == "loaded []"
