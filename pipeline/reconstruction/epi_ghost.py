"""The N/2 ghost of echo-planar images: the phase between readouts of both polarities, measured or found, taken out."""

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.operators.centred_fourier import to_image

_PARTITIONS, _COILS, _COLUMNS = 2, 4, 48
_STEEPEST_RAD = 2.5 * math.pi
"""Largest difference over the field of view that the search without navigators looks for, to either side."""
_LEVELS = ((7, 21), *[(5, 5)] * 7)
_BRIGHT = 0.2
"""The object is where the image is brighter than this share of its brightest voxels, and two voxels around it."""
_LEAST_SHARE = 0.05
"""A coil with less than this share of the loudest coil's power has no phase of its own; less of a volume is no room."""


@dataclass(frozen=True)
class PolarityPhase:
    """By how much reversed readouts are ahead of forward ones, and how much louder; each `(coil,)`, float64.

    `constant_rad` and the natural logarithm `gain` hold at the middle of the field of view, voxel `size // 2`;
    `slope_rad` and `gain_slope` are per voxel along x. A receiver whose band is not flat makes readouts of one polarity
    louder on one side, those of the other on the other.
    """

    constant_rad: Tensor
    slope_rad: Tensor
    gain: Tensor
    gain_slope: Tensor

    @classmethod
    def of_all_coils(cls, n_coils: int, constant_rad: float = 0.0, slope_rad: float = 0.0) -> "PolarityPhase":
        """Return a phase that all coils share, without a difference in loudness."""
        values = (constant_rad, slope_rad, 0.0, 0.0)
        return cls(*(torch.full((n_coils,), value, dtype=torch.float64) for value in values))

    def factors(self, n_x: int) -> Tensor:
        """Return what a reversed readout is multiplied by against a forward one, complex128 `(coil, x)`."""
        places = torch.arange(n_x, device=self.slope_rad.device) - n_x // 2
        angles = self.constant_rad[:, None] + self.slope_rad[:, None] * places
        return torch.polar(torch.exp(self.gain[:, None] + self.gain_slope[:, None] * places), angles)

    def plus(self, other: "PolarityPhase") -> "PolarityPhase":
        """Return what both together make, of the same coils."""
        return PolarityPhase(
            self.constant_rad + other.constant_rad,
            self.slope_rad + other.slope_rad,
            self.gain + other.gain,
            self.gain_slope + other.gain_slope,
        )


def navigator_phase(navigators: Tensor, is_reversed: Tensor) -> PolarityPhase:
    """Fit a line to the phase between navigators of both polarities, in every coil.

    Three navigators, the middle one of the other polarity, see the same off-resonance on average.

    Parameters
    ----------
    navigators
        Complex `(navigator, coil, x)`, images along x.
    is_reversed
        Bool `(navigator,)`.

    Returns
    -------
        The phase, the same for all shots; coils with hardly any signal take that of all.

    Raises
    ------
    UnusableInput
        The navigators have one polarity only.

    References
    ----------
    Heid 1997 (US patent 6043651); Bernstein et al. 2004, Handbook of MRI Pulse Sequences, 16.1.
    """
    if bool(is_reversed.all()) or not bool(is_reversed.any()):
        raise UnusableInput("All navigators have one polarity, so that the ghost's phase cannot be measured.")
    reverse, forward = navigators[is_reversed], navigators[~is_reversed]
    return _straight(reverse.mean(0)[None], forward.mean(0)[None], _places(navigators))


def without_polarity(lines: Tensor, is_reversed: Tensor, phase: PolarityPhase) -> Tensor:
    """Take the phase out of lines, half from readouts of either polarity, so that the image does not move.

    Parameters
    ----------
    lines
        Complex `(line, coil, x)`, images along x.
    is_reversed
        Bool `(line,)`.
    phase
        The phase between the polarities.

    Returns
    -------
        Complex, the same shape.
    """
    half = phase.factors(lines.shape[-1]).sqrt().to(lines)
    return lines * torch.where(is_reversed[:, None, None], 1 / half, half)


