"""The LightningModule: representation, denoiser, scorer, map and head, as one detector that trains and judges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from diffect.data.batches import Batch, Passes
from diffect.denoisers.base import ClosedForm, Denoiser, Learner
from diffect.detector.anomaly_map import AnomalyMap
from diffect.detector.evaluation import Tally, Thresholds, conformal_thresholds
from diffect.detector.head import SyntheticHead
from diffect.detector.optimisation import Optimisation
from diffect.detector.prediction import Judgement
from diffect.diffusion.noise import ImageNoise, seed_of
from diffect.diffusion.objective import Objective, TrainingNoise, denoising_loss
from diffect.representations.base import Representation
from diffect.scorers.base import Scorer


class Detector(pl.LightningModule):
    """Fits a denoiser or a scorer on normal images and turns any image into an anomaly map and a score.

    It calls what exists. What has a `loss` learns by steps: the denoiser, or the scorer where there is none; the
    average of its weights is what judges. What has a `fit` is solved at once, the denoiser before the scorer. A head,
    if there is one, learns last, from synthetic defects, and adds a component to the scorer's.

    Batches are the data module's: raw (B, C, h, w), label, key, and in the test set image, mask, valid, anomalous,
    has_mask, index; one that is to be judged class-blind has no label. All randomness is a function of `seed` and the
    step, or of `seed` and the image.

    Where categories have x0 of their own an image without label is judged as the category that the representation
    takes it for; else without any label, which a part that needs one refuses. A scorer keeps nothing of any category:
    it hands the label on to the denoiser.
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
        seed: int,
        signature: str,
        replicates: int = 1000,
        selection_draws: int = 4,
        head: SyntheticHead | None = None,
    ) -> None:
        super().__init__()
        self.representation, self.denoiser, self.anomaly_map = representation, denoiser, anomaly_map
        self.scorer, self.objective, self.optimisation, self.head = scorer, objective, optimisation, head
        self.averaged = optimisation.averaged(self.learner) if self.learner is not None else None
        self.categories, self.seed, self.signature = list(categories), seed, signature
        self.selection_draws = selection_draws
        self.losses: list[tuple[int, float]] = []  # (step, selection loss), the first before any step
        self._selection: list[Tensor] = []
        self.tally = Tally(self.categories, scorer, replicates)
        self.outlines: Thresholds = [None] * len(self.categories)  # per category: the maps' threshold

    # Fitting

    @property
    def learner(self) -> nn.Module | None:
        """What learns by steps; None where all is solved at once."""
        return next((part for part in (self.denoiser, self.scorer) if isinstance(part, Learner)), None)

    @property
    def solves(self) -> bool:
        """Whether the denoiser is a closed form, solved at once."""
        return isinstance(self.denoiser, ClosedForm)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        x0, label = self.encoded(batch)[:2]
        # Seeded by the step, so that a resumed run draws what the straight run would have drawn.
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
        """Fit what is solved at once: a closed-form denoiser, then what the scorer asks for.

        A closed form's selection loss is that of the objective which learned denoisers train on, to compare with. The
        scorer is fitted on the selection images, where there are any: a denoiser errs less on those that it has seen.
        """
        self.eval()
        denoiser, scorer = self._final(self.denoiser), self._final(self.scorer)
        if isinstance(denoiser, ClosedForm):
            denoiser.fit(Passes(fit, lambda batch: self.encoded(batch)[:2]))
            losses = [self._selection_losses(batch) for batch in selection or ()]
            self.losses = [(0, float(torch.cat(losses).double().mean()))] if losses else []
        scorer.fit(denoiser, Passes(fit if selection is None else selection, self.encoded))

    def _selection_losses(self, batch: Batch) -> Tensor:
        """The losses of a batch's images at fixed noise, each at several draws."""
        (x0, label, keyed), draws = self.encoded(batch), self.selection_draws
        noises = [self.objective.fixed(x0, keyed, draw, draws) for draw in range(draws)]
        judged = None if self.averaged is None else self.averaged.module
        return torch.cat([self._loss(judged, x0, label, noise) for noise in noises])

    def _loss(self, learner: nn.Module | None, x0: Tensor, label: Tensor | None, noise: TrainingNoise) -> Tensor:
        """The learner's loss (B,), or that of a denoiser which does not learn by steps."""
        if isinstance(learner, Learner):
            return learner.loss(x0, label, noise)
        return denoising_loss(self.denoiser, x0, label, noise)

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
        """The tensors that judging needs: all but the learner's own weights, whose average is kept."""
        raw = tuple(f"{name}." for name, part in self.named_children() if part is self.learner)
        return {name: value.cpu() for name, value in self.state_dict().items() if not name.startswith(raw)}

    def load_scoring_state(self, state: dict[str, Any]) -> tuple[list[str], list[str]]:
        """Take over what `scoring_state` gave; the names that it lacks and those that are unknown here."""
        for name, buffer in self.named_buffers():
            if buffer.numel() == 0 and isinstance(state.get(name), Tensor):  # it was sized by the fit
                buffer.resize_(state[name].shape)
        missing, unknown = self.load_state_dict(state, strict=False)
        return missing, unknown

    # Judging

    def encoded(self, batch: Batch) -> tuple[Tensor, Tensor | None, ImageNoise]:
        """x0, label and noise of a batch, where the detector is."""
        batch = self._here(batch)
        label = batch.get("label")
        return self.representation.encode(batch["raw"], label), label, ImageNoise(self.seed, batch["key"])

    def components(self, batch: Batch) -> Tensor:
        """The scorer's components (B, K, h, w), and the head's after them, before any calibration."""
        x0, label, noise = self.encoded(batch)
        components = self.scored(x0, label, noise)
        return components if self.head is None else torch.cat([components, self.head(components, x0)], dim=1)

    def scored(self, x0: Tensor, label: Tensor | None, noise: ImageNoise) -> Tensor:
        """The scorer's components (B, K, h, w) alone, of what `encoded` gives."""
        components: Tensor = self._final(self.scorer)(self._final(self.denoiser), x0, label, noise)
        return components

    def judge(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Maps (B, S, S) and scores (B,)."""
        found = self.judgement(batch)
        return found.maps, found.scores

    def judgement(self, batch: Batch) -> Judgement:
        """The same with what it rests on."""
        batch = self._here(batch)
        label = batch["label"] if "label" in batch else self.representation.recognise(batch["raw"])
        components = self.components(batch if label is None else {**batch, "label": label})
        return Judgement(components, *self.judged(components, batch["valid"], label), label)

    def judged(self, components: Tensor, valid: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """Maps and scores of components (B, K, h, w) and labels (B,)."""
        maps = self.anomaly_map.map(components, valid.shape[1:], label)
        return maps, self.anomaly_map.score(maps, valid)

    def reconstruct(self, batch: Batch) -> Tensor | None:
        """Images (B, 3, S, S) in [0, 1] as the model rebuilds them, where scorer and representation can; else None."""
        rebuilt = self.scorer.reconstruct(self._final(self.denoiser), *self.encoded(batch))
        return None if rebuilt is None else self.representation.decode(rebuilt, batch.get("label"))

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Fix the components' scale on normal images that training did not see."""
        self.eval()
        here = map(self._here, batches)
        self.anomaly_map.calibrate((self.components(batch), batch["label"]) for batch in here)

    @torch.no_grad()
    def set_thresholds(self, batches: Iterable[Batch], rate: float) -> Thresholds:
        """The conformal threshold of each category from its calibration images, and `outlines`, that of their maps."""
        self.eval()
        here = map(self._here, batches)
        judged = ((self.judgement(batch), batch["valid"]) for batch in here)
        thresholds, self.outlines = conformal_thresholds(judged, len(self.categories), rate)
        self.tally.set_thresholds(thresholds)
        return thresholds

    def test_step(self, batch: Batch, _: int) -> None:
        self.tally.update(batch, self.judgement(batch), self.anomaly_map)

    def _final(self, part: Any) -> Any:
        """The part as it judges: with averaged weights if it is what learned by steps."""
        return self.averaged.module if self.averaged is not None and part is self.learner else part

    def _here(self, batch: Batch) -> Batch:
        return {name: value.to(self.device) for name, value in batch.items()}
