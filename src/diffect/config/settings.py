"""The keys of each command's config, with their types; keys of parts are those that their classes take."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge

from diffect.config.types import (
    Display,
    Names,
    NonNegativeInt,
    OpenShare,
    Part,
    Phrase,
    Place,
    PositiveFloat,
    PositiveInt,
)


class Section:
    """A mapping with fixed keys: the annotations of its class."""


class Evaluation(Section):
    conformal_rate: OpenShare
    replicates: NonNegativeInt
    latency_repeats: PositiveInt


class Train(Section):
    study: Display[str]
    study_note: Display[str | None]
    evidence: Display[bool]
    seed: NonNegativeInt
    conditional: bool
    finetune_from: Place[str | None]
    threads: PositiveInt | None
    data: Part
    schedule: Part
    weight: Part
    representation: Part
    backbone: Part
    outlier_removal: Part | None
    denoiser: Part
    scorer: Part
    head: Part | None
    anomaly_map: Part
    trainer: Part
    training: Part
    evaluation: Evaluation
    panel: Display[NonNegativeInt]
    gallery: Display[NonNegativeInt]
    tracking: Display[Part]


class Search(Section):
    candidates: Any  # checked grid by grid, see `tuning.candidates`
    copies: PositiveInt
    kinds: Names | None
    seed: NonNegativeInt
    replicates: Annotated[int, Ge(20)]
    hindsight: Display[bool]


class Tune(Train):
    tune: Search


class Data(Section):
    data: Part
    seed: NonNegativeInt
    download: str | None
    accept_license: bool
    root: str | None
    url: str | None
    sha256: str | None


class Score(Section):
    run: str
    images: str | None
    category: str | None
    out: str | None
    maps: bool
    explain: bool
    scale: PositiveFloat | None
    batch_size: PositiveInt


class Report(Section):
    experiment: Any
    source: Any
    filters: Any
    baseline: Any
    estimand: Any
    trace: Any
    out: Any
    outputs: Annotated[str, Phrase("a folder")]