def least_entropy_phase(samples: Tensor, is_reversed: Tensor) -> PolarityPhase:
    """Find the phase between the polarities whose images are darkest where nothing is, the same for all coils.

    A constant that is wrong by half a turn only moves the image by half a field of view; the smaller constant is taken.

    Parameters
    ----------
    samples
        Complex `(coil, z, y, x)`: k-space along z and y, image along x.
    is_reversed
        Share of reversed readouts `(z, y)`, 0 or 1 where one line was measured.

    Returns
    -------
        The phase with the least entropy of the magnitude.

    References
    ----------
    Clare 2008, Proc. ISMRM 16:1309; Skare et al. 2006, Proc. ISMRM 14:2349.
    """
    planes, signs, places = _strongest(samples, is_reversed)
    constant, slope = _search(planes, signs, places, (0.5 * math.pi, _STEEPEST_RAD / samples.shape[-1]))
    constant = (constant + math.pi / 2) % math.pi - math.pi / 2
    return PolarityPhase.of_all_coils(len(samples), constant, slope)


def phase_beside_object(samples: Tensor, is_reversed: Tensor) -> PolarityPhase:
    """Measure what is left of the phase between the polarities where nothing but ghost is, in every coil.

    There the images of either polarity alone cancel each other, but for their phase. Noise of one is not that of the
    other, so that it does not pull the phase anywhere.

    Parameters
    ----------
    samples
        Complex `(coil, z, y, x)`, all lines measured and roughly corrected: k-space along z and y, image along x.
    is_reversed
        Share of reversed readouts `(z, y)`, 0 or 1 where one line was measured.

    Returns
    -------
        The phase; zero where the object fills the field of view.
    """
    every = _every_column(samples)
    forward, reverse = _either_polarity(samples[..., ::every], is_reversed)
    beside = ~_around_object((reverse + forward).abs().square().sum(0).sqrt())
    if float(beside.float().mean()) < _LEAST_SHARE:
        return PolarityPhase.of_all_coils(len(samples))
    left_of_reverse, left_of_forward = ((part * beside).flatten(1, 2).movedim(1, 0) for part in (-reverse, forward))
    return _straight(left_of_reverse, left_of_forward, _places(samples)[::every])


def ghost_share(samples: Tensor, is_reversed: Tensor) -> float | None:
    """Measure what is left of the ghost: how much of what is beside the object goes with what the polarities differ by.

    Noise, ringing and blur do not alternate with the polarity, so that they hardly count.

    Parameters
    ----------
    samples, is_reversed
        As `phase_beside_object` takes them, corrected.

    Returns
    -------
        Root mean square over that of the object, or None where the object fills the field of view.
    """
    forward, reverse = _either_polarity(samples[..., :: _every_column(samples)], is_reversed)
    image, alternating = forward + reverse, forward - reverse
    power = image.abs().square().sum(0)
    around = _around_object(power.sqrt())
    n_beside = int((~around).sum())
    if n_beside < _LEAST_SHARE * around.numel() or not bool(around.any()):
        return None
    image, alternating = image * ~around, alternating * ~around
    projected = (image * alternating.conj()).sum((1, 2)).abs().square()
    projected = projected / alternating.abs().square().sum((1, 2)).clamp_min(1e-30)
    # Of what does not alternate, as much is projected by chance as falls to one voxel.
    rest = image.abs().square().sum((1, 2)) - projected
    ghost = (projected - rest / ((~around).sum((0, 1)) - 1).clamp_min(1)).sum() / n_beside
    return float((ghost.clamp_min(0) / power[around].mean()).sqrt())


def _either_polarity(samples: Tensor, is_reversed: Tensor) -> tuple[Tensor, Tensor]:
    """Return the images `(coil, z, y, x)` of forward readouts alone and of reversed ones alone."""
    reverse = is_reversed[:, :, None]
    return to_image(samples * (1 - reverse), (-3, -2)), to_image(samples * reverse, (-3, -2))


