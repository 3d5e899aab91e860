"""The LightningModule: representation, denoiser, scorer and metrics, as one detector that trains and judges."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from diffect.anomaly_map import AnomalyMap
from diffect.denoisers.learned import LearnedDenoiser
from diffect.denoising import ImageNoise, Objective, seed_of
from diffect.metrics.conformal import conformal_threshold
from diffect.metrics.detection import DetectionMetrics
from diffect.metrics.evaluation import Evaluation
from diffect.representations import Representation
from diffect.scorers.contract import Scorer
from diffect.scorers.reconstruction import Reconstruction

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Optimisation:
    """How training steps are taken: AdamW, linear warm-up, cosine decay to 0, and an average of the weights.

    `ema` is the decay of the weights' moving average that is validated, kept and scored with; early on it is
    min(ema, (1 + n) / (10 + n)) after n steps, so that the initialisation is forgotten.
    """

    steps: int
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: int = 50
    ema: float = 0.995

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"training.steps is {self.steps}; it must be 1 or more")
        if self.learning_rate <= 0:
            raise ValueError(f"training.learning_rate is {self.learning_rate}; it must be positive")
        if not 0 <= self.ema < 1:
            raise ValueError(f"training.ema is {self.ema}; it must lie in [0, 1)")

    def rate(self, step: int) -> float:
        """The learning rate at `step`, as a share of `learning_rate`."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.steps - self.warmup)))


