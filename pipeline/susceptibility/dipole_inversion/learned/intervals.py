"""How far a map may be wrong: what its makers disagree on, scaled on known truths so that 90 % intervals hold 90 %."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pipeline.errors import UnusableInput
from pipeline.method import OnIteration
from pipeline.networks.inputs import FieldScan, Scan
from pipeline.networks.table import NetworkSpec
from pipeline.operators.dipole import AXES, Dipole
from pipeline.operators.padding import frame_around
from pipeline.susceptibility.dipole_inversion.learned.apply import ComputingSettings, apply_network

COVERAGE = 0.9
MOST_MEMBERS = 4
TERMS = (
    "starts",
    "coarse_starts",
    "coarse_change",
    "members",
    "noise",
    "residual",
    "amplitude",
    "slope",
    "background",
    "contrast",
)
"""Squares that may go into a voxel's variance: the starts' difference, and its mean over a wide cube; that of the map's
change from the first start; the members' variance; the field's noise; what the second start leaves of the field; the
map itself; its slope; and of the whole scan, what is left of the field, and the map's contrast."""
_WINDOW, _WIDE_WINDOW, _MARGIN = 5, 11, 8


@dataclass(frozen=True)
class Ensemble:
    """The mean of a network's maps of one scan seen in several ways, and their variance [ppm, ppm²]."""

    mean: Tensor
    variance: Tensor


@dataclass(frozen=True)
class IntervalScale:
    """How terms become the half width of an interval.

    Attributes
    ----------
    coefficients
        Weight of each of `TERMS` in the variance.
    voxel
        What the root of the variance is multiplied by for a voxel's interval.
    sizes
        Sizes of regions [voxels], ascending.
    regions
        What the mean over a region of the voxels' half widths is multiplied by, at each size.
    """

    coefficients: tuple[float, ...]
    voxel: float
    sizes: tuple[float, ...]
    regions: tuple[float, ...]

    def half_widths(self, terms: Tensor) -> Tensor:
        """Return half the 90 % interval of each voxel `(z, y, x)` [ppm], of terms `(term, z, y, x)` [ppm²]."""
        weights = terms.new_tensor(self.coefficients)
        return torch.einsum("t,tzyx->zyx", weights, terms).clamp_min_(0.0).sqrt_().mul_(self.voxel)

    def of_region(self, mean_half_width: float, n_voxels: float) -> float:
        """Return half the 90 % interval of a region's mean [ppm].

        Parameters
        ----------
        mean_half_width
            Mean over the region of the voxels' half widths [ppm].
        n_voxels
            Size of the region.
        """
        place = math.log(max(n_voxels, 1.0))
        at = [math.log(size) for size in self.sizes]
        if place <= at[0] or len(at) == 1:
            return self.regions[0] * mean_half_width
        for first, last, left, right in zip(at, at[1:], self.regions, self.regions[1:], strict=False):
            if place <= last:
                share = (place - first) / (last - first)
                return ((1 - share) * left + share * right) * mean_half_width
        return self.regions[-1] * mean_half_width


def ensemble(
    spec: NetworkSpec,
    network: nn.Module,
    scan: FieldScan,
    starts: Tensor,
    n_members: int = 3,
    settings: ComputingSettings | None = None,
    on_iteration: OnIteration | None = None,
) -> Ensemble:
    """Return the mean and the variance of a network's maps of a scan as it is, negated, mirrored, and both.

    Physics does not distinguish these, so what differs between them is the network's alone. Mirroring through a point
    leaves B0 as it is.

    Parameters
    ----------
    spec
        A network that refines start maps and is equivariant to nothing by itself.
    network
        Its trained module, in inference, on the device of the scan.
    scan
        Local field, mask, grid and field noise.
    starts
        Start maps `(start, z, y, x)` [ppm].
    n_members
        How many of the four, 1 to 4; of one, the variance is zero.
    settings
        Tiles and precision.
    on_iteration
        Told the fraction done, after every member.

    Raises
    ------
    UnusableInput
        Shapes disagree, or the number is another.
    """
    if not 1 <= n_members <= MOST_MEMBERS:
        raise UnusableInput(f"An ensemble has 1 to {MOST_MEMBERS} members, not {n_members}.")
    total = torch.zeros_like(scan.local_field)
    squares = torch.zeros_like(total)
    first = None
    for member in range(n_members):
        sign, is_mirrored = (1.0, -1.0)[member % 2], member >= 2
        found = sign * _seen(spec, network, scan, starts, sign, is_mirrored, settings)
        first = found if first is None else first
        # About the first member, so that the variance does not drown in rounding.
        total += found - first
        squares += (found - first).square()
        if on_iteration is not None:
            on_iteration((member + 1) / n_members)
    assert first is not None
    mean = total / n_members
    variance = (squares / n_members - mean.square()).clamp_min_(0.0)
    return Ensemble(first + mean, variance * (n_members / max(n_members - 1, 1)))


def _seen(
    spec: NetworkSpec,
    network: nn.Module,
    scan: FieldScan,
    starts: Tensor,
    sign: float,
    is_mirrored: bool,
    settings: ComputingSettings | None,
) -> Tensor:
    field, mask, noise = sign * scan.local_field, scan.mask, scan.field_noise
    starts = sign * starts
    if is_mirrored:
        field, mask, starts = field.flip(AXES), mask.flip(AXES), starts.flip(AXES)
        noise = None if noise is None else noise.flip(AXES)
    found = apply_network(spec, network, Scan(field, mask, scan.grid, noise), starts, settings)
    return found.flip(AXES) if is_mirrored else found


