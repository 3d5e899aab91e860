"""The wheel holds conf/ and all assets, so that an installed diffect works anywhere; the README's code runs."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]


def readme() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_readmes_schedules_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (snippet,) = (snippet for snippet in readme() if "diffect.train" not in snippet)
    exec(compile(snippet, "README.md", "exec"), {})
    assert (tmp_path / "schedules.png").is_file()


@pytest.mark.slow
def test_the_readmes_detector_is_trained_loaded_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.effect_noise((90, 60), 30).save("photograph.png")
    (snippet,) = (snippet for snippet in readme() if "diffect.train" in snippet)
    small = '"data.size=64", "evaluation.replicates=5", "evaluation.latency_repeats=1", "evaluation.folds=2", '
    small += '"panel=0", "gallery=0"'
    before, line, after = snippet.replace('"seed=0"', f'"seed=0", {small}').partition("detector = diffect.load(")
    scope: dict[str, object] = {}
    exec(compile(before, "README.md", "exec"), scope)
    (record,) = tmp_path.glob("outputs/single/*/record.json")
    exec(compile((line + after).replace("SIGNATURE", record.parent.name), "README.md", "exec"), scope)
    assert capsys.readouterr().out.splitlines()[-1].endswith("(60, 90)")


@pytest.mark.slow
def test_wheel_holds_every_config(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "conf").rglob("*.yaml"):
        assert f"diffect/conf/{path.relative_to(ROOT / 'conf').as_posix()}" in names
    assert {"hydra_plugins/diffect_study/sweeper.py", "diffect/py.typed"} <= names
    for path in (ROOT / "src").rglob("assets/*"):
        assert path.relative_to(ROOT / "src").as_posix() in names

    # Unpacked away from the checkout, it finds its own conf/.
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'installed')!r}); "
        "from diffect.cli import main; from diffect.config import files; "
        "print(files.config_folder('train')); sys.exit(main.main(['train', '--cfg', 'job', 'study=elsewhere']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "installed" / "diffect" / "conf") in done.stdout
    assert "study: elsewhere" in done.stdout
