"""`diffect data` on the command line: what it prints, and one sentence with exit status 1 where it cannot."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffect.cli.main import main

Make = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def diffect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """diffect(*overrides): exit status, stdout and stderr of `diffect data`, run in an empty folder."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("DIFFECT_CACHE", str(tmp_path / "cache"))

    def run(*overrides: str) -> tuple[int, str, str]:
        status = main(["data", *overrides])
        assert list(work.iterdir()) == []
        told = capsys.readouterr()
        return status, told.out, told.err

    return run


def test_a_folder_is_described_and_audited(diffect: Run, make: Make) -> None:
    root = make("bolt", "nut", good=6, defective=6)
    for path in (root / "nut/test/hole").iterdir():
        Image.fromarray((np.asarray(Image.open(path)) * 0.7).astype(np.uint8)).save(path)
    status, out, _ = diffect("data=mvtec", f"data.root={root}")
    assert status == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["bolt", "10", "6", "hole", "6", "6", "40", "x", "40", "RGB"] in lines
    assert ["nut", "6", "2", "2", "12", "6,", "2,", "2,", "12"] in lines
    assert any(line.startswith("nut: warning: brightness alone (lower on defects)") for line in out.splitlines())


def test_defects_without_masks_are_counted(diffect: Run, make: Make) -> None:
    root = make()
    (root / "part/ground_truth").rename(root / "part/.ground_truth")
    status, out, _ = diffect("data=mvtec", f"data.root={root}")
    assert status == 0 and "part: 3 defective images without a mask: image metrics only" in out


def test_defective_training_images_and_copies_are_counted(diffect: Run, make: Make) -> None:
    chosen = ["data.contamination=0.5", "data.augment=[mirror,turn]", "data.augment_copies=3"]
    status, out, _ = diffect("data=mvtec", f"data.root={make('bolt', 'nut')}", "data.size=32", *chosen)
    assert status == 0
    header, *rows = out.split("splits (data.seed=0):\n")[1].splitlines()[:3]
    assert (
        " ".join(header.split()) == "category fit selection calibration test groups of each copies of fit contaminated"
    )
    counts = ["6", "2", "2", "6", "6,", "2,", "2,", "6", "18"]
    assert [row.split()[:10] for row in rows] == [[name, *counts] for name in ("bolt", "nut")]
    assert all(sum(int(word.strip(",")) for word in row.split()[11::2]) == 5 for row in rows)
    assert "contamination: synthetic defects on the very images" in out


@pytest.mark.slow
def test_the_textures_pass(diffect: Run) -> None:
    status, out, _ = diffect("data.size=64")
    assert status == 0 and "ring 6" in out and "warning" not in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data=mvtec"], "data.root is not set"),
        (["data=mvtec", "data.root={root}/part"], "is a category itself"),
        (["data=mvtec", "data.root={root}", "data.category=prat"], "did you mean part"),
        (["data=mvtec", "data.root={root}", "data.colour=red"], "data.colour"),
        (["data=imagenet"], "imagenet"),
        (["data.shots=abc"], "data.shots is 'abc'; it must be a whole number"),
        (["data=mvtec", "data.root={root}", "data.groups=part("], "data.groups=part( is no regular expression"),
        (["data=mvtec", "data.root={root}", "data.groups=(x)\\d"], "gives no group to 10 of the 10 training images"),
        (["data.augment=null"], "data.augment is null"),
        (["download=mvtec_ad"], "accept_license=true"),
        (["download=visa"], "download=visa is not known"),
    ],
)
def test_a_fault_is_one_sentence_and_status_1(diffect: Run, make: Make, overrides: list[str], said: str) -> None:
    root = make()
    status, out, err = diffect(*(part.format(root=root) for part in overrides))
    assert status == 1 and said in err and "Traceback" not in err + out


def test_a_corrupt_image_is_named(diffect: Run, make: Make) -> None:
    root = make()
    path = root / "part/test/good/001.png"
    path.write_bytes(path.read_bytes()[:300])
    status, _, err = diffect("data=mvtec", f"data.root={root}")
    assert status == 1 and str(path) in err and len(err.strip().splitlines()) == 1
