"""Categories of several sources in one run: each as its source gives it, under a name of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from configs import composed
from hydra.utils import instantiate
from omegaconf import DictConfig

from diffect.cli.main import main
from diffect.data.sample import IMAGE, Kind
from diffect.data.sources.joined import Joined
from diffect.data.sources.mvtec import Folder
from diffect.data.sources.textures import Textures
from diffect.training import fingerprint

pytestmark = pytest.mark.slow

Make = Callable[..., Path]
CONF = Path(__file__).parents[2] / "conf"


def config(root: Path, *overrides: str) -> DictConfig:
    return composed("train", "data=joined", f"data.root={root}", "data.size=64", *overrides)


def test_every_category_is_as_its_source_gives_it(make: Make, tmp_path: Path) -> None:
    folder, textures = Folder(make("bolt", "nut")), Textures(size=64, train=4, good=1, defective=1, cache=tmp_path)
    joined = Joined({"textures": textures, "folder": folder})
    assert joined.categories() == ["bolt", "brick", "grass", "gravel", "nut"]
    for source in (folder, textures):
        for category in source.categories():
            assert joined.samples(category) == source.samples(category)
            assert joined.fingerprint(category) == source.fingerprint(category)


def test_a_name_means_one_category(make: Make, tmp_path: Path) -> None:
    joined = Joined({"textures": Textures(cache=tmp_path), "folder": Folder(make("bolt", "grass"))})
    for call in (joined.categories, lambda: joined.samples("bolt"), lambda: joined.fingerprint("bolt")):
        with pytest.raises(ValueError, match=r"sources textures and folder .* both have a category grass") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_what_is_not_there_is_said(make: Make) -> None:
    joined = Joined({"one": Folder(make("bolt", "nut"))})
    with pytest.raises(ValueError, match=r"data\.category=nuts is not in one: did you mean nut\? It holds bolt, nut"):
        joined.samples("nuts")
    with pytest.raises(ValueError, match=r"data\.source\.sources is empty"):
        Joined({}).categories()


def test_one_module_trains_on_all_of_them(make: Make, tmp_path: Path) -> None:
    cfg = config(make("bolt"), f"data.cache={tmp_path / 'cache'}", "data.category=[grass,bolt]", "data.batch_size=4")
    data = instantiate(cfg.data)
    data.attach("", lambda images: images.float())
    assert data.categories == ["grass", "bolt"]
    assert [sorted(b["label"].tolist()) for b in data.train_dataloader()] == [[0, 0, 1, 1]] * 50
    told = data.summary()["categories"]
    assert (told["grass"]["train"], told["bolt"]["train"]) == (64, 10) and set(data.audit()) == {"grass", "bolt"}


def test_joining_leaves_no_choice_out(make: Make) -> None:
    assert set(composed("train", "data=textures").data) <= set(config(make()).data)


def test_not_where_the_data_lies_names_a_run_but_what_it_is(make: Make, tmp_path: Path) -> None:
    root = make("bolt")
    named = fingerprint.of(config(root))
    moved = root.rename(tmp_path / "moved")
    assert fingerprint.of(config(moved, f"data.cache={tmp_path / 'cache'}")) == named
    (moved / "bolt/train/good/000.png").unlink()
    assert fingerprint.of(config(moved)) != named


def test_the_command_describes_them_together(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DIFFECT_CACHE", str(tmp_path / "cache"))
    root = make("bolt")
    assert main(["data", "data=joined", f"data.root={root}", "data.size=64"]) == 0
    first = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line]
    assert first.index("bolt") < first.index("brick") < first.index("grass") < first.index("gravel")
    assert main(["data", "data=joined"]) == 1
    assert "data.root is not set" in capsys.readouterr().err
    (root / "bolt").rename(root / "brick")
    assert main(["data", "data=joined", f"data.root={root}"]) == 1
    said = capsys.readouterr().err
    assert "textures and folder" in said and "brick" in said and len(said.strip().splitlines()) == 1


def test_sources_of_two_kinds_are_refused(make: Make) -> None:
    class Series(Folder):
        kind = Kind("series", channels=1, rank=1, dtype="float32")

    assert Joined({"one": Folder(make("bolt"))}).kind == IMAGE
    with pytest.raises(ValueError, match=r"sources one and two .* hold .*image.* and .*series.*: one run takes"):
        _ = Joined({"one": Folder(make("bolt")), "two": Series(make("nut"))}).kind
