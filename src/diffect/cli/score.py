"""diffect score: score images, new ones or a run's own test images, with a finished run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from omegaconf import DictConfig, ListConfig

from diffect.config import settings, validate
from diffect.config.description import counted
from diffect.data.regions import Regions
from diffect.data.sources.folders import remarks
from diffect.runs import doubts, record_file
from diffect.runs.record import Record
from diffect.storage import written
from diffect.storage.atomic import write_csv

if TYPE_CHECKING:
    from diffect.detector.detector import Detector, ImageResult, ScoredBatch
    from diffect.explain.maps import MapWriter
    from diffect.explain.writer import Explainer


SCORES = "scores.csv"
_EDGES = (
    "note: the run was not trained with these regions, so that a margin of 1/16 of the short side around what is "
    "ignored is not scored either; train with them (data.ignore, data.look_at) to score it"
)
_MEANT: dict[Any, tuple[str, ...]] = {True: ("png",), False: (), "both": ("png", "npy")}  # for maps=


class Row(NamedTuple):
    """A row of scores.csv; what is not known is empty."""

    name: str
    category: str = ""
    score: str = ""
    threshold: str = ""
    flagged: str = ""
    p_value: str = ""
    status: str = "scored"
    note: str = ""


def run(cfg: DictConfig) -> None:
    """Write `out`/scores.csv, and those of maps/, masks/, overlays/ and explained/ that the config asks for.

    `category` is the one that the image was scored as: the one that was given, or with category=none the likeliest;
    empty where the run cannot tell its categories apart. `flagged` says whether the score exceeds the threshold, the
    run's conformal one for that category unless `threshold` or `rate` is given; `p_value` see `Calibration`. They are
    empty without calibration images enough, and without a category. `status` is "scored", or why the image cannot be
    read; `note` says what makes a score doubtful.

    Raises:
        ValueError: a setting is wrong, `out` holds other things, or, when all others are scored, an image cannot be
            read.
    """
    from diffect.explain.maps import MapWriter
    from diffect.training.load import load

    validate.check(cfg, settings.Score)
    if cfg.mm_per_pixel is not None and not cfg.explain:
        raise ValueError(f"mm_per_pixel is {cfg.mm_per_pixel}, but only explanations state sizes; set explain=true")
    folder = Path(cfg.run).expanduser()
    detector, record = load(folder), record_file.read(folder / record_file.RECORD)
    detector.decide_by(cfg.threshold, cfg.rate)
    if regions := Regions(cfg.look_at, cfg.ignore, key="").check():
        detector.look_at(regions)
    detector.regions.check()
    trained = _config(cfg, record)
    kinds = _kinds(cfg, detector)
    unreadable: dict[str, str] = {}
    names, batches = _images(cfg, detector, trained, unreadable)
    stems = written.stems(names)
    out = _out(cfg, folder, kinds, stems)
    broken = ["" if cfg.threshold is not None else doubts.broken_promise(record, one) for one in detector.categories]
    writers: list[MapWriter | Explainer] = [MapWriter(detector, kinds, stems, out)] if kinds else []
    missing = ""
    if cfg.explain:
        explainer = _explainer(detector, trained, record, broken, cfg.mm_per_pixel, stems, out)
        missing = f" ({explainer.missing})" if explainer.missing else ""
        writers.append(explainer)
    rows: dict[str, Row] = {}
    for batch in batches:
        rows |= {result.name: _row(result) for result in detector.results(batch)}
        for writer in writers:
            writer.write(batch)
    scored = list(rows.values())
    rows |= {name: Row(name, status=f"unreadable: {reason}") for name, reason in unreadable.items()}
    write_csv(out / SCORES, [Row._fields, *(rows[name] for name in names)])
    print(f"{_summary(scored, detector)}: {out / SCORES}")
    scored_as = {row.category for row in scored}
    for category, sentence in zip(detector.categories, broken, strict=True):
        if sentence and category in scored_as:
            print(f"warning: {category}: {sentence}")
    if not detector.own_regions:
        print(_EDGES)
    if cfg.explain:
        print(f"explained: {out / 'explained'}{missing}")
    _show_notes(scored)
    if unreadable:
        count = f"{len(unreadable)} of {len(names)} images not scored: " if len(names) > 1 else ""
        more = f"; for the others see {out / SCORES}" if len(unreadable) > 1 else ""
        raise ValueError(f"{count}{next(iter(unreadable.values()))}{more}")


def _config(cfg: DictConfig, record: Record) -> DictConfig:
    """The config of the run, with another folder where its data have moved, and with regions that are given."""
    data, root = record.config["data"], cfg.data.root
    if root is not None:
        old = data.get("root")
        if old is None:
            raise ValueError(f"data.root is {root}, but the data of this run are not in a folder; leave data.root out")
        data = _moved(data, old, root)
    if cfg.look_at is not None or cfg.ignore is not None:
        data = data | {"look_at": cfg.look_at, "ignore": cfg.ignore}
    return DictConfig(record.config | {"data": data})


def _moved(data: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """The config of the data with another root, also in the sources, which referred to it."""
    return {
        key: _moved(value, old, new) if isinstance(value, dict) else new if (key, value) == ("root", old) else value
        for key, value in data.items()
    }


def _kinds(cfg: DictConfig, detector: Detector) -> list[str]:
    """The kinds of files to make of each map, of `explain.maps.FILES`."""
    asked = cfg.maps if isinstance(cfg.maps, ListConfig) else [cfg.maps]
    kinds = list(dict.fromkeys(kind for one in asked for kind in _MEANT.get(one, (one,))))
    if not detector.kind.drawable:
        if cfg.explain:
            raise ValueError(f"samples of kind {detector.kind.name} cannot be drawn: set explain=false")
        if set(kinds) - {"npy"}:
            print(
                f"no pictures of maps: samples of kind {detector.kind.name} cannot be drawn; maps=npy saves the values"
            )
        return [kind for kind in kinds if kind == "npy"]
    if "mask" in kinds and all(one.outline is None for one in detector.calibrations):
        raise ValueError("maps=mask needs a threshold, and this run has none: give one, threshold=NUMBER")
    return kinds


def _images(
    cfg: DictConfig, detector: Detector, trained: DictConfig, unreadable: dict[str, str]
) -> tuple[list[str], Iterator[ScoredBatch]]:
    """Names and batches of the images to score; `unreadable` takes the images that cannot be read, with the reason."""
    from diffect.detector.images import list_images

    if cfg.images is None:
        return _own_test_images(cfg, detector, trained)
    if not detector.kind.drawable:
        raise ValueError(
            f"images={cfg.images} are pictures, and the run was trained on samples of kind {detector.kind.name}: score "
            "arrays of these from Python, by diffect.load(RUN)(ARRAY)"
        )
    label = detector.label_of(cfg.category)
    listing = list_images(cfg.images)
    for remark in remarks(listing.reasons()):
        print(remark)
    names = [name for name, _ in listing.named]
    return names, detector.scored(listing.named, label, cfg.batch_size, unreadable)


def _own_test_images(
    cfg: DictConfig, detector: Detector, trained: DictConfig
) -> tuple[list[str], Iterator[ScoredBatch]]:
    """Names and batches of the run's test images: those of the category that is named, or all of them.

    They are scored with their labels, or without any for category=none.
    """
    from diffect.training.build import attach, open_data

    label = None if cfg.category is None else detector.label_of(cfg.category)
    data = open_data(trained)
    attach(data, detector.predictor.representation, detector.predictor.device)
    positions = [
        position for position, (part, _) in enumerate(data.splits["test"]) if label in (None, data.parts[part].label)
    ]
    if not positions:
        raise ValueError("the run has no test images: give images=, a file or a folder to score")
    samples = [data.sample(*data.splits["test"][position]) for position in positions]
    names = [f"{sample.category}/{sample.name}" for sample in samples]
    unlabelled = cfg.category is not None and label is None

    def batches() -> Iterator[ScoredBatch]:
        loader, size = data.test_dataloader(), cfg.batch_size
        for start in range(0, len(positions), size):
            batch, chunk = loader.batch(positions[start : start + size]), samples[start : start + size]
            if unlabelled:
                del batch["label"]
            sizes = [sample.size() for sample in chunk]
            yield detector.score_batch(names[start : start + size], batch, sizes, [sample.load for sample in chunk])

    return names, batches()


def _out(cfg: DictConfig, run: Path, kinds: Sequence[str], stems: Mapping[str, str]) -> Path:
    """The folder of all files, ready for them: `out`, or one in the run's folder that is named for the images."""
    from diffect.explain.maps import FILES
    from diffect.explain.writer import EXPLAINED

    source, name = "the run's own test images", "test"
    if cfg.images is not None:
        given = Path(cfg.images).expanduser().resolve()
        source, name = str(given), given.stem if given.is_file() else given.name
        if not given.exists():  # a pattern: the folder that it looks in
            name = next(above for above in given.parents if above.is_dir()).name
    made = [*(FILES[kind] for kind in kinds), *(EXPLAINED if cfg.explain else ())]
    names = [SCORES, *(name.format(stem) for name in made for stem in stems.values())]
    if cfg.out is not None:
        out = Path(cfg.out).expanduser()
    else:
        out = written.free(run / "scored" / (name or "images"), source)
    written.claim(out, names, source, "out")
    return out


