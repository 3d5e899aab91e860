"""The record of one run, as typed parts; `record_file` writes and reads it."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Strict, model_validator

FORMAT = 2
_ROUNDING = 1e-9  # by how much sums of floats may leave a metric's range


@dataclass(frozen=True)
class Metric:
    """One figure of merit: its name in records, its title in tables, which end is good (or None), range, decimals."""

    name: str
    title: str
    higher_is_better: bool | None
    low: float = 0.0
    high: float = 1.0
    decimals: int = 3


GAINS = {"image_auroc": "image_auroc_gain", "pixel_aupro_30": "pixel_aupro_30_gain"}
"""The figures that are compared with those of the untrained twin (see `Untrained`), and what their gain is called."""

# In table order. Neither end of the conformal pair is good by itself: the false-positive rate should equal the promised
# one, not lie far below it, and a true-positive rate counts only where the promise is kept. A gain ranks nothing: it is
# large where the start was bad.
METRICS = (
    Metric("image_auroc", "image AUROC", True),
    Metric("image_ap", "image AP", True),
    Metric("image_f1_max", "image F1-max", True),
    Metric("image_tpr_at_5fpr", "TPR at 5% FPR", True),
    Metric("pixel_auroc", "pixel AUROC", True),
    Metric("pixel_ap", "pixel AP", True),
    Metric("pixel_f1_max", "pixel F1-max", True),
    Metric("pixel_aupro_30", "AUPRO 30%", True),
    Metric("pixel_aupro_5", "AUPRO 5%", True),
    Metric("pixel_peak_hit", "peak hit", True),
    Metric("conformal_fpr", "conformal FPR", None),
    Metric("conformal_tpr", "conformal TPR", None),
    Metric(GAINS["image_auroc"], "AUROC gain over untrained", None, low=-1.0),
    Metric(GAINS["pixel_aupro_30"], "AUPRO gain over untrained", None, low=-1.0),
    Metric("latency_ms", "latency ms", False, high=math.inf, decimals=1),
)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _in_range(metrics: dict[str, float | None]) -> dict[str, float | None]:
    """Raise ValueError for a known metric outside its range: the file was damaged or edited."""
    for metric in METRICS:
        value = metrics.get(metric.name)
        if value is not None and not metric.low - _ROUNDING <= value <= metric.high + _ROUNDING:
            allowed = f"from {metric.low:g} to {metric.high:g}" if math.isfinite(metric.high) else "at least 0"
            raise ValueError(f"{metric.name} is {value:g}; allowed: {allowed}")
    return metrics


Number = Annotated[float, Strict()]
Figure = Annotated[Number | None, BeforeValidator(_finite)]  # None where it is undefined


class Part(BaseModel):
    """A part of the record: known keys only."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class ImageScore(Part):
    """The anomaly score of one test image, and the conformal p-value of its being normal, if there is one."""

    name: str
    defect: str
    anomalous: bool
    score: Number
    p_value: Number | None = None


class LevelResult(Part):
    """What the components of one log-SNR alone give on the test set."""

    log_snr: Number
    metrics: dict[str, Figure]


class Audit(Part):
    """Images shared between train and test, copies within train, and the AUROC of trivial statistics."""

    shared: int = 0
    near: int = 0
    copies: int = 0
    trivial: dict[str, Figure] = {}
    direction: dict[str, str] = {}
    examples: list[tuple[str, str]] = []
    warning: str | None = None


class Untrained(Part):
    """The figures of the untrained twin and their 95% intervals, as in `Result`.

    The twin is the same detector before its first step of training, with its map calibrated on the same images. That of
    a fine-tuned run is the network that it started from.
    """

    metrics: Annotated[dict[str, Figure], AfterValidator(_in_range)] = {}
    intervals: dict[str, tuple[Number, Number]] = {}


class Result(Part):
    """The test of one category: figures, their 95% intervals over test images, and their bootstrap replicates.

    A metric without a value is None, and `undefined` says why. One without an interval has no entry in `intervals`.
    Metrics named in GAINS are less the same figure of `untrained`, which is None where nothing learns by steps; their
    intervals are of differences paired by test image.
    """

    metrics: Annotated[dict[str, Figure], AfterValidator(_in_range)] = {}
    intervals: dict[str, tuple[Number, Number]] = {}
    undefined: dict[str, str] = {}
    untrained: Untrained | None = None
    levels: list[LevelResult] = []
    scores: list[ImageScore] = []
    replicates: dict[str, list[Figure]] = {}


class CategorySplit(Part):
    """Numbers of images of one category; defects, masks and notes are those of the test images."""

    train: int = 0
    fit: int = 0
    selection: int = 0
    calibration: int = 0
    test: int = 0
    added: int = 0
    copies: int = 0
    dropped: dict[str, int] = {}
    contaminated: dict[str, int] = {}
    dropped_contaminated: dict[str, int] = {}
    defects: dict[str, int] = {}
    masks: int = 0
    groups: int = 0
    split_groups: dict[str, int] = {}
    grey_bits: int = 8
    value_range: tuple[Number, Number] | None = None
    ignored: dict[str, int] = {}
    notes: list[str] = []


