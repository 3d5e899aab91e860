"""What cannot change a score of the chosen detector is refused before anything runs, and said with the cure."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CLOSED = "which has a closed form: add denoiser=conv"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["-m", "schedule=cosine,linear"], f"schedule changes no score of denoiser=empirical_per_scale, {CLOSED}"),
        (["schedule=linear"], f"schedule changes no score of denoiser=empirical_per_scale, {CLOSED}"),
        (["schedule.endpoints=native"], "schedule.endpoints changes no score"),
        (["weight=eps", "detector=padim"], f"weight changes no score of denoiser=gaussian, {CLOSED}"),
        (["training.steps=50"], "training.steps changes no score"),
        (["trainer.precision=bf16-mixed"], "trainer.precision changes no score"),
        (["data.batch_size=3"], "data.batch_size changes no score"),
        (["data.root=somewhere"], "the chosen data have none; add data=mvtec"),
        # An axis must change every run; what is fixed must change one.
        (
            ["-m", "denoiser=conv,gaussian", "training.steps=50,100"],
            "training.steps changes no score of denoiser=gaussian",
        ),
        (
            ["-m", "denoiser=empirical,gaussian", "training.steps=50"],
            "training.steps changes no score of denoiser=empirical",
        ),
        (["-m", "data.category=brick,grass", "scorer.draws=0,x"], "scorer.draws is 'x'"),
    ],
)
def test_a_setting_without_effect_is_refused(overrides: Sequence[str], said: str, refused: Callable[..., str]) -> None:
    assert said in refused("train", *overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        ["-m", "denoiser=conv,gaussian", "training.steps=50", "training.validate_every=50", "scorer=denoising"],
        ["-m", "denoiser=conv", "schedule=cosine,linear"],
        ["detector=simplenet", "training.steps=100"],  # the scorer learns
        ["trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "panel=2", "study_note=x", "seed=3"],
    ],
)
def test_what_changes_something_or_is_display_is_not_refused(
    overrides: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffect.cli import train

    def stop(*_: object) -> None:
        raise ValueError("it would run")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train.record_file, "finished", stop)
    with pytest.raises(ValueError, match="it would run"):
        from diffect.cli.launch import launch

        launch("train", overrides)


def test_tuning_refuses_a_candidate_that_would_equal_another(refused: Callable[..., str]) -> None:
    for overrides in (
        ["tune.candidates=[{schedule:[linear]}]"],
        ["tune.candidates=[{scorer.draws:[1]}]", "weight=eps"],
    ):
        assert "changes no score of denoiser=empirical_per_scale" in refused("tune", "data.category=brick", *overrides)
