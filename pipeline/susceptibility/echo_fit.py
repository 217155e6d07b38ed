"""What the fits over the echoes share: the mask's voxels as vectors, their noise, and smoothing among them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import StepContext
from pipeline.susceptibility.phase_unwrapping.turns import bounding_box
from pipeline.susceptibility.smoothing import gaussian, noise_gain

# A field noise is inflated where the echoes disagree with a straight line by more than noise explains.
RESIDUAL_WINDOW_MM = 1.5
# A voxel of zeros, as scanners store them, then has a field of enormous but finite noise.
LEAST_RELATIVE_MAGNITUDE = 1e-4
# The median of so many voxels is as good as that of all, and much cheaper than of a whole head.
_ENOUGH_VOXELS = 1 << 17


@dataclass(frozen=True)
class MaskedVoxels:
    """The voxels of a mask as one vector, their places in the full grid and in the box (`grid`) that holds them.

    A brain fills a quarter of its volume, so vectors of its voxels spare three quarters of every elementwise pass.
    """

    grid: Grid
    shape: tuple[int, int, int]
    in_volume: Tensor
    in_box: Tensor

    @classmethod
    def of(cls, mask: Tensor, grid: Grid) -> "MaskedVoxels":
        """List the voxels of a mask, bool `(z, y, x)` and not empty, on a grid."""
        cut = mask[bounding_box(mask)]
        z, y, x = cut.shape
        # Both lists run in the same order, because the box keeps the order of its voxels.
        in_volume, in_box = (part.flatten().nonzero().flatten() for part in (mask, cut))
        return cls(replace(grid, shape=(z, y, x)), grid.shape, in_volume, in_box)

    def gather(self, volumes: Tensor) -> Tensor:
        """Return the voxels of volumes `(…, z, y, x)` as `(…, voxel)`."""
        return volumes.flatten(-3).index_select(-1, self.in_volume)

    def spread(self, values: Tensor) -> Tensor:
        """Put values `(voxel,)` on the full grid `(z, y, x)`, zero elsewhere."""
        volume = values.new_zeros(self.shape)
        volume.view(-1).index_copy_(0, self.in_volume, values)
        return volume

    def smooth(self, values: Tensor, weight: Tensor, sigma_mm: float) -> Tensor:
        """Average values `(voxel,)` over their neighbours with weights and a Gaussian window [mm]."""
        if sigma_mm <= 0:
            return values
        relative = weight / weight.amax().clamp_min(torch.finfo(weight.dtype).tiny)
        total = self.blur(relative, sigma_mm)
        return self.blur(values * relative, sigma_mm).div_(total.clamp_min_(torch.finfo(total.dtype).tiny))

    def blur(self, values: Tensor, sigma_mm: float) -> Tensor:
        """Convolve values `(voxel,)` with a Gaussian [mm]; outside the mask there is zero."""
        volume = values.new_zeros(self.grid.shape)
        volume.view(-1).index_copy_(0, self.in_box, values)
        return gaussian(volume, sigma_mm, self.grid).flatten().index_select(0, self.in_box)


def relative_magnitude(magnitude: Tensor) -> Tensor:
    """Return magnitudes `(echo, voxel)` as a part of their mean, at least a ten-thousandth."""
    mean = magnitude.mean().clamp_min(torch.finfo(magnitude.dtype).tiny)
    return (magnitude / mean).clamp_min_(LEAST_RELATIVE_MAGNITUDE)


@dataclass(frozen=True)
class Line:
    """Straight lines through the echoes of each voxel, `(voxel,)`, with the sums that made them.

    `total` is Σw, `centre` the weighted mean time [s], `lever` Σw(t − centre)² [s²] and `moment` Σwt² [s²].
    """

    intercept: Tensor
    slope: Tensor
    total: Tensor
    centre: Tensor
    lever: Tensor
    moment: Tensor

    def at(self, time_s: float) -> Tensor:
        """Return the phase [rad] of the lines at a time [s], `(voxel,)`."""
        return torch.add(self.intercept, self.slope, alpha=time_s)


def fit_line(phase: Tensor, weight: Tensor, echo_times_s: Sequence[float]) -> Line:
    """Fit phase against echo time by weighted least squares.

    Parameters
    ----------
    phase
        Unwrapped phase [rad], `(echo, voxel)`.
    weight
        Squared magnitude, `(echo, voxel)`, above zero.
    echo_times_s
        Echo times [s], two or more.
    """
    total, centre, moment, mean = (torch.zeros_like(phase[0]) for _ in range(4))
    for values, trust, time in zip(phase, weight, echo_times_s, strict=True):
        total.add_(trust)
        centre.add_(trust, alpha=time)
        moment.add_(trust, alpha=time * time)
        mean.addcmul_(trust, values)
    centre.div_(total)
    mean.div_(total)
    lever, slope = torch.zeros_like(total), torch.zeros_like(total)
    for values, trust, time in zip(phase, weight, echo_times_s, strict=True):
        distance = time - centre
        moved = trust * distance
        lever.addcmul_(moved, distance)
        slope.addcmul_(moved, values - mean)
    slope.div_(lever)
    return Line(torch.addcmul(mean, slope, centre, value=-1), slope, total, centre, lever, moment)


def refit_with_smooth_offset(
    phase: Tensor, weight: Tensor, line: Line, echo_times_s: Sequence[float], smoothing_mm: float, voxels: MaskedVoxels
) -> tuple[Tensor, Tensor]:
    """Smooth the lines' phase at time zero over the neighbourhood and fit the slope again from there.

    Parameters
    ----------
    phase, weight
        As given to `fit_line`.
    line
        What `fit_line` found.
    echo_times_s
        Echo times [s].
    smoothing_mm
        Standard deviation of the Gaussian window [mm]; 0 gives the slope of the lines back.
    voxels
        Where the values lie.

    Returns
    -------
        Slope [rad/s] and its variance [rad²/s²] for images with noise of variance one, both `(voxel,)`.
    """
    precision = line.total * line.lever / line.moment
    smooth = voxels.smooth(line.intercept, precision, smoothing_mm)
    slope = torch.zeros_like(smooth)
    for values, trust, time in zip(phase, weight, echo_times_s, strict=True):
        slope.addcmul_(trust, values - smooth, value=time)
    slope.div_(line.moment)
    return slope, slope_variance(line, smoothing_mm, voxels)


def slope_variance(line: Line, smoothing_mm: float, voxels: MaskedVoxels) -> Tensor:
    """Return the slope's variance [rad²/s²] after its offset was smoothed [mm], for images with noise of variance one.

    Parameters
    ----------
    line
        The sums of `fit_line`.
    smoothing_mm
        Standard deviation of the Gaussian window [mm]; 0 stands for a free offset in each voxel.
    voxels
        Where the values lie.
    """
    # The fit through a known offset and the free offset are uncorrelated, so their variances add.
    variance = (line.total * line.centre).square_().div_(line.moment * line.total).div_(line.lever)
    return variance.mul_(noise_gain(smoothing_mm, voxels.grid)).add_(line.moment.reciprocal())


def image_noise(
    residuals: Iterable[Tensor], weight: Tensor, degrees: int, magnitude: Tensor, mask: Tensor, voxels: MaskedVoxels
) -> Tensor:
    """Return the standard deviation of the images' noise `(voxel,)` in units of their mean in the mask.

    Parameters
    ----------
    residuals
        Phase [rad] that the model leaves in each echo, `(voxel,)` each.
    weight
        Squared relative magnitude, `(echo, voxel)`.
    degrees
        Echoes less the parameters that were fitted; without any, the texture of the first image gives the noise.
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)`.
    mask
        Bool `(z, y, x)`.
    voxels
        The mask's voxels.

    Raises
    ------
    UnusableInput
        No degree of freedom is left and the mask holds no block of 2 x 2 x 2 voxels.
    """
    if degrees < 1:
        mean = voxels.gather(magnitude).mean().clamp_min(torch.finfo(magnitude.dtype).tiny)
        return torch.full_like(weight[0], _noise_from_texture(magnitude[0] / mean, mask))
    misfit = torch.zeros_like(weight[0])
    for residual, trust in zip(residuals, weight, strict=True):
        misfit.addcmul_(trust, residual.square())
    return _noise_from_misfit(misfit, degrees, voxels)


def _noise_from_misfit(misfit: Tensor, degrees: int, voxels: MaskedVoxels) -> Tensor:
    """Return the noise from the median misfit, raised where a neighbourhood misses the model by more."""
    sample = misfit[:: math.ceil(misfit.numel() / _ENOUGH_VOXELS)]
    # Wilson and Hilferty: the median of chi² with n degrees of freedom.
    variance = sample.median() / (degrees * (1 - 2 / (9 * degrees)) ** 3)
    local = voxels.smooth(misfit / degrees, torch.ones_like(misfit), RESIDUAL_WINDOW_MM)
    return torch.maximum(variance, local).sqrt_()


def _noise_from_texture(magnitude: Tensor, mask: Tensor) -> float:
    """Estimate the noise from differences that cancel in smooth tissue (Donoho's estimator on a Haar wavelet)."""
    even = magnitude[: magnitude.shape[0] // 2 * 2, : magnitude.shape[1] // 2 * 2, : magnitude.shape[2] // 2 * 2]
    inside = mask[: even.shape[0], : even.shape[1], : even.shape[2]]
    for axis in range(3):
        first, second = even.unfold(axis, 2, 2).unbind(-1)
        even = (first - second) / math.sqrt(2)
        one, other = inside.unfold(axis, 2, 2).unbind(-1)
        inside = one & other
    if not bool(inside.any()):
        raise UnusableInput("The mask is too thin to estimate noise from; it needs blocks of 2 x 2 x 2 voxels.")
    return float(even[inside].abs().median()) / 0.6745


def field_strength(context: StepContext) -> float:
    """Return the field strength [T], or refuse where it is unknown."""
    if context.b0_tesla is None:
        raise UnusableInput("The field strength is unknown; give it in tesla to turn phase into a field in ppm.")
    return context.b0_tesla