class SampleKind(Part):
    """What the samples are; see `data.sample.Kind`."""

    name: Literal["image", "frame", "series", "volume"] = "image"
    channels: int = 3
    rank: int = 2
    dtype: str = "uint8"


class Splits(Part):
    """What the data is and how it was split; canvas is the size of all samples, for images (height, width)."""

    rule: str = ""
    root: str | None = None
    seed: int = 0
    shots: int | None = None
    size: int | None = None
    aspect: str | None = None
    canvas: tuple[int, ...] = ()
    kind: SampleKind = SampleKind()
    contamination: Number = 0.0
    contamination_from: str | None = None
    augment: list[str] = []
    contamination_fingerprint: str | None = None
    categories: dict[str, CategorySplit] = {}


class HeadTraining(Part):
    """How the head was trained; loss is the mean over the last tenth of the steps."""

    inputs: str
    kinds: list[str]
    normal: int
    synthetic: int
    steps: int
    loss: Figure


class Training(Part):
    """Losses on the selection images as (step, loss); 0 steps and no first loss where nothing learns by steps."""

    steps: int = 0
    loss_initial: Figure = None
    loss_best: Figure = None
    step_best: int = 0
    losses: list[tuple[int, Figure]] = []
    head: HeadTraining | None = None


class Protocol(Part):
    """How each setting was chosen, in words."""

    checkpoint: str = ""
    component_scale: str = ""
    threshold: str = ""
    outline: str = ""
    settings: str = ""
    test_set: str = ""
    head: str | None = None


class Provenance(Part):
    """What made the numbers, and when."""

    versions: dict[str, str] = {}
    commit: str | None = None
    device: str = "an unknown device"
    created: str = ""


class Curves(Part):
    """The noise schedule: its name, and log-SNR, training density and effective weight at the times t."""

    name: str
    t: list[Figure]
    log_snr: list[Figure]
    density: list[Figure]
    weight: list[Figure]


class Dropped(Part):
    """A training image that was left out as an outlier."""

    name: str
    defect: str
    split: str
    z: Figure


class OutlierRemoval(Part):
    """What was left out of the training images before anything was fitted, by category."""

    splits: list[str] = ["fit", "selection"]
    scored: int = 0
    dropped: dict[str, list[Dropped]] = {}


class FineTuning(Part):
    """The run whose weights training started from."""

    signature: str
    study: str
    categories: list[str]


class Picture(ImageScore):
    """A test image in the gallery: what it is, its score, and the paths of its pictures in the run's folder."""

    threshold: Number | None
    kind: str
    image: str
    map: str
    mask: str | None


class Choice(Part):
    """The candidate that was chosen, the best and those tied with it, with objectives and standard errors of all."""

    candidate: int
    best: int
    tied: list[int]
    objective: list[Number]
    errors: list[Number]


class Tuning(Part):
    """How `diffect tune` chose the settings: evidence holds the figures of each candidate, by category."""

    notes: list[str]
    candidates: list[dict[str, str]]
    choice: Choice
    evidence: dict[str, list[dict[str, Figure]]]
    path: str


class Tracked(Part):
    """The run in W&B."""

    id: str
    mode: str = "offline"


class Record(Part):
    """All that a run leaves for reports, in the order of its file: what a reader looks for first, the bulk last.

    A run that is not finished holds what it knew when it ended.
    """

    format: Literal[2] = 2
    status: Literal["running", "finished", "failed", "interrupted"]
    signature: str
    fingerprint: str = ""  # of the data; runs that agree in it were tested on the same images
    study: str
    seed: int
    error: str | None = None
    choices: dict[str, str]
    categories: list[str] = []
    training: Training = Training()
    audit: dict[str, Audit] = {}
    splits: Splits = Splits()
    protocol: Protocol = Protocol()
    description: dict[str, str] = {}
    outlier_removal: OutlierRemoval | None = None
    finetuned_from: FineTuning | None = None
    parent: str | None = None
    tuning: Tuning | None = None
    test_reads: int | None = None
    seconds: dict[str, Number] = {}
    provenance: Provenance = Provenance()
    wandb: Tracked | None = None
    config: dict[str, Any]
    without_effect: list[str] = []  # keys of the config that change no number, with all below them
    gallery: dict[str, list[Picture]] = {}
    schedule: Curves | None = None
    results: dict[str, Result] = {}

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.status == "finished" and (missing := [one for one in self.categories if one not in self.results]):
            raise ValueError(f"results: category {missing[0]} is missing")
        return self

    def counts(self, key: str) -> bool:
        """Whether the value of a key can change a number."""
        return not any(f"{key}.".startswith(f"{idle}.") for idle in self.without_effect)
