"""Distances between a susceptibility map and the truth, as the field's comparisons define them.

All are computed over a mask, in double precision, after the mean over that mask was taken from both maps: the field
says nothing of the mean, so a map must not be judged by it. What compares neighbourhoods stands in `structure.py`, what
compares regions in `region_metrics.py`.
"""

import math

from torch import Tensor

from pipeline.errors import UnusableInput


def nrmse(estimate: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Return the root-mean-square error over the root-mean-square of the truth [%].

    Parameters
    ----------
    estimate, truth
        Maps of one unit and shape.
    mask
        Where to compare, bool, same shape.

    Raises
    ------
    UnusableInput
        Shapes disagree, the mask is empty, or the truth is constant in it.
    """
    found, wanted = centred(estimate, truth, mask)
    return 100 * float((found - wanted).norm() / wanted.norm())


def slope(estimate: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Return the slope of the regression of the estimate on the truth; 1 means that no contrast was lost.

    Parameters and errors are those of `nrmse`.
    """
    found, wanted = centred(estimate, truth, mask)
    return float((found @ wanted) / (wanted @ wanted))


def detrended_nrmse(estimate: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Return the error that is left after the estimate was divided by its slope on the truth [%].

    Parameters and errors are those of `nrmse`; infinite where the estimate does not follow the truth at all.

    References
    ----------
    QSM Challenge 2.0 Organization Committee 2021, doi:10.1002/mrm.28754.
    """
    found, wanted = centred(estimate, truth, mask)
    steepness = (found @ wanted) / (wanted @ wanted)
    if float(steepness.abs()) < 1e-9:
        return float("inf")
    return 100 * float((found / steepness - wanted).norm() / wanted.norm())


def correlation(estimate: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Return Pearson's correlation; parameters and errors are those of `nrmse`."""
    found, wanted = centred(estimate, truth, mask)
    return float((found @ wanted) / (found.norm() * wanted.norm()).clamp_min(1e-300))


def mae(estimate: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Return the mean absolute error [unit of the maps]; parameters and errors are those of `nrmse`."""
    found, wanted = centred(estimate, truth, mask)
    return float((found - wanted).abs().mean())


def psnr(estimate: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Return the peak signal-to-noise ratio: the range of the truth over the root-mean-square error [dB].

    Parameters and errors are those of `nrmse`; infinite where there is no error.
    """
    found, wanted = centred(estimate, truth, mask)
    squared_error = float((found - wanted).square().mean())
    if squared_error == 0:
        return math.inf
    return 10 * math.log10(float(wanted.max() - wanted.min()) ** 2 / squared_error)


def centred(estimate: Tensor, truth: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values of both maps in the mask in double precision, each less its mean there.

    Parameters and errors are those of `nrmse`.
    """
    if not estimate.shape == truth.shape == mask.shape:
        raise UnusableInput(
            f"Estimate {tuple(estimate.shape)}, truth {tuple(truth.shape)} and mask {tuple(mask.shape)} "
            "must have one shape."
        )
    if not bool(mask.any()):
        raise UnusableInput("The mask is empty; there is nothing to compare.")
    found, wanted = estimate[mask].double(), truth[mask].double()
    wanted = wanted - wanted.mean()
    if not bool(wanted.any()):
        raise UnusableInput("The truth is constant in the mask; an error relative to it has no meaning.")
    return found - found.mean(), wanted
