"""Training on single cells: what a batch holds, that it depends on the step alone, and what it cannot train."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from diffect.cli.main import main
from diffect.runs import record_file
from diffect.training.cells import CellBatches

SMALL = [
    "data.category=brick",
    "data.size=64",
    "training.steps=4",
    "training.validate_every=2",
    "evaluation.latency_repeats=1",
    "evaluation.replicates=20",
]


def batches(*encoded: tuple[Tensor, Tensor | None], size: int = 64, seed: int = 0) -> CellBatches:
    return CellBatches.of(encoded, classes=2, size=size, batches=3, seed=seed, epoch=lambda: 1)


def marked(label: int, images: int) -> tuple[Tensor, Tensor]:
    """Images (B, 2, 3, 4) whose cells hold their category and their number."""
    numbers = torch.arange(images * 12.0).view(images, 1, 3, 4)
    return torch.cat([torch.full_like(numbers, float(label)), numbers], dim=1), torch.full((images,), label)


def test_a_batch_holds_whole_cells_of_all_images_and_of_each_category_alike() -> None:
    made = batches(marked(0, 4), marked(1, 1), size=400)
    batch = made.at(0, 0)
    assert batch["x0"].shape == (400, 2, 1, 1) and batch["x0"].dtype == torch.float32
    category, number = batch["x0"][:, 0, 0, 0], batch["x0"][:, 1, 0, 0]
    assert torch.equal(category.long(), batch["label"]) and int(batch["label"].sum()) == 200
    assert set(number[category == 0].tolist()) == set(range(48)) and set(number[category == 1].tolist()) == set(
        range(12)
    )


def test_batches_depend_on_seed_epoch_and_step_alone() -> None:
    images = marked(0, 2), marked(1, 2)
    made, again, other = batches(*images), batches(*images), batches(*images, seed=1)
    assert torch.equal(made.at(2, 1)["x0"], again.at(2, 1)["x0"])
    assert torch.equal(list(made)[2]["x0"], made.at(1, 2)["x0"]) and len(made) == 3
    steps = [made.at(0, 0), made.at(0, 1), made.at(1, 0), other.at(0, 0)]
    assert len({tuple(batch["x0"].flatten().tolist()) for batch in steps}) == 4


def test_a_cell_has_as_many_axes_as_its_image() -> None:
    volume = torch.randn(2, 3, 2, 2, 2)
    made = CellBatches.of([(volume, None)], classes=1, size=5, batches=1, seed=0, epoch=lambda: 0)
    assert made.at(0, 0)["x0"].shape == (5, 3, 1, 1, 1)


@pytest.mark.slow
def test_a_network_of_single_cells_is_trained_on_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [f"hydra.run.dir=cells{cells}" for cells in (64, 32)]
    for cells, folder in zip((64, 32), runs, strict=True):
        assert main(["train", *SMALL, "denoiser=mlp", f"training.cells={cells}", folder]) == 0
    many, few = (record_file.read(tmp_path / folder.partition("=")[2] / record_file.RECORD) for folder in runs)
    said = "; batches are 64 cells of all images, each at its own noise level"
    assert said in many.description["training"] and "batches hold" not in many.description["training"]
    assert many.training.loss_initial == few.training.loss_initial
    assert len({many.training.losses[-1][1], few.training.losses[-1][1], many.training.loss_initial}) == 3


@pytest.mark.slow
def test_a_network_that_sees_neighbours_is_refused(refused: Callable[..., str]) -> None:
    sentence = refused("train", *SMALL, "denoiser=conv", "training.cells=32")
    assert sentence.startswith(
        "training.cells is 32, but only a network that sees one cell at a time learns from single"
    )
