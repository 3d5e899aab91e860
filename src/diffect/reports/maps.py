"""Heat maps beside the table: the panels of a few comparable runs, tiled into one picture."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from diffect.reports.study import Study
from diffect.runs.record_file import PANEL
from diffect.runs.table import Run
from diffect.storage.atomic import write_atomic

_MOST = 6
_WIDTH, _HEIGHT = 600, 470  # of one panel, pixels
_GAP = 12
_LETTERS = 0.016  # of the width of the whole picture: 7.5 points where it is as wide as a page's text


def write_maps(study: Study, path: Path) -> list[str]:
    """Tile the panels of up to six groups into `path` (PNG), one run each, of one category if possible.

    Returns what could not be used, a sentence each; writes nothing, and removes an old picture, where no
    run has a panel that can be read.
    """
    panels: list[tuple[str, Image.Image]] = []
    problems = []
    chosen = _chosen(study)
    if not chosen:
        problems.append(f"no picture of maps: no run has a {PANEL} beside its record")
    for label, run in chosen:
        try:
            with Image.open(run.folder / PANEL) as image:
                panels.append((label, _fitted(image.convert("RGB"))))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            problems.append(f"the panel {run.folder / PANEL} cannot be read: {error}")
    if not panels:
        path.unlink(missing_ok=True)
        return problems
    buffer = io.BytesIO()
    _tiled(panels).quantize(256).save(buffer, format="PNG", optimize=True)  # a palette: a third of the size
    write_atomic(path, buffer.getvalue())
    return problems


def _chosen(study: Study) -> list[tuple[str, Run]]:
    """A run per group, the first with a panel by category and seed; at most `_MOST` groups, evenly chosen."""
    chosen = []
    step = max(1, math.ceil(len(study.groups) / _MOST))
    for group in study.groups[::step]:
        runs = sorted((run for run in group.runs if (run.folder / PANEL).is_file()), key=lambda run: run.unit)
        if runs:
            categories, seed = runs[0].unit
            what = categories[0] if len(categories) == 1 else f"{len(categories)} categories"
            chosen.append((f"{study.label(group)}   ({what}, seed {seed})", runs[0]))
    return chosen


def _fitted(image: Image.Image) -> Image.Image:
    """The panel, never enlarged."""
    scale = min(1.0, _WIDTH / image.width, _HEIGHT / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS)


def _tiled(panels: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """The panels, each under its label, in as many columns as bring the picture nearest to 4:3."""
    width = max(200, *(image.width for _, image in panels)) + _GAP
    height = max(image.height for _, image in panels) + _GAP

    def shape(columns: int) -> float:
        return abs(math.log(columns * width / (math.ceil(len(panels) / columns) * height) * 3 / 4))

    columns = min(range(1, len(panels) + 1), key=shape)
    letters = max(14, round(_LETTERS * columns * width))
    title = round(1.7 * letters)
    font = ImageFont.load_default(letters)
    rows = math.ceil(len(panels) / columns)
    sheet = Image.new("RGB", (columns * width - _GAP, rows * (height + title) - _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for place, (label, image) in enumerate(panels):
        left, top = place % columns * width, place // columns * (height + title)
        pen.text((left, top + letters // 5), _cut(label, font, width - _GAP), fill="black", font=font)
        sheet.paste(image, (left, top + title))
    return sheet


def _cut(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: int) -> str:
    """`text` without as much of its end as does not fit into `room` pixels."""
    kept = text
    while len(kept) > 1 and font.getlength(kept) > room:
        kept = kept[:-2].rstrip() + "…"
    return kept
