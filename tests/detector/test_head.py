"""The head learns planted defects, the same twice, image by image, and is scored with again as it was trained.

Defects of one channel, planted in made-up features, are told from normal cells that the map alone confuses;
components are standardised as on the reference; and through the command line a run says what its head was taught.
"""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diffect.cli.main import main
from diffect.detector.anomaly_map import AnomalyMap
from diffect.detector.head import Examples, SyntheticHead

SMALL = (
    "data.size=64",
    "data.category=brick",
    "denoiser=gaussian",
    "scorer.levels=[0.0]",
    "head=synthetic",
    "head.steps=3",
    "head.copies=1",
    "head.kinds=[spot,shade]",
    "evaluation.replicates=5",
    "evaluation.latency_repeats=1",
    "panel=0",
)


def examples(count: int, planted: bool, seed: int) -> Examples:
    """Features (count, 4, 6, 9); in each a loud cell in channel 0, and, if planted, a quieter one in channel 1."""
    x0 = torch.randn(count, 4, 6, 9, generator=torch.Generator().manual_seed(seed))
    share, rows = torch.zeros(count, 1, 6, 9), torch.arange(count)
    x0[rows, 0, rows % 6, (3 * rows + seed) % 9] += 6
    if planted:
        where = rows, (5 * rows + 2) % 6, (7 * rows + 4) % 9
        x0[where[0], 1, where[1], where[2]] += 5
        share[where[0], 0, where[1], where[2]] = 0.5
    return Examples(x0.square().mean(1, keepdim=True), share, lambda places: x0[places])


REFERENCE = examples(40, False, 3).components


def fitted(seed: int = 0, **changes: Any) -> SyntheticHead:
    settings: dict[str, Any] = {"inputs": "both", "steps": 120, "learning_rate": 1e-2, "width": 32} | changes
    head = SyntheticHead(components=1, channels=4, **settings)
    head.fit(examples(150, False, 1), examples(150, True, 2), REFERENCE, seed)
    return head.eval()


def judged(head: SyntheticHead, held: Examples) -> Tensor:
    with torch.no_grad():
        return head(held.components, held.x0(list(range(len(held)))))


def peaks(maps: Tensor) -> Tensor:
    return maps.flatten(1).amax(1)


def test_it_finds_planted_defects_that_the_map_confuses() -> None:
    normal, defective = examples(60, False, 11), examples(60, True, 12)
    head = fitted()
    alone = (peaks(defective.components)[:, None] > peaks(normal.components)).float().mean()
    with_head = (peaks(judged(head, defective))[:, None] > peaks(judged(head, normal))).float().mean()
    assert alone < 0.6 and with_head > 0.9
    assert 0 < head.summary["loss"] < 0.3  # type: ignore[operator]
    assert head.summary["normal"] == head.summary["synthetic"] == 150 and head.summary["kinds"] == head.kinds


def test_two_fits_are_the_same_bit_for_bit_whatever_was_drawn_before() -> None:
    first = fitted(dropout=0.2, steps=5)
    torch.randn(7)
    second = fitted(dropout=0.2, steps=5)
    other = fitted(dropout=0.2, steps=5, seed=1)
    state, again = first.state_dict(), second.state_dict()
    assert all(torch.equal(state[name], again[name]) for name in state)
    assert first.summary == second.summary != other.summary


@pytest.mark.parametrize("inputs", ["maps", "features", "both"])
def test_a_logit_depends_on_its_own_image_alone(inputs: str) -> None:
    head, held = fitted(inputs=inputs, steps=5), examples(8, True, 5)
    together = judged(head, held)
    x0 = held.x0(list(range(8)))
    with torch.no_grad():
        alone = torch.cat([head(held.components[i : i + 1], x0[i : i + 1]) for i in range(8)])
        turned = head(held.components.flip(0), x0.flip(0)).flip(0)
    assert together.shape == (8, 1, 6, 9)
    assert (together - alone).abs().max() < 1e-5 and (together - turned).abs().max() < 1e-5


def test_components_are_standardised_as_on_the_reference() -> None:
    head = fitted(steps=1)
    assert head.location.item() == pytest.approx(REFERENCE.mean().item())
    assert head.scale.item() == pytest.approx(REFERENCE.std(correction=0).item())


def test_the_head_has_its_weight_in_the_map() -> None:
    components = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    made = AnomalyMap(3, blur=0, weights=[0.25, 0.25, 0.5]).map(components, (4, 4))
    assert torch.allclose(made, (components[:, :2].mean(1) + components[:, 2]) / 2)
    with pytest.raises(ValueError, match=r"anomaly_map\.combine is max, which has no weights"):
        AnomalyMap(3, combine="max", weights=[0.25, 0.25, 0.5])


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("inputs", "all", r"SyntheticHead\.inputs is 'all'; it must be maps, features or both"),
        ("kinds", ["dent"], r"head\.kinds names the synthetic defect dent; allowed: .*warp"),
        ("weight", 0, r"SyntheticHead\.weight is 0; it must be a number, above 0 and 1 or less"),
        ("dropout", 1, r"SyntheticHead\.dropout is 1; it must be a number, 0 or more and below 1"),
        ("copies", 0, r"SyntheticHead\.copies is 0; it must be a whole number, 1 or more"),
        ("batch_size", 1, r"SyntheticHead\.batch_size is 1; it must be a whole number, 2 or more"),
        ("learning_rate", 0, r"SyntheticHead\.learning_rate is 0; it must be a number, above 0"),
    ],
)
def test_what_it_cannot_do_is_refused_in_a_sentence(key: str, value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SyntheticHead(1, 4, **{key: value})


def test_a_loss_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the head's loss became .* lower head\.learning_rate"):
        fitted(learning_rate=1e30)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one small finished run."""
    place = tmp_path_factory.mktemp("headed")
    assert main(["train", *SMALL, f"hydra.run.dir={place}/run"]) == 0
    return place / "run"


@pytest.mark.slow
def test_a_run_says_what_its_head_was_trained_on(finished: Path) -> None:
    record = json.loads((finished / "record.json").read_text())
    assert record["choices"]["head"] == "synthetic"
    told = record["training"]["head"]
    assert told["kinds"] == ["shade", "spot"] and told["steps"] == 3 and told["inputs"] == "both"
    fit = record["splits"]["categories"]["brick"]["fit"]
    assert told["normal"] == told["synthetic"] == fit and told["loss"] > 0
    assert record["protocol"]["head"].endswith("components standardised on the selection normals")


@pytest.mark.slow
def test_a_restored_run_scores_as_it_did(finished: Path, tmp_path: Path) -> None:
    assert main(["score", f"run={finished}", f"out={tmp_path}/out", "batch_size=7", "maps=false"]) == 0
    with (finished / "scores.csv").open() as one, (tmp_path / "out" / "scores.csv").open() as other:
        mine = {f"{row['category']}/{row['name']}": float(row["score"]) for row in csv.DictReader(one)}
        again = {row["name"]: float(row["score"]) for row in csv.DictReader(other)}
    assert again == pytest.approx(mine, rel=1e-5)


def test_pixels_have_a_head_too(tmp_path: Path) -> None:
    small = ("representation=pixels", "denoiser.mean=shared", "denoiser.covariance=shared", "head.width=8")
    assert main(["train", *SMALL, *small, f"hydra.run.dir={tmp_path}/run"]) == 0
