"""`diffect report experiment=NAME`: from logged runs to tables and figures; no torch on the way."""

import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from diffect.config import settings, validate
from diffect.config.files import command_for
from diffect.errors import suggest
from diffect.runs import sources, table, wandb
from diffect.runs.selection import Selection, matching
from diffect.storage.atomic import write_atomic
from diffect.storage.written import publishing

_NEEDED = ("pandas", "altair", "vl_convert")  # of the extra `report`


def run(cfg: DictConfig) -> None:
    """Read the runs in `source`, by default `outputs`/`experiment`, write the report into `out`, print its table.

    `out` defaults to experiments/NAME. Writes long.csv, runs.csv, table.csv, differences.csv, ranks.csv, table.md,
    the parts of a paper (see `reports.paper`) and report.html; the same runs give the same bytes. Groups are
    compared with `baseline`, by default the best; `where` takes some of the runs alone; `estimand` says whether the
    categories are fixed, or a random sample. With `trace` it writes nothing, and prints the runs behind one figure.
    Raises ValueError where there is nothing to report.
    """
    validate.check(cfg, settings.Report)
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise ValueError(f"a report needs {' and '.join(missing)}: pip install 'diffect[report]'")
    selection = _select(cfg)
    if (condition := _text(cfg, "where")) is not None:
        selection = matching(selection, condition)
    # Only now: pandas takes longer to import than it takes to say that there is nothing to report.
    from diffect.reports import csv_tables, markdown, trace
    from diffect.reports.build import build_study

    baseline, estimand = _text(cfg, "baseline"), _text(cfg, "estimand") or "fixed"
    study = build_study(selection.study, selection.runs, selection.left_out, baseline, estimand)
    if (figure := _text(cfg, "trace")) is not None:
        print(trace.trace_figure(study, figure))
        return
    out = _out(cfg, selection.study)
    frames = {
        "long.csv": table.long(study.runs),
        "runs.csv": table.wide(study.runs, study.axes),
        "table.csv": csv_tables.means(study),
        "differences.csv": csv_tables.differences(study),
        "ranks.csv": csv_tables.ranks(study),
    }
    from diffect.reports import paper
    from diffect.reports.charts import study_charts
    from diffect.reports.page.document import write_page

    charts, reasons = study_charts(study)
    with publishing(out, f"the study {selection.study}", "out") as made:
        for name, frame in frames.items():
            write_atomic(made / name, table.csv_text(frame))
        write_atomic(made / "table.md", markdown.markdown_report(study))
        problems = [*reasons, *paper.write_paper(study, charts, reasons, made)]
        problems += write_page(study, charts, made, [*_ignored(selection), *problems])
    print(markdown.terminal_report(study))
    for sentence in [*_ignored(selection), *problems]:
        print(textwrap.fill(f"left out: {sentence}", 120, subsequent_indent="  ", break_long_words=False))
    print(f"the report is in {out}")


def _select(cfg: DictConfig) -> Selection:
    """The runs that the config names, by `source` or by `experiment`."""
    name, source, filters = _text(cfg, "experiment"), _text(cfg, "source"), _filters(cfg)
    if name is not None and not _is_folder_name(name):
        raise ValueError(f"experiment={name} cannot be the name of a study: it must be the name of a folder in outputs")
    if source is not None:
        return sources.read(source, name, filters)
    outputs = Path(str(cfg.outputs)).expanduser()
    known = sorted(path.name for path in outputs.iterdir() if path.is_dir()) if outputs.is_dir() else []
    there = f"{outputs} has {', '.join(known)}" if known else f"{outputs} has no runs yet"
    if name is None:
        raise ValueError(f"experiment is not set; say which study to report, experiment=NAME: {there}")
    if name not in known:
        guess = suggest(name, known) or f"; {there}"
        raise ValueError(f"there are no runs of '{name}' in {outputs}{guess}; `{command_for(name)}` makes them")
    return sources.read(str(outputs / name), name, filters)


def _text(cfg: DictConfig, key: str) -> str | None:
    value: Any = cfg.get(key)
    if isinstance(value, ListConfig):  # a name with a comma, in Hydra's brackets
        value = ", ".join(map(str, value))
    return None if value in (None, "") else str(value)


def _filters(cfg: DictConfig) -> dict[str, Any]:
    """The query of `filters`, which is a mapping, or text as `wandb.parse_filters` reads it."""
    if isinstance(given := cfg.get("filters"), DictConfig):
        given = OmegaConf.to_container(given)
    if isinstance(given, dict):
        return {str(key): value for key, value in given.items()}
    return wandb.parse_filters(str(given)) if given else {}


def _out(cfg: DictConfig, name: str) -> Path:
    """The folder of the report: `out`, or experiments/STUDY."""
    if (out := _text(cfg, "out")) is not None:
        return Path(out).expanduser()
    if not _is_folder_name(name):  # it may come from anybody's log
        raise ValueError(f"the study's name, '{name}', cannot name a folder; say where the report goes, out=FOLDER")
    return Path("experiments") / name


def _is_folder_name(name: str) -> bool:
    return Path(name).name == name and name not in ("", ".", "..")


def _ignored(selection: Selection) -> list[str]:
    """What the source holds besides the study's runs, a sentence for each reason."""
    names: dict[str, list[str]] = {}
    for item in selection.ignored:
        names.setdefault(item.reason, []).append(item.name)
    return [f"{', '.join(listed)}: {reason}" for reason, listed in names.items()]
