"""What the record of a run says of its training and of its test."""

from __future__ import annotations

from diffect.data.datamodule import DataModule
from diffect.detector.module import DetectorModule
from diffect.metrics.evaluation import Evaluation
from diffect.runs.record import HeadTraining, ImageScore, LevelResult, Result, Training


def training(detector: DetectorModule) -> Training:
    """How training went. Without selection images there are no losses, and the last step is kept.

    What is solved at once takes no step and has no initial loss.
    """
    trained_head = detector.predictor.head
    head = None if trained_head is None else HeadTraining.model_validate(trained_head.summary)
    learns = detector.learner is not None
    steps = detector.optimisation.steps if learns else 0
    losses = detector.losses
    if not losses:
        return Training(steps=steps, step_best=steps, head=head)
    step, best = min(losses[1:] if learns else losses, key=lambda pair: pair[1])
    return Training(
        steps=steps,
        loss_initial=losses[0][1] if learns else None,
        loss_best=best,
        step_best=step,
        losses=list(losses),
        head=head,
    )


def test(
    detector: DetectorModule, data: DataModule, evaluations: list[Evaluation], milliseconds: float
) -> dict[str, Result]:
    """The results of a tested detector by category; `milliseconds` is the latency of one image."""
    levels = detector.tally.by_level()
    return {
        category: Result(
            metrics={**evaluation.metrics, "latency_ms": milliseconds},
            intervals={name: interval for name, interval in evaluation.intervals.items() if interval is not None},
            undefined=evaluation.undefined,
            levels=[LevelResult(log_snr=row.pop("log_snr"), metrics=row) for row in levels.get(category, [])],
            scores=_scores(detector, data, label),
            replicates={name: list(drawn) for name, drawn in evaluation.replicates.items() if drawn is not None},
        )
        for label, (category, evaluation) in enumerate(zip(data.categories, evaluations, strict=True))
    }


def _scores(detector: DetectorModule, data: DataModule, label: int) -> list[ImageScore]:
    """The scores of one category's test images, in the order of the data."""
    rows = ((data.sample(label, row), score) for row, score in sorted(detector.tally.scores[label].items()))
    return [
        ImageScore(name=sample.name, defect=sample.defect, anomalous=sample.anomalous, score=score)
        for sample, score in rows
    ]
