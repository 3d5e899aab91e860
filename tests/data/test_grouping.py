"""data.groups: neighbours by file name, a regular expression, or none; copies stay together; few groups are said."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from configs import composed

from diffect.data.datamodule import DataModule
from diffect.data.grouping import Grouping, neighbours
from diffect.data.sources.mvtec import Folder
from diffect.training import fingerprint

Make = Callable[..., Path]
Build = Callable[..., DataModule]
NORMAL = ("fit", "selection", "calibration")


@pytest.fixture
def build(make: Make, tmp_path: Path) -> Build:
    """build(root, **settings): a DataModule at 32 px that is set up."""

    def built(root: Path, **settings: object) -> DataModule:
        module = DataModule(Folder(root), size=32, cache=str(tmp_path / "cache"), **settings)
        module.setup()
        return module

    return built


def grouped(names: list[str]) -> list[list[str]]:
    return [[names[position] for position in block] for block in neighbours(names)]


def held(module: DataModule, of: str) -> list[set[str]]:
    """What each split of normal images holds."""
    return [{getattr(module.sample(*row), of) for row in module.splits[name]} for name in NORMAL]


# Neighbours


@pytest.mark.parametrize(("count", "groups"), [(2, 2), (7, 7), (8, 8), (19, 19), (20, 10), (90, 22), (209, 42)])
def test_small_sets_keep_enough_groups_of_consecutive_files(count: int, groups: int) -> None:
    names = [f"train/good/{number:03d}.png" for number in range(count)]
    blocks = grouped(names[::-1])
    assert len(blocks) == groups and sorted(chain(*blocks)) == names
    for block in blocks:
        first = names.index(block[0])
        assert block == names[first : first + len(block)]


def test_the_exposures_of_one_part_stay_together() -> None:
    parts = [[f"exp{exposure}_num_{1000 * part + 17 * exposure}.jpg" for exposure in range(6)] for part in range(100)]
    blocks = grouped(sorted(chain(*parts)))
    whole = [set(part) for part in parts]
    assert all(set(block) >= part or not set(block) & part for block in blocks for part in whole)
    assert 50 <= len(blocks) <= 100


def test_runs_are_told_apart_and_names_without_numbers_are_alone() -> None:
    names = [f"lot{lot}_{number}.png" for lot in (1, 2) for number in range(10)] + ["a.png", "b.png"]
    pairs = [names[start : start + 2] for start in range(0, 20, 2)]
    assert grouped(names) == [*pairs, ["a.png"], ["b.png"]]
    minutes = [(a, a + 1) for a in range(0, 60, 10)]
    dates = [[f"2024-01-{day}_{minute:02d}-59.png" for minute in pair] for day in (3, 4) for pair in minutes]
    assert grouped(sorted(chain(*dates), key=lambda name: name[11:])) == dates


# The DataModule


def test_neighbours_are_in_one_split(build: Build, make: Make) -> None:
    module = build(make(train=30))
    blocks = [{f"train/good/{number:03d}.png" for number in range(start, start + 3)} for start in range(0, 30, 3)]
    names = held(module, "name")
    assert all(names) and all(any(block <= split for split in names) for block in blocks)
    assert module.summary()["categories"]["part"]["split_groups"] == {
        "fit": 6,
        "selection": 1,
        "calibration": 3,
        "test": 6,
    }


def test_none_makes_each_image_its_own_group_even_a_copy(build: Build, make: Make) -> None:
    root = make(train=30)
    shutil.copy(root / "part/train/good/000.png", root / "part/train/good/000_copy.png")
    counts = build(root, groups="none").summary()["categories"]["part"]
    assert {name: counts[name] for name in NORMAL} == {name: counts["split_groups"][name] for name in NORMAL}
    assert "data.groups=auto prevents" in build(root, groups="none").audit()["part"]["warning"]


def test_a_regular_expression_names_the_group(build: Build, make: Make) -> None:
    root = make(train=40)
    for number, path in enumerate(sorted((root / "part/train/good").iterdir())):
        path.rename(path.with_name(f"p{number % 8}_{number}.png"))
    for seed in range(3):
        module = build(root, groups=r"^p(\d)_", seed=seed)
        parts = held(module, "group")
        assert sum(map(len, parts)) == 8 == len(set().union(*parts))
        assert all(sample.name[12:13] == sample.group for sample in module.parts[0].samples[:40])
    assert build(root, groups=r"^p(\d)_").summary()["rule"].endswith(r"file names agree in ^p(\d)_")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("part(", r"data\.groups=part\( is no regular expression \(missing \)"),
        (r"part\d+", r"has no capture group \(\.\.\.\); it must be auto, none, or a regular expression"),
        ("", "has no capture group"),
        (r"lot(\d+)", r"no group to 10 of the 10 training images of part, first 000\.png: it must match every"),
        (r"^(00[0-7])", r"no group to 2 of the 10 training images of part, first 008\.png"),
        (r"00(5)?", r"no group to 9 of the 10"),
        (r"(0)", r"10 normal training images of part form 1 groups.* need 3: set data\.groups=none"),
    ],
)
def test_a_rule_that_gives_no_groups_is_one_sentence(build: Build, make: Make, rule: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build(make(), groups=rule)


def test_few_groups_and_groups_on_both_sides_are_said(build: Build, make: Make) -> None:
    few, shared = build(make(train=40, good=3), groups=r"([0-8])\d\.").summary()["categories"]["part"]["notes"]
    assert few.startswith(
        "only 4 groups of normal training images (fit 2, selection 1, calibration 1; see data.groups)"
    )
    assert shared == "1 group of the test images, such as 0, are also in train"


def test_the_groups_of_a_source_are_kept_and_joined_with_copies(build: Build, make: Make) -> None:
    root = make(train=24)
    shutil.copy(root / "part/train/good/000.png", root / "part/train/good/023.png")
    module = build(root)
    clips = [replace(one, group=f"clip {row // 6}") for row, one in enumerate(module.source.samples("part"))][:24]
    found = Grouping().apply(clips, module.parts[0].store, module.kind, module.cache)
    assert [one.group for one in found] == ["clip 0"] * 6 + ["clip 1"] * 6 + ["clip 2"] * 6 + ["clip 0"] * 6


def test_groups_are_part_of_a_runs_name(make: Make) -> None:
    root = make()
    names = {
        fingerprint.of(composed("train", "data=mvtec", f"data.root={root}", f"data.groups={rule}"))
        for rule in ("auto", "none", r"'(\\d)\\.'")
    }
    assert len(names) == 3
