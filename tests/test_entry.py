"""The entry point: quick help without heavy imports, clear answers to wrong calls."""

import subprocess
import sys

import pytest

from diffect.__main__ import COMMANDS, main


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from diffect.__main__ import main; main(['--help']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'hydra', 'wandb', 'pytorch_lightning', 'numpy')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in COMMANDS)
    assert "diffect train" in done.stdout


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_each_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert command in capsys.readouterr().out


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert "did you mean train?" in capsys.readouterr().err


def test_config_errors_do_not_pay_for_torch() -> None:
    code = (
        "import sys; from diffect.__main__ import main; status = main(['train', 'schedule=nope']); "
        "sys.exit(status != 1 or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "nope" in done.stderr
