"""The noise schedules of a study: what they are, and what they make of training."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffect.reports.charts import schedules as drawn
from diffect.reports.study import Study
from diffect.reports.style import WIDTH, legend_columns, look, new, save, shorten, style


def schedule_figure(schedules: Sequence[dict[str, Any]], path: Path) -> tuple[Path, Path]:
    """Draw log-SNR over t, density over log-SNR and effective weight p w over log-SNR, a line per schedule.

    A schedule is {"name", "t", "log_snr", "density", "weight"}, four lists of one length; null is a gap. The
    weight is scaled to unit area over log-SNR, since a factor is no more than a learning rate. Writes `path`
    with .pdf and .png and returns both; ValueError for lists of different lengths.
    """
    with style():
        names = [shorten(str(schedule["name"])) for schedule in schedules]
        columns = legend_columns(names)
        figure = new(WIDTH, 2.3 + 0.16 * math.ceil(len(names) / columns))
        axes = figure.subplots(1, 3)
        for place, schedule in enumerate(schedules):
            t, log_snr, density, weight = _curves(schedule)
            axes[0].plot(t, log_snr, label=names[place], **look(place))
            axes[1].plot(log_snr, density, **look(place))
            axes[2].plot(log_snr, weight, **look(place))
        titles = ("log-SNR over time", "training density p", "effective weight p w")
        units = (("t", "log-SNR"), ("log-SNR", "p(log-SNR)"), ("log-SNR", "p w"))
        for axis, title, (x, y) in zip(axes, titles, units, strict=True):
            axis.set(title=title, xlabel=x, ylabel=y)
        for axis in axes[1:]:
            axis.set_ylim(bottom=0)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)
        return save(figure, path)


def study_schedules_figure(study: Study, path: Path) -> str | None:
    """Draw the distinct schedules that the study's runs train by; or the reason why there is nothing."""
    if not any(map(drawn.trained, study.runs)):
        return "no figure of the noise schedules: no run trains by one"
    schedules = schedules_of(study)
    if not schedules:
        return "no figure of the noise schedules: no record holds one"
    try:
        schedule_figure(schedules, path)
    except ValueError as error:
        return f"no figure of the noise schedules: {error}"
    return None


def _curves(schedule: dict[str, Any]) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
    """t, log_snr, density and weight as arrays; the weight is scaled to unit area over log-SNR."""
    keys = ("t", "log_snr", "density", "weight")
    curves = [np.asarray(schedule.get(key) or (), dtype=np.float64) for key in keys]
    if len({curve.shape for curve in curves}) != 1 or curves[0].size < 2:
        sizes = ", ".join(f"{key} {curve.size}" for key, curve in zip(keys, curves, strict=True))
        raise ValueError(f"the schedule '{schedule.get('name')}' should have four lists of one length, found {sizes}")
    good = np.isfinite(curves[1]) & np.isfinite(curves[3])
    area = abs(float(np.trapezoid(curves[3][good], curves[1][good]))) if good.sum() > 1 else 0.0
    if area > 0:
        curves[3] = curves[3] / area
    return curves


def schedules_of(study: Study) -> list[dict[str, Any]]:
    """The distinct schedules that the study's runs train by, as `schedule_figure` takes them; no two share a name."""
    return [{**one.curves.model_dump(), "name": one.name} for one in drawn.schedules(study)]
