"""One tuning: evidence for every candidate, the choice, its runs, and, if asked for, the choice in hindsight."""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from diffect.data.datamodule import DataModule
from diffect.data.sources.folders import choose_categories
from diffect.data.synthetic import check_kinds
from diffect.detector.module import DetectorModule
from diffect.errors import sentence
from diffect.runs import record_file
from diffect.runs.record import Tuning as Evidence
from diffect.storage.lock import once
from diffect.training import build, fingerprint, fit, recording
from diffect.training.run import Run, prepare
from diffect.tuning import evidence, selection
from diffect.tuning import record as tune_record
from diffect.tuning.candidates import Candidate, training_name
from diffect.tuning.record import ChosenRun, TuningRecord

WORK = "resume"  # what was trained, to go on from; removed at the end

Figures = Callable[[DetectorModule, evidence.Indexed, DataModule], dict[int, Any]]


class Tuning:
    """A tuning in its folder, where it leaves tune.json, candidates.csv and tune.md; its runs lie beside the folder.

    What tune.json already holds is not repeated: evidence is kept by category and training.

    Args:
        cfg: the config as given, with `tune`.
        folder: of the tuning.
        name: its fingerprint.
        choices: the overrides of the command line, without those of `tune`.
        candidates: the settings to choose from, the config as given first.
    """

    def __init__(
        self, cfg: DictConfig, folder: Path, name: str, choices: dict[str, str], candidates: list[Candidate]
    ) -> None:
        self.cfg, self.folder, self.choices, self.candidates = cfg, folder, choices, candidates
        self.start = time.monotonic()
        self.categories: list[str] = []
        self.data: dict[str, DataModule] = {}
        config: Any = OmegaConf.to_container(cfg, resolve=True)
        made_by = recording.provenance()
        self.record = tune_record.read(folder) or TuningRecord(
            signature=name,
            study=cfg.study,
            seed=cfg.seed,
            rule=selection.RULE,
            notes=_notes(cfg, candidates),
            candidates=[candidate.overrides for candidate in candidates],
            versions=made_by.versions,
            commit=made_by.commit,
            created=made_by.created,
            config=config,
        )
        self.seconds_before = self.record.seconds  # of earlier calls

    def execute(self) -> TuningRecord:
        """Do what is left to do; ValueError, before any training, for a candidate that cannot be built."""
        prepare(self.cfg, self.folder)
        self._open()
        if self.record.choice is None:
            on_selection = partial(evidence.on_selection, tune=self.cfg.tune)
            self._gather(self.record.evidence, "evidence", on_selection)
            self.record.choice = selection.choose(self.record.evidence)
            self._write()
        self._run_chosen()
        if self.cfg.tune.hindsight and self.record.hindsight is None:
            self._gather(self.record.test, "test", evidence.on_test)
            chosen = self.record.chosen.candidate
            self.record.hindsight = selection.hindsight(self.record.evidence, self.record.test, chosen)
            for category in self.categories:
                self.record.test_reads[category] += len(self.candidates)
        self.record.status = "finished"
        self._write()
        tune_record.write_tables(self.folder, self.record)
        fit.forget(self.folder / WORK)
        return self.record

    def _open(self) -> None:
        """Open the data of each category, and check that the candidates can be built."""
        self.categories = choose_categories(self.cfg.data.category, instantiate(self.cfg.data.source).categories())
        for category in self.categories:
            data = build.open_data(self.candidates[0].of(category))
            if not data.splits["selection"]:
                raise ValueError(
                    f"category {category} has no selection images to choose settings on: it takes 8 normal images or "
                    f"more, and it has {len(data.splits['fit'])} (see data.shots)"
                )
            if self.cfg.tune.hindsight and not data.splits["test"]:
                raise ValueError(f"category {category} has no test images for hindsight: set tune.hindsight=false")
            self.data[category] = data
        self._check(self.data[self.categories[0]])

    def _check(self, data: DataModule) -> None:
        """Build every distinct detector once, so that no candidate fails later."""
        built: set[str] = set()
        for candidate in self.candidates:
            config = candidate.of(data.categories[0])
            if config.get("outlier_removal") is not None:
                raise ValueError(
                    "tune takes all normal images as they are: set outlier_removal=none, and give it to train"
                )
            name = training_name(config) + repr([config.scorer, config.get("head")])
            try:
                instantiate(config.anomaly_map, components=1)
                if name not in built:
                    representation = build.represent(config, data.categories, data.kind)
                    build.build(config, data.categories, data.blank(), representation, "tuning")
            except Exception as error:
                raise ValueError(
                    f"the candidate {tune_record.label(candidate.overrides)} cannot be built: {sentence(error)}"
                ) from error
            built.add(name)

    def _gather(self, gathered: tune_record.Gathered, kind: str, figures_of: Figures) -> None:
        """Figures of every candidate on every category into `gathered`, training once what shares its training."""
        groups: dict[str, list[int]] = {}
        for index, candidate in enumerate(self.candidates):
            groups.setdefault(training_name(candidate.of(self.categories[0])), []).append(index)
        jobs = [(category, group) for category in self.categories for group in groups.values()]
        for number, (category, group) in enumerate(jobs, start=1):
            done = gathered.setdefault(category, [{} for _ in self.candidates])
            if all(done[index] for index in group):
                continue
            _say(f"[{number}/{len(jobs)}] {kind} on {category}: {len(group)} of {len(self.candidates)} candidates")
            configs = [(index, self.candidates[index].of(category)) for index in group]
            data = self.data[category]
            trained = evidence.train(configs[0][1], data, training_name(configs[0][1]), self.folder / WORK)
            for index, figures in figures_of(trained, configs, data).items():
                done[index] = figures
            self._write()

    def _run_chosen(self) -> None:
        """The chosen setting as a run of each category; a finished run is not repeated."""
        candidate = self.candidates[self.record.chosen.candidate]
        settings = f"chosen among {len(self.candidates)} candidates before the test set was read: {selection.RULE}"
        tuning = Evidence(
            notes=self.record.notes,
            candidates=self.record.candidates,
            choice=self.record.chosen,
            evidence={category: tune_record.short(figures) for category, figures in self.record.evidence.items()},
            path=str(self.folder / tune_record.NAME),
        )
        for category in self.categories:
            config = candidate.of(category)
            name = fingerprint.of(config)
            folder = self.folder.parent / name
            _say(f"run of the chosen setting on {category}: {folder}")
            choices = self.choices | candidate.overrides | {"data.category": category}
            run = Run(config, folder, name, choices, settings, tuning)
            record, _ = once(folder, partial(record_file.finished, folder, name), run.execute, wait=True)
            self.record.runs[category] = ChosenRun(signature=name, metrics=record.results[category].metrics)
            self.record.test_reads[category] = record.test_reads or 1
            self._write()

    def _write(self) -> None:
        self.record.seconds = self.seconds_before + time.monotonic() - self.start
        tune_record.write(self.folder, self.record)


def _notes(cfg: DictConfig, candidates: list[Candidate]) -> list[str]:
    """Warnings for a reader of the evidence."""
    kinds = set(check_kinds(cfg.tune.kinds or ()))
    heads = [head for candidate in candidates if (head := candidate.config.get("head")) is not None]
    shared = sorted({kind for head in heads for kind in kinds & set(check_kinds(head.get("kinds") or ()))})
    if not shared:
        return []
    return [
        f"the evidence favours candidates with a head, because it was trained on kinds of defects that are scored here "
        f"({', '.join(shared)}); give head.kinds and tune.kinds different kinds to compare them with others"
    ]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
