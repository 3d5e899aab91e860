"""One style for all figures, and one way to save them: as PDF and PNG, the same bytes every time.

They are drawn at the size at which a page shows them, so that their letters are as large as those around them.
"""

import io
import math
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diffect.storage.atomic import write_atomic

# Okabe and Ito (2008), "Color Universal Design": distinct with any common colour blindness, and in grey
# together with the line styles and markers that change with them.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
GREY = "#555555"
WIDTH = 7.0  # inches: of a page's text, or of both its columns
NAMED = 16  # lines or points that a legend can tell apart
_SPAN = 0.05  # least height of a panel of shares, so that what is next to nothing looks like it

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
    "savefig.dpi": 200,
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


def new(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """An empty figure of `width` x `height` inches; without pyplot, so no window system is looked for."""
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def look(place: int) -> dict[str, Any]:
    """Colour and line style of the line at `place`; 32 of them differ."""
    return {"color": COLOURS[place % len(COLOURS)], "linestyle": LINES[(place // len(COLOURS) + place) % len(LINES)]}


def marker(place: int) -> str:
    """The marker of the point at `place`, so that colour and marker together differ for 64."""
    return MARKERS[(place // len(COLOURS) + place) % len(MARKERS)]


def reach(value: float, half: float | None) -> tuple[float, float]:
    """How far below and above `value` its interval is drawn: a share lies between 0 and 1."""
    return min(half or 0.0, max(value, 0.0)), min(half or 0.0, max(1.0 - value, 0.0))


def widen(axis: Axes) -> None:
    """Make a panel of shares at least _SPAN high, and no higher above 1 than it is."""
    low, high = axis.get_ylim()
    if high - low < _SPAN:
        top = min((low + high + _SPAN) / 2, max(high, 1.0))
        axis.set_ylim(top - _SPAN, top)


def legend_columns(names: Sequence[str]) -> int:
    """As many columns as fit under a figure of the full width, no more than fill their rows."""
    most = max(1, 104 // (max(map(len, names), default=1) + 8))
    return math.ceil(len(names) / max(1, math.ceil(len(names) / most))) or 1


def shorten(text: str, limit: int = 48) -> str:
    """`text` on one line, its end left out where it is too long."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def save(figure: Figure, path: Path) -> tuple[Path, Path]:
    """Write `path` with the suffixes .pdf and .png; no dates and no versions inside."""
    written = []
    kinds: dict[str, dict[str, Any]] = {
        ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        ".png": {"Software": None},
    }
    for suffix, metadata in kinds.items():
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # a box stands for a letter that the font lacks
            figure.savefig(buffer, format=suffix[1:], metadata=metadata)
        target = path.parent / (path.name.removesuffix(".pdf").removesuffix(".png") + suffix)
        write_atomic(target, buffer.getvalue())
        written.append(target)
    return written[0], written[1]
