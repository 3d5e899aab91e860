"""The empirical distribution in closed form: x0 is one of the training patches, as denoiser and as density."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Interval
from torch import Tensor

from diffect.config.check import checked
from diffect.config.description import counted
from diffect.config.types import NonNegativeInt, Phrase, PositiveInt, Supplied
from diffect.denoisers.base import ClosedForm
from diffect.denoisers.coreset import greedy_centres
from diffect.diffusion.noise import seed_of
from diffect.diffusion.process import alpha_sigma
from diffect.representations.groups import apply_by_group, by_group, group_count, no_images

# From scaled queries (B, P, C), patches (M, C) and bias (B, 1 or P, M) to (B, P, D).
Read = Callable[[Tensor, Tensor, Tensor], Tensor]

MOST = 10_000  # patches, where the config does not say how many
_ROWS = 2**16  # patches that are hashed at a time
Memory = Annotated[
    PositiveInt | Annotated[float, Interval(gt=0, le=1)] | None,
    Phrase("a whole number of patches, a share above 0 and at most 1, or null"),
]

_WEIGHTS = 2**24  # weights of stored patches that may be held at a time


@checked
class Empirical(ClosedForm):
    """x0 at each grid cell is one of M stored training patches x_i, all equally likely.

    E[x0|x_t] = sum_i softmax_i(-||x_t - alpha x_i||^2 / (2 sigma^2)) x_i, over all of them, without approximation. As
    sigma goes to 0 it is the nearest neighbour of x_t / alpha, and the denoising error of an un-noised patch its
    distance to it: PatchCore (Roth et al. 2022, eq. 6). Squared distances are exact to about 1e-6 C in float32.

    Args:
        shape, classes, channels: see `Denoiser`.
        memory: M of each category, a whole number, or a share of its patches; None for all of them, but at most
            10,000.
        keep: `random`, an unbiased sample of patches, or `greedy`, PatchCore's coreset (see `greedy_centres`), which
            spreads over all patches, outliers first.
        window: a patch is used only at cells at most so many cells from its cell along each axis; None for everywhere.
        projection: channels of the random projection in which the coreset is chosen, None for none (Roth et al. 2022,
            section 3.2).
        conditional: each category is denoised by patches of that category, which needs labels; else all categories by
            the same M patches.
        seed: of the random choice, and of the projection.
    """

    patches: Tensor
    cells: Tensor
    owners: Tensor

    def __init__(
        self,
        shape: Supplied[Sequence[int]],
        classes: Supplied[PositiveInt] = 1,
        memory: Memory = None,
        keep: Literal["random", "greedy"] = "random",
        window: NonNegativeInt | None = None,
        projection: PositiveInt | None = 64,
        conditional: bool = True,
        seed: NonNegativeInt = 0,
        channels: Supplied[Sequence[int] | None] = None,
    ) -> None:
        super().__init__(shape, classes, channels)
        self.memory, self.keep, self.window, self.projection, self.seed = memory, keep, window, projection, seed
        self.groups = group_count(classes, conditional)
        # Sized by the fit.
        self.register_buffer("patches", torch.empty(0, self.shape[0]))
        self.register_buffer("cells", torch.empty(0, dtype=torch.int64))  # the cell that each patch is from
        self.register_buffer("owners", torch.empty(0, dtype=torch.int64))  # the category of each patch

    def describe(self) -> str:
        near = "" if self.window is None else f" from at most {counted(self.window, 'cell')} away"
        return f"the exact optimum for stored training patches, a weighted mean of those{near} ({self._kept()})"

    def _kept(self) -> str:
        """Which patches are stored, in words."""
        whose = "each category" if self.groups == self.classes else "all categories together"
        kept = "drawn at random"
        if self.keep == "greedy":
            kept = "chosen by greedy k-center [@gonzalez1985clustering] as in PatchCore [@roth2022patchcore]"
        if self.memory is None:
            return f"all of {whose} or, where they are more, {MOST:,} {kept}"
        if isinstance(self.memory, float):
            return f"{100 * self.memory:g}% of those of {whose}, {kept}"
        return f"{counted(self.memory, 'patch', 'patches')} of {whose}, {kept}"

    def forward(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        """x0_hat (B, C, *grid), by the patches of each image's category."""
        return self._read(x_t, log_snr, label, _mean)

    def log_density(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        """log of the mean over i of N(x_t; alpha x_i, sigma^2 I) at each position, in nats: (B, *grid)."""
        evidence = self._read(x_t, log_snr, label, _evidence)[:, 0]
        _, sigma = alpha_sigma(log_snr, evidence)  # (B, 1, ...)
        return self.log_normaliser(log_snr, label) + evidence - x_t.square().sum(1) / (2 * sigma**2)

    def log_normaliser(self, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        """-C/2 log(2 pi sigma^2) - log M at each position, M being the patches that are used there: (B, *grid)."""
        counts = self.patches.new_empty(len(log_snr), math.prod(self.grid))
        for group, rows in by_group(label, self.groups, len(log_snr)):
            patches, near = self._memory(group)
            counts[rows] = float(len(patches)) if near is None else near.sum(1).to(counts)
        _, sigma = alpha_sigma(log_snr, counts)
        normaliser = -0.5 * self.patches.shape[1] * (2 * math.pi * sigma**2).log() - counts.log()
        return normaliser.unflatten(1, self.grid)

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Choose and keep the patches of x0 (B, C, *grid); batches may come in any order."""
        by_category: list[list[Tensor]] = [[] for _ in range(self.groups)]
        for x0, label in batches:
            for group, rows in by_group(label, self.groups, len(x0)):
                by_category[group].append(x0[rows].to(self.patches).flatten(2).mT.flatten(0, 1))  # (B P, C)
        if not all(by_category):
            raise ValueError(no_images("denoiser=empirical", [len(parts) for parts in by_category]))
        cells = torch.arange(math.prod(self.grid), device=self.patches.device)
        kept = []
        for group, parts in enumerate(by_category):
            patches = torch.cat(parts)
            parts.clear()  # half the memory
            origin = cells.repeat(len(patches) // len(cells))
            chosen = self._chosen(patches, origin)
            kept.append((patches[chosen], origin[chosen], torch.full_like(chosen, group)))
        self.patches, self.cells, self.owners = (torch.cat(parts) for parts in zip(*kept, strict=True))
        self._check_window()

    def _chosen(self, patches: Tensor, origin: Tensor) -> Tensor:
        """Rows of the patches to keep."""
        count = self._count(len(patches))
        if self.keep == "greedy":
            return greedy_centres(self._points(patches, origin), count)
        return self._lots(patches).argsort()[:count]

    def _lots(self, patches: Tensor) -> Tensor:
        """A pseudo-random number (N,) for each patch, a function of its content, not of the order of images."""
        generator = torch.Generator().manual_seed(seed_of(self.seed, "memory"))
        factors = 2 * torch.randint(2**62, (patches.shape[1] + 1,), generator=generator).to(patches.device) + 1
        lots = []
        for part in patches.float().split(_ROWS):
            mixed = (part.contiguous().view(torch.int32).long() * factors[:-1]).sum(1)  # modulo 2^64
            lots.append((mixed ^ (mixed >> 32)) * factors[-1])
        return torch.cat(lots)

    def _count(self, patches: int) -> int:
        """How many of a category's patches to keep."""
        if self.memory is None:
            return min(MOST, patches)
        count = self.memory if isinstance(self.memory, int) else max(1, round(self.memory * patches))
        if count > patches:
            raise ValueError(
                f"memory of denoiser=empirical is {count}, but there are only {patches} patches to fit on; lower it, "
                "or give a share, such as 0.1"
            )
        return count

    def _points(self, patches: Tensor, origin: Tensor) -> Tensor:
        """The points that centres are chosen from: patches (N, C), projected, with coordinates if there is a window.

        Coordinates are scaled so that cells farther apart than the window are farther apart than any two patches:
        every window gets a patch before any gets a second one.
        """
        points, channels = patches, patches.shape[1]
        if self.projection is not None and self.projection < channels:
            generator = torch.Generator().manual_seed(seed_of(self.seed, "projection"))
            matrix = torch.randn(channels, self.projection, generator=generator) / self.projection**0.5
            points = patches @ matrix.to(patches)
        if self.window is None:
            return points
        widest = 2 * (points - points.mean(0)).square().sum(1).max().sqrt()
        return torch.cat([points, self._coordinates(origin).to(points) * widest / (self.window + 1)], dim=1)

    def _coordinates(self, cells: Tensor) -> Tensor:
        """Coordinates (N, axes) of cells (N,)."""
        return torch.stack(torch.unravel_index(cells, self.grid), dim=1)

    def _memory(self, group: int) -> tuple[Tensor, Tensor | None]:
        """A category's patches (M, C), and with a window which of them are used at which cell, (P, M)."""
        mine = self.owners == group
        if self.window is None:
            return self.patches[mine], None
        cells = self._coordinates(torch.arange(math.prod(self.grid), device=self.cells.device))  # (P, axes)
        stored = self._coordinates(self.cells[mine])  # (M, axes)
        near = torch.ones(len(cells), len(stored), dtype=torch.bool, device=cells.device)
        for axis, side in enumerate(self.grid):
            along = torch.arange(side, device=cells.device)[:, None]
            near &= ((along - stored[:, axis]).abs() <= self.window)[cells[:, axis]]
        return self.patches[mine], near

    def _check_window(self) -> None:
        for group in range(self.groups):
            _, near = self._memory(group)
            empty = 0 if near is None else int((~near.any(1)).sum())
            if empty:
                raise ValueError(
                    f"window of denoiser=empirical is {self.window}, and {empty} of the {math.prod(self.grid)} cells "
                    f"have no stored patch so near; raise it, or the memory, which is {self.memory}"
                )

    def _read(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None, read: Read) -> Tensor:
        """`read` at every position, (B, D, *grid).

        Patch i has the logit log N(x_t; alpha x_i, sigma^2 I) + constant = (alpha x_t x_i - alpha^2 x_i^2 / 2) /
        sigma^2.
        """
        return apply_by_group(partial(self._read_group, read), label, self.groups, x_t, log_snr)

    def _read_group(self, read: Read, group: int, x_t: Tensor, log_snr: Tensor) -> Tensor:
        patches, near = self._memory(group)
        queries = x_t.flatten(2).mT  # (B, P, C)
        alpha, sigma = alpha_sigma(log_snr, queries)  # (B, 1, 1)
        scaled = queries * alpha / sigma**2
        bias = -0.5 * (alpha / sigma) ** 2 * patches.square().sum(1)  # (B, 1, M)
        parts = []
        for cells in torch.arange(scaled.shape[1]).split(max(1, _WEIGHTS // bias.numel())):
            logits = bias if near is None else torch.where(near[cells], bias, -math.inf)
            parts.append(read(scaled[:, cells], patches, logits))
        return torch.cat(parts, dim=1).mT.unflatten(2, self.grid)


def _mean(scaled: Tensor, patches: Tensor, bias: Tensor) -> Tensor:
    """softmax(scaled patches^T + bias) patches, (B, P, C): attention, for which torch never holds all the weights."""
    batch, cells, _ = scaled.shape
    stored = patches.expand(batch, 1, -1, -1)
    mask = bias.expand(-1, cells, -1)[:, None]
    return F.scaled_dot_product_attention(scaled[:, None], stored, stored, attn_mask=mask, scale=1.0)[:, 0]


def _evidence(scaled: Tensor, patches: Tensor, bias: Tensor) -> Tensor:
    """logsumexp(scaled patches^T + bias), (B, P, 1)."""
    return (scaled @ patches.mT + bias).logsumexp(2, keepdim=True)
