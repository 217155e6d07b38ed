"""Score a map of a simulated scan against the truth, as the acceptance of the product asks it."""

from dataclasses import dataclass

import torch
from scipy import ndimage
from torch import Tensor

from pipeline.regions.measurements import measure
from pipeline.simulation.scanner import SimulatedScan
from pipeline.studies.metrics import detrended_nrmse, slope

LARGEST_NRMSE_PERCENT = 50.0
LEAST_COVERAGE = 0.95
EROSION_VOXELS = 4
LARGEST_NUCLEUS_ERROR_PPB = 15.0
LARGEST_NUCLEUS_ERROR_SHARE = 0.15
LEAST_NUCLEUS_VOXELS = 100
LESIONS = ("Bleed", "Calcification")


@dataclass(frozen=True)
class RegionScore:
    """Truth and measurement in one region [ppb], each relative to its own mean over the measured brain."""

    name: str
    n_voxels: int
    truth_ppb: float
    measured_ppb: float

    @property
    def error_ppb(self) -> float:
        """Measurement minus truth [ppb]."""
        return self.measured_ppb - self.truth_ppb

    @property
    def is_judged(self) -> bool:
        """Tell whether the region is a nucleus large enough for the limit."""
        return self.name not in LESIONS and self.n_voxels > LEAST_NUCLEUS_VOXELS

    @property
    def is_within_limit(self) -> bool:
        """Tell whether the error is at most 15 ppb or 15 % of the truth."""
        limit = max(LARGEST_NUCLEUS_ERROR_PPB, LARGEST_NUCLEUS_ERROR_SHARE * abs(self.truth_ppb))
        return abs(self.error_ppb) <= limit


@dataclass(frozen=True)
class Score:
    """How near a map came to the truth.

    `detrended_nrmse_percent` and `slope` hold in the brain eroded by four voxels as far as the map covers it;
    `coverage` is the share of that brain that is covered; `outside_share` the share of the mask that is not brain.
    """

    detrended_nrmse_percent: float
    slope: float
    coverage: float
    outside_share: float
    regions: tuple[RegionScore, ...]

    def shortcomings(self) -> list[str]:
        """Return a sentence for each limit that is missed."""
        missed = []
        if self.detrended_nrmse_percent > LARGEST_NRMSE_PERCENT:
            missed.append(f"detrended NRMSE {self.detrended_nrmse_percent:.1f} % exceeds {LARGEST_NRMSE_PERCENT:.0f} %")
        if self.coverage < LEAST_COVERAGE:
            missed.append(
                f"the map covers {100 * self.coverage:.1f} % of the eroded brain, not {100 * LEAST_COVERAGE:.0f} %"
            )
        missed += [
            f"{region.name} is off by {region.error_ppb:+.1f} ppb (truth {region.truth_ppb:.1f} ppb)"
            for region in self.regions
            if region.is_judged and not region.is_within_limit
        ]
        return missed


def score(scan: SimulatedScan, susceptibility: Tensor, mask: Tensor) -> Score:
    """Compare a map with the truth of a simulated scan.

    Parameters
    ----------
    scan
        The scan the map was made from.
    susceptibility
        The map [ppm], `(z, y, x)`, with any reference.
    mask
        Where it holds values, bool, same shape.

    Raises
    ------
    UnusableInput
        Shapes disagree, or the map covers no brain.
    """
    cross = ndimage.generate_binary_structure(3, 1)
    eroded = torch.from_numpy(ndimage.binary_erosion(scan.brain.numpy(), cross, iterations=EROSION_VOXELS))
    compared, brain = eroded & mask, scan.brain & mask
    return Score(
        detrended_nrmse_percent=detrended_nrmse(susceptibility, scan.susceptibility, compared),
        slope=slope(susceptibility, scan.susceptibility, compared),
        coverage=int(compared.sum()) / int(eroded.sum()),
        outside_share=1 - int(brain.sum()) / int(mask.sum()),
        regions=_regions(scan, susceptibility, brain),
    )


def _regions(scan: SimulatedScan, susceptibility: Tensor, brain: Tensor) -> tuple[RegionScore, ...]:
    measured: dict[str, list[tuple[int, float]]] = {}
    for values in (scan.susceptibility, susceptibility):
        relative = values - values[brain].double().mean()
        found = measure(relative, scan.labels, scan.label_names, brain, scan.acquisition.grid.voxel_size_mm)
        for region in found:
            measured.setdefault(region.name, []).append((region.n_voxels, 1000 * region.mean))
    return tuple(RegionScore(name, truth[0], truth[1], estimate[1]) for name, (truth, estimate) in measured.items())
