"""methods.tex: what was done, from the records of the runs alone; what all runs share is said once."""

import re
from collections.abc import Callable
from typing import Any

from diffect.config.description import counted
from diffect.reports.escaping import breakable, escape
from diffect.reports.latex import slug, table_environments
from diffect.reports.paper.analysis import analysis
from diffect.reports.paper.choices import by_choice, other_differences
from diffect.reports.paper.counts import UNKNOWN, image_counts
from diffect.reports.study import Study
from diffect.reports.wording import listed
from diffect.runs import grid
from diffect.runs.grid import short
from diffect.runs.record import Protocol
from diffect.runs.table import Run

_CITED = re.compile(r"\s*\[(@[\w:.-]+(?:\s*;\s*@[\w:.-]+)*)\]")  # as pandoc has it: [@ho2020ddpm; @song2021ddim]

# The parts that describe themselves, and how the sentence on each begins.
_DATA = {
    "contamination": "Of these normal images,",
    "augmentation": "Augmentation adds",
    "outlier_removal": "Removed from training are",
}
_DETECTOR = {
    "representation": "An image is represented by",
    "denoiser": "The denoiser is",
    "schedule": "The noise schedule is",
    "weight": "The loss weight on the ε error is",
}
_TRAINING = {"training": "Training takes", "head": "A head is trained on", "finetuning": "The network starts from"}
_SCORING = {"scorer": "An image is scored by", "anomaly_map": "The anomaly map is"}
_KNOWN = {"source", *_DATA, *_DETECTOR, *_TRAINING, *_SCORING}

_USES = {
    "fit": "images to fit",
    "selection": "for selection",
    "calibration": "for calibration",
    "test normal": "normal test images",
    "test defective": "defective test images",
}
_VERSIONS = ("diffect", "torch", "pytorch-lightning", "diffusers", "scikit-image", "numpy", "python")


def methods_tex(study: Study) -> str:
    """methods.tex: the table of images, and a paragraph each on design, data, detector, training, scoring, analysis."""

    def described(leads: dict[str, str]) -> list[str]:
        texts = {key: [_description(run, key) for run in study.runs] for key in leads}
        return [by_choice(study, escape(lead), texts[key]) for key, lead in leads.items()]

    def protocol(lead: str, text: Callable[[Protocol], str]) -> str:
        return _sentence(study, lead, lambda run: description_tex(text(run.record.protocol)))

    others = sorted({key for run in study.runs for key in run.record.description} - _KNOWN)
    paragraphs = {
        "Design": _design(study),
        "Data": [
            *_images(study),
            *described(_DATA),
            _counts(study),
        ],
        "Detector": described({**_DETECTOR, **{key: f"{key.replace('_', ' ').capitalize()}:" for key in others}}),
        "Training": [
            *described(_TRAINING),
            protocol("Checkpoint:", lambda it: it.checkpoint),
        ],
        "Scoring": [
            *described(_SCORING),
            protocol("Components are scaled by", lambda it: it.component_scale),
            protocol("Decision threshold:", lambda it: it.threshold),
            protocol("Settings:", lambda it: it.settings),
            protocol("Test set:", lambda it: it.test_set),
        ],
        "Analysis": analysis(study),
        "Machine and software": _machine(study),
    }
    head = "% Written by diffect report from the records of the runs; needs booktabs, graphicx; cites references.bib."
    tables = table_environments(image_counts(study).table(), (), _images_label(study))
    blocks = [head, *(table.strip("\n") for table in tables)]
    for title, sentences in paragraphs.items():
        if any(sentences):
            blocks.append("\n".join([rf"\paragraph{{{title}.}}", *(text for text in sentences if text)]))
    return "\n\n".join(blocks) + "\n"


def description_tex(text: str) -> str:
    """A part's description as LaTeX: `[@a; @b]` becomes `\\cite{a,b}`, all else is set literally.

    A description may be a sentence, as the first of a docstring is: it then goes on from the lead before it.
    """
    text = text.strip().removesuffix(".")
    if text.split(" ", 1)[0] in ("A", "An", "The"):
        text = text[0].lower() + text[1:]
    pieces = _CITED.split(text)  # text, keys, text, keys, ..., text
    for place, keys in enumerate(pieces[1::2]):
        pieces[2 * place + 1] = rf"~\cite{{{','.join(key.strip().removeprefix('@') for key in keys.split(';'))}}}"
    # The space that ends a piece of text would be lost in escaping.
    pieces[::2] = [" " * piece.startswith(" ") + breakable(piece) + " " * piece.endswith(" ") for piece in pieces[::2]]
    return "".join(pieces).strip()


