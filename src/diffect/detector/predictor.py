"""The Predictor: images in, anomaly maps and scores out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from diffect.data.batches import Batch
from diffect.data.store import content_key
from diffect.data.tiles import AT_ONCE, Tiles
from diffect.denoisers.base import Denoiser
from diffect.detector.anomaly_map import AnomalyMap
from diffect.detector.head import SyntheticHead
from diffect.diffusion.noise import ImageNoise
from diffect.representations.base import Representation
from diffect.representations.missing import filled, present
from diffect.scorers.base import Origin, Scorer


@dataclass(frozen=True)
class Prediction:
    """What a predictor says about a batch of images.

    `label` holds the category that each image was scored as. It is None where no category was given and the
    representation does not tell categories apart.
    """

    map: Tensor  # (B, *size)
    score: Tensor  # (B,)
    label: Tensor | None  # (B,)
    components: Tensor  # (B, K, *grid), before calibration; the head's is the last


class Predictor(nn.Module):
    """Everything that turns an image into an anomaly map and a score, and nothing else.

    x0 = representation(image), components = scorer(denoiser, x0), and the head's component after them; the anomaly map
    makes one map and one score of these. The score of an image never depends on the others in its batch: the noise is
    a function of `seed` and of the image's pixels.

    An image without a label is scored as the category that the representation finds most likely, if each category has
    statistics of its own; otherwise without any label.

    Args:
        representation: images to x0.
        denoiser: the final one, with averaged weights if it was trained by steps.
        scorer: judges x0 with the denoiser.
        anomaly_map: components to map and score, calibrated.
        head: adds a component, or None.
        blank: a sample of zeros (1, C, *size), which tells the shape and the dtype of images.
        seed: of the noise.
        tiles: that images are cut into; what is found on them is merged before the anomaly map.
    """

    def __init__(
        self,
        representation: Representation,
        denoiser: Denoiser,
        scorer: Scorer,
        anomaly_map: AnomalyMap,
        head: SyntheticHead | None,
        blank: Tensor,
        seed: int,
        tiles: Tiles | None = None,
    ) -> None:
        super().__init__()
        self.tiles = Tiles() if tiles is None else tiles
        self.representation, self.denoiser, self.scorer = representation, denoiser, scorer
        self.anomaly_map, self.head, self.seed = anomaly_map, head, seed
        self.shape, self.dtype = tuple(blank.shape[1:]), blank.dtype  # of one sample, (C, *size)

    @property
    def device(self) -> torch.device:
        return self.anomaly_map.scale.device

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Where each component comes from, the head's included."""
        return self.scorer.origins if self.head is None else (*self.scorer.origins, Origin(head=True))

    def forward(
        self,
        images: Tensor,
        label: Tensor | None = None,
        valid: Tensor | None = None,
        ignored: Tensor | None = None,
    ) -> Prediction:
        """Prediction for images (B, 3, H, W), uint8 or float in [0, 1], of the size that the predictor was built for.

        Args:
            images: on any device; for series and volumes the samples (B, C, *size), as the source gives them.
            label: categories (B,), or None.
            valid: (B, *size), False on padding and where an image is ignored; None where there is neither.
            ignored: (B, *size), True where an image is ignored; None for nowhere.
        """
        batch = self.features(images, ignored)
        batch["valid"] = torch.ones_like(images[:, 0], dtype=torch.bool) if valid is None else valid
        return self.predict_batch(batch if label is None else batch | {"label": label})

    def features(self, images: Tensor, ignored: Tensor | None = None) -> Batch:
        """What a batch holds of images (B, C, *size): features `raw` (B, C', *grid), and `key` (B,), a hash of each.

        With tiles `raw` is (B, T, C', *grid). Cells with a pixel that is `ignored` (B, *size) are missing.
        """
        ignored = torch.zeros_like(images[:, 0], dtype=torch.bool) if ignored is None else ignored
        pixels = self._checked(images)
        keys = [content_key(image.numpy()) for image in pixels.cpu().movedim(1, -1).contiguous()]
        raw = self.tiles.extract(self.representation.extract, pixels.to(self.device), ignored)
        return {"raw": raw, "key": torch.tensor(keys)}

    def predict_batch(self, batch: Batch) -> Prediction:
        """Prediction for a batch as the data module's loaders yield it, with features in `raw` (B, C, *grid)."""
        label = batch["label"] if "label" in batch else self._recognise(batch)
        components = self.components(batch if label is None else {**batch, "label": label})
        return self.combine(components, batch["valid"], label)

    def _recognise(self, batch: Batch) -> Tensor | None:
        """The category (B,) under whose statistics each image, or most of its tiles, is likeliest."""
        found = self.representation.recognise(self.tiles.apart(batch)["raw"].to(self.device))
        return found if found is None else found.view(len(batch["raw"]), -1).mode(1).values

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor | None, ImageNoise]:
        """x0 (B, C, *grid), labels (B,) and noise of a batch; of its tiles, B T in all, where there are any.

        A missing cell has the x0 of the nearest one that is not.
        """
        x0, label = self.normal_cells(batch)
        return filled(x0), label, ImageNoise(self.seed, self.tiles.apart(batch)["key"])

    def normal_cells(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """As `encode`, without the noise; missing cells stay NaN, so that a fit to single cells leaves them out."""
        batch = self.tiles.apart(batch)
        label = batch["label"].to(self.device) if "label" in batch else None
        return self.representation.encode(batch["raw"].to(self.device), label), label

    def components(self, batch: Batch, with_head: bool = True) -> Tensor:
        """Components (B, K, *grid) before calibration, of whole images; NaN in missing cells."""
        x0, label, noise = self.encode(batch)
        scored = []
        for rows in torch.arange(len(x0)).split(AT_ONCE if self.tiles else len(x0)):
            given = None if label is None else label[rows]
            scored.append(self.scorer(self.denoiser, x0[rows], given, ImageNoise(noise.seed, noise.keys[rows])))
        known = present(self.tiles.apart(batch)["raw"]).to(self.device)[:, None]
        components = self.tiles.merge(torch.cat(scored).where(known, torch.nan), self.shape[1:])
        if self.head is None or not with_head:
            return components
        logit = self.head(filled(components), self.tiles.merge(x0, self.shape[1:]))
        return torch.cat([components, logit.where(present(components)[:, None], torch.nan)], dim=1)

    def x0(self, batch: Batch) -> Tensor:
        """x0 (B, C, *grid) of whole images."""
        return self.tiles.merge(self.encode(batch)[0], self.shape[1:])

    def combine(self, components: Tensor, valid: Tensor, label: Tensor | None) -> Prediction:
        """Map and score from components (B, K, *grid), valid (B, *size) and labels (B,)."""
        valid, label = valid.to(self.device), None if label is None else label.to(self.device)
        maps = self.anomaly_map.map(components, valid.shape[1:], label)
        return Prediction(maps, self.anomaly_map.score(maps, valid), label, components)

    def reconstruct(self, batch: Batch) -> Tensor | None:
        """Images (B, 3, H, W) in [0, 1] as the model rebuilds them; None where scorer or representation cannot."""
        x0, label, noise = self.encode(batch)
        rebuilt = self.scorer.reconstruct(self.denoiser, x0, label, noise)
        decoded = None if rebuilt is None else self.representation.decode(rebuilt, label)
        return None if decoded is None else self.tiles.merge(decoded, self.shape[1:])

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As in torch; buffers that are empty until they are fitted take the size of the saved ones."""
        for name, buffer in self.named_buffers():
            if buffer.numel() == 0 and name in state_dict:
                buffer.resize_(state_dict[name].shape)
        return super().load_state_dict(state_dict, strict, assign)

    def _checked(self, images: Tensor) -> Tensor:
        """Images (B, C, *size) in the dtype that the predictor was built for; ValueError where they do not fit."""
        if images.ndim == 0 or tuple(images.shape[1:]) != self.shape:
            raise ValueError(f"images have shape {tuple(images.shape)}; it must be (B, {str(self.shape)[1:]}")
        if images.dtype == self.dtype:
            return images
        in_range = images.is_floating_point() and bool(((images >= 0) & (images <= 1)).all())
        if self.dtype != torch.uint8 or not in_range:
            raise ValueError(
                f"images hold {images.dtype} from {float(images.min()):g} to {float(images.max()):g}; give {self.dtype}"
                + (", or floating-point numbers in [0, 1]" if self.dtype == torch.uint8 else "")
            )
        return (images * 255).round().byte()
