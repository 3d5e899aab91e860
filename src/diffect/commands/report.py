"""`diffect report experiment=NAME`: from logged runs to tables and figures; no torch on the way."""

import difflib
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from diffect.reports import latex, markdown, study, tidy
from diffect.runs import table
from diffect.runs.record import write_atomic

FIGURES = ("schedules", "comparison")
MAPS = "maps.png"


def run(cfg: DictConfig) -> None:
    """Read the runs in `outputs`/`experiment`, write the report into `out`, and print its table.

    `out` defaults to experiments/NAME. Writes runs.csv, table.csv, differences.csv, table.md, table.tex,
    schedules and comparison as PDF and PNG, and maps.png; the same runs give the same bytes. Groups are
    compared with `baseline`, by default the best; `estimand` says whether the categories are fixed, or a random
    sample. Raises ValueError where there is nothing to report.
    """
    outputs = Path(str(cfg.outputs)).expanduser()
    name = _name(cfg, outputs)
    out = Path(str(cfg.out)).expanduser() if cfg.get("out") else Path("experiments") / name
    baseline = str(cfg.baseline) if cfg.get("baseline") is not None else None
    found = study.read(name, outputs / name, baseline, str(cfg.get("estimand", "fixed")))
    write_atomic(out / "runs.csv", table.to_csv(found.runs, found.axes))
    write_atomic(out / "table.csv", tidy.means(found))
    write_atomic(out / "differences.csv", tidy.differences(found))
    write_atomic(out / "table.md", markdown.document(found))
    write_atomic(out / "table.tex", latex.document(found))
    problems = _figures(found, out)
    print(markdown.plain(found))
    for sentence in problems:
        print(f"left out: {sentence}")
    print(f"the report is in {out}")


def _name(cfg: DictConfig, outputs: Path) -> str:
    """The study's name: one folder under `outputs`; ValueError naming those there are."""
    known = sorted(path.name for path in outputs.iterdir() if path.is_dir()) if outputs.is_dir() else []
    there = f"in {outputs} there are: {', '.join(known)}" if known else f"{outputs} holds no runs yet"
    if OmegaConf.is_missing(cfg, "experiment") or not cfg.experiment:
        raise ValueError(f"say which study to report: diffect report experiment=NAME; {there}")
    name = str(cfg.experiment)
    if Path(name).name != name or name in (".", ".."):
        raise ValueError(f"experiment={name} is no study's name: it is one folder's name; {there}")
    if known and name not in known:
        near = difflib.get_close_matches(name, known, 3)
        guess = f"did you mean {' or '.join(near)}?" if near else there
        make = f"diffect train experiment={name}"
        raise ValueError(f"there are no runs of '{name}' in {outputs}: {guess} ({make} makes them)")
    return name


def _figures(found: study.Study, out: Path) -> list[str]:
    """Draw what the records allow, remove older pictures of what they do not; returns what failed."""
    # Only now: matplotlib takes longer to import than the tables take to print.
    from diffect.reports import figures, maps

    problems = []
    schedules = figures.schedules_of(found)
    try:
        if schedules:
            figures.schedule_figure(schedules, out / "schedules")
    except ValueError as error:
        problems.append(str(error))
        schedules = []
    if not schedules:
        for suffix in (".pdf", ".png"):
            (out / f"schedules{suffix}").unlink(missing_ok=True)
    figures.comparison_figure(found, out / "comparison")
    return problems + maps.write(found, out / MAPS)
