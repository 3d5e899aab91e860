"""A path is read as it was typed, whatever its name, and what Hydra's grammar means elsewhere stays what it means."""

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from diffect.config.files import config_folder
from diffect.config.overrides import as_typed, for_hydra, reachable

NAMES = (
    *("plain", "with space", "Prüfung", "run=3", "copy (1)", "R&D", "it's", "#7", "a$b", "a,b", "[x]", "{y}", "007"),
    *("1e5", "true", '"quoted"', "'quoted'", "back\\slash", "end\\", "glob(x)", " lead", "a:b", "a;b", "50%", "!", "*"),
)
PLACES = {
    "train": ("data.root", "data.cache", "finetune_from", "hydra.run.dir"),
    "tune": ("data.root", "finetune_from"),
    "score": ("run", "images", "out", "data.root"),
    "report": ("source", "out", "outputs", "baseline"),
    "data": ("data.root", "root"),
}


def read(override: str) -> Any:
    """The value that Hydra takes from an override."""
    return OverridesParser.create().parse_override(override).value()


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_found_however_it_is_called(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    for command, keys in PLACES.items():
        for key in keys:
            for prefix in ("", "+", "++"):
                assert read(as_typed(f"{prefix}{key}={name}", command)) == name, (command, key)
            assert read(as_typed(f"{key}={tmp_path / name}", command)) == str(tmp_path / name)


@pytest.mark.slow
def test_every_name_reaches_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        (tmp_path / name).mkdir()
        with initialize_config_dir(str(config_folder("score")), version_base="1.3"):
            given = [reachable(as_typed(f"{key}={name}", "score")) for key in ("run", "images", "out", "data.root")]
            config = compose("score", given)
        assert [config.run, config.images, config.out, config.data.root] == [name] * 4


def test_a_path_that_is_not_there_yet_is_one_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("new (1)", "2026", "a=b", "R&D"):
        assert read(as_typed(f"out={name}", "score")) == name
    assert read(as_typed("out=a,b", "score")) == "a,b"  # scoring takes no sweep


def test_home_is_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert read(as_typed("hydra.run.dir=~/runs", "train")) == "/home/somebody/runs"


@pytest.mark.parametrize(
    ("override", "command"),
    [
        ("data.root=null", "train"),
        ("data.root=/one,/two", "train"),  # a sweep, where no folder has that name
        ("data.root=${oc.env:HOME}/data", "train"),
        ("data.root='quoted already'", "train"),
        ("data.category=[bottle,cable]", "train"),
        ("seed=0,1", "train"),
        ("filters={config.seed: 0}", "report"),
        ("~data.root", "train"),
    ],
)
def test_what_the_grammar_means_stays(override: str, command: str) -> None:
    assert as_typed(override, command) == override


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["images=neu", "heute"],
            "heute is not a setting KEY=VALUE; if it belongs to .* quote both: 'images=neu heute'",
        ),
        (["heute"], "heute is not a setting KEY=VALUE"),
        (
            ["category=a=b,c"],
            "category=a=b,c cannot be read: .* double quotes inside single ones, 'category=",
        ),
        (["maps=[png,npy"], "maps=.* cannot be read: close its brackets"),
        (["category=neu(1)"], "category=neu.* cannot be read"),
        (["a b=3"], "a b=3 cannot be read"),
    ],
)
def test_what_hydra_cannot_read_is_a_sentence(words: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        for_hydra(words, "score")


def test_words_of_hydras_flags_stay() -> None:
    words = ["--cfg", "job", "-cd", "my folder", "--info", "seed=1", "~data.cache", "detector=glob(pa*)"]
    assert for_hydra(words, "train") == [*words[:5], "++seed=1", *words[6:]]


def test_a_key_may_be_added_though_it_is_there() -> None:
    given = ["+data.workers=4", "++seed=1", "+experiment=demo", "+hydra.verbose=true"]
    assert for_hydra(given, "train") == ["++data.workers=4", *given[1:]]


def test_a_study_is_read_as_it_was_typed() -> None:
    assert [read(as_typed(f"study={name}", "train")) for name in ("2026", "a b", "x=1")] == ["2026", "a b", "x=1"]
    assert as_typed("study=a,b", "train") == "study=a,b"


def test_a_sweep_over_folders_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert as_typed("data.root=a,b", "train") == "data.root=a,b"
    Path("a,b").mkdir()
    assert read(as_typed("data.root=a,b", "train")) == "a,b"
