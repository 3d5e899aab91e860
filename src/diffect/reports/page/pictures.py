"""The galleries of a study's runs, embedded: each picture once, as many runs as the page has room for."""

import base64
from pathlib import Path, PurePosixPath
from typing import Any

from diffect.config.description import counted
from diffect.reports.study import Study
from diffect.runs.record import Picture
from diffect.runs.record_file import GALLERY
from diffect.runs.table import Run

ROOM = 15_000_000  # bytes of all pictures together, as they stand in the page
_LARGEST = 500_000  # bytes of one file; those of a gallery have a tenth of it
_KINDS = {b"\xff\xd8\xff": "jpeg", b"\x89PNG": "png"}
_PICTURES = ("image", "map", "mask")

Entry = dict[str, Any]
Galleries = list[dict[str, list[Entry]] | None]  # by run, and there by category


def embed_galleries(study: Study, room: int = ROOM) -> tuple[list[str], Galleries, list[str]]:
    """All pictures as data URIs; the runs' galleries, with positions among them for pictures; what was left out.

    Runs of the lowest seeds come first, so that a page without room for all shows some of every group.
    """
    pictures: dict[str, int] = {}
    galleries: Galleries = [None] * len(study.runs)
    crowded, broken, logged, used = 0, [], 0, 0
    for place in sorted(range(len(study.runs)), key=lambda place: (study.runs[place].unit[1], place)):
        run = study.runs[place]
        if not any(run.record.gallery.values()):
            continue
        if not run.folder.is_dir():
            logged += 1
            continue
        if crowded:
            crowded += 1
            continue
        try:
            found = _read(run)
        except ValueError as error:
            broken.append(str(error))
            continue
        entries = [entry for shown in found.values() for entry in shown]
        uris = dict.fromkeys(entry[name] for entry in entries for name in _PICTURES if entry[name] is not None)
        new = [uri for uri in uris if uri not in pictures]
        if used + sum(map(len, new)) > room:
            crowded = 1
            continue
        used += sum(map(len, new))
        pictures |= {uri: len(pictures) + order for order, uri in enumerate(new)}
        for entry in entries:
            entry |= {name: pictures.get(entry[name]) for name in _PICTURES}
        galleries[place] = found
    return list(pictures), galleries, _left_out(crowded, broken, logged, room)


def _read(run: Run) -> dict[str, list[Entry]]:
    """The run's gallery with data URIs for paths; ValueError where a picture is not there."""
    return {
        category: [_entry(picture, run.folder) for picture in shown] for category, shown in run.record.gallery.items()
    }


def _entry(picture: Picture, folder: Path) -> Entry:
    entry: Entry = picture.model_dump()
    return entry | {name: _uri(folder, entry[name]) for name in _PICTURES if entry[name] is not None}


def _uri(folder: Path, name: str) -> str:
    parts = PurePosixPath(name).parts
    # A record may come from anywhere: it must not make the page show other files of this machine.
    if len(parts) != 2 or parts[0] != GALLERY or parts[1] == "..":
        raise ValueError(f"{folder.name}: the picture {name} does not lie in the run's {GALLERY}/")
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        raise ValueError(f"{folder.name}: the picture {name} cannot be read: {error.strerror or error}") from error
    kind = next((kind for magic, kind in _KINDS.items() if data.startswith(magic)), None)
    if kind is None or len(data) > _LARGEST:
        raise ValueError(f"{folder.name}: the picture {name} is not a small JPEG or PNG")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _left_out(crowded: int, broken: list[str], logged: int, room: int) -> list[str]:
    problems = []
    if crowded:
        pictures = f"{room / 1e6:g} MB of pictures"
        problems.append(f"report.html holds {pictures}: those of {counted(crowded, 'run')} stayed in the runs' folders")
    if broken:
        problems.append(f"report.html lacks the gallery of {counted(len(broken), 'run')}; the first: {broken[0]}")
    if logged:
        problems.append(
            f"report.html lacks the gallery of {counted(logged, 'run')} read from W&B, which holds no such pictures"
        )
    return problems
