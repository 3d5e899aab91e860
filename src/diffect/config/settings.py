"""The keys of each command's config, with their types; keys of parts are those that their classes take."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge

from diffect.config.types import (
    Display,
    FolderName,
    Names,
    NonNegativeInt,
    OpenShare,
    Part,
    Phrase,
    Place,
    PositiveFloat,
    PositiveInt,
    Text,
)

MapKind = Literal["png", "npy", "mask", "overlay", "both"]


class Section:
    """A mapping with fixed keys: the annotations of its class."""


class Evaluation(Section):
    conformal_rate: OpenShare
    folds: Annotated[int, Ge(2)] | None
    replicates: NonNegativeInt
    latency_repeats: PositiveInt
    untrained: bool


class Train(Section):
    study: Text[Display[FolderName]]
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
    root: Place[str | None]
    url: str | None
    sha256: str | None


class Moved(Section):
    root: Place[str | None]


class Score(Section):
    run: Place[str]
    images: Place[str | None]
    category: str | None
    out: Place[str | None]
    threshold: Annotated[float | None, Phrase("a number, or null for the one that the run promises")]
    rate: Annotated[OpenShare | None, Phrase("a number above 0 and below 1, or null for that of the run")]
    maps: Annotated[
        bool | MapKind | Sequence[MapKind],
        Phrase("true, false, png, npy, mask, overlay, both (png and npy), or a list of these"),
    ]
    look_at: Text[Any]
    ignore: Text[Any]
    explain: bool
    mm_per_pixel: Annotated[PositiveFloat | None, Phrase("a positive number of millimetres per pixel, or null")]
    batch_size: PositiveInt
    data: Moved


class Add(Section):
    run: Place[str]
    images: Place[str]


class Report(Section):
    experiment: Text[Any]
    source: Text[Any]
    filters: Text[Any]
    where: Text[Any]
    baseline: Text[Any]
    estimand: Any
    trace: Text[Any]
    out: Text[Any]
    outputs: Annotated[Place[str], Phrase("a folder")]


SECTIONS: dict[str, type[Section]] = {
    "train": Train,
    "tune": Tune,
    "add": Add,
    "score": Score,
    "report": Report,
    "data": Data,
}
"""The keys of each command."""