def _around_object(brightness: Tensor) -> Tensor:
    """Return where the object is, and two voxels around it, bool `(z, y, x)`."""
    thinned = brightness.flatten()[:: max(1, brightness.numel() // 100_000)]
    bright = brightness > _BRIGHT * torch.quantile(thinned, 0.98)
    return torch.nn.functional.max_pool3d(bright[None].float(), (1, 5, 5), 1, (0, 2, 2))[0] > 0


def _places(samples: Tensor) -> Tensor:
    """Return where the columns of samples `(..., x)` lie, from the middle [voxels], float64."""
    n_x = samples.shape[-1]
    return (torch.arange(n_x, device=samples.device) - n_x // 2).double()


def _every_column(samples: Tensor) -> int:
    """Return by how many voxels the columns that are looked at lie apart; so many tell as much as all."""
    return -(-samples.shape[-1] // _COLUMNS)


def _straight(reverse: Tensor, forward: Tensor, places: Tensor) -> PolarityPhase:
    """Fit lines to phase and loudness of what reversed readouts show against what forward ones do.

    Both are complex `(sample, coil, x)` at places `(x,)` [voxels]; their common power is the weight. Coils with hardly
    any signal take what all have in common.
    """
    products = (reverse * forward.conj()).sum(0).to(torch.complex128)
    powers = torch.stack([image.abs().square().sum(0).double() for image in (reverse, forward)])
    coherent = products.abs().sum(1)
    quiet = (coherent < _LEAST_SHARE * coherent.max())[:, None]
    products = torch.where(quiet, products.sum(0), products)
    powers = torch.where(quiet, powers.sum(1, keepdim=True), powers)
    slope = (products[:, 1:] * products[:, :-1].conj()).sum(1).angle() / (places[1] - places[0])
    constant = (products * torch.polar(torch.ones_like(products.real), -slope[:, None] * places)).sum(1).angle()
    # What remains is small: an ordinary fit, weighted by the signal, finds it.
    rough = torch.polar(torch.ones_like(products.real), constant[:, None] + slope[:, None] * places)
    offset, tilt = _line((products * rough.conj()).angle(), products.abs(), places)
    floor = 1e-12 * powers.max().clamp_min(1e-30)
    gain, gain_slope = _line(0.5 * ((powers[0] + floor) / (powers[1] + floor)).log(), products.abs(), places)
    return PolarityPhase(*(part.cpu() for part in (constant + offset, slope + tilt, gain, gain_slope)))


def _line(values: Tensor, weights: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Return constant and slope `(coil,)` of the line through values `(coil, x)` with weights."""
    design = torch.stack((torch.ones_like(places), places), 1)
    relative = weights / weights.max().clamp_min(1e-30)
    normal = torch.einsum("xa,cx,xb->cab", design, relative, design)
    normal = normal + 1e-12 * torch.eye(2, device=normal.device)
    constant, slope = torch.linalg.solve(normal, torch.einsum("xa,cx->ca", design, relative * values)).unbind(1)
    return constant, slope


def _search(planes: Tensor, signs: Tensor, places: Tensor, reach: tuple[float, float]) -> tuple[float, float]:
    """Search ever finer for the constant and the slope that leave the planes' images the least entropy."""
    best, (width, tilt) = (0.0, 0.0), reach
    for n_constants, n_slopes in _LEVELS:
        steps = itertools.product(
            torch.linspace(-width, width, n_constants).tolist(), torch.linspace(-tilt, tilt, n_slopes).tolist()
        )
        tried = [(best[0] + constant, best[1] + slope) for constant, slope in steps]
        entropies = [_entropy(planes, signs, constant + slope * places) for constant, slope in tried]
        best = tried[min(range(len(tried)), key=entropies.__getitem__)]
        width, tilt = 2 * width / (n_constants - 1), 2 * tilt / (n_slopes - 1)
    return best


def _strongest(samples: Tensor, is_reversed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what tells most: coils and partitions with most signal, some columns, their signs and places."""
    powers = samples.abs().square().sum((2, 3))
    loud = powers.sum(1).argsort(descending=True)[:_COILS]
    middle = powers.sum(0).argsort(descending=True)[:_PARTITIONS]
    every = _every_column(samples)
    places = _places(samples)[::every]
    return samples[loud][:, middle, :, ::every], is_reversed[middle].to(samples.real), places


def _entropy(planes: Tensor, signs: Tensor, angles: Tensor) -> float:
    """Return the entropy of the magnitude of images of partitions, corrected by a phase [rad] `(x,)`."""
    half = angles.to(planes.real) * (0.5 - signs[..., None])
    images = to_image(planes * torch.polar(torch.ones_like(half), half), (-2,))
    brightness = images.abs().square().sum(0).sqrt().flatten(1)
    share = brightness / brightness.square().sum(1, keepdim=True).sqrt().clamp_min(1e-30)
    return float(-(share * share.clamp_min(1e-12).log()).sum())
