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
from pipeline.operators.fourier import (
    forward_transform,
    inverse_transform,
    scale_spectrum,
    transform_over,
    volume_with_room,
)
from pipeline.operators.gradient import laplacian_spectrum
from pipeline.operators.padding import Frame

DrawData = Callable[[Tensor | None], Tensor]
"""Takes the spectrum of the unknown (None at the start) and may overwrite it; returns what the data add to the
numerator, which may be changed."""
_TOUCHING_PARABOLAS = 3
_SLAB_VALUES = 50_000


class ClosedData:
    """The data term ½‖K x − f‖² with equal trust everywhere: it is met inside the division, without an FFT per step."""

    def __init__(self, kernel: Tensor, target: Tensor) -> None:
        """Take the kernel on the half spectrum and the data `(z, y, x)`."""
        self._numerator = scale_spectrum(forward_transform(target), kernel)

    def __call__(self, spectrum: Tensor | None) -> Tensor:
        """Return what the data add to the numerator, always the same."""
        return self._numerator.clone() if spectrum is None else spectrum.copy_(self._numerator)


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
        if spectrum is None:
            drawn = volume_with_room(self._frame.grid.shape, self._kept)
        else:
            drawn = inverse_transform(scale_spectrum(spectrum, self._kernel), self._frame.grid.shape)
            self._kept.add_(drawn, alpha=self._relaxation)
        depth = len(drawn)
        thickness = depth if drawn.is_cuda else max(1, _SLAB_VALUES // drawn[0].numel())
        for start in range(0, depth, thickness):
            self._draw_planes(drawn, start, min(start + thickness, depth))
        return scale_spectrum(transform_over(drawn), self._kernel)

    def _draw_planes(self, drawn: Tensor, start: int, stop: int) -> None:
        """Fill some planes with that towards which the data draw the prediction; keep what the next step needs."""
        pulled = self._kept[start:stop]
        met = pulled.clone()
        # Outside the window nothing is known, and every prediction is met.
        z, y, x = self._frame.window
        first, last = max(start, z.start), min(stop, z.stop)
        if last > first:
            self.meet(met[first - start : last - start, y, x], slice(first - z.start, last - z.start))
        torch.lerp(pulled, met, 2.0, out=drawn[start:stop])
        pulled.sub_(met, alpha=self._relaxation)

    def meet(self, pulled: Tensor, planes: slice) -> None:
        """Replace predictions, in some planes of the mask's window, in place, by what lies between them and the data.

        Parameters
        ----------
        pulled
            Predictions `(z, y, x)`, changed.
        planes
            Where they lie in the window.
        """
        pulled.lerp_(self.target[planes], self.share[planes])


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

    def meet(self, pulled: Tensor, planes: slice) -> None:
        """Replace predictions in some planes of the window by what lies between them and the nearest turn of the data.

        Below 1 − cos a lies no parabola, but above it one with the curvature sin a / a that touches it at a; to go to
        the minimum of that one never goes up.
        """
        target, precision = self.target[planes], self._precision[planes]
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

    def draw(self, spectrum: Tensor, inverse: Tensor) -> None:
        """Change the quotient of a numerator and a divisor, of which `inverse` is one over, as if this term had added
        to both.
        """
        divisor = inverse.view(-1)[self.places].reciprocal_()
        flat = spectrum.view(-1)
        above = flat[self.places].mul_(divisor).add_(self.target, alpha=self.weight)
        flat[self.places] = above.div_(divisor.add_(self.weight))


class Splitting(Protocol):
    """A prior on the gradient, split from the unknown."""

    def update(self, volume: Tensor) -> Tensor:
        """Replace a new unknown, with room for its spectrum, by that towards which the term draws the next one."""


Prior = TypeVar("Prior", bound=Splitting)


class AlternatingDirections(Generic[Prior]):
    """The state of the alternation; `advance` may be called again after thresholds or the anchor changed.

    Source: Bilgic 2014, doi:10.1002/mrm.25029; over-relaxation: Eckstein & Bertsekas 1992, doi:10.1007/BF01581204.
    """

    def __init__(self, grid: Grid, kernel: Tensor, data: DrawData, gradient: Prior, penalty: float) -> None:
        """Start from zero.

        Parameters
        ----------
        grid
            A periodic grid.
        kernel
            K on the half spectrum; the data add its square to the divisor.
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
        self._kernel = kernel
        self._spectrum: Tensor | None = None
        """The unknown in k-space, between two calls of `advance`."""
        self._drawn: Tensor | None = None

    def advance(
        self,
        iterations: int,
        tolerance: float = 0.0,
        on_iteration: Callable[[int], None] | None = None,
        *,
        goes_on: bool = False,
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
        goes_on
            Whether this is called again; if not, the last step leaves nothing behind but its volume.

        Returns
        -------
        The volume `(z, y, x)`, with a mean of zero and room for its spectrum.

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
            is_last = is_done or step == iterations
            if is_last and not goes_on:
                self._spectrum = None
                return volume
            found = volume_with_room(self._grid.shape, volume).copy_(volume) if is_last else None
            self._drawn = self.gradient.update(volume)
            # Free it before the next step makes another.
            del volume
            if found is not None:
                return found
        raise ValueError("At least one step is needed.")

    def _step(self) -> Tensor:
        """Return the next volume, in memory of its own that has room for its spectrum."""
        taken, self._spectrum = self._spectrum, None
        spectrum = self._data(taken)
        del taken
        if self._drawn is not None:
            drawn, self._drawn = self._drawn, None
            spectrum.add_(transform_over(drawn), alpha=self._penalty)
            del drawn
        # Made anew in each step, where few volumes are held: it takes a hundredth of the step's time.
        inverse = laplacian_spectrum(self._grid, self._kernel).mul_(self._penalty)
        inverse.addcmul_(self._kernel, self._kernel).reciprocal_()
        # Neither term sees the constant; it is left at zero.
        inverse[0, 0, 0] = 1.0
        self._spectrum = scale_spectrum(spectrum, inverse)
        if self.anchor is not None:
            self.anchor.draw(self._spectrum, inverse)
        del inverse
        self._spectrum[0, 0, 0] = 0.0
        return inverse_transform(self._spectrum.clone(), self._grid.shape)
