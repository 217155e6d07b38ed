"""Metrics of regions: the error of each nucleus, how linear the nuclei are, and the moment of a calcification."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from scipy import ndimage
from torch import Tensor

from pipeline.errors import UnusableInput

LEAST_REGION_VOXELS = 20
_PARTIAL_VOXELS, _SHELL_VOXELS = 1, 2


@dataclass(frozen=True)
class RegionError:
    """Mean of the truth and of the estimate in one region [ppb], each relative to its own mean over the mask."""

    name: str
    n_voxels: int
    truth_ppb: float
    measured_ppb: float

    @property
    def error_ppb(self) -> float:
        """Estimate minus truth [ppb]."""
        return self.measured_ppb - self.truth_ppb


def region_errors(
    estimate: Tensor, truth: Tensor, mask: Tensor, labels: Tensor, names: Mapping[int, str]
) -> list[RegionError]:
    """Return the error of every named region with more than 20 voxels in the mask.

    Parameters
    ----------
    estimate, truth
        Susceptibility [ppm], `(z, y, x)`.
    mask
        Where the estimate holds, bool, same shape.
    labels
        Whole numbers, same shape.
    names
        The labels to compare, with their names.

    Raises
    ------
    UnusableInput
        Shapes disagree or the mask is empty.
    """
    if not estimate.shape == truth.shape == mask.shape == labels.shape or not bool(mask.any()):
        raise UnusableInput("Estimate, truth, mask and labels must have one shape, and the mask must hold a voxel.")
    means = [values[mask].double().mean() for values in (truth, estimate)]
    found = []
    for label, name in names.items():
        region = (labels == label) & mask
        count = int(region.sum())
        if count > LEAST_REGION_VOXELS:
            wanted, measured = (
                1000 * float(values[region].double().mean() - mean)
                for values, mean in zip((truth, estimate), means, strict=True)
            )
            found.append(RegionError(name, count, wanted, measured))
    return found


def mean_absolute_error_ppb(regions: Sequence[RegionError]) -> float:
    """Return the mean absolute error over regions [ppb]; not a number where there is none."""
    return sum(abs(region.error_ppb) for region in regions) / len(regions) if regions else math.nan


def linearity(regions: Sequence[RegionError]) -> tuple[float, float]:
    """Return slope and R² of the regression of the regions' means on the truth; not a number for fewer than three.

    References
    ----------
    QSM Challenge 2.0 Organization Committee 2021, doi:10.1002/mrm.28754 (deviation from linear slope).
    """
    if len(regions) < 3:
        return math.nan, math.nan
    wanted = torch.tensor([region.truth_ppb for region in regions], dtype=torch.float64)
    found = torch.tensor([region.measured_ppb for region in regions], dtype=torch.float64)
    wanted, found = wanted - wanted.mean(), found - found.mean()
    slope = float((wanted @ found) / (wanted @ wanted))
    explained = float((wanted @ found) ** 2 / ((wanted @ wanted) * (found @ found)).clamp_min(1e-30))
    return slope, explained


def lesion_moment(
    susceptibility: Tensor, lesion: Tensor, mask: Tensor, voxel_size_mm: tuple[float, float, float]
) -> float:
    """Return the susceptibility of a lesion in excess of its surroundings, summed over its volume [ppm mm³].

    The lesion is widened by one voxel, which takes in partial volumes; its surroundings are the shell of the next two.
    A dipole's far field depends on this sum alone, so it survives blurring that lowers the peak.

    Parameters
    ----------
    susceptibility
        Map [ppm], `(z, y, x)`.
    lesion
        The lesion, bool, same shape.
    mask
        Where the map holds, bool, same shape.
    voxel_size_mm
        Voxel size along `(z, y, x)` [mm].

    Raises
    ------
    UnusableInput
        Shapes disagree, or the lesion or its surroundings lie outside the mask.

    References
    ----------
    QSM Challenge 2.0 Organization Committee 2021, doi:10.1002/mrm.28754 (deviation from calcification moment).
    """
    if not susceptibility.shape == lesion.shape == mask.shape:
        raise UnusableInput("Map, lesion and mask must have one shape.")
    cross = ndimage.generate_binary_structure(3, 1)
    core = ndimage.binary_dilation(lesion.cpu().numpy(), cross, iterations=_PARTIAL_VOXELS)
    shell = ndimage.binary_dilation(core, cross, iterations=_SHELL_VOXELS) & ~core
    inside = mask.cpu()
    widened, around = torch.from_numpy(core) & inside, torch.from_numpy(shell) & inside
    if not bool((lesion.cpu() & inside).any()) or not bool(around.any()):
        raise UnusableInput("The lesion or its surroundings lie outside the mask.")
    values = susceptibility.cpu().double()
    return float((values[widened] - values[around].mean()).sum()) * math.prod(voxel_size_mm)
