"""The N/2 ghost of echo-planar images: the phase between readouts of both polarities, measured or found, taken out."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.operators.centred_fourier import to_image

_PARTITIONS, _COILS, _COLUMNS = 2, 4, 40
_HALVINGS = 7
_STEEPEST_RAD = 2.5 * math.pi
"""Largest difference over the field of view that the search without navigators looks for, to either side."""


@dataclass(frozen=True)
class PolarityPhase:
    """By how much reversed readouts are ahead of forward ones: `constant_rad`, and `slope_rad` per voxel along x.

    The constant holds at the middle of the field of view, voxel `size // 2`.
    """

    constant_rad: float
    slope_rad: float

    def angles(self, n_x: int) -> Tensor:
        """Return the phase [rad] at each voxel, `(x,)`."""
        return self.constant_rad + self.slope_rad * (torch.arange(n_x) - n_x // 2)


def navigator_phase(navigators: Tensor, is_reversed: Tensor) -> PolarityPhase:
    """Fit a line to the phase between navigators of both polarities.

    Three navigators, the middle one of the other polarity, see the same off-resonance on average.

    Parameters
    ----------
    navigators
        Complex `(navigator, coil, x)`, images along x.
    is_reversed
        Bool `(navigator,)`.

    Returns
    -------
        The phase, fitted with the signal's power as weight; the same for all coils and shots.

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
    products = (reverse.mean(0) * forward.mean(0).conj()).sum(0)
    n_x = products.shape[-1]
    slope = float((products[1:] * products[:-1].conj()).sum().angle())
    places = (torch.arange(n_x, device=products.device) - n_x // 2).double()
    flat = products.to(torch.complex128) * torch.polar(torch.ones_like(places), -slope * places)
    constant = float(flat.sum().angle())
    # What remains is small: an ordinary fit, weighted by the signal, finds it.
    remaining, weights = (flat * complex(math.cos(constant), -math.sin(constant))).angle(), flat.abs()
    design = torch.stack((torch.ones_like(places), places), 1)
    normal = design.mT @ (weights[:, None] * design)
    offset, tilt = torch.linalg.solve(normal, design.mT @ (weights * remaining)).tolist()
    return PolarityPhase(constant + offset, slope + tilt)


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
    half = 0.5 * phase.angles(lines.shape[-1]).to(lines.device)
    turn = torch.polar(torch.ones_like(half), half)
    return lines * torch.where(is_reversed[:, None, None], turn.conj(), turn)


def least_entropy_phase(samples: Tensor, is_reversed: Tensor) -> PolarityPhase:
    """Find the phase between the polarities without navigators: that whose images are darkest where nothing is.

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
    steepest = _STEEPEST_RAD / samples.shape[-1]
    best = PolarityPhase(0.0, 0.0)
    width, tilt = 0.5 * math.pi, steepest
    for n_constants, n_slopes in ((7, 21), *[(5, 5)] * _HALVINGS):
        constants = torch.linspace(-width, width, n_constants) + best.constant_rad
        slopes = torch.linspace(-tilt, tilt, n_slopes) + best.slope_rad
        entropies = torch.tensor(
            [
                [_entropy(planes, signs, constant + slope * places) for slope in slopes.tolist()]
                for constant in constants.tolist()
            ]
        )
        row, column = divmod(int(entropies.argmin()), n_slopes)
        best = PolarityPhase(float(constants[row]), float(slopes[column]))
        width, tilt = 2 * width / (n_constants - 1), 2 * tilt / (n_slopes - 1)
    return PolarityPhase((best.constant_rad + math.pi / 2) % math.pi - math.pi / 2, best.slope_rad)


def _strongest(samples: Tensor, is_reversed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what tells most: coils and partitions with most signal, some of the columns, their signs and places."""
    powers = samples.abs().square().sum((2, 3))
    loud = powers.sum(1).argsort(descending=True)[:_COILS]
    middle = powers.sum(0).argsort(descending=True)[:_PARTITIONS]
    n_x = samples.shape[-1]
    every = -(-n_x // _COLUMNS)
    places = (torch.arange(n_x, device=samples.device) - n_x // 2)[::every]
    return samples[loud][:, middle, :, ::every], is_reversed[middle].to(samples.real), places.to(samples.real)


def _entropy(planes: Tensor, signs: Tensor, angles: Tensor) -> float:
    """Return the entropy of the magnitude of images of partitions, corrected by a phase [rad] `(x,)`."""
    half = angles * (0.5 - signs[..., None])
    images = to_image(planes * torch.polar(torch.ones_like(half), half), (-2,))
    brightness = images.abs().square().sum(0).sqrt().flatten(1)
    share = brightness / brightness.square().sum(1, keepdim=True).sqrt().clamp_min(1e-30)
    return float(-(share * share.clamp_min(1e-12).log()).sum())
