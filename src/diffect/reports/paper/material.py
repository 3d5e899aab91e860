"""What the runs worked on, and with what: images, splits, machines, versions; as sentences for the methods."""

from diffect.reports.escaping import breakable, escape
from diffect.reports.latex import slug
from diffect.reports.paper.counts import UNKNOWN, image_counts
from diffect.reports.paper.phrases import counted, kind, listed, number, part
from diffect.reports.paper.varying import told
from diffect.reports.study import Study
from diffect.runs.table import Run

_USES = {
    "fit": "images to fit",
    "selection": "for selection",
    "calibration": "for calibration",
    "test normal": "normal test images",
    "test defective": "defective test images",
}
_VERSIONS = ("diffect", "torch", "pytorch-lightning", "diffusers", "scikit-image", "numpy", "python")


def data(study: Study) -> list[str]:
    """Where the images come from, their size, how they were cut into parts, and how many there are of each."""
    return [
        told(study, "The images are", [_source(run) for run in study.runs]),
        told(study, "They are brought to", [_size(run) for run in study.runs]),
        told(study, "Splits:", [_rule(run) for run in study.runs]),
        told(study, "Of the normal images of each category are used", _shots(study)),
        told(study, "Of these normal images", [_dirt(run) for run in study.runs]),
        told(study, "Left out of training are", [_dropped(run) for run in study.runs]),
        told(study, "The images to fit are joined by", [_copies(run) for run in study.runs]),
        _counts(study),
    ]


def table_label(study: Study) -> str:
    """Of the table of images."""
    return f"tab:{slug(study.name)}-images"


def machine(study: Study) -> list[str]:
    """Devices, time, versions of what computed the numbers."""
    devices = sorted({escape(str(run.record.get("device") or "an unknown device")) for run in study.runs})
    seconds = [float((run.record.get("seconds") or {}).get("total") or 0) for run in study.runs]
    took = f"; together they took {_duration(sum(seconds))}" if all(seconds) else ""
    found: dict[str, set[str]] = {}
    for run in study.runs:
        for name, version in (run.record.get("versions") or {}).items():
            found.setdefault(name, set()).add(str(version))
    texts = [breakable(f"{name} {' and '.join(sorted(found[name]))}") for name in _VERSIONS if name in found]
    return [f"The runs were made on {listed(devices)}{took}.", f"Versions: {listed(texts)}." if texts else ""]


def _source(run: Run) -> str:
    source = part(part(run.record.get("config") or {}, "data"), "source")
    if kind(source) == "Textures":
        side = number(source.get("size"))
        return (
            rf"crops of {side} by {side} pixels from the textures of scikit-image~\cite{{vanderwalt2014skimage}}, the"
            f" defective ones with synthetic defects{_defects(run)}; no pixel is in both a training and a test crop"
        )
    return r"photographs in the layout of MVTec~AD~\cite{bergmann2021mvtec}" if kind(source) == "Folder" else ""


def _defects(run: Run) -> str:
    categories = (run.record.get("splits") or {}).get("categories") or {}
    kinds = sorted({kind for one in categories.values() for kind in one.get("defects") or {}} - {"good"})
    return f" ({listed([escape(kind) for kind in kinds])})" if kinds else ""


def _size(run: Run) -> str:
    node = part(run.record.get("config") or {}, "data")
    if "size" not in node:
        return ""
    canvas = (run.record.get("splits") or {}).get("canvas")
    shown = f", on a canvas of {canvas[0]} by {canvas[1]}" if isinstance(canvas, list) and len(canvas) == 2 else ""
    shape = "stretched to a square" if node.get("aspect") == "stretch" else "padded by their mirror image where needed"
    return f"{number(node['size'])} pixels on their short side{shown}, {shape}"


def _rule(run: Run) -> str:
    return escape(str((run.record.get("splits") or {}).get("rule") or ""))


def _shots(study: Study) -> list[str]:
    """Of each run; nothing is said where all take all."""
    found = [part(run.record.get("config") or {}, "data").get("shots") for run in study.runs]
    return ["all" if shots is None else number(shots) for shots in found] if any(found) else []


def _dirt(run: Run) -> str:
    node = part(run.record.get("config") or {}, "data")
    share, folder = node.get("contamination"), node.get("contamination_from")
    half = "half of the test defects of each kind"
    if not share:
        return f"none is replaced by a defective one; {half} is held out of the test set" if folder == "test" else ""
    known = {None: "the same images with synthetic defects", "test": f"from {half}, which is held out of the test set"}
    whence = known.get(folder, "images of a folder of their own")
    return (
        rf"{number(round(100 * float(share), 6))}\% are replaced by defective ones that nothing tells apart: {whence}"
    )


def _dropped(run: Run) -> str:
    found = run.record.get("outlier_removal")
    splits = listed([str(split) for split in (found or {}).get("splits", ["fit", "selection"])])
    return "" if not found else rf"images of {splits} with a {escape(str(found['rule']))}"


def _copies(run: Run) -> str:
    node = part(run.record.get("config") or {}, "data")
    kinds = [escape(str(kind)) for kind in node.get("augment") or []]
    copies = int(node.get("augment_copies") or 0)
    return f"{counted(copies, 'copy', 'copies')} of each, at random composed of {listed(kinds)}" if copies else ""


def _counts(study: Study) -> str:
    images = image_counts(study)
    known = [f"{escape(total)} {what}" for kind, what in _USES.items() if (total := images.total(kind)) != UNKNOWN]
    return rf"Together the categories have {listed(known)} (Table~\ref{{{table_label(study)}}})." if known else ""


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"
