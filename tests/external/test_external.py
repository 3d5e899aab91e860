"""Another package adds a part of each sort, by one class and one YAML: it is listed, checked, run, described, named."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent / "outside"
PARTS = ("schedule=straight", "denoiser=tiny", "scorer=largest", "representation=blocks", "data=speckles")
SMALL = (
    *("training.steps=4", "training.validate_every=2", "training.warmup=0", "evaluation.replicates=5", "panel=2"),
    *("evaluation.latency_repeats=1", "gallery=0", "study=outside", "threads=1"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package in it, which a test may edit."""
    place = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(PACKAGE, place / "outside")
    return place


def diffect(place: Path, command: str, *overrides: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, where the package lies on the path."""
    paths = [str(place), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    line = [sys.executable, "-m", "diffect", command, *overrides]
    return subprocess.run(line, cwd=place, env=environment, capture_output=True, text=True, check=False)


def train(place: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return diffect(place, "train", "hydra.searchpath=[pkg://outside.conf]", *PARTS, *SMALL, *overrides)


def test_help_lists_its_choices_without_importing_it(place: Path) -> None:
    done = diffect(place, "train", "--help", "hydra.searchpath=[pkg://outside.conf]")
    assert done.returncode == 0, done.stderr
    for choice, said in (("straight", "a straight line in log-SNR"), ("tiny", "two layers, cell by cell")):
        assert any(choice in line and said in line for line in done.stdout.splitlines())
    assert {"largest", "blocks", "speckles"} <= set(done.stdout.split())


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("denoiser.network.width=0", "denoiser.network.width is 0; it must be a whole number, 1 or more"),
        ("denoiser.network.widht=3", "did you mean denoiser.network.width?"),
        ("scorer.level=21", "scorer.level is 21; it must be a number from -20 to 20"),
        ("data.source.count=x", "data.source.count is 'x'; it must be a whole number, 1 or more"),
    ],
)
def test_its_settings_are_checked(place: Path, override: str, said: str) -> None:
    done = train(place, override)
    assert done.returncode == 1 and said in done.stderr, done.stderr


@pytest.mark.slow
def test_it_runs_scores_is_described_and_named_by_its_code(place: Path) -> None:
    first = train(place)
    assert first.returncode == 0, first.stderr
    (run,) = (path.parent for path in place.glob("outputs/outside/*/record.json"))
    record = json.loads((run / "record.json").read_text())
    assert {record["choices"][part.partition("=")[0]] for part in PARTS} == {part.partition("=")[2] for part in PARTS}

    again = train(place)
    assert "was finished already" in again.stdout, again.stderr

    scored = diffect(place, "score", f"run={run}", "maps=false", "out=scored")
    assert scored.returncode == 0 and (place / "scored" / "scores.csv").is_file(), scored.stderr

    report = diffect(place, "report", "experiment=outside")
    assert report.returncode == 0, report.stderr
    methods = (place / "experiments" / "outside" / "methods.tex").read_text()
    for said in ("largest error of any channel", "mean colour of each block", "straight line in log-SNR"):
        assert said in methods
    assert r"\cite{nobody2030straight}" in methods

    layers = place / "outside" / "layers.py"  # which the network imports
    text = layers.read_text()
    layers.write_text(text + "\n# edited\n")
    edited = train(place)
    layers.write_text(text)
    assert edited.returncode == 0 and "was finished already" not in edited.stdout, edited.stderr
    assert len(list(place.glob("outputs/outside/*/record.json"))) == 2


@pytest.mark.slow
def test_a_class_that_breaks_its_contract_is_named_with_what_came(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "outside", tmp_path / "outside")
    network = tmp_path / "outside" / "network.py"
    text = network.read_text()
    assert "self.leave(torch.relu" in text
    network.write_text(text.replace("self.leave(torch.relu", "(torch.relu"))
    done = train(tmp_path)
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1
    assert "outside.network.Tiny.forward must give (2, 3, 8, 8); it gave (2, 8, 8, 8)" in done.stderr
