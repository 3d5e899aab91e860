"""The empirical distribution in closed form: x0 is one of the training patches, as denoiser and as density."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Annotated, Literal

import torch
from annotated_types import Interval
from torch import Tensor

from diffect.config.check import checked
from diffect.config.description import counted
from diffect.config.types import NonNegativeInt, Phrase, PositiveInt, Supplied
from diffect.denoisers.base import ClosedForm
from diffect.denoisers.coreset import greedy_centres
from diffect.denoisers.search import PatchSearch
from diffect.diffusion.noise import seed_of
from diffect.diffusion.process import alpha_sigma
from diffect.representations.groups import apply_by_group, by_group, group_count, no_images

# From logits (n, m) of patches (m, C), or (n, m, C), which differ by position, to (n, D).
Read = Callable[[Tensor, Tensor], Tensor]

SUMMED = 2**14  # patches that are all summed over, whatever number of neighbours is asked for
_ROWS = 2**16  # patches that are hashed at a time
_NUMBERS = 2**22  # in float32, that may be held at a time
Memory = Annotated[
    PositiveInt | Annotated[float, Interval(gt=0, le=1)] | None,
    Phrase("a whole number of patches, a share above 0 and at most 1, or null"),
]


@checked
class Empirical(ClosedForm):
    """x0 at each grid cell is one of M stored training patches x_i, all equally likely.

    E[x0|x_t] = sum_i softmax_i(-||x_t - alpha x_i||^2 / (2 sigma^2)) x_i. As sigma goes to 0 it is the nearest
    neighbour of x_t / alpha, and the denoising error of an un-noised patch its distance to it: PatchCore (Roth et al.
    2022, eq. 6). The sum is over the patches that `PatchSearch` finds nearest to x_t / alpha. It is exact, over all
    patches, without `neighbours`, with a window, and where there are at most 16,384 patches. Patches are kept in
    float16. Squared distances are exact to about 1e-6 C in float32.

    Args:
        shape, classes, channels: see `Denoiser`.
        memory: the most patches of each category, M, a whole number, or a share of its patches; None for all of them.
        keep: which patches, where not all: `random`, an unbiased sample, or `greedy`, PatchCore's coreset (see
            `greedy_centres`), which spreads over all patches, outliers first.
        neighbours: how many of the nearest patches are summed over; None for all patches, which compares every patch
            with every position. The more noise there is, the more patches have weight: of 214,016 patches of 40
            channels, the 16 nearest gave denoising errors of un-noised images that were off by 2% at log-SNR 3, 4% at
            1, 8% at 0 and 37% at -1.
        window: a patch is used only at cells at most so many cells from its cell along each axis; None for everywhere.
        projection: channels of the random projection in which the coreset is chosen, None for none (Roth et al. 2022,
            section 3.2).
        conditional: each category is denoised by patches of that category, which needs labels; else all categories by
            the same M patches.
        seed: of the random choice, and of the projection.
    """

    patches: Tensor
    cells: Tensor
    sizes: Tensor

    def __init__(
        self,
        shape: Supplied[Sequence[int]],
        classes: Supplied[PositiveInt] = 1,
        memory: Memory = None,
        keep: Literal["random", "greedy"] = "random",
        neighbours: PositiveInt | None = 16,
        window: NonNegativeInt | None = None,
        projection: PositiveInt | None = 64,
        conditional: bool = True,
        seed: NonNegativeInt = 0,
        channels: Supplied[Sequence[int] | None] = None,
    ) -> None:
        super().__init__(shape, classes, channels)
        self.memory, self.keep, self.window, self.projection, self.seed = memory, keep, window, projection, seed
        self.neighbours, self.groups = neighbours, group_count(classes, conditional)
        # The patches of one category after those of another; sized by the fit.
        self.register_buffer("patches", torch.empty(0, self.shape[0], dtype=torch.float16))
        self.register_buffer("cells", torch.empty(0, dtype=torch.int32))  # the cell that each patch is from
        self.register_buffer("sizes", torch.zeros(self.groups, dtype=torch.int64))  # M of each category
        self._searches: dict[int, PatchSearch] = {}  # of each category, made when first needed

    def describe(self) -> str:
        near = "" if self.window is None else f" from at most {counted(self.window, 'cell')} away"
        summed = "those" if self.neighbours is None or near else f"the {self.neighbours} nearest of those"
        return f"the optimum for stored training patches, a weighted mean of {summed}{near} ({self._kept()})"

    def _kept(self) -> str:
        """Which patches are stored, in words."""
        whose = "each category" if self.groups == self.classes else "all categories together"
        if self.memory is None:
            return f"all patches of {whose}"
        kept = "drawn at random"
        if self.keep == "greedy":
            kept = "chosen by greedy k-center [@gonzalez1985clustering] as in PatchCore [@roth2022patchcore]"
        if isinstance(self.memory, float):
            return f"{100 * self.memory:g}% of the patches of {whose}, {kept}"
        return f"at most {counted(self.memory, 'patch', 'patches')} of {whose}, {kept}"

    def forward(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        """x0_hat (B, C, *grid), by the patches of each image's category."""
        return self._read(x_t, log_snr, label, _mean)

    def log_density(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        """log of the mean over i of N(x_t; alpha x_i, sigma^2 I) at each position, in nats: (B, *grid)."""
        return self.log_normaliser(log_snr, label) + self._read(x_t, log_snr, label, _evidence)[:, 0]

    def log_normaliser(self, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        """-C/2 log(2 pi sigma^2) - log M at each position, M being the patches that are used there: (B, *grid)."""
        counts = log_snr.new_empty(len(log_snr), math.prod(self.grid))
        for group, rows in by_group(label, self.groups, len(log_snr)):
            counts[rows] = counts.new_tensor(self._counts(group))
        _, sigma = alpha_sigma(log_snr, counts)
        normaliser = -0.5 * self.shape[0] * (2 * math.pi * sigma**2).log() - counts.log()
        return normaliser.unflatten(1, self.grid)

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Choose and keep the patches of x0 (B, C, *grid) that are not missing; batches may come in any order."""
        by_category: list[list[Tensor]] = [[] for _ in range(self.groups)]
        for x0, label in batches:
            for group, rows in by_group(label, self.groups, len(x0)):
                by_category[group].append(x0[rows].to(self.patches).flatten(2).mT.flatten(0, 1))  # (B P, C)
        if not all(by_category):
            raise ValueError(no_images("denoiser=empirical", [len(parts) for parts in by_category]))
        cells = torch.arange(math.prod(self.grid), device=self.patches.device, dtype=torch.int32)
        kept, learned = [], []
        for parts in by_category:
            patches = torch.cat(parts)
            parts.clear()  # half the memory
            origin = cells.repeat(len(patches) // len(cells))
            known = ~patches[:, 0].isnan()
            if not known.all():
                patches, origin = patches[known], origin[known]
            learned.append(origin.unique().tolist())
            chosen = self._chosen(patches, origin)
            kept.append((patches[chosen], origin[chosen]))
        self.patches, self.cells = (torch.cat(parts) for parts in zip(*kept, strict=True))
        self.sizes.copy_(torch.tensor([len(cells) for _, cells in kept]))
        self._searches.clear()
        self._check_window(learned)

    def _chosen(self, patches: Tensor, origin: Tensor) -> Tensor:
        """Rows of the patches to keep; in random order if these are all."""
        count = len(patches)
        if isinstance(self.memory, float):
            count = max(1, round(self.memory * count))
        elif self.memory is not None:
            count = min(self.memory, count)
        if self.keep == "greedy" and count < len(patches):
            return greedy_centres(self._points(patches, origin), count)
        return self._lots(patches).argsort()[:count]

    def _lots(self, patches: Tensor) -> Tensor:
        """A pseudo-random number (N,) for each patch, a function of its content, not of the order of images."""
        generator = torch.Generator().manual_seed(seed_of(self.seed, "memory"))
        factors = 2 * torch.randint(2**62, (patches.shape[1] + 1,), generator=generator).to(patches.device) + 1
        lots = []
        for part in patches.split(_ROWS):
            mixed = (part.float().contiguous().view(torch.int32).long() * factors[:-1]).sum(1)  # modulo 2^64
            lots.append((mixed ^ (mixed >> 32)) * factors[-1])
        return torch.cat(lots)

    def _points(self, patches: Tensor, origin: Tensor) -> Tensor:
        """The points that centres are chosen from: patches (N, C), projected, with coordinates if there is a window.

        Coordinates are scaled so that cells farther apart than the window are farther apart than any two patches:
        every window gets a patch before any gets a second one.
        """
        channels = patches.shape[1]
        points = patches.to(torch.promote_types(patches.dtype, torch.float32))
        if self.projection is not None and self.projection < channels:
            generator = torch.Generator().manual_seed(seed_of(self.seed, "projection"))
            matrix = torch.randn(channels, self.projection, generator=generator) / self.projection**0.5
            points = points @ matrix.to(points)
        if self.window is None:
            return points
        widest = 2 * (points - points.mean(0)).square().sum(1).max().sqrt()
        return torch.cat([points, self._coordinates(origin).to(points) * widest / (self.window + 1)], dim=1)

    def _coordinates(self, cells: Tensor) -> Tensor:
        """Coordinates (N, axes) of cells (N,)."""
        return torch.stack(torch.unravel_index(cells.long(), self.grid), dim=1)

    def _stored(self, group: int) -> tuple[Tensor, Tensor]:
        """A category's patches (M, C) and their cells (M,)."""
        sizes = self.sizes.tolist()
        return self.patches.split(sizes)[group], self.cells.split(sizes)[group]

    def _near(self, group: int, window: int) -> list[Tensor]:
        """The rows of a category's patches that are used at each of the P cells."""
        _, origin = self._stored(group)
        cells = math.prod(self.grid)
        by_cell = origin.argsort(stable=True).split(origin.bincount(minlength=cells).tolist())
        places = self._coordinates(torch.arange(cells, device=origin.device))
        near = (places[:, None] - places).abs().amax(2) <= window  # (P, P)
        return [torch.cat([by_cell[other] for other in row.nonzero()[:, 0].tolist()]) for row in near]

    def _counts(self, group: int) -> list[int]:
        """How many of a category's patches are used at each of the P cells."""
        if self.window is None:
            return [int(self.sizes[group])] * math.prod(self.grid)
        return [len(rows) for rows in self._near(group, self.window)]

    def _check_window(self, learned: Sequence[Sequence[int]]) -> None:
        """ValueError where a cell of a category that some image has is near no stored patch."""
        for group, cells in enumerate(learned):
            counts = self._counts(group)
            empty = sum(not counts[cell] for cell in cells)
            if empty:
                raise ValueError(
                    f"window of denoiser=empirical is {self.window}, and {empty} of the {math.prod(self.grid)} cells "
                    f"have no stored patch so near; raise it, or the memory, which is {self.memory}"
                )

    def _read(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None, read: Read) -> Tensor:
        """`read` at every position, (B, D, *grid)."""
        return apply_by_group(partial(self._read_group, read), label, self.groups, x_t, log_snr)

    def _read_group(self, read: Read, group: int, x_t: Tensor, log_snr: Tensor) -> Tensor:
        """As `_read`; patch i has the logit -||x_t / alpha - x_i||^2 / (2 (sigma / alpha)^2)."""
        alpha, sigma = alpha_sigma(log_snr, x_t)
        queries = (x_t / alpha).flatten(2).mT.flatten(0, 1)  # (B P, C)
        half_snr = (0.5 * (alpha / sigma) ** 2).flatten().repeat_interleave(math.prod(self.grid))[:, None]
        order, parts = [], []
        for positions, patches in self._candidates(group, queries):
            squares = _squared_distances(queries[positions], patches)
            parts.append(read(-half_snr[positions] * squares, patches))
            order.append(positions)
        answer = torch.cat(parts)[torch.cat(order).argsort()]
        return answer.unflatten(0, (len(x_t), -1)).mT.unflatten(2, self.grid)

    def _candidates(self, group: int, queries: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Positions (n,) of queries (B P, C), and the patches (m, C) or (n, m, C) that the sum is over there."""
        patches, _ = self._stored(group)
        positions = torch.arange(len(queries), device=queries.device)
        if self.window is not None:
            near = self._near(group, self.window)
            for cell, rows in enumerate(near):
                yield positions[cell :: len(near)], patches[rows].to(queries)
        elif self.neighbours is None or len(patches) <= max(SUMMED, self.neighbours):
            stored = patches.to(queries)
            for part in positions.split(max(1, _NUMBERS // len(patches))):
                yield part, stored
        else:
            if group not in self._searches:
                self._searches[group] = PatchSearch(patches)
            for part in positions.split(max(1, _NUMBERS // (self.neighbours * patches.shape[1]))):
                yield part, patches[self._searches[group].nearest(queries[part], self.neighbours)].to(queries)


def _squared_distances(queries: Tensor, patches: Tensor) -> Tensor:
    """(n, m) from queries (n, C) to patches (m, C), or (n, m, C), which differ by query."""
    if patches.ndim == 3:
        return (patches - queries[:, None]).square().sum(2)
    norms = torch.linalg.vector_norm(patches, dim=1).square()
    squares = torch.addmm(norms, queries, patches.T, alpha=-2) + queries.square().sum(1, keepdim=True)
    return squares.clamp(min=0)


def _mean(logits: Tensor, patches: Tensor) -> Tensor:
    """The mean of the patches, weighted by softmax(logits): (n, C)."""
    return (logits.softmax(1)[:, None] @ patches)[:, 0]


def _evidence(logits: Tensor, patches: Tensor) -> Tensor:
    """logsumexp(logits): (n, 1)."""
    return logits.logsumexp(1, keepdim=True)
