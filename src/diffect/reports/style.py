"""One style for all figures, and one way to save them: as PDF and PNG, the same bytes every time."""

import io
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diffect.runs.record import write_atomic

# Okabe and Ito (2008), "Color Universal Design": told apart with any common colour blindness, and in grey
# together with the line styles and markers that change with them.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")

_STYLE: dict[str, Any] = {
    "font.size": 8,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so it is the same everywhere
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "pdf.fonttype": 42,  # outlines that stay text, embedded
    "pdf.compression": 6,
    "savefig.dpi": 160,
    "path.simplify": False,
    "text.usetex": False,
    "text.parse_math": False,  # a name with dollar signs is a name
    "axes.formatter.use_mathtext": False,
}


def style() -> AbstractContextManager[None]:
    """The shared style for as long as the `with` lasts, over matplotlib's defaults and not the user's own."""
    settings: dict[Any, Any] = dict(matplotlib.rcParamsDefault)
    settings |= {**_STYLE, "backend": "agg"}
    return matplotlib.rc_context(settings)


def new(width: float, height: float) -> Figure:
    """An empty figure of `width` x `height` inches; without pyplot, so no window system is looked for."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> tuple[Path, Path]:
    """Write `path` with the suffixes .pdf and .png; no dates and no versions inside."""
    written = []
    kinds: dict[str, dict[str, Any]] = {
        ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        ".png": {"Software": None},
    }
    for suffix, metadata in kinds.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix[1:], metadata=metadata)
        target = path.parent / (path.name.removesuffix(".pdf").removesuffix(".png") + suffix)
        write_atomic(target, buffer.getvalue())
        written.append(target)
    return written[0], written[1]
