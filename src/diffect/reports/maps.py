"""Heat maps beside the table: the panels of a few comparable runs, tiled into one picture."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from diffect.reports.study import Study
from diffect.runs.record import PANEL, write_atomic
from diffect.runs.table import Run

_MOST = 6
_WIDTH, _HEIGHT = 900, 700  # of one panel, pixels
_TITLE = 26


def write(study: Study, path: Path) -> list[str]:
    """Tile the panels of up to six groups into `path` (PNG), one run each, of one category if possible.

    Returns what could not be used, a sentence each; writes nothing, and removes an old picture, where no
    run has a panel that can be read.
    """
    tiles: list[Image.Image] = []
    problems = []
    for label, run in _chosen(study):
        try:
            with Image.open(run.folder / PANEL) as image:
                tiles.append(_tile(image.convert("RGB"), label))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            problems.append(f"the panel {run.folder / PANEL} cannot be read: {error}")
    if not tiles:
        path.unlink(missing_ok=True)
        return problems
    buffer = io.BytesIO()
    _tiled(tiles).save(buffer, format="PNG", optimize=False)
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


def _tile(image: Image.Image, label: str) -> Image.Image:
    """The panel, never enlarged, under its label."""
    scale = min(1.0, _WIDTH / image.width, _HEIGHT / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    tile = Image.new("RGB", (max(size[0], 200), size[1] + _TITLE), "white")
    tile.paste(image.resize(size, Image.Resampling.LANCZOS), (0, _TITLE))
    ImageDraw.Draw(tile).text((4, 5), label, fill="black", font=ImageFont.load_default(14))
    return tile


def _tiled(tiles: Sequence[Image.Image]) -> Image.Image:
    """The tiles in as many columns as bring the picture nearest to 4:3, all cells of one size."""
    gap = 12
    width = max(tile.width for tile in tiles) + gap
    height = max(tile.height for tile in tiles) + gap

    def shape(columns: int) -> float:
        return abs(math.log(columns * width / (math.ceil(len(tiles) / columns) * height) * 3 / 4))

    columns = min(range(1, len(tiles) + 1), key=shape)
    sheet = Image.new("RGB", (columns * width, math.ceil(len(tiles) / columns) * height), "white")
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (place % columns * width, place // columns * height))
    return sheet
