"""The config is checked against what its classes take: types, bounds, unknown keys; torch is not imported for it."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Interval
from omegaconf import OmegaConf

from diffect.cli.main import main
from diffect.config import static
from diffect.config.check import check_value, checked, phrase
from diffect.config.settings import Section
from diffect.config.types import DISPLAY, PLACE, Display, LogSNR, NonNegativeInt, Part, Place, PositiveInt, Share
from diffect.config.validate import check, settings


@pytest.mark.parametrize(
    ("annotation", "said", "good", "bad"),
    [
        (PositiveInt, "a whole number, 1 or more", [1, 7], [0, -1, True, 1.0, "1", None]),
        (NonNegativeInt | None, "a whole number, 0 or more or null", [0, None], [-1, 2.5]),
        (Share, "a number from 0 to 1", [0, 1, 0.5], [1.01, -0.1, float("nan"), False]),
        (Annotated[float, Interval(ge=0, lt=1)], "a number, 0 or more and below 1", [0, 0.9], [1]),
        (list[LogSNR], "a list, each item a number from -20 to 20", [[], [3, -1.5]], [3, [21], ["a"], "ab"]),
        (float | Literal["oas"], "a number or oas", [0.1, "oas"], ["osa", None]),
        (int | float, "a number", [1, 0.5], [True, "a"]),
        (str | None, "text or null", ["a", None], [3]),
        (bool, "true or false", [True], [1, "true"]),
    ],
)
def test_a_value_is_refused_in_one_sentence(annotation: Any, said: str, good: list[Any], bad: list[Any]) -> None:
    assert phrase(annotation) == said
    for value in good:
        check_value("key", value, annotation)
    for value in bad:
        with pytest.raises(ValueError, match=r"^part\.key is ") as caught:
            check_value("part.key", value, annotation)
        assert str(caught.value) == f"part.key is {'null' if value is None else repr(value)}; it must be {said}"


def test_a_constructor_says_the_same() -> None:
    @checked
    class Thing:
        def __init__(self, draws: NonNegativeInt = 1, other: object = None) -> None:
            self.draws = draws

    assert Thing(2).draws == 2 and Thing(other=3).draws == 1
    for call in (lambda: Thing(-1), lambda: Thing(draws=-1)):
        with pytest.raises(ValueError, match=r"^Thing.draws is -1; it must be a whole number, 0 or more$"):
            call()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that cannot be imported, with classes that can be read."""
    name = f"read_{tmp_path.name}".replace("-", "_")
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("from .parts import Derived as Out\nraise RuntimeError('imported')\n")
    (tmp_path / name / "parts.py").write_text(
        textwrap.dedent(
            """
            from __future__ import annotations
            from collections.abc import Sequence
            from dataclasses import dataclass
            from typing import Literal
            from annotated_types import Ge
            from typing import Annotated
            import torch
            from diffect.config.types import PositiveInt, Supplied

            Kind = Literal["a", "b"]

            class Base:
                def __init__(self, shape: Supplied[int], width: PositiveInt = 3, *, kind: Kind = "a",
                             levels: Sequence[Annotated[float, Ge(0)]] = (), odd: torch.Tensor | None = None): ...
                def loss(self): ...

            class Derived(Base):
                pass

            @dataclass
            class Data:
                size: int
                inner: Base | None = None

            def anything(**options): ...
            """
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    static.read.cache_clear(), static.find.cache_clear(), static.parameters.cache_clear()
    return name


def test_signatures_are_read_and_never_imported(package: str) -> None:
    taken = static.parameters(f"{package}.Out")
    assert taken is not None
    assert list(taken) == ["shape", "width", "kind", "levels", "odd"]
    assert taken["shape"].required and not taken["width"].required
    assert taken["width"].annotation == PositiveInt and taken["kind"].annotation == Literal["a", "b"]
    assert phrase(taken["levels"].annotation) == "a list, each item a number, 0 or more"
    assert static.defines(f"{package}.Out", "loss") and not static.defines(f"{package}.parts.Data", "loss")
    data = static.parameters(f"{package}.parts.Data")
    assert data is not None and data["size"].required and data["inner"].annotation == Part | None
    assert static.parameters(f"{package}.parts.anything") is None


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"width": 0}, "part.width is 0; it must be a whole number, 1 or more"),
        ({"widht": 4}, "there is no config key part.widht; did you mean part.width?"),
        ({"shape": 4}, "there is no config key part.shape"),  # the program's to say
        ({"kind": "c"}, "part.kind is 'c'; it must be a or b"),
        ({"levels": [1, -1]}, "part.levels is [1, -1]; it must be a list, each item a number, 0 or more"),
        ({"_target_": "PACKAGE.parts.Nothing"}, "but PACKAGE.parts defines no such name"),
        ({"_target_": "nopackage.Thing"}, "no package nopackage is installed"),
        (
            {"_target_": "PACKAGE.parts.Data", "size": 1, "inner": {"_target_": "PACKAGE.Out", "width": 0}},
            "inner.width is 0",
        ),
        (
            {"_target_": "PACKAGE.parts.Data", "size": 1, "inner": 3},
            "part.inner is 3; it must be a choice of its group: inner@part.inner=NAME or null",
        ),
        ({"_target_": "PACKAGE.parts.anything", "whatever": 3}, None),
        ({"width": 4, "kind": "b", "levels": [1.0], "odd": None}, None),
    ],
)
def test_a_part_is_checked_against_its_class(package: str, part: dict[str, Any], said: str | None) -> None:
    class Root(Section):
        part: Part
        name: Display[str]

    text = OmegaConf.to_yaml({"name": "x", "part": {"_target_": f"{package}.Out"} | part}).replace("PACKAGE", package)
    cfg = OmegaConf.create(text)
    if said is None:
        check(cfg, Root)
        return
    with pytest.raises(ValueError) as caught:
        check(cfg, Root)
    assert said.replace("PACKAGE", package) in str(caught.value)


def test_marks_reach_down_to_every_value() -> None:
    class Inner(Section):
        folder: Place[str | None]
        size: int

    class Root(Section):
        shown: Display[Inner]
        inner: Inner

    found = {
        s.key: s for s in settings({"shown": {"folder": "a", "size": 1}, "inner": {"folder": "b", "size": 2}}, Root)
    }

    assert {key for key, setting in found.items() if setting.marked(DISPLAY)} == {"shown.folder", "shown.size"}
    assert {key for key, setting in found.items() if setting.marked(PLACE)} == {"shown.folder", "inner.folder"}


def test_every_key_that_a_class_takes_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--cfg", "job", "data.workers=2", "trainer.benchmark=true"]) == 0
    shown = capsys.readouterr().out
    assert "workers: 2" in shown and "benchmark: true" in shown


@pytest.mark.slow
def test_wrong_values_are_refused_without_torch(tmp_path: Path) -> None:
    wrong = ["training.steps=abc", "training.stepz=3", "+scorer.drows=2", "head.steps=3", "schedule=nope"]
    code = (
        "import sys; from diffect.cli.main import main;"
        "print([main(['train', override]) for override in sys.argv[1:]], 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, *wrong]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[1, 1, 1, 1, 1] False\n"
    said = [line for line in done.stderr.splitlines() if line.startswith("diffect train: ")]
    assert all(override.lstrip("+").partition("=")[0] in line for override, line in zip(wrong, said, strict=True))
    assert not list(tmp_path.iterdir())
