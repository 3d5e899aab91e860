"""DINOv2 gives the patch tokens of the blocks that were chosen, on any size that its patches divide.

The network is a tiny one with random weights in a folder of the test, so that nothing is downloaded. Folders that hold
no DINOv2 model, or not all of its weights, are refused with a sentence.
"""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

from diffect.representations.dinov2 import Dinov2
from diffect.representations.features import Features

TINY = {"hidden_size": 12, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 56, "patch_size": 14}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("dinov2")
    torch.manual_seed(0)
    net = Dinov2Model(Dinov2Config(**TINY))
    for parameter in net.parameters():  # of the size that training gives, so that no block is nearly the identity
        nn.init.normal_(parameter, std=0.3)
    net.save_pretrained(path)
    return str(path)


def images(height: int = 56, width: int = 56, count: int = 2) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_the_maps_are_the_patch_tokens_of_the_whole_network(folder: str) -> None:
    backbone, whole = Dinov2(folder, blocks=[2, 3]), Dinov2Model.from_pretrained(folder).eval()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = (images(56, 84) - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    states = whole(pixels, output_hidden_states=True).hidden_states
    maps = backbone.maps(images(56, 84))
    assert backbone.channels == [12, 12] and len(backbone.net.encoder.layer) == 3
    for number, found in zip((2, 3), maps, strict=True):
        tokens = states[number][:, 1:]  # without the class token
        assert torch.allclose(found, tokens.mT.unflatten(2, (4, 6)), atol=1e-4)
    last = whole.layernorm(Dinov2(folder, blocks=[4]).maps(images(56, 84))[0].permute(0, 2, 3, 1)).flatten(1, 2)
    assert torch.allclose(last, whole(pixels).last_hidden_state[:, 1:], atol=1e-4)


@torch.no_grad()
def test_joined_blocks_are_one_scale(folder: str) -> None:
    joined, apart = Dinov2(folder, blocks=[2, 4], joined=True), Dinov2(folder, blocks=[2, 4])
    assert joined.channels == [24]
    (found,) = joined.maps(images())
    assert torch.equal(found, torch.cat(apart.maps(images()), dim=1))


def test_a_pyramid_of_its_blocks_is_cached_under_weights_and_blocks(folder: str, tmp_path: Path) -> None:
    features = Features(Dinov2(folder, blocks=[2, 3]))
    assert features.extract(images(28, 42)).shape == (2, 24, 2, 3) and features.channels == [12, 12]
    torch.manual_seed(1)
    Dinov2Model(Dinov2Config(**TINY)).save_pretrained(tmp_path)
    others = [Dinov2(folder, [2]), Dinov2(folder, [2, 3], joined=True), Dinov2(str(tmp_path), [2, 3])]
    assert len({features.identity, *(Features(other).identity for other in others)}) == 4
    shutil.copytree(folder, tmp_path / "moved")
    assert Features(Dinov2(str(tmp_path / "moved"), blocks=[2, 3])).identity == features.identity


@torch.no_grad()
def test_registers_are_no_patches(tmp_path: Path) -> None:
    Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**TINY, num_register_tokens=3)).save_pretrained(tmp_path)
    assert [m.shape for m in Dinov2(str(tmp_path), [1, 4]).maps(images(28, 56))] == [(2, 12, 2, 4)] * 2


def test_it_says_which_tokens_it_takes_and_from_where(folder: str) -> None:
    assert Dinov2(folder, blocks=[2, 3], joined=True).describe() == (
        "blocks 2 and 3 of 4 of a DINOv2 vision transformer [@oquab2023dinov2] of width 12, joined to one scale"
    )


@pytest.mark.parametrize(
    ("height", "width", "nearest"), [(60, 56, "56"), (64, 64, "56 or 70"), (56, 64, "56"), (8, 14, "14")]
)
def test_a_size_that_patches_do_not_divide_names_the_nearest(
    folder: str, height: int, width: int, nearest: str
) -> None:
    with pytest.raises(
        ValueError, match=rf"multiples of 14, and these have {height} x {width}: set .* to {nearest}, and"
    ):
        Dinov2(folder, [2]).maps(images(height, width))


@pytest.mark.parametrize("blocks", [[], [3, 2], [2, 2], [0, 1], [2, 5]])
def test_blocks_that_do_not_exist_are_refused(folder: str, blocks: list[int]) -> None:
    with pytest.raises(ValueError, match=r"blocks is .*(increasing numbers from 1 to 4|a whole number, 1)"):
        Dinov2(folder, blocks)


def _without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _of_another_family(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "vit"}))


def _deeper(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 5}))


def _wider(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 16}))


def _cut(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


@pytest.mark.parametrize("spoil", [_without_config, _without_weights, _of_another_family, _deeper, _wider, _cut])
def test_a_folder_that_holds_no_whole_model_is_refused(folder: str, tmp_path: Path, spoil: object) -> None:
    shutil.copytree(folder, tmp_path / "model")
    spoil(tmp_path / "model")  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"backbone\.model is .*model: neither a folder with .* \(.+\)$") as caught:
        Dinov2(str(tmp_path / "model"))
    assert "\n" not in str(caught.value)


def test_a_missing_package_names_what_to_install(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"needs the package transformers: pip install 'diffect\[dinov2\]'"):
        Dinov2(folder)


def test_it_works_without_torchvision(folder: str) -> None:
    Dinov2(folder, [2]).maps(images())
    assert "torchvision" not in sys.modules and transformers.__version__
