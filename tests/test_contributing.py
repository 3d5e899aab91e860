"""What CONTRIBUTING.md shows is true: its package is written from the page, and its commands train with every part."""

import re
import shlex
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


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_page_run(
    command: str, lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(lab)
    arguments = shlex.split(command.replace("$LAB", f"'hydra.searchpath=[file://{lab}/mylab/conf]'"), comments=True)[1:]
    if arguments[0] == "train" and "--help" not in arguments:
        arguments += [*SMALL, *([] if "data=cloth" in arguments else ["data.category=brick"])]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    if "--help" in arguments:
        choices = [Path(name).stem for name in FILES if name.endswith(".yaml")]
        assert [choice for choice in choices if choice not in said] == []
    elif arguments[0] == "train":
        assert len(list(tmp_path.glob("outputs/single/*/record.json"))) == 1