def spread_terms(susceptibility: Tensor, starts: Tensor, variance: Tensor | None, scan: FieldScan) -> Tensor:
    """Return what a voxel's variance is made of `(term, z, y, x)` [ppm²], each a mean over 5³ voxels of the mask.

    Parameters
    ----------
    susceptibility
        The map `(z, y, x)` [ppm].
    starts
        Two start maps `(2, z, y, x)` [ppm].
    variance
        Of the network's maps `(z, y, x)` [ppm²]; None for a map that no network made.
    scan
        Local field, mask, grid and field noise.
    """
    mask = scan.mask
    inside = mask.to(susceptibility.dtype)
    share, wide_share = (_windowed(inside, size).clamp_min_(1e-6) for size in (_WINDOW, _WIDE_WINDOW))
    found, first, second = (_centred(volume, mask) for volume in (susceptibility, starts[0], starts[1]))
    residual = _residual(second, scan).square_()
    noise = None if scan.field_noise is None else scan.field_noise.square()
    terms = susceptibility.new_zeros((len(TERMS), *susceptibility.shape))
    squares = {
        "starts": (second - first).square(),
        "members": variance,
        "noise": noise,
        "residual": residual,
        "amplitude": found.square(),
        "slope": _slope(found),
    }
    for name, values in squares.items():
        if values is not None:
            terms[TERMS.index(name)] = _windowed(values * inside, _WINDOW).div_(share).mul_(inside)
    for name, change in (("coarse_starts", second - first), ("coarse_change", found - first)):
        terms[TERMS.index(name)] = _windowed(change, _WIDE_WINDOW).div_(wide_share).square_().mul_(inside)
    terms[TERMS.index("background")] = residual[mask].mean() * inside
    terms[TERMS.index("contrast")] = found[mask].square().mean() * inside
    return terms


def _residual(susceptibility: Tensor, scan: FieldScan) -> Tensor:
    """Return what a map leaves of the field, without its mean in the mask, zero outside `(z, y, x)` [ppm]."""
    frame = frame_around(scan.mask, scan.grid, _MARGIN)
    framed = frame.embed(susceptibility)
    own = frame.restore(Dipole.on(frame.grid, framed)(framed))
    return _centred(own - scan.local_field, scan.mask)


def _slope(volume: Tensor) -> Tensor:
    slope = torch.zeros_like(volume)
    for axis in AXES:
        size = volume.shape[axis]
        steps = volume.diff(dim=axis).square()
        slope.narrow(axis, 0, size - 1).add_(steps, alpha=0.5)
        slope.narrow(axis, 1, size - 1).add_(steps, alpha=0.5)
    return slope


def region_half_width(half_widths: Tensor, region: Tensor, scale: IntervalScale) -> float:
    """Return half the 90 % interval of the mean over a region [ppm].

    Parameters
    ----------
    half_widths
        Those of the voxels `(z, y, x)` [ppm].
    region
        Bool `(z, y, x)`.
    scale
        As calibrated with the network.

    Raises
    ------
    UnusableInput
        The region is empty.
    """
    n_voxels = int(region.sum())
    if n_voxels == 0:
        raise UnusableInput("The region is empty: its mean has no interval.")
    return scale.of_region(float(half_widths[region].double().mean()), n_voxels)


def conformal_quantile(scores: Tensor, weights: Tensor, coverage: float = COVERAGE) -> float:
    """Return the least number that a share of weighted scores does not exceed, one score more being counted as larger.

    Parameters
    ----------
    scores, weights
        Shape `(score,)`; each weight positive.
    coverage
        The share.

    Source: Vovk 2005, doi:10.1007/b106715 (split conformal prediction).
    """
    order = torch.argsort(scores)
    sorted_weights = weights[order].double()
    # The new score weighs as much as a typical one.
    reached = torch.cumsum(sorted_weights, 0) / (sorted_weights.sum() + sorted_weights.mean())
    number = int(torch.searchsorted(reached, torch.tensor(coverage, dtype=torch.float64)))
    return float(scores[order[min(number, len(order) - 1)]])


def unscaled(coefficients: Sequence[float]) -> IntervalScale:
    """Return a scale whose half widths are the roots of the variance, to be calibrated."""
    return IntervalScale(tuple(coefficients), 1.0, (1.0,), (1.0,))


def calibrated(scale: IntervalScale, voxel: float, sizes: Sequence[float], regions: Sequence[float]) -> IntervalScale:
    """Return a scale with quantiles of |error| over unscaled half width: of voxels, and of regions of each size."""
    return replace(scale, voxel=voxel, sizes=tuple(sizes), regions=tuple(value / voxel for value in regions))


def _centred(volume: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, volume - volume[mask].mean(), 0.0)


def _windowed(volume: Tensor, width: int) -> Tensor:
    """Return the mean over a cube around each voxel, zeros beyond the volume, one axis after the other."""
    smooth = volume[None, None]
    for axis in range(3):
        size, padding = [1, 1, 1], [0, 0, 0]
        size[axis], padding[axis] = width, width // 2
        smooth = nn.functional.avg_pool3d(smooth, tuple(size), stride=1, padding=tuple(padding))
    return smooth[0, 0]
