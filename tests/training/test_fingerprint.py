"""A run is named by all that can change one of its numbers, and by nothing else; torch is not imported for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from configs import composed
from PIL import Image

from diffect.config import static
from diffect.config.overrides import reachable
from diffect.training import fingerprint
from diffect.training.fingerprint import of

pytestmark = pytest.mark.slow


def name(*overrides: str) -> str:
    return of(composed("train", *map(reachable, overrides)))


def pictures(root: Path) -> None:
    for number, place in enumerate(("part/train/good", "part/test/good", "part/test/bent")):
        (root / place).mkdir(parents=True)
        Image.effect_noise((24, 20), 20 + 9 * number).save(root / place / "0.png")


@pytest.mark.parametrize(
    "same",
    [
        ["study=mine", "study_note=words", "evidence=false"],
        ["panel=1", "gallery=0"],
        ["tracking.mode=offline", "tracking.project=other"],
        ["data.workers=2", "data.cache=elsewhere", "data.source.cache=elsewhere"],
        ["trainer.enable_progress_bar=false", "trainer.log_every_n_steps=1", "trainer.profiler=simple"],
        ["trainer.logger={_target_: pytorch_lightning.loggers.CSVLogger, save_dir: x}"],
    ],
)
def test_names_places_and_displays_change_no_name(same: list[str]) -> None:
    assert name(*same) == name()


@pytest.mark.parametrize(
    "other",
    [
        ["seed=1"],
        ["data.source.seed=1"],
        ["data.category=brick"],
        ["scorer.draws=1"],
        ["schedule=linear"],
        ["trainer.precision=bf16-mixed"],
        ["trainer.callbacks=[{_target_: pytorch_lightning.callbacks.Timer}]"],
        ["evaluation.replicates=7"],
    ],
)
def test_what_can_change_a_number_changes_the_name(other: list[str]) -> None:
    assert name(*other) != name()


def test_keys_without_effect_are_named_by_the_highest_below_which_nothing_counts() -> None:
    idle = fingerprint.without_effect(composed("train", "backbone=exported", "backbone.path=net.pt2"))
    assert {"study", "tracking", "panel", "gallery", "data.cache", "trainer.log_every_n_steps"} <= {*idle}
    assert not {"data", "trainer", "trainer.max_steps", "finetune_from", "backbone.path", "scorer.levels"} & {*idle}


def test_another_version_is_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    before = name()
    monkeypatch.setattr("diffect.__version__", "9.9")
    assert name() != before


def test_moved_data_are_the_same_run_and_changed_data_another(tmp_path: Path) -> None:
    pictures(tmp_path / "here")
    before = name("data=mvtec", f"data.root={tmp_path}/here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert name("data=mvtec", f"data.root={tmp_path}/there") == before
    path = tmp_path / "there" / "part" / "train" / "good" / "0.png"
    Image.effect_noise((24, 20), 99).save(path)
    assert name("data=mvtec", f"data.root={tmp_path}/there") != before


def test_a_joined_source_of_any_name_can_be_moved(tmp_path: Path) -> None:
    pictures(tmp_path / "here")
    third = ["data=joined", "data.root=null", "~data.source.sources.folder", "data.category=[brick,part]"]
    third.append("data.source.sources.third._target_=diffect.data.sources.mvtec.Folder")
    before = name(*third, f"data.source.sources.third.root={tmp_path}/here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert name(*third, f"data.source.sources.third.root={tmp_path}/there") == before


def test_a_moved_backbone_is_the_same_run_and_an_overwritten_one_another(tmp_path: Path) -> None:
    path, copy = tmp_path / "net.pt2", tmp_path / "copy.pt2"
    path.write_bytes(b"some weights")
    shutil.copy(path, copy)
    before = name("backbone=exported", f"backbone.path={path}")
    assert name("backbone=exported", f"backbone.path={copy}") == before
    path.write_bytes(b"other weights")
    os.utime(path, ns=(1, 1))
    assert name("backbone=exported", f"backbone.path={path}") != before


def test_a_backbone_that_is_a_folder_counts_by_its_files_and_one_on_a_hub_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "model.safetensors").write_bytes(b"some weights")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    before = name("backbone=dinov2", f"backbone.model={tmp_path}/here")
    assert name("backbone=dinov2", f"backbone.model={tmp_path}/there") == before
    (tmp_path / "here" / "model.safetensors").write_bytes(b"other weights")
    changed = name("backbone=dinov2", f"backbone.model={tmp_path}/here")
    hub = [name("backbone=dinov2", f"backbone.model=facebook/dinov2-{size}") for size in ("small", "base")]
    assert len({before, changed, *hub}) == 4


def test_the_weights_inside_a_package_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "some_weights"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "net.pth").write_bytes(b"some weights")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(static, "constant", lambda target, _: ("some_weights",) if "Lite" in target else None)
    before = name()
    assert name() == before
    (package / "net.pth").write_bytes(b"other weights")
    os.utime(package / "net.pth", ns=(1, 1))
    assert name() != before


def test_the_default_backbone_names_its_weights() -> None:
    found = static.constant("diffect.representations.backbones.EfficientNetLite", "weights")
    assert found and all(fingerprint._package_files(package) for package in found)


def test_code_from_outside_counts_with_what_it_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "outside"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "weight.py").write_text("from outside.help import two\n\nclass Mine:\n    def __init__(self): ...\n")
    (package / "help.py").write_text("two = 2\n")
    (package / "unused.py").write_text("three = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def named() -> str:
        for cached in (static.read, static.find, static.parameters):
            cached.cache_clear()
        return name("~weight", "++weight={_target_: outside.weight.Mine}")

    before = named()
    (package / "unused.py").write_text("three = 4\n")
    assert named() == before
    (package / "help.py").write_text("two = 3\n")
    between = named()
    assert between != before
    (package / "weight.py").write_text("class Mine:\n    def __init__(self): self.x = 1\n")
    assert named() not in (before, between)


def test_data_that_cannot_be_read_have_a_name_and_a_bug_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(name("data=mvtec", "data.root=nowhere")) == 12

    def broken(*_: object) -> list[str]:
        raise KeyError("a bug")

    monkeypatch.setattr("diffect.data.sources.textures.Textures.categories", broken)
    with pytest.raises(KeyError, match="a bug"):
        name()


def test_a_run_is_named_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from hydra import compose, initialize_config_dir; from diffect.config.files import config_folder\n"
        "from diffect.training.fingerprint import of\n"
        "with initialize_config_dir(str(config_folder('train')), version_base='1.3'): print(of(compose('train')))\n"
        "sys.exit('torch' in sys.modules)"
    )
    environment = {**os.environ, "DIFFECT_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == name()