class Detector(pl.LightningModule):
    """Trains a denoiser on normal images and turns any image into an anomaly map and a score.

    Batches are the data module's: raw (B, C, h, w), label, key, and in the test set image, mask, valid, anomalous,
    has_mask, index. All randomness is a function of `seed` and the step, or of `seed` and the image.
    """

    def __init__(
        self,
        representation: Representation,
        denoiser: LearnedDenoiser,
        scorer: Scorer,
        anomaly_map: AnomalyMap,
        objective: Objective,
        optimisation: Optimisation,
        categories: Sequence[str],
        seed: int,
        signature: str,
        replicates: int = 1000,
        selection_draws: int = 4,
    ) -> None:
        super().__init__()
        self.representation, self.denoiser, self.anomaly_map = representation, denoiser, anomaly_map
        self.scorer, self.objective, self.optimisation = scorer, objective, optimisation
        self.averaged = AveragedModel(denoiser, multi_avg_fn=self._average, use_buffers=False)
        self.averaged.requires_grad_(False)
        self.categories, self.seed, self.signature = list(categories), seed, signature
        self.selection_draws = selection_draws
        self.losses: list[tuple[int, float]] = []  # (step, selection loss), the first before any step
        self._selection: list[Tensor] = []
        self._metrics = [DetectionMetrics(name, replicates) for name in self.categories]
        self.scores: list[dict[int, float]] = [{} for _ in self.categories]  # per category: row -> score

    # Training

    def training_step(self, batch: Batch, _: int) -> Tensor:
        x0 = self.representation.encode(batch["raw"])
        # Seeded by the step, so that a resumed run draws what the straight run would have drawn.
        generator = torch.Generator(x0.device).manual_seed(seed_of(self.seed, "train", self.global_step))
        noise = self.objective.sample(x0, generator)
        losses = self.denoiser.loss(x0, batch["label"], noise)
        bad = ~torch.isfinite(losses)
        if bad.any():
            level, loss = float(noise.log_snr[bad][0]), float(losses.detach()[bad][0])
            raise ValueError(
                f"the loss became {loss} at step {self.global_step}, log-SNR {level:.2f}: "
                "lower training.learning_rate, or look at weight and schedule"
            )
        mean = losses.mean()
        self.log("train_loss", mean)
        return mean

    def on_train_batch_end(self, *_: Any) -> None:
        self.averaged.update_parameters(self.denoiser)

    def _average(self, averaged: Any, current: Any, count: Any) -> None:
        decay = min(self.optimisation.ema, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(list(averaged), list(current), 1 - decay)

    def on_validation_epoch_start(self) -> None:
        self._selection = []

    def validation_step(self, batch: Batch, _: int) -> None:
        x0 = self.representation.encode(batch["raw"])
        keyed = ImageNoise(self.seed, batch["key"])
        draws = self.selection_draws
        for draw in range(draws):
            noise = self.objective.fixed(x0, keyed, draw, draws)
            self._selection.append(self._average_denoiser.loss(x0, batch["label"], noise))

    def on_validation_epoch_end(self) -> None:
        loss = torch.cat(self._selection).double().mean()
        self.log("selection_loss", loss.float(), prog_bar=True)
        if not self.trainer.sanity_checking or not self.losses:
            self.losses.append((self.global_step, float(loss)))

    def configure_optimizers(self) -> Any:
        how = self.optimisation
        optimizer = torch.optim.AdamW(self.denoiser.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, how.rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["diffect"] = {"signature": self.signature, "losses": [list(pair) for pair in self.losses]}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        mine = checkpoint.get("diffect", {})
        if mine.get("signature") != self.signature:
            raise ValueError(
                f"the checkpoint belongs to run {mine.get('signature')}, not to this configuration, run "
                f"{self.signature}: give each its own folder (hydra.run.dir), or delete the checkpoint"
            )
        self.losses = [(int(step), float(loss)) for step, loss in mine["losses"]]

    def scoring_state(self) -> dict[str, Tensor]:
        """The tensors that judging needs and nothing else: representation, averaged denoiser, calibration."""
        kept = ("representation.", "averaged.", "anomaly_map.")
        return {name: value.cpu() for name, value in self.state_dict().items() if name.startswith(kept)}

    # Judging

    def components(self, batch: Batch) -> Tensor:
        """The scorer's components (B, K, h, w), before any calibration."""
        x0 = self.representation.encode(batch["raw"])
        return self.scorer(self._average_denoiser, x0, batch["label"], ImageNoise(self.seed, batch["key"]))

    def judge(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Maps (B, S, S) and scores (B,)."""
        maps = self.anomaly_map.map(self.components(batch))
        return maps, self.anomaly_map.score(maps, batch["valid"])

    def reconstruct(self, batch: Batch) -> Tensor | None:
        """Images (B, 3, S, S) in [0, 1] as the model rebuilds them, where scorer and representation can; else None."""
        if not isinstance(self.scorer, Reconstruction):
            return None
        x0 = self.representation.encode(batch["raw"])
        noise = ImageNoise(self.seed, batch["key"])
        return self.representation.decode(self.scorer.reconstruct(self._average_denoiser, x0, batch["label"], noise))

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Fix the components' scale on normal images that training did not see."""
        self.eval()
        self.anomaly_map.calibrate(self.components(self._here(batch)) for batch in batches)

    @torch.no_grad()
    def set_thresholds(self, batches: Iterable[Batch], rate: float) -> list[float | None]:
        """The conformal threshold of each category from its calibration images; None where they are too few."""
        self.eval()
        scores: list[list[float]] = [[] for _ in self.categories]
        for batch in batches:
            _, values = self.judge(self._here(batch))
            for label, value in zip(batch["label"].tolist(), values.tolist(), strict=True):
                scores[label].append(value)
        thresholds = [conformal_threshold(values, rate) for values in scores]
        for metrics, threshold in zip(self._metrics, thresholds, strict=True):
            metrics.threshold = threshold
        return thresholds

    def test_step(self, batch: Batch, _: int) -> None:
        maps, scores = self.judge(batch)
        for label in batch["label"].unique().tolist():
            rows = batch["label"] == label
            picked = {name: batch[name][rows] for name in ("anomalous", "valid", "has_mask", "index")}
            masks = batch["mask"][rows]
            self._metrics[label].update(
                scores[rows], picked["anomalous"], maps[rows], masks, picked["valid"], picked["has_mask"]
            )
            self.scores[label].update(zip(picked["index"].tolist(), scores[rows].tolist(), strict=True))

    def evaluations(self) -> list[Evaluation]:
        """What the test set said, one entry for each category."""
        return [metrics.compute() for metrics in self._metrics]

    @property
    def _average_denoiser(self) -> LearnedDenoiser:
        """The denoiser with averaged weights: what is validated, kept and scored with."""
        averaged = self.averaged.module
        assert isinstance(averaged, LearnedDenoiser)
        return averaged

    def _here(self, batch: Batch) -> Batch:
        return {name: value.to(self.device) for name, value in batch.items()}
