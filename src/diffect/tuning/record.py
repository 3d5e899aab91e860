"""What a tuning leaves behind: tune.json, candidates.csv, tune.md, and its table on the terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffect.storage.atomic import write_atomic
from diffect.tuning.selection import objective

FORMAT = 1
NAME = "tune.json"
FIGURES = ("image_auroc", "pixel_aupro_30", "image_tpr_at_5fpr")
SHOWN = 10  # candidates on the terminal and in tune.md

Told = dict[str, Any]


def read(folder: Path) -> Told | None:
    """What the tuning in `folder` has told so far; None where there is none, ValueError where it cannot be read."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"the tuning {path} is corrupt ({error}); delete it to tune again") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise ValueError(f"{path} is no tuning of format {FORMAT}; delete it to tune again")
    return told


def finished(folder: Path, name: str, hindsight: bool) -> Told | None:
    """The finished tuning `name` in `folder`, with hindsight if it is asked for, or None where that is to be done."""
    told = read(folder)
    if told is not None and told["signature"] != name:
        raise ValueError(
            f"{folder / NAME} is the tuning {told['signature']}, not {name}: set hydra.run.dir to another folder (the "
            "default names it by the tuning), or delete that one"
        )
    if told is None or told["status"] != "finished" or (hindsight and told["hindsight"] is None):
        return None
    return told


def write(folder: Path, told: Told) -> None:
    """Write `folder`/tune.json, whole or not at all; a key, and a candidate's figures, on a line."""
    lines = []
    for key, value in told.items():
        text = json.dumps(value, allow_nan=False)
        if key in ("evidence", "test"):
            parts = [f"  {json.dumps(category)}: {_lines(held)}" for category, held in value.items()]
            text = "{\n" + ",\n".join(parts) + "\n }"
        lines.append(f" {json.dumps(key)}: {text}")
    write_atomic(folder / NAME, "{\n" + ",\n".join(lines) + "\n}\n")


def _lines(held: dict[str, Any]) -> str:
    return "{\n" + ",\n".join(f"   {json.dumps(i)}: {json.dumps(v, allow_nan=False)}" for i, v in held.items()) + "}"


def short(held: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Figures without replicates and kinds."""
    return [{name: figures[name] for name in FIGURES} for figures in held]


def write_tables(folder: Path, told: Told) -> None:
    """candidates.csv, a row for each candidate and category, and tune.md."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    kinds = ("pseudo", "test") if told["hindsight"] is not None else ("pseudo",)
    head = [f"{kind}_{name}" for kind in kinds for name in (*FIGURES, "objective")]
    writer.writerow(("candidate", "setting", "chosen", "category", *head))
    for index in range(len(told["candidates"])):
        for category, held in told["evidence"].items():
            row = [index, label(told, index), str(index == told["choice"]["candidate"]).lower(), category]
            for kind in kinds:
                figures = held[str(index)] if kind == "pseudo" else told["test"][category][str(index)]
                row += [_number(value) for value in (*(figures[name] for name in FIGURES), objective(figures))]
            writer.writerow(row)
    write_atomic(folder / "candidates.csv", buffer.getvalue())
    write_atomic(folder / "tune.md", "\n".join(document(told)))


def document(told: Told) -> list[str]:
    """The choice as Markdown, line by line."""
    chosen = told["choice"]["candidate"]
    lines = [f"Chosen for {', '.join(told['evidence'])}: `{label(told, chosen)}`.", "", f"Rule: {told['rule']}.", ""]
    lines += [f"Note: {note}.\n" for note in told["notes"]]
    lines += ["On selection normals and their synthetic defects, means over categories:", ""]
    lines += [f"| {' | '.join(row)} |" for row in _ruled(table(told))]
    if told["hindsight"] is not None:
        lines += ["", "In hindsight, after the choice was fixed, every candidate on the test set:", ""]
        lines += [f"| {' | '.join(row)} |" for row in _ruled(hindsight_table(told))]
    reads = ", ".join(f"{category} {count}" for category, count in told["test_reads"].items())
    return [*lines, "", f"Times that this study's runs and this tuning have read the test set: {reads}.", ""]


def table(told: Told) -> list[list[str]]:
    """The best candidates by the objective, and the chosen one and the config as given in any case."""
    objectives, choice = told["choice"]["objective"], told["choice"]
    order = sorted(range(len(objectives)), key=lambda index: -objectives[index])
    shown = [i for place, i in enumerate(order) if place < SHOWN or i in (0, choice["candidate"])]
    rows = [["", "candidate", "setting", "objective", "behind best", "image AUROC", "AUPRO 30%", "TPR at 5% FPR"]]
    for index in shown:
        marks = {choice["best"]: "best", choice["candidate"]: "chosen"}
        mark = marks.get(index, "tied" if index in choice["tied"] else "")
        behind = f"{objectives[choice['best']] - objectives[index]:.4f} ± {choice['errors'][index]:.4f}"
        held = [figures[str(index)] for figures in told["evidence"].values()]
        means = [f"{sum(one[name] for one in held) / len(held):.4f}" for name in FIGURES]
        rows.append([mark, str(index), label(told, index), f"{objectives[index]:.4f}", behind, *means])
    return rows


def hindsight_table(told: Told) -> list[list[str]]:
    """By category and for their mean: the objective on the test set of chosen, given and best, and the regrets."""
    rows = [["", "chosen", "as given", "best", "its setting", "regret", "regret as given", "rank correlation"]]
    for name, one in told["hindsight"].items():
        correlation = one["rank_correlation"]
        figures = [f"{one[key]:.4f}" for key in ("test_chosen", "test_given", "test_best")]
        regrets = [f"{one[key]:.4f}" for key in ("regret_chosen", "regret_given")]
        last = "undefined" if correlation is None else f"{correlation:.2f}"
        rows.append([name, *figures, label(told, one["best"]), *regrets, last])
    return rows


def show(told: Told, folder: Path, found: bool) -> None:
    """The choice on the terminal."""
    count = len(told["candidates"])
    print(f"tuning {told['signature']} {'was finished already' if found else 'finished'}: {folder / NAME}")
    print(f"chosen among {count} candidates: {label(told, told['choice']['candidate'])}\n")
    print(_aligned(table(told)))
    for note in told["notes"]:
        print(f"note: {note}")
    for category, run in told["runs"].items():
        figures = (f"{name} {run['metrics'][name]:.4f}" for name in FIGURES if run["metrics"].get(name) is not None)
        print(f"\n{category}: run {run['signature']}  {'  '.join(figures)}", end="")
    print()
    if told["hindsight"] is not None:
        print("\nin hindsight, on the test set:\n" + _aligned(hindsight_table(told)), flush=True)


def label(told: Told, index: int) -> str:
    """A candidate's overrides in one line."""
    return " ".join(f"{key}={value}" for key, value in told["candidates"][index].items()) or "as given"


def _ruled(rows: list[list[str]]) -> list[list[str]]:
    return [rows[0], ["---"] * len(rows[0]), *rows[1:]]


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _number(value: float | None) -> str:
    return "" if value is None else repr(round(value, 6))
