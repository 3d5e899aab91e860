"""Shell completion works in a real bash, after `eval "$(diffect train --shell-completion install=bash)"`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from diffect.cli.main import main

pytestmark = pytest.mark.slow

PRESS_TAB = """\
eval "$(diffect train --shell-completion install=bash)"
COMP_LINE="$1"; COMP_POINT=${#COMP_LINE}; COMP_WORDS=($COMP_LINE); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
$(complete -p diffect | sed -E 's/.*-F ([^ ]+) .*/\\1/')
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("line", "among"),
    [
        ("diffect tr", ["train"]),
        ("diffect train sched", ["schedule="]),
        ("diffect train schedule=co", ["schedule=cosine"]),
        ("diffect train schedule=edm training.st", ["training.steps="]),
    ],
)
def test_a_word_is_completed(line: str, among: list[str], tmp_path: Path) -> None:
    script = tmp_path / "diffect"
    script.write_text(f'#!/bin/bash\nexec {sys.executable} -m diffect "$@"\n')
    script.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["bash", "-c", PRESS_TAB, "bash", line]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert set(among) <= set(done.stdout.split()), done


def test_another_shell_is_refused_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--shell-completion", "install=tcsh"]) == 1
    assert "--shell-completion is for bash" in capsys.readouterr().err
