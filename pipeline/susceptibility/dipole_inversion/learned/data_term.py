"""How well a map explains the measured field, in units of the field's noise, and the slope of that misfit."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.operators.dipole import Dipole
from pipeline.operators.padding import Frame, frame_around
from pipeline.susceptibility.dipole_inversion.learned.background import SolidHarmonics, surrounding_sources

ASSUMED_NOISE_PPM = 2e-3
"""Noise of the field where none is given."""
_GREATEST_WEIGHT = 2.0
GREATEST_CURVATURE = _GREATEST_WEIGHT**2 * 4 / 9
"""Largest eigenvalue that D W² D can have, W relative to its median: steps of up to 2 over it go downhill."""
_OUTLIER, _REWEIGHTINGS = 2.5, 3
_MEDIAN_OF_NORMAL = 0.6745
"""Median of the absolute value of a normal deviate."""


@dataclass(frozen=True)
class DataTerm:
    """‖W(D χ + h − f)‖², with W one over the noise, on a frame with zeros around the mask, so that nothing wraps.

    The solid harmonics h are the best ones for each map: background removal leaves slow fields, and the open value at
    k = 0 a constant. `cleaned` also finds what sources around the mask left, and which voxels are outliers.

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
        What the norm of W(D χ + h − f) is if noise alone is left [ppm].
    harmonics
        What fits h; h is zero where None.
    """

    frame: Frame
    mask: Tensor
    field: Tensor
    weights: Tensor
    dipole: Dipole
    noise: float
    expected: float
    harmonics: SolidHarmonics | None = None

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
        order: int | None = 0,
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
        order
            Highest degree of the solid harmonics that are left out of account, at most 6: 0 is a constant of the field,
            4 what background removal leaves of sources far away; None leaves out nothing.

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
        framed = frame.embed(weights)
        harmonics = None if order is None else SolidHarmonics.of(framed, frame.grid, order)
        return cls(frame, inside, field, framed, dipole, typical, expected, harmonics)

    def cleaned(self, framed: Tensor, iterations: int = 4) -> "DataTerm":
        """Return the data term without what the field near a map holds of outliers and of sources around the mask.

        The rest of the field beside the map is weighed down where it is more than 2.5 times its usual size (Huber),
        and what a few steps of conjugate gradients explain of it by sources around the mask is taken out of the field.

        Parameters
        ----------
        framed
            A map on the frame, zero outside the mask; the better it is, the surer is what is taken out.
        iterations
            Steps; 0 finds outliers only.

        Source: Huber 1964, doi:10.1214/aoms/1177703732; sources around the mask: Liu 2011, doi:10.1002/nbm.1670.
        """
        own = self.dipole(framed).sub_(self.field)
        weights = self.weights
        for _ in range(_REWEIGHTINGS):
            rest = self._reweighed(weights)._without_harmonics(own * weights)
            # In units of the noise: W is relative to its median.
            size = rest.div_(weights.clamp_min(1e-6)).mul_(self.weights).abs_().div_(self.noise)
            usual = max(float(size[self.mask > 0].median()) / _MEDIAN_OF_NORMAL, 1.0)
            weights = size.div_(usual * _OUTLIER).clamp_(min=1.0).rsqrt_().mul_(self.weights)
            del rest, size
        found = self._reweighed(weights)
        if iterations < 1:
            return found
        rest = found._without_harmonics(own.mul_(weights))
        sources = surrounding_sources(rest, found.response, found._slope_around, iterations)
        return replace(found, field=self.field - self.dipole(sources).mul_(self.mask))

    def _reweighed(self, weights: Tensor) -> "DataTerm":
        if weights is self.weights:
            return self
        share = float(weights.double().square().sum() / self.weights.double().square().sum())
        harmonics = self.harmonics
        if harmonics is not None:
            harmonics = SolidHarmonics.of(weights, self.frame.grid, harmonics.order)
        return replace(self, weights=weights, expected=self.expected * math.sqrt(share), harmonics=harmonics)

    def _slope_around(self, residual: Tensor) -> Tensor:
        return self.dipole(residual * self.weights).mul_(1 - self.mask)

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
        """Return W(D χ + h − f) [ppm] of a map on the frame."""
        return self._without_harmonics(self.dipole(framed).sub_(self.field).mul_(self.weights))

    def response(self, framed: Tensor) -> Tensor:
        """Return W(D χ + h), which is how a change of the map changes the residual [ppm]."""
        return self._without_harmonics(self.dipole(framed).mul_(self.weights))

    def slope(self, residual: Tensor) -> Tensor:
        """Return the gradient of ½‖residual‖² by the map, on the frame [ppm]; zero outside the mask."""
        return self.dipole(residual * self.weights).mul_(self.mask)

    def ratio(self, residual: Tensor) -> float:
        """Return the norm of a residual over that which noise alone would have: 1 where all but noise is explained."""
        return float(residual.norm()) / self.expected

    def _without_harmonics(self, weighted: Tensor) -> Tensor:
        return weighted if self.harmonics is None else self.harmonics.without(weighted)


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
