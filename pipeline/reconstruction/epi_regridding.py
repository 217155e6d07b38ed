"""Readouts sampled evenly in time while the gradient ramps: where in k-space they lie, and images along x of them."""

import math

import torch
from torch import Tensor

from pipeline.errors import UnusableInput

_DAMPING = 1e-3
_WIDEST = 2.0


def trapezoid_trajectory(
    n_samples: int,
    n_x: int,
    ramp_up_s: float,
    flat_top_s: float,
    ramp_down_s: float,
    first_sample_s: float,
    duration_s: float,
    lag_s: float = 0.0,
) -> Tensor:
    """Return where along k_x the samples of a readout under a trapezoidal gradient lie.

    Parameters
    ----------
    n_samples
        Number of samples, evenly spaced in time.
    n_x
        Voxels over the field of view; the readout covers as many steps of k-space.
    ramp_up_s, flat_top_s, ramp_down_s
        Shape of the gradient [s]; ramps of 0 give even sampling.
    first_sample_s
        From the start of the ramp to the start of sampling [s].
    duration_s
        Duration of sampling [s].
    lag_s
        By how much the gradient comes later than planned [s].

    Returns
    -------
        Places [1 / field of view], float64 `(sample,)`; 0 is passed where half of the gradient's area is played.

    Raises
    ------
    UnusableInput
        The gradient has no area while it is sampled.
    """
    whole = 0.5 * (ramp_up_s + ramp_down_s) + flat_top_s
    start = torch.tensor([first_sample_s], dtype=torch.float64)
    step = duration_s / n_samples
    times = first_sample_s + (torch.arange(n_samples, dtype=torch.float64) + 0.5) * step

    def area(time: Tensor) -> Tensor:
        rising = time.clamp(0, ramp_up_s).square() / (2 * ramp_up_s) if ramp_up_s else torch.zeros_like(time)
        level = (time - ramp_up_s).clamp(0, flat_top_s)
        sinking = (time - ramp_up_s - flat_top_s).clamp(0, ramp_down_s)
        falling = sinking - sinking.square() / (2 * ramp_down_s) if ramp_down_s else torch.zeros_like(time)
        return rising + level + falling

    covered = float(area(start + duration_s) - area(start)) if whole > 0 and duration_s > 0 else 0.0
    if not covered > 0:
        raise UnusableInput(
            "The readout gradient has no area while samples are taken; its ramp and flat top are wrong."
        )
    return (area(times - lag_s) - 0.5 * whole) * (n_x / covered)


def regridding_matrix(trajectory: Tensor, n_x: int) -> Tensor:
    """Return the matrix that turns the samples of a readout into an image along x, by damped least squares.

    The image is fitted over as much more than the field of view as the samples allow, and cut to it, so that what lies
    beside the field of view does not fold into it.

    Parameters
    ----------
    trajectory
        Places along k_x [1 / field of view], `(sample,)`.
    n_x
        Voxels over the field of view.

    Returns
    -------
        Complex128 `(x, sample)`; evenly sampled readouts become the centred, unitary inverse transform.

    Raises
    ------
    UnusableInput
        Neighbouring samples lie further apart than the field of view allows.
    """
    apart = float(trajectory.diff().abs().max())
    if apart > 1 + 1e-6:
        raise UnusableInput(
            f"Samples of a readout lie up to {apart:.2f} steps of k-space apart; the field of view needs 1 or less."
        )
    fitted = min(int(_WIDEST * n_x), len(trajectory), math.floor(n_x / apart + 1e-6))
    fitted = max(n_x, fitted - (fitted - n_x) % 2)
    matrix = readout_matrix(trajectory, n_x, fitted)
    power = matrix.mH @ matrix
    damping = _DAMPING * float(power.diagonal().real.mean()) * torch.eye(fitted, dtype=power.dtype)
    image = torch.linalg.solve(power + damping, matrix.mH) * (1 + _DAMPING)
    first = fitted // 2 - n_x // 2
    return image[first : first + n_x]


def readout_matrix(trajectory: Tensor, n_x: int, fitted: int | None = None) -> Tensor:
    """Return the matrix that gives the samples of a readout of an image along x.

    Parameters
    ----------
    trajectory
        Places along k_x [1 / field of view], `(sample,)`.
    n_x
        Voxels over the field of view.
    fitted
        Voxels of the image, of which `n_x` fill the field of view; the same unless given.

    Returns
    -------
        Complex128 `(sample, x)`.
    """
    voxels = n_x if fitted is None else fitted
    places = torch.arange(voxels, dtype=torch.float64) - voxels // 2
    angles = -2 * math.pi / n_x * trajectory.double().cpu()[:, None] * places
    return torch.polar(torch.full_like(angles, n_x**-0.5), angles)