def _description(run: Run, key: str) -> str:
    return description_tex(run.record.description.get(key, ""))


def _sentence(study: Study, lead: str, phrase: Callable[[Run], str]) -> str:
    return by_choice(study, lead, [phrase(run) for run in study.runs])


def _design(study: Study) -> list[str]:
    """What varies, over which categories and seeds, and in how many runs."""
    factors = []
    for axis, title in zip(study.axes, short(study.axes), strict=True):
        values = sorted({run.choice(axis) for run in study.runs}, key=lambda value: grid.natural([value]))
        factors.append(rf"\emph{{{breakable(title)}}} ({listed([breakable(value) for value in values])})")
    seeds = [str(seed) for seed in sorted({run.unit[1] for run in study.runs})]
    names = [breakable(category) for category in study.by_category]
    left_out = f"; {counted(len(study.left_out), 'run')} could not be used" if study.left_out else ""
    what = f"varies {listed(factors)}" if factors else "has one setting"
    first = (
        rf"The study \emph{{{breakable(study.name)}}} {what}, on"
        f" {counted(len(names), 'category', 'categories')} ({listed(names)}), with seed{'s' * (len(seeds) > 1)}"
        f" {listed(seeds)}: {counted(len(study.runs), 'run')} in {counted(len(study.groups), 'group')}{left_out}."
    )
    together = sorted({len(run.unit[0]) for run in study.runs} - {1})
    models = f"One model covers {listed([str(number) for number in together])} categories." if together else ""
    followers = [
        rf"Each \emph{{{breakable(axis)}}} has its own {listed([breakable(key) for key in keys])}."
        for axis, keys in grid.followers(study.runs).items()
    ]
    config = "The record of each run holds its whole configuration."
    return [first, models, *followers, *other_differences(study), config]


def _images(study: Study) -> list[str]:
    """Where the images come from, their size, how they are split, and how many are used."""

    def rule(run: Run) -> str:
        return escape(run.record.splits.rule)

    shots = [_data_config(run).get("shots") for run in study.runs]
    return [
        _sentence(study, "The images are", lambda run: _description(run, "source")),
        _sentence(study, "They are resized to", _size),
        _sentence(study, "Splits:", rule),
        by_choice(study, "Normal images used of each category:", [str(n or "all") for n in shots if any(shots)]),
    ]


def _data_config(run: Run) -> dict[str, Any]:
    return run.record.config.get("data") or {}


def _size(run: Run) -> str:
    data = _data_config(run)
    if "size" not in data:
        return ""
    canvas = run.record.splits.canvas
    shown = f", on a canvas of {' by '.join(map(str, canvas))}" if canvas else ""
    shape = "stretched to a square" if data.get("aspect") == "stretch" else "padded by reflection where needed"
    return f"{data['size']} pixels on their short side{shown}, {shape}"


def _images_label(study: Study) -> str:
    return f"tab:{slug(study.name)}-images"


def _counts(study: Study) -> str:
    images = image_counts(study)
    known = [f"{escape(total)} {what}" for kind, what in _USES.items() if (total := images.total(kind)) != UNKNOWN]
    return rf"Together the categories have {listed(known)} (Table~\ref{{{_images_label(study)}}})." if known else ""


def _machine(study: Study) -> list[str]:
    """Devices, time, and the versions of what computed the numbers."""
    devices = sorted({escape(run.record.provenance.device) for run in study.runs})
    seconds = [run.record.seconds.get("total", 0.0) for run in study.runs]
    took = f"; together they took {_duration(sum(seconds))}" if all(seconds) else ""
    versions: dict[str, set[str]] = {}
    for run in study.runs:
        for name, version in run.record.provenance.versions.items():
            versions.setdefault(name, set()).add(version)
    texts = [breakable(f"{name} {' and '.join(sorted(versions[name]))}") for name in _VERSIONS if name in versions]
    return [f"The runs were made on {listed(devices)}{took}.", f"Versions: {listed(texts)}." if texts else ""]


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"
