"""The classical denoiser: diffusers' UNet with self-attention at chosen resolutions and skip connections."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diffect.config.check import checked
from diffect.config.description import enumerated
from diffect.config.types import PositiveInt, Supplied
from diffect.denoisers.base import Network


@checked
class UNet(Network):
    """diffusers' UNet2DModel, given the log-SNR in place of a step number (Ho et al. 2020; Dhariwal & Nichol 2021).

    Args:
        shape: of x0, (C, h, w); h and w must divide by 2^(len(widths) - 1).
        classes: number of labels, 0 for none.
        outputs: channels of the output.
        widths: channels of each resolution, finest first, each a multiple of 8.
        attention: which of the resolutions carry self-attention, one flag each.
        layers: residual blocks per resolution.
        head: channels per attention head; divides the widths with attention, and the last, where it always is.
    """

    def __init__(
        self,
        shape: Supplied[Sequence[int]],
        classes: Supplied[int],
        outputs: Supplied[PositiveInt],
        widths: Sequence[PositiveInt] = (32, 64, 128),
        attention: Sequence[bool] = (False, False, True),
        layers: PositiveInt = 1,
        head: PositiveInt = 32,
    ) -> None:
        super().__init__()
        if len(shape) != 3:
            raise ValueError(f"denoiser=unet works on grids of two axes; x0 has {len(shape) - 1}: take denoiser=conv")
        from diffusers import UNet2DModel  # 5-14 s to import: only if it is used

        channels, *grid = shape
        halvings = 2 ** (len(widths) - 1)
        if any(side % halvings for side in grid):
            raise ValueError(
                f"denoiser.network.widths has {len(widths)} resolutions, so both sides of the grid must be divisible "
                f"by {halvings}; they are {grid[0]} x {grid[1]}"
            )
        if len(attention) != len(widths) or any(width % 8 for width in widths):
            raise ValueError(
                f"denoiser.network: widths {list(widths)} must be multiples of 8 and attention {list(attention)} "
                "must have one flag for each"
            )
        attended = {width for width, flag in zip(widths, attention, strict=True) if flag} | {widths[-1]}
        if any(width % head for width in attended):
            raise ValueError(
                f"denoiser.network.head is {head}; it must divide the widths that carry attention (the last always "
                f"does), {sorted(attended)}"
            )
        self.widths = list(widths)
        self.net = UNet2DModel(
            sample_size=tuple(grid),
            in_channels=channels,
            out_channels=outputs,
            layers_per_block=layers,
            block_out_channels=tuple(widths),
            down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attention),
            up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention)),
            attention_head_dim=head,
            norm_num_groups=8,
            num_class_embeds=classes or None,
        )
        nn.init.zeros_(self.net.conv_out.weight)
        nn.init.zeros_(self.net.conv_out.bias)

    def describe(self) -> str:
        return f"a U-Net [@ronneberger2015unet] with attention (widths {enumerated(self.widths)})"

    def forward(self, x: Tensor, log_snr: Tensor, label: Tensor | None) -> Tensor:
        # The sinusoidal embedding was made for steps 0..1000; [20, -20] nats are spread over the same span.
        step = (20 - log_snr.float()).clamp(0, 40) * 25
        out: Tensor = self.net(x, step, class_labels=label).sample
        return out.to(torch.promote_types(out.dtype, x.dtype))
