"""DINOv2, a vision transformer that was pretrained without labels, as a frozen backbone."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffect.config.check import checked
from diffect.config.description import enumerated
from diffect.config.types import File, PositiveInt
from diffect.errors import first_line
from diffect.representations.backbones import Backbone, digest, normalised


@checked
class Dinov2(Backbone):
    """Patch tokens of a DINOv2 vision transformer (Oquab et al. 2023), through the package `transformers`.

    Tokens are taken as a block leaves them, without the final layer norm, which was trained on those of the last block:
    the affine stage standardises them.

    Args:
        model: a folder with config.json and model.safetensors, or a name on the Hugging Face hub, such as
            facebook/dinov2-small or facebook/dinov2-with-registers-small.
        blocks: numbers of the blocks whose tokens are taken, from 1; later blocks are not computed.
        joined: the channels of all blocks make one scale; else each block is a scale.
    """

    def __init__(self, model: File[str], blocks: Sequence[PositiveInt] = (6, 9), joined: bool = False) -> None:
        self.net = _load(model)
        depth, width = self.net.config.num_hidden_layers, self.net.config.hidden_size
        if not blocks or list(blocks) != sorted(set(blocks)) or blocks[-1] > depth:
            raise ValueError(f"backbone.blocks is {list(blocks)}; it must be increasing numbers from 1 to {depth}")
        self.blocks, self.joined = tuple(blocks), joined
        self.net.out_indices = list(blocks)  # 0 is the embedding of the patches
        self.net.encoder.layer = self.net.encoder.layer[: blocks[-1]]
        self.net.eval().requires_grad_(False)
        self.channels = [width * len(blocks)] if joined else [width] * len(blocks)
        which = f"{','.join(map(str, blocks))}{':joined' if joined else ''}"
        self.identity = f"dinov2:{digest(self.net)}:{which}"

    def describe(self) -> str:
        config = self.net.config
        which = f"block{'s' if len(self.blocks) > 1 else ''} {enumerated(self.blocks)} of {config.num_hidden_layers}"
        scales = ", joined to one scale" if self.joined else ""
        return f"{which} of a DINOv2 vision transformer [@oquab2023dinov2] of width {config.hidden_size}{scales}"

    def maps(self, images: Tensor) -> list[Tensor]:
        patch = self.net.config.patch_size
        if any(side % patch for side in images.shape[2:]):
            short = min(images.shape[2:])
            nearest = sorted({max(patch, short // patch * patch), -(-short // patch) * patch})
            raise ValueError(
                f"backbone=dinov2 takes images whose height and width are multiples of {patch}, and these have "
                f"{images.shape[2]} x {images.shape[3]}: set data.size (with tiles, data.tiles.size) to "
                f"{' or '.join(map(str, nearest))}, and data.multiple to {patch}"
            )
        maps = self.net(normalised(images)).feature_maps  # each (B, width, H / patch, W / patch)
        return [torch.cat(maps, dim=1)] if self.joined else list(maps)


def _load(model: str) -> Any:
    """The network in float32, from safetensors alone; ValueError where there is none, or where weights are missing."""
    try:
        import transformers
    except ImportError:
        raise ValueError("backbone=dinov2 needs the package transformers: pip install 'diffect[dinov2]'") from None
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    families = {
        "dinov2": transformers.Dinov2Backbone,
        "dinov2_with_registers": transformers.Dinov2WithRegistersBackbone,
    }
    try:
        config = transformers.AutoConfig.from_pretrained(model)
        if config.model_type not in families:
            raise ValueError(f"it is a {config.model_type}")
        config.apply_layernorm, config.reshape_hidden_states = False, True
        net, report = families[config.model_type].from_pretrained(
            model, config=config, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
        if report["missing_keys"] or report["mismatched_keys"]:
            raise ValueError("weights are missing")
    except Exception as error:
        raise ValueError(
            f"backbone.model is {model}: neither a folder with the config.json and model.safetensors of a DINOv2 "
            f"model nor the name of one that the Hugging Face hub gives ({first_line(error)})"
        ) from error
    return net
