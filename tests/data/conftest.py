"""A small data set in MVTec AD layout, made to be spoiled."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import picture, save


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """make(*categories, train=, good=, defective=) writes a sound data set and returns its root."""

    def build(*categories: str, train: int = 10, good: int = 3, defective: int = 3) -> Path:
        root = tmp_path / "set"
        for number, category in enumerate(categories or ("part",)):
            start = 1000 * number
            for i in range(train):
                save(root / category / "train" / "good" / f"{i:03d}.png", picture(start + i))
            for i in range(good):
                save(root / category / "test" / "good" / f"{i:03d}.png", picture(start + 100 + i))
            for i in range(defective):
                pixels, mask = picture(start + 200 + i).copy(), np.zeros((40, 40), np.uint8)
                pixels[10:20, 5:25], mask[10:20, 5:25] = 255 - pixels[10:20, 5:25], 255
                save(root / category / "test" / "hole" / f"{i:03d}.png", pixels)
                save(root / category / "ground_truth" / "hole" / f"{i:03d}_mask.png", mask)
        return root

    return build


@pytest.fixture(autouse=True)
def _logging(monkeypatch: pytest.MonkeyPatch) -> None:
    # A command that ran earlier in this process has had Hydra set logging up.
    monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)
    for name in ("cache", "mvtec", "textures"):
        monkeypatch.setattr(logging.getLogger(f"diffect.data.{name}"), "disabled", False)
