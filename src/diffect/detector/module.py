"""The LightningModule: how the parts of a detector are trained, solved and tested."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from diffect.config.description import Described
from diffect.data.batches import Batch, Passes
from diffect.data.tiles import Tiles
from diffect.denoisers.base import ClosedForm, Denoiser, Learner
from diffect.detector.anomaly_map import AnomalyMap
from diffect.detector.calibration import Calibration
from diffect.detector.evaluation import Tally
from diffect.detector.head import SyntheticHead
from diffect.detector.optimisation import Optimisation
from diffect.detector.predictor import Predictor
from diffect.diffusion.noise import seed_of
from diffect.diffusion.objective import Objective, TrainingNoise, denoising_loss
from diffect.representations.base import Representation
from diffect.scorers.base import Scorer


class DetectorModule(pl.LightningModule):
    """Trains the parts of a `Predictor` on normal images, and tests it.

    A part with a `loss` is trained by steps: the denoiser, or the scorer if there is no denoiser. The predictor holds
    the average of its weights, `learner` the weights that are trained. A part with a `fit` is solved at once, the
    denoiser before the scorer. The head, if there is one, is trained last, on synthetic defects.

    Batches come from the data module: raw (B, C, *grid), label, key, and in the test set image, mask, valid,
    anomalous, has_mask, index. A training batch may hold x0 (B, C, *grid) and
    label instead. All randomness is a function of `seed` and the step, or of `seed` and the image.

    Args:
        representation, denoiser, scorer, anomaly_map, head, blank: of the `Predictor`.
        objective: which noise levels training and selection draw, and their weights.
        optimisation: of the part that learns by steps.
        categories: in the order of their labels.
        seed: of all randomness.
        signature: the name of the run, which its checkpoints carry.
        replicates: bootstrap resamples of the test images.
        selection_draws: noise draws for each selection image.
    """

    def __init__(
        self,
        representation: Representation,
        denoiser: Denoiser,
        scorer: Scorer,
        anomaly_map: AnomalyMap,
        objective: Objective,
        optimisation: Optimisation,
        categories: Sequence[str],
        blank: Tensor,
        seed: int,
        signature: str,
        replicates: int = 1000,
        selection_draws: int = 4,
        head: SyntheticHead | None = None,
        tiles: Tiles | None = None,
    ) -> None:
        super().__init__()
        self.objective, self.optimisation = objective, optimisation
        self.categories, self.seed, self.signature = list(categories), seed, signature
        self.selection_draws = selection_draws
        parts: dict[str, Any] = {"denoiser": denoiser, "scorer": scorer}
        self.learned = next((name for name, part in parts.items() if isinstance(part, Learner)), None)
        self.learner: Any = None if self.learned is None else parts[self.learned]
        self.averaged = None
        if self.learned is not None:
            self.averaged = optimisation.averaged(parts[self.learned])
            parts[self.learned] = self.averaged.module
        denoiser, scorer = parts["denoiser"], parts["scorer"]
        self.predictor = Predictor(representation, denoiser, scorer, anomaly_map, head, blank, seed, tiles)
        self.losses: list[tuple[int, float]] = []  # (step, selection loss), the first before any step
        self._selection: list[Tensor] = []
        self.tally = Tally(self.predictor, self.categories, replicates)
        self.untrained: Tally | None = None  # of the untrained twin, which is tested beside it
        self.calibrations: list[Calibration] = []  # one for each category, once there are any

    # Training

    def training_step(self, batch: Batch, _: int) -> Tensor:
        cells = "x0" in batch  # single cells, see `training.cells`
        x0, label = (batch["x0"], batch["label"]) if cells else self.predictor.encode(batch)[:2]
        # Seeded by the step, so that a resumed run draws the same noise as an uninterrupted one.
        generator = torch.Generator(x0.device).manual_seed(seed_of(self.seed, "train", self.global_step))
        noise = self.objective.sample(x0, generator)
        losses = self._loss(self.learner, x0, label, noise)
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
        assert self.averaged is not None and self.learner is not None
        self.averaged.update_parameters(self.learner)

    def on_validation_epoch_start(self) -> None:
        self._selection = []

    def validation_step(self, batch: Batch, _: int) -> None:
        self._selection.append(self._selection_losses(batch))

    def on_validation_epoch_end(self) -> None:
        loss = torch.cat(self._selection).double().mean()
        self.log("selection_loss", loss.float(), prog_bar=True)
        if not self.trainer.sanity_checking or not self.losses:
            self.losses.append((self.global_step, float(loss)))

    def configure_optimizers(self) -> Any:
        assert self.learner is not None
        return self.optimisation.configure(self.learner.parameters())

    @torch.no_grad()
    def solve(self, fit: Iterable[Batch], selection: Iterable[Batch] | None) -> None:
        """Fit what is solved at once: a closed-form denoiser, then what the scorer needs.

        The scorer is fitted on the selection images if there are any: a denoiser has smaller errors on images it was
        fitted to.
        """
        self.eval()
        denoiser, encode = self.predictor.denoiser, self.predictor.encode
        if isinstance(denoiser, ClosedForm):
            denoiser.fit(Passes(fit, self.predictor.normal_cells))
        self.predictor.scorer.fit(denoiser, Passes(fit if selection is None else selection, encode))

    @torch.no_grad()
    def selection_loss(self, selection: Iterable[Batch]) -> float:
        """The mean loss of the objective for learned denoisers; that of a closed form is for comparison with them."""
        return float(torch.cat([self._selection_losses(batch) for batch in selection]).double().mean())

    def _selection_losses(self, batch: Batch) -> Tensor:
        """The losses of a batch's images at fixed noise, each at several draws."""
        (x0, label, image_noise), draws = self.predictor.encode(batch), self.selection_draws
        noises = [self.objective.fixed(x0, image_noise, draw, draws) for draw in range(draws)]
        final = None if self.averaged is None else self.averaged.module
        return torch.cat([self._loss(final, x0, label, noise) for noise in noises])

    def _loss(self, learner: nn.Module | None, x0: Tensor, label: Tensor | None, noise: TrainingNoise) -> Tensor:
        """The learner's loss (B,), or the plain denoising loss of a denoiser that is solved at once."""
        if isinstance(learner, Learner):
            return learner.loss(x0, label, noise)
        return denoising_loss(self.predictor.denoiser, x0, label, noise)

    # What is kept

    def describe(self) -> dict[str, str]:
        """The description of each part, for the methods section, without parts that have no effect."""
        predictor = self.predictor
        parts: dict[str, Described | None] = {
            "representation": predictor.representation,
            "denoiser": None if self.learned == "scorer" else predictor.denoiser,
            "scorer": predictor.scorer,
            "anomaly_map": predictor.anomaly_map,
            "head": predictor.head,
            "training": None if self.learned is None else self.optimisation,
        }
        if self.learned == "denoiser":  # a scorer that learns has separate noise levels
            parts |= {"schedule": self.objective.schedule, "weight": self.objective.weight}
        return {name: part.describe() for name, part in parts.items() if part is not None}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["diffect"] = {"signature": self.signature, "losses": [list(pair) for pair in self.losses]}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        mine = checkpoint.get("diffect", {})
        if mine.get("signature") != self.signature:
            raise ValueError(
                f"the checkpoint belongs to run {mine.get('signature')}, not to this configuration, run "
                f"{self.signature}: give each run a separate folder (hydra.run.dir), or delete the checkpoint"
            )
        self.losses = [(int(step), float(loss)) for step, loss in mine["losses"]]

    # Testing

    def test_step(self, batch: Batch, _: int) -> None:
        self.tally.update(batch)
        if self.untrained is not None:
            self.untrained.update(batch)
