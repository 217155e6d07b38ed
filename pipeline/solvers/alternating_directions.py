"""Total variation by alternating directions: one division in k-space, and two splittings that need no other volume.

Minimises G(K x) + λ Σ w |∇x| on a periodic grid, where K is a multiplication in k-space. Each step draws the unknown
towards a gradient and towards the data, by one division; the gradient is then shortened and the data term met.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from pipeline.errors import NotConverged
from pipeline.grid import Grid
from pipeline.operators.dipole import AXES
from pipeline.operators.fourier import forward_transform, inverse_transform
from pipeline.operators.gradient import laplacian_spectrum
from pipeline.operators.padding import Frame

DrawData = Callable[[Tensor | None], Tensor]
"""Takes the spectrum of the unknown (None at the start) and may overwrite it; returns what the data add to the
numerator, which must not be changed."""
_TOUCHING_PARABOLAS = 3
_SLAB_VALUES = 200_000


class ClosedData:
    """The data term ½‖K x − f‖² with equal trust everywhere: it is met inside the division, without an FFT per step."""

    def __init__(self, kernel: Tensor, target: Tensor) -> None:
        """Take the kernel on the half spectrum and the data `(z, y, x)`."""
        self._numerator = torch.fft.rfftn(target, dim=AXES).mul_(kernel)

    def __call__(self, spectrum: Tensor | None) -> Tensor:
        """Return what the data add to the numerator, always the same."""
        return self._numerator


class WeightedData:
    """The data term ½‖W(K x − f)‖², split from the unknown so that every voxel can have its own weight."""

    def __init__(self, kernel: Tensor, frame: Frame, target: Tensor, precision: Tensor, relaxation: float) -> None:
        """Start with data that are met.

        Parameters
        ----------
        kernel
            Half spectrum `(z, y, x // 2 + 1)` on the frame.
        frame
            The periodic working volume.
        target
            Data f `(z, y, x)` on the full grid, zero where nothing is known.
        precision
            W² `(z, y, x)` there, about 1 where the data are as good as usual, 0 where nothing is known.
        relaxation
            Between 1 and 2.
        """
        self._kernel, self._frame, self._relaxation = kernel, frame, relaxation
        self.target = target[frame.inner].clone()
        self.share = precision[frame.inner] / (precision[frame.inner] + 1)
        self._kept = frame.embed(target)

    def __call__(self, spectrum: Tensor | None) -> Tensor:
        """Meet the data half way and return what they add to the numerator."""
        pulled = self._kept
        if spectrum is not None:
            predicted = inverse_transform(spectrum.mul_(self._kernel), self._frame.grid.shape)
            # Nobody else holds it, so this frees it before the next transform needs the room.
            del spectrum
            pulled.add_(predicted, alpha=self._relaxation)
            del predicted
        # Outside the window nothing is known, and every prediction is met.
        met = pulled.clone()
        self.meet(met[self._frame.window])
        drawn = met.mul(2).sub_(pulled)
        pulled.sub_(met, alpha=self._relaxation)
        del met
        return forward_transform(drawn).mul_(self._kernel)

    def meet(self, pulled: Tensor) -> None:
        """Replace predictions in the window of the mask, in place, by what lies between them and the data."""
        pulled.lerp_(self.target, self.share)


class PeriodicData(WeightedData):
    """The data term Σ W² (1 − cos s(K x − f)) / s²: ½‖W(K x − f)‖² for small errors, and blind to whole turns.

    An error of whole turns, which unwrapping may leave, costs nothing, and any other at most 2 W² / s².
    """

    def __init__(
        self, kernel: Tensor, frame: Frame, target: Tensor, precision: Tensor, relaxation: float, turn: float
    ) -> None:
        """Take what `WeightedData` takes, and the error that is one turn, 2π / s."""
        super().__init__(kernel, frame, target, precision, relaxation)
        del self.share
        self._precision, self._turn = precision[frame.inner].clone(), turn

    def meet(self, pulled: Tensor) -> None:
        """Replace predictions in the window, in place, by what lies between them and the nearest turn of the data.

        Below 1 − cos a lies no parabola, but above it one with the curvature sin a / a that touches it at a; to go to
        the minimum of that one never goes up.
        """
        thickness = len(pulled) if pulled.is_cuda else max(1, _SLAB_VALUES // pulled[0].numel())
        for start in range(0, len(pulled), thickness):
            slab = slice(start, start + thickness)
            self._meet_slab(pulled[slab], self.target[slab], self._precision[slab])

    def _meet_slab(self, pulled: Tensor, target: Tensor, precision: Tensor) -> None:
        pulled.sub_(target)
        error = pulled
        for _ in range(_TOUCHING_PARABOLAS):
            turns = torch.div(error, self._turn).round_()
            rest = torch.sub(error, turns, alpha=self._turn).mul_(2 / self._turn)
            trust = rest.sinc_().mul_(precision)
            error = turns.mul_(self._turn).mul_(trust).add_(pulled).div_(trust.add_(1.0))
        torch.add(target, error, out=pulled)


@dataclass(frozen=True)
class Anchor:
    """The term ½ γ Σ |x̂ − t̂|² over some places of k-space.

    `places` are their flat indices in the half spectrum `(place,)`, `target` is t̂ there, and `weight` is γ.
    """

    places: Tensor
    target: Tensor
    weight: float

    def draw(self, spectrum: Tensor, numerator: Tensor, divisor: Tensor) -> None:
        """Overwrite the quotient of numerator and divisor where this term adds to both."""
        above = numerator.flatten()[self.places].add_(self.target, alpha=self.weight)
        below = divisor.flatten()[self.places].add_(self.weight)
        spectrum.view(-1)[self.places] = above.div_(below)


class Splitting(Protocol):
    """A prior on the gradient, split from the unknown."""

    def update(self, volume: Tensor) -> Tensor:
        """Take a new unknown and return that towards which the gradient term draws the next one."""


Prior = TypeVar("Prior", bound=Splitting)


class AlternatingDirections(Generic[Prior]):
    """The state of the alternation; `advance` may be called again after thresholds or the anchor changed.

    Source: Bilgic 2014, doi:10.1002/mrm.25029; over-relaxation: Eckstein & Bertsekas 1992, doi:10.1007/BF01581204.
    """

    def __init__(self, grid: Grid, kernel_power: Tensor, data: DrawData, gradient: Prior, penalty: float) -> None:
        """Build the divisor once.

        Parameters
        ----------
        grid
            A periodic grid.
        kernel_power
            |K|², what the data add to the divisor, on the half spectrum.
        data
            The data term.
        gradient
            The split gradient.
        penalty
            Weight of the gradient's splitting.
        """
        self.gradient = gradient
        self.anchor: Anchor | None = None
        """A further quadratic term in part of k-space."""
        self._grid, self._data, self._penalty = grid, data, penalty
        self._divisor = laplacian_spectrum(grid, kernel_power).mul_(penalty).add_(kernel_power)
        # Neither term sees the constant; it is left at zero.
        self._divisor[0, 0, 0] = 1.0
        self._spectrum: Tensor | None = None
        self._drawn: Tensor | None = None

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
            Called with the number of steps done; with `iterations` where the share is reached earlier.

        Returns
        -------
        The volume `(z, y, x)`, with a mean of zero.

        Raises
        ------
        NotConverged
            A value became infinite.
        """
        before: Tensor | None = None
        for step in range(1, iterations + 1):
            volume = self._step()
            sample = volume[::2, ::2, ::2].clone()
            size = float(sample.norm())
            if not math.isfinite(size):
                raise NotConverged("The inversion diverged; the field or its noise holds extreme values.")
            is_done = before is not None and float(before.sub_(sample).norm()) <= tolerance * size
            before = sample
            if on_iteration is not None:
                on_iteration(iterations if is_done else step)
            if is_done or step == iterations:
                return volume
            # Free it before the next step makes another.
            del volume
        raise ValueError("At least one step is needed.")

    def _taken(self) -> Tensor | None:
        spectrum, self._spectrum = self._spectrum, None
        return spectrum

    def _step(self) -> Tensor:
        numerator = self._data(self._taken())
        if self._drawn is not None:
            drawn, self._drawn = forward_transform(self._drawn), None
            numerator = drawn.mul_(self._penalty).add_(numerator)
            del drawn
        self._spectrum = numerator / self._divisor
        if self.anchor is not None:
            self.anchor.draw(self._spectrum, numerator, self._divisor)
        del numerator
        self._spectrum[0, 0, 0] = 0.0
        volume = inverse_transform(self._spectrum.clone(), self._grid.shape)
        self._drawn = self.gradient.update(volume)
        return volume
