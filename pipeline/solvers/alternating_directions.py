"""Total variation by alternating directions: one division in k-space, and two splittings that need no other volume.

Minimises G(K x) + λ Σ w |∇x| on a periodic grid, where K is a multiplication in k-space. Each step draws the unknown
towards a gradient and towards the data, by one division; the gradient is then shortened and the data term met.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipeline.errors import NotConverged
from pipeline.grid import Grid
from pipeline.operators.dipole import AXES
from pipeline.operators.gradient import SplitGradient, laplacian_spectrum

DrawData = Callable[[Tensor | None], Tensor]
"""Takes the spectrum of the unknown (None at the start); returns what the data add to the numerator."""


class ClosedData:
    """The data term ½‖K x − f‖² with equal trust everywhere: it is met inside the division, without an FFT per step."""

    def __init__(self, kernel: Tensor, target: Tensor) -> None:
        """Take the kernel on the half spectrum and the data `(z, y, x)`."""
        self._numerator = torch.fft.rfftn(target, dim=AXES).mul_(kernel)

    def __call__(self, spectrum: Tensor | None) -> Tensor:
        """Return what the data add to the numerator, always the same; must not be changed."""
        return self._numerator


class WeightedData:
    """The data term ½‖W(K x − f)‖², split from the unknown so that every voxel can have its own weight."""

    def __init__(self, kernel: Tensor, target: Tensor, precision: Tensor, relaxation: float) -> None:
        """Start with data that are met.

        Parameters
        ----------
        kernel
            Half spectrum `(z, y, x // 2 + 1)`.
        target
            Data f `(z, y, x)`, zero where nothing is known.
        precision
            W² `(z, y, x)`, about 1 where the data are as good as usual, 0 where nothing is known; overwritten.
        relaxation
            Between 1 and 2.
        """
        self._kernel, self._target, self._relaxation = kernel, target, relaxation
        self._share = precision.div_(precision + 1)
        self._pulled = target.clone()

    def __call__(self, spectrum: Tensor | None) -> Tensor:
        """Meet the data half way and return what they add to the numerator."""
        if spectrum is not None:
            predicted = torch.fft.irfftn(spectrum * self._kernel, s=self._target.shape, dim=AXES)
            predicted.sub_(self.met())
            self._pulled.add_(predicted, alpha=self._relaxation)
            del predicted
        drawn = self.met().mul_(2).sub_(self._pulled)
        return torch.fft.rfftn(drawn, dim=AXES).mul_(self._kernel)

    def met(self) -> Tensor:
        """Return the data between measurement and prediction that the splitting has chosen."""
        return torch.lerp(self._pulled, self._target, self._share)


@dataclass
class AlternatingDirections:
    """The state of the alternation; `advance` may be called again after the thresholds of the gradient changed.

    Parameters
    ----------
    grid
        A periodic grid.
    kernel_power
        |K|² times the weight of the data's splitting, on the half spectrum.
    data
        The data term.
    gradient
        The split gradient.
    penalty
        Weight of the gradient's splitting.
    anchor
        Numerator and divisor of a further quadratic term ½ Σ g |x̂ − t̂|² in k-space, as (g t̂, g); may be exchanged.

    Source: Bilgic 2014, doi:10.1002/mrm.25029; over-relaxation: Eckstein & Bertsekas 1992, doi:10.1007/BF01581204.
    """

    grid: Grid
    kernel_power: Tensor
    data: DrawData
    gradient: SplitGradient
    penalty: float
    anchor: tuple[Tensor, Tensor] | None = None
    _spectrum: Tensor | None = field(default=None, init=False)
    _drawn: Tensor | None = field(default=None, init=False)
    _divisor: Tensor = field(init=False)

    def __post_init__(self) -> None:
        """Build the divisor once; the constant, which no term sees, is left at zero."""
        self._divisor = laplacian_spectrum(self.grid, self.kernel_power).mul_(self.penalty).add_(self.kernel_power)
        # A frequency that neither term sees would be divided by zero.
        self._divisor[0, 0, 0] = 1.0

    def advance(
        self, iterations: int, tolerance: float = 0.0, on_iteration: Callable[[int], None] | None = None
    ) -> Tensor:
        """Take steps until one changes the volume by less than a share of it, judged on every eighth voxel.

        Parameters
        ----------
        iterations
            Steps at most.
        tolerance
            The share.
        on_iteration
            Called with the number of steps done.

        Returns
        -------
        The volume `(z, y, x)`, with a mean of zero.

        Raises
        ------
        NotConverged
            A value became infinite.
        """
        before = None
        for step in range(iterations):
            volume = self._step()
            sample = volume[::2, ::2, ::2].clone()
            size = float(sample.norm())
            if not math.isfinite(size):
                raise NotConverged("The inversion diverged; the field or its noise holds extreme values.")
            is_done = before is not None and float(before.sub_(sample).norm()) <= tolerance * size
            before = sample
            if on_iteration is not None:
                on_iteration(iterations if is_done else step + 1)
            if is_done:
                break
        return volume

    def _step(self) -> Tensor:
        numerator = self.data(self._spectrum)
        if self._drawn is not None:
            drawn, self._drawn = torch.fft.rfftn(self._drawn, dim=AXES), None
            numerator = drawn.mul_(self.penalty).add_(numerator)
        if self.anchor is None:
            self._spectrum = numerator / self._divisor
        else:
            self._spectrum = (numerator + self.anchor[0]).div_(self._divisor + self.anchor[1])
        del numerator
        self._spectrum[0, 0, 0] = 0.0
        volume = torch.fft.irfftn(self._spectrum, s=self.grid.shape, dim=AXES)
        self._drawn = self.gradient.update(volume)
        return volume