def _show_notes(rows: Sequence[Row]) -> None:
    """How many images have a note, with an example."""
    if noted := [row for row in rows if row.note]:
        print(f"note: {len(noted)} of {len(rows)} scores are doubtful, see {SCORES}: {noted[0].name}: {noted[0].note}")


def _row(result: ImageResult) -> Row:
    """The row of a scored image."""
    return Row(
        name=result.name,
        category=result.category or "",
        score=repr(result.score),
        threshold="" if result.threshold is None else repr(result.threshold),
        flagged="" if result.flagged is None else str(result.flagged).lower(),
        p_value="" if result.p_value is None else f"{result.p_value:.6g}",
        note="; ".join(result.notes),
    )


def _summary(rows: Sequence[Row], detector: Detector) -> str:
    """How many images were scored and flagged, or why no decision was made."""
    undecided = sum(not row.flagged for row in rows)
    lacking = dict.fromkeys(row.category for row in rows if not row.flagged)
    reason = "each category has its own threshold; none was given, and the run cannot tell its categories apart"
    if "" not in lacking:
        few = [f"{one}: {detector.calibrations[detector.categories.index(one)].shortfall}" for one in lacking]
        reason = f"{', '.join(few)}; give rate= or threshold="
    parts = [f"{counted(len(rows), 'image')} scored"]
    if undecided < len(rows):
        parts.append(f"{sum(row.flagged == 'true' for row in rows)} flagged")
    if undecided:
        which = "" if undecided == len(rows) else f" on {undecided} of them"
        parts.append(f"no decision was made{which}, because {reason}")
    return ", ".join(parts)


def _explainer(
    detector: Detector,
    trained: DictConfig,
    record: Record,
    broken: Sequence[str],
    mm_per_pixel: float | None,
    stems: Mapping[str, str],
    out: Path,
) -> Explainer:
    """What explains the images, with the run's training images if they are still there."""
    from diffect.explain.nearest import NormalImages
    from diffect.explain.writer import Explainer

    normal, missing = None, ""
    try:
        normal = NormalImages.open(trained, record, detector.predictor)
    except ValueError as error:
        missing = f"no nearest normal patches: {error}"
    return Explainer(detector, broken, mm_per_pixel, normal, missing, stems, out)
