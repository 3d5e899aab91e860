"""The contract of denoisers: x_t to x0_hat, learned by steps or solved at once."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from diffect.config.description import Described
from diffect.diffusion.objective import TrainingNoise


class Learner(ABC):
    """A part that learns by gradient steps: a denoiser, or a scorer that needs no denoiser."""

    cellwise = False  # true where the loss of a grid is the mean of the losses of its cells, each by itself

    @abstractmethod
    def loss(self, x0: Tensor, label: Tensor | None, noise: TrainingNoise) -> Tensor:
        """The loss (B,) of each sample.

        Args:
            x0: (B, C, *grid).
            label: (B,), the category of each, or None.
            noise: one draw of the objective.
        """


class Denoiser(nn.Module, Described, ABC):
    """x0_hat (B, C, *grid) from x_t (B, C, *grid), log_snr (B,) and label (B,), or None for no label.

    A denoiser is also a `Learner`, which learns by steps, or a `ClosedForm`, which is solved at once.

    Args:
        shape: (C, *grid) of x0; the grid may have any number of axes.
        classes: how many categories there are.
        channels: of each scale of the representation's pyramid, which make up C; None for a single scale.
    """

    absent = False  # true for the placeholder of denoiser=none

    def __init__(self, shape: Sequence[int], classes: int = 1, channels: Sequence[int] | None = None) -> None:
        super().__init__()
        self.shape, self.classes = tuple(shape), classes
        self.channels = [self.shape[0]] if channels is None else list(channels)
        if sum(self.channels) != self.shape[0]:
            raise ValueError(f"x0 has {self.shape[0]} channels, but its scales have {self.channels}")

    @property
    def grid(self) -> tuple[int, ...]:
        """How many cells x0 has along each axis."""
        return self.shape[1:]

    @abstractmethod
    def forward(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        """x0_hat (B, C, *grid).

        Args:
            x_t: (B, C, *grid).
            log_snr: (B,), the level of each x_t.
            label: (B,), the category of each, or None.
        """


class ClosedForm(Denoiser):
    """A denoiser without training steps: the exact posterior mean under a density of x0 that is fitted at once."""

    @abstractmethod
    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Fit the density to batches of x0 (B, C, *grid) and label (B,), in any order; may iterate over them again."""

    @abstractmethod
    def log_density(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        """log p(x_t) at each position, in nats: (B, *grid); arguments as in `forward`."""

    @abstractmethod
    def log_normaliser(self, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        """The part of log p(x_t) that does not depend on x_t: (B, *grid).

        The rest, times -2, is a squared distance in units of the noise.
        """


class Network(nn.Module, Described, ABC):
    """The network of a learned denoiser: output (B, K, *grid) from x (B, C, *grid), log_snr (B,) and label (B,).

    It is constructed as network(shape=(C, *grid), classes=n, outputs=K); n is 0 if it is not conditioned on the
    category. K is C, and more where a variance is learned too.
    """

    cellwise = False  # true where each cell of the output depends on the same cell of x alone

    @abstractmethod
    def forward(self, x: Tensor, log_snr: Tensor, label: Tensor | None) -> Tensor: ...
