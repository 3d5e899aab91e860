"""What a tuning leaves behind: tune.json, candidates.csv, tune.md, and the tables of the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from tabulate import tabulate

from diffect.runs.record import Choice, Figure, Part
from diffect.runs.record_file import pretty
from diffect.storage.atomic import write_atomic, write_csv
from diffect.tuning.selection import Hindsight, objective

NAME = "tune.json"
FIGURES = ("image_auroc", "pixel_aupro_30", "image_tpr_at_5fpr")
SHOWN = 10  # candidates on the terminal and in tune.md
_COLUMNS = ("", "candidate", "setting", "objective", "behind best", "image AUROC", "AUPRO 30%", "TPR at 5% FPR")
_HINDSIGHT = ("", "chosen", "as given", "best", "its setting", "regret", "regret as given", "rank correlation")

Figures = dict[str, Any]  # of one candidate on one category; FIGURES, and in the evidence replicates and kinds
Gathered = dict[str, list[Figures]]  # by category, in the order of the candidates; {} for what is not done yet


class ChosenRun(Part):
    """The run of the chosen setting on one category."""

    signature: str
    metrics: dict[str, Figure]


class TuningRecord(Part):
    """All of one tuning, in the order of its file; evidence and test hold the figures of all candidates."""

    format: Literal[2] = 2
    status: Literal["running", "finished"] = "running"
    signature: str
    study: str
    seed: int
    rule: str
    notes: list[str]
    candidates: list[dict[str, str]]
    choice: Choice | None = None
    runs: dict[str, ChosenRun] = Field(default_factory=dict)
    hindsight: dict[str, Hindsight] | None = None
    test_reads: dict[str, int] = Field(default_factory=dict)
    evidence: Gathered = Field(default_factory=dict)
    test: Gathered = Field(default_factory=dict)
    seconds: float = 0.0
    versions: dict[str, str]
    commit: str | None
    created: str
    config: dict[str, Any]

    @property
    def chosen(self) -> Choice:
        """The choice of a tuning that has made it."""
        assert self.choice is not None
        return self.choice

    def label(self, candidate: int) -> str:
        """A candidate's overrides in one line."""
        return label(self.candidates[candidate])


def label(overrides: Mapping[str, str]) -> str:
    """Overrides in one line."""
    return " ".join(f"{key}={value}" for key, value in overrides.items()) or "as given"


def read(folder: Path) -> TuningRecord | None:
    """The tuning in `folder` so far; None where there is none, ValueError where it cannot be read."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        return TuningRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join([*map(str, first["loc"]), first["msg"]])
        raise ValueError(f"the tuning {path} is corrupt ({reason}); delete it to tune again") from error


def finished(folder: Path, signature: str, hindsight: bool) -> TuningRecord | None:
    """The finished tuning `signature` in `folder`, with hindsight if that is asked for, or None where work is left."""
    record = read(folder)
    if record is not None and record.signature != signature:
        raise ValueError(
            f"{folder / NAME} holds the tuning {record.signature}, not {signature}: set hydra.run.dir to another "
            "folder (the default names it by the tuning), or delete that one"
        )
    if record is None or record.status != "finished" or (hindsight and record.hindsight is None):
        return None
    return record


def write(folder: Path, record: TuningRecord) -> None:
    """Write `folder`/tune.json, whole or not at all; lists of numbers stay on one line."""
    write_atomic(folder / NAME, pretty(record.model_dump()) + "\n")


def short(figures: Sequence[Figures]) -> list[Figures]:
    """Figures without replicates and kinds."""
    return [{name: one[name] for name in FIGURES} for one in figures]


def write_tables(folder: Path, record: TuningRecord) -> None:
    """Write candidates.csv, a row for each candidate and category, and tune.md."""
    gathered = {"pseudo": record.evidence} | ({"test": record.test} if record.hindsight is not None else {})
    columns = [f"{kind}_{name}" for kind in gathered for name in (*FIGURES, "objective")]
    rows: list[list[Any]] = [["candidate", "setting", "chosen", "category", *columns]]
    for index in range(len(record.candidates)):
        for category in record.evidence:
            row = [index, record.label(index), str(index == record.chosen.candidate).lower(), category]
            for kind in gathered.values():
                figures = kind[category][index]
                values = (*(figures[name] for name in FIGURES), objective(figures))
                row += ["" if value is None else repr(round(value, 6)) for value in values]
            rows.append(row)
    write_csv(folder / "candidates.csv", rows)
    write_atomic(folder / "tune.md", document(record))


def document(record: TuningRecord) -> str:
    """The choice, the evidence for it, and the runs that have it, as Markdown."""
    chosen = record.label(record.chosen.candidate)
    parts = [f"Chosen among {len(record.candidates)} candidates for {', '.join(record.evidence)}: `{chosen}`."]
    parts += [f"Rule: {record.rule}.", *(f"Note: {note}." for note in record.notes)]
    parts += ["On selection normals and their synthetic defects, means over categories:"]
    parts += [tabulate(table(record), _COLUMNS, "github", disable_numparse=True)]
    parts += ["On the test set, with the chosen setting:", "\n".join(_runs(record))]
    if record.hindsight is not None:
        parts += ["In hindsight, after the choice was fixed, every candidate on the test set:"]
        parts += [tabulate(hindsight_table(record), _HINDSIGHT, "github", disable_numparse=True)]
    reads = ", ".join(f"{category} {count}" for category, count in record.test_reads.items())
    return "\n\n".join([*parts, f"Times that this study's runs and this tuning have read the test set: {reads}.\n"])


def _runs(record: TuningRecord) -> Iterator[str]:
    """A line with the figures of each category's run."""
    for category, run in record.runs.items():
        figures = [f"{name} {value:.4f}" for name in FIGURES if (value := run.metrics.get(name)) is not None]
        yield f"- {category}, run {run.signature}: {', '.join(figures)}"


def table(record: TuningRecord) -> list[list[str]]:
    """The best candidates by the objective, and in any case the chosen one and the config as given."""
    choice, rows = record.chosen, []
    order = sorted(range(len(choice.objective)), key=lambda index: -choice.objective[index])
    marks = dict.fromkeys(choice.tied, "tied") | {choice.best: "best"} | {choice.candidate: "chosen"}
    for place, index in enumerate(order):
        if place >= SHOWN and index not in (0, choice.candidate):
            continue
        behind = f"{choice.objective[choice.best] - choice.objective[index]:.4f} ± {choice.errors[index]:.4f}"
        figures = [by_candidate[index] for by_candidate in record.evidence.values()]
        means = [f"{sum(one[name] for one in figures) / len(figures):.4f}" for name in FIGURES]
        shown = [marks.get(index, ""), str(index), record.label(index), f"{choice.objective[index]:.4f}", behind]
        rows.append([*shown, *means])
    return rows


def hindsight_table(record: TuningRecord) -> list[list[str]]:
    """By category and for their mean: the test objectives of chosen, given and best, and the regrets."""
    rows = []
    for name, one in (record.hindsight or {}).items():
        objectives = [f"{value:.4f}" for value in (one.test_chosen, one.test_given, one.test_best)]
        regrets = [f"{value:.4f}" for value in (one.regret_chosen, one.regret_given)]
        correlation = "undefined" if one.rank_correlation is None else f"{one.rank_correlation:.2f}"
        rows.append([name, *objectives, record.label(one.best), *regrets, correlation])
    return rows


def show(record: TuningRecord, folder: Path, found: bool) -> None:
    """Print the choice."""
    print(f"tuning {record.signature} {'was finished already' if found else 'finished'}: {folder / NAME}\n")
    print(document(record), end="", flush=True)
