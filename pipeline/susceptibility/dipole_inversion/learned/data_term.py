"""How well a map explains the measured field, in units of the field's noise, and the slope of that misfit."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.operators.dipole import Dipole
from pipeline.operators.padding import Frame, frame_around

ASSUMED_NOISE_PPM = 2e-3
"""Noise of the field where none is given."""
_GREATEST_WEIGHT = 2.0
GREATEST_CURVATURE = _GREATEST_WEIGHT**2 * 4 / 9
"""Largest eigenvalue that D W² D can have, W relative to its median: steps of up to 2 over it go downhill."""


@dataclass(frozen=True)
class DataTerm:
    """‖W(D χ + c − f)‖², with W one over the noise, on a frame with zeros around the mask, so that nothing wraps.

    The constant c is the best one for each map: background removal and the open value at k = 0 leave it unknown.

    Attributes
    ----------
    frame
        The working volume.
    mask
        `(z, y, x)` on the frame, one where the field was measured.
    field
        Measured field on the frame [ppm], zero outside the mask.
    weights
        W over its median, at most 2, on the frame; zero outside the mask.
    dipole
        The operator on the frame.
    noise
        Median noise of the field [ppm].
    expected
        What the norm of W(D χ + c − f) is if noise alone is left [ppm].
    takes_constant
        Whether c is fitted; it is zero where not.
    """

    frame: Frame
    mask: Tensor
    field: Tensor
    weights: Tensor
    dipole: Dipole
    noise: float
    expected: float
    takes_constant: bool = True

    @classmethod
    def of(
        cls,
        local_field: Tensor,
        mask: Tensor,
        grid: Grid,
        field_noise: Tensor | None = None,
        *,
        margin: int = 16,
        is_weighted: bool = True,
        takes_constant: bool = True,
    ) -> "DataTerm":
        """Build the data term of a field.

        Parameters
        ----------
        local_field
            Field without background `(z, y, x)` [ppm].
        mask
            Bool `(z, y, x)`.
        grid
            The grid with the direction of B0.
        field_noise
            Standard deviation of the field `(z, y, x)` [ppm]; None assumes 2 ppb everywhere.
        margin
            Least padding around the mask [voxels].
        is_weighted
            Whether voxels count by their noise; all count alike where not.
        takes_constant
            Whether a constant of the field is left out of account.

        Raises
        ------
        UnusableInput
            Shapes disagree or the mask is empty.
        """
        for name, volume in (("field", local_field), ("field noise", field_noise)):
            if volume is not None and volume.shape != mask.shape:
                raise UnusableInput(f"The {name} has shape {tuple(volume.shape)} but the mask {tuple(mask.shape)}.")
        frame = frame_around(mask, grid, margin)
        noise = _known_noise(mask, field_noise, local_field)
        typical = float(noise[mask].median())
        relative = typical / noise if is_weighted else torch.ones_like(noise)
        weights = torch.where(mask, relative.clamp_(max=_GREATEST_WEIGHT), 0.0)
        expected = float((weights * noise)[mask].double().square().sum().sqrt())
        field = frame.embed(torch.where(mask, local_field, 0.0))
        inside = frame.embed(mask.to(local_field.dtype))
        dipole = Dipole.on(frame.grid, field)
        return cls(frame, inside, field, frame.embed(weights), dipole, typical, expected, takes_constant)

    def framed(self, susceptibility: Tensor) -> Tensor:
        """Return a map of the full grid on the frame, zero outside the mask.

        Raises
        ------
        UnusableInput
            The map has another shape.
        """
        if tuple(susceptibility.shape) != self.frame.full_shape:
            raise UnusableInput(
                f"The map has shape {tuple(susceptibility.shape)} but the field {self.frame.full_shape}."
            )
        return self.frame.embed(susceptibility).mul_(self.mask)

    def restored(self, framed: Tensor) -> Tensor:
        """Return a map of the frame on the full grid."""
        return self.frame.restore(framed)

    def residual(self, framed: Tensor) -> Tensor:
        """Return W(D χ + c − f) [ppm] of a map on the frame."""
        return self._without_constant(self.dipole(framed).sub_(self.field).mul_(self.weights))

    def response(self, framed: Tensor) -> Tensor:
        """Return W(D χ + c), which is how a change of the map changes the residual [ppm]."""
        return self._without_constant(self.dipole(framed).mul_(self.weights))

    def slope(self, residual: Tensor) -> Tensor:
        """Return the gradient of ½‖residual‖² by the map, on the frame [ppm]; zero outside the mask."""
        return self.dipole(residual * self.weights).mul_(self.mask)

    def ratio(self, residual: Tensor) -> float:
        """Return the norm of a residual over that which noise alone would have: 1 where all but noise is explained."""
        return float(residual.norm()) / self.expected

    def _without_constant(self, weighted: Tensor) -> Tensor:
        if not self.takes_constant:
            return weighted
        constant = (weighted * self.weights).sum() / self.weights.square().sum()
        return weighted.sub_(self.weights * constant)


def _known_noise(mask: Tensor, field_noise: Tensor | None, like: Tensor) -> Tensor:
    """Return the noise, its median where a voxel's is not known."""
    if field_noise is None:
        return torch.full_like(like, ASSUMED_NOISE_PPM)
    is_known = mask & (field_noise > 0)
    if not bool(is_known.any()):
        return torch.full_like(like, ASSUMED_NOISE_PPM)
    noise = field_noise.to(like.dtype)
    return torch.where(is_known, noise, noise[is_known].median())


def share_to_level(before: Tensor, after: Tensor, level: float) -> float:
    """Return which share of the way between two residuals has a norm of `level`; 1 where the norm stays above it.

    Parameters
    ----------
    before, after
        Residuals at the start and at the end of a step, the first with a norm of at least `level`.
    level
        The wanted norm.
    """
    if float(after.norm()) >= level:
        return 1.0
    change = (after - before).flatten()
    first = before.flatten()
    square = float(torch.dot(change, change))
    along = float(torch.dot(first, change))
    excess = float(torch.dot(first, first)) - level**2
    discriminant = max(along**2 - square * excess, 0.0)
    # The smaller root of |first + t change|² = level², in the form that does not cancel.
    return min(max(excess / (-along + math.sqrt(discriminant)), 0.0), 1.0) if excess > 0 else 0.0
