"""methods.tex: what was done, from the configs and records of the runs alone; what all share is said once."""

from collections.abc import Callable

from diffect.reports.escaping import breakable, escape
from diffect.reports.latex import environments
from diffect.reports.paper.analysis import analysis
from diffect.reports.paper.counts import image_counts
from diffect.reports.paper.judging import head, pooling, representation, scorer
from diffect.reports.paper.learning import denoiser, end_points, schedule, times, training, weight
from diffect.reports.paper.material import data, machine, table_label
from diffect.reports.paper.phrases import Config, counted, listed
from diffect.reports.paper.varying import apart, told
from diffect.reports.study import Study
from diffect.runs import grid
from diffect.runs.grid import short
from diffect.runs.table import Run


def document(study: Study) -> str:
    """methods.tex: a paragraph each on design, data, detector, training, scoring, analysis, and the machine.

    Before them stands the table of images.
    """

    def said(lead: str, phrase: Callable[[Config], str]) -> str:
        return told(study, lead, [phrase(run.record.get("config") or {}) for run in study.runs])

    def chosen(lead: str, key: str) -> str:
        return told(study, lead, [escape(str((run.record.get("protocol") or {}).get(key) or "")) for run in study.runs])

    paragraphs = {
        "Design": _design(study),
        "Data": data(study),
        "Detector": [
            said("An image is represented by", representation),
            said("The denoiser is", denoiser),
            said("The noise schedule is", schedule),
            said("Training covers", end_points),
            said(r"The loss weight on the $\epsilon$ error is", weight),
        ],
        "Training": [
            said("Training takes", training),
            said("The time $t$ is drawn", times),
            told(study, "The network starts from", [_start(run) for run in study.runs]),
            chosen("Checkpoint:", "checkpoint"),
            said("A head is taught by", head),
        ],
        "Scoring": [
            said("An image is judged by", scorer),
            chosen("Components are brought to one scale by", "component_scale"),
            said("The anomaly map is", pooling),
            chosen("Decision threshold:", "threshold"),
            chosen("Settings:", "settings"),
            chosen("Test set:", "test_set"),
        ],
        "Analysis": analysis(study),
        "Machine and software": machine(study),
    }
    blocks = [
        "% Written by diffect report from the configs and records; needs booktabs, graphicx; cites references.bib."
    ]
    for title, sentences in paragraphs.items():
        if any(sentences):
            blocks.append("\n".join([rf"\paragraph{{{title}.}}", *(text for text in sentences if text)]))
    blocks[1:1] = [table.strip("\n") for table in environments(image_counts(study).sheet(), (), table_label(study))]
    return "\n\n".join(blocks) + "\n"


def _start(run: Run) -> str:
    """Whose weights the network goes on from; empty where they are random."""
    found = run.record.get("finetuned_from")
    return "" if not found else f"that of a run on {listed([breakable(str(one)) for one in found['categories']])}"


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
    models = f"One model holds {listed([str(number) for number in together])} categories." if together else ""
    came = [
        rf"With \emph{{{breakable(axis)}}} came its own {listed([breakable(key) for key in keys])}."
        for axis, keys in grid.followers(study.runs).items()
    ]
    return [
        first,
        models,
        *came,
        *apart(study),
        "The record of each run holds its whole configuration.",
    ]
