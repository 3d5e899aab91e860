"""What CONTRIBUTING.md shows is true: its package is written from the page, listed, checked, trained and reported."""

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from diffect.cli.main import main

PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`(mylab/[\w/.]+)`:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))
COMMANDS = re.findall(r"^diffect [a-z]+ .*\$LAB.*$", PAGE, re.MULTILINE)
SMALL = ["data.size=64", "evaluation.replicates=5", "evaluation.latency_repeats=1", "panel=0", "gallery=0"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds mylab/, as the page shows it."""
    folder = tmp_path_factory.mktemp("lab")
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_the_page_shows_a_class_and_a_yaml_file_for_each_kind_of_part() -> None:
    groups = {Path(name).parent.relative_to("mylab/conf").as_posix() for name in FILES if name.endswith(".yaml")}
    assert groups == {"schedule", "denoiser/network", "scorer", "representation", "backbone", "data"}
    assert len([name for name in FILES if name.endswith(".py")]) == len(groups)
    shown = " ".join(COMMANDS)
    for name in FILES:
        if name.endswith(".yaml"):
            group, choice = Path(name).parent.relative_to("mylab/conf").as_posix(), Path(name).stem
            assert f"{group}={choice}" in shown


def search(folder: Path) -> str:
    """The override that says where the YAML files of the package in `folder` are."""
    (conf,) = folder.glob("*/conf")
    return f"'hydra.searchpath=[file://{conf}]'"


@pytest.fixture(autouse=True)
def _elsewhere(lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(lab)


def test_help_lists_the_choices_without_importing_them(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "mylab"]:
        del sys.modules[name]
    (command,) = (command for command in COMMANDS if "--help" in command)
    assert main(shlex.split(command.replace("$LAB", search(lab)), comments=True)[1:]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, text in FILES.items():
        if name.endswith(".yaml"):
            choice, comment = Path(name).stem, text.partition("\n")[0].removeprefix("# ")
            assert any(choice in line and comment in line for line in lines) or choice in " ".join(lines).split()
    assert "mylab" not in sys.modules


@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command in COMMANDS if "--help" not in command])
def test_the_commands_of_the_page_run(command: str, lab: Path) -> None:
    arguments = shlex.split(command.replace("$LAB", search(lab)), comments=True)[1:]
    if arguments[0] == "train":
        arguments += [*SMALL, *([] if "data=cloth" in arguments else ["data.category=brick"])]
    assert main(arguments) == 0
    assert len(list(Path().glob("outputs/single/*/record.json"))) == (arguments[0] == "train")


@pytest.mark.slow
def test_a_run_of_its_parts_is_found_again_scored_and_described(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = ["train", search(lab).strip("'"), *SMALL, "study=mine", "data=cloth", "schedule=power", "denoiser=learned"]
    train += ["denoiser/network=pointwise", "representation=blocks", "scorer=absolute_error"]
    train += ["training.steps=2", "training.validate_every=1", "training.warmup=0"]
    assert main(train) == 0 and "was finished already" not in capsys.readouterr().out
    assert main(train) == 0 and "was finished already" in capsys.readouterr().out
    (record,) = Path().glob("outputs/mine/*/record.json")
    assert main(["score", f"run={record.parent}", "maps=false", "out=scored"]) == 0
    assert len(Path("scored/scores.csv").read_text().splitlines()) == 17  # the page's 16 test images
    assert main(["report", "experiment=mine"]) == 0
    methods = Path("experiments/mine/methods.tex").read_text()
    assert r"log-SNR falling with time to the power 1.5~\cite{doe2030power}" in methods
    assert "mean absolute error of" in methods and "mean colour of square blocks of pixels" in methods


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("denoiser.network.width=0", "denoiser.network.width is 0; it must be a whole number, 1 or more"),
        ("denoiser.network.widht=3", "did you mean denoiser.network.width?"),
        ("scorer.level=21", "scorer.level is 21; it must be a number from -20 to 20"),
        ("data.source.train=x", "data.source.train is 'x'; it must be a whole number, 1 or more"),
    ],
)
def test_settings_of_its_parts_are_checked(override: str, said: str, lab: Path, refused: Callable[..., str]) -> None:
    parts = ("data=cloth", "denoiser=learned", "denoiser/network=pointwise", "scorer=absolute_error")
    assert said in refused("train", search(lab).strip("'"), *parts, override)


@pytest.mark.slow
def test_a_class_that_breaks_its_contract_is_named_with_what_it_gave(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str]
) -> None:
    for name, text in FILES.items():
        path = tmp_path / name.replace("mylab", "badlab", 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("mylab", "badlab").replace("self.leave(F.gelu(h))", "F.gelu(h)"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    network = ("denoiser=learned", "denoiser/network=pointwise", "data=cloth", "representation=blocks")
    said = refused("train", search(tmp_path).strip("'"), *network)
    assert "badlab.networks.Pointwise.forward must give (2, 3, 16, 16); it gave (2, 64, 16, 16)" in said
