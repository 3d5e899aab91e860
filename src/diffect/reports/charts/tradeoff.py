"""Quality against latency: the groups that can be compared in both, those that nothing else beats, and the others."""

from dataclasses import dataclass

from diffect.reports.cells import METRIC
from diffect.reports.study import Study
from diffect.reports.wording import first_few

LATENCY = "latency_ms"
QUALITY = ("image_auroc", "pixel_aupro_30")  # the panels of the figure
LEFT_OUT = "not drawn, since not comparable"

Point = tuple[float, float]  # milliseconds, quality


@dataclass(frozen=True)
class Tradeoff:
    """By the groups' places: those with every category in both, and what each of the others lacks."""

    points: dict[int, Point]
    left_out: dict[int, str]


def tradeoff(study: Study, metric: str, category: str | None = None) -> Tradeoff:
    """Of all groups, in `metric` over all categories or in one; the latency is over all in any case."""
    rows = study.estimates if category is None else study.by_category[category]
    points: dict[int, Point] = {}
    left_out: dict[int, str] = {}
    for place, (time, quality) in enumerate(zip(study.estimates[LATENCY], rows[metric], strict=True)):
        if time.comparable and quality.comparable and time.value is not None and quality.value is not None:
            points[place] = (time.value, quality.value)
            continue
        if time.missing == quality.missing and time.value is not None and quality.value is not None:
            left_out[place] = f"without {first_few(time.missing)}"
            continue
        lacking = ((name, one) for name, one in ((metric, quality), (LATENCY, time)) if not one.comparable)
        left_out[place] = " and ".join(
            f"no {METRIC[name].title}"
            if one.value is None
            else f"{METRIC[name].title} without {first_few(one.missing)}"
            for name, one in lacking
        )
    return Tradeoff(points, left_out)


def left_out(study: Study) -> list[str]:
    """The groups that are missing in a panel of QUALITY that others are in, each with what it lacks."""
    panels = [found for metric in QUALITY if (found := tradeoff(study, metric)).points]
    reasons = {
        place: " and ".join(dict.fromkeys(found.left_out[place] for found in panels if place in found.left_out))
        for place in sorted({place for found in panels for place in found.left_out})
    }
    return [f"{study.label(study.groups[place])} ({reason})" for place, reason in reasons.items()]


def unlike(study: Study) -> str | None:
    """Why no two latencies of the study compare; None where they do."""
    devices = {run.record.provenance.device for run in study.runs}
    return f"latency was measured on {len(devices)} different devices" if len(devices) > 1 else None


def front(points: dict[int, Point]) -> list[int]:
    """The places of the Pareto front, by rising latency: each is better than all that are as fast."""
    kept: list[int] = []
    for place in sorted(points, key=lambda place: (points[place][0], -points[place][1], place)):
        if not kept or points[place][1] > points[kept[-1]][1]:
            kept.append(place)
    return kept
