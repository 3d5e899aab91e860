"""What a latency is of: the device, how busy it may have been, and the sizes of the images."""

from collections.abc import Sequence

from diffect.reports.notes import listed
from diffect.runs.table import Run


def note(runs: Sequence[Run]) -> str:
    """One sentence on how the latency was measured, and on what, as the records say."""
    devices = sorted({run.record.provenance.device for run in runs})
    if len(devices) > 1:
        where = f"on {len(devices)} different devices, so not comparable ({listed(devices)})"
    else:
        where = f"on {devices[0]}, which may have been busy with other work"
    return f"latency: batch 1, decoded image to map, the mean over runs {where}{_sizes(runs)}."


def _sizes(runs: Sequence[Run]) -> str:
    """The sizes of the images in pixels with their categories, where they differ."""
    found: dict[str, set[str]] = {}
    for run in runs:
        if canvas := run.record.splits.canvas:
            found.setdefault(" x ".join(map(str, canvas)), set()).update(run.record.categories)
    if len(found) < 2:
        return ""
    sizes = [f"{size} ({listed(sorted(names))})" for size, names in sorted(found.items())]
    return f"; images of {' and '.join(sizes)} pixels"
