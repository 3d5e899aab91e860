"""The frame of a map: where normal images err more towards the border than inside, the error counts for less."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diffect.categories import own


class Frame(nn.Module):
    """component / (r_y c_x), with r >= 1 for the rows and c >= 1 for the columns within `width` cells of the border.

    There a network sees half of its surroundings and zeros for the rest, coarse levels of a pyramid are interpolated
    from one side only, and photographs cut parts at varying places: normal images err more, and the highest pixels of a
    map would be those of the frame. By component,

        r_y = max(1, mean error in row y / mean error inside),

    both over normal images, r without the frame's columns and c without its rows; inside, and where the frame errs
    less, nothing is changed. Statistics of each cell would do the same to every place where parts vary, which hides
    what is wrong with a part that lies otherwise in every image.

    A component that takes both signs, such as a log-density, has no ratio: it gets no frame.

    Args:
        components: K.
        width: in cells; less on a grid that would have fewer than two rows or columns inside. 0 for none.
        groups: G, how many categories have a frame of their own; 1 for one of all images, which asks for no label.
    """

    rows: Tensor  # (G, K, h) once fitted
    columns: Tensor  # (G, K, w)

    def __init__(self, components: int, width: int, groups: int = 1) -> None:
        super().__init__()
        if width < 0:
            raise ValueError(f"pooling.frame is {width}; it must be 0 cells or more")
        self.width = width
        self.register_buffer("rows", torch.ones(groups, components, 0))
        self.register_buffer("columns", torch.ones(groups, components, 0))

    def forward(self, components: Tensor, label: Tensor | None = None) -> Tensor:
        """(B, K, h, w), damped, of labels (B,); before the fit as they are."""
        if not self.rows.numel():
            return components
        rows, columns = own(self.rows, label), own(self.columns, label)
        return components / (rows[..., None] * columns[..., None, :]).to(components)

    def fit(self, groups: Sequence[Tensor]) -> None:
        """From components (N, K, h, w) of normal images of each group."""
        rows, columns = zip(*map(self._fitted, groups), strict=True)
        self.rows, self.columns = torch.stack(rows), torch.stack(columns)

    def _fitted(self, components: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (K, h) and columns (K, w) of a group; float64 sums, so that the order of images has no say."""
        mean = components.double().mean(0)  # (K, h, w)
        signed = components.amin((0, 2, 3)) < 0
        height, width = mean.shape[1:]
        y, x = (_inside(size, min(self.width, (size - 2) // 2)) for size in (height, width))
        usual = mean[:, y][:, :, x].mean((1, 2)).clamp(min=1e-12)[:, None]
        rows, columns = (mean[:, :, x].mean(2) / usual).clamp(min=1), (mean[:, y].mean(1) / usual).clamp(min=1)
        rows[:, y] = columns[:, x] = 1.0
        rows[signed] = columns[signed] = 1.0
        return rows.float(), columns.float()


def _inside(size: int, width: int) -> slice:
    """What lies at least `width` cells from either end, all of it for a width below 1."""
    return slice(max(width, 0), size - max(width, 0))
