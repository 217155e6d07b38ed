"""What speaks for and against each region's mean in a learned map, from the maps that come with it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.maps import CLASSICAL_SUSCEPTIBILITY, CONE_PART, LEARNED, SUSCEPTIBILITY_SPREAD
from pipeline.regions.measurements import RegionMeasurement
from pipeline.susceptibility.dipole_inversion.learned.intervals import IntervalScale
from pipeline.susceptibility.dipole_inversion.learned.trust import region_cone_share
from pipeline.susceptibility.dipole_inversion.learned.trust_calibration import calibration_file, load_calibration


def interval_scale(quality: Mapping[str, Any]) -> IntervalScale | None:
    """Return how the voxels' half widths of a run become those of regions, as calibrated with its weights.

    Nothing where the run had no network, or where another calibration than that of its weights is stored now.

    Parameters
    ----------
    quality
        What `Quality.as_dict` gives.

    Raises
    ------
    WeightsAltered
        The calibration cannot be read, or belongs to other weights than those listed.
    """
    for name, sha256 in quality.get("weights", {}).items():
        if calibration_file(name).is_file():
            calibration = load_calibration(name)
            if calibration.sha256 == sha256:
                is_learned = quality["susceptibility_source"] == LEARNED
                return calibration.learned if is_learned else calibration.classical
    return None


def with_trust(
    measured: Sequence[RegionMeasurement],
    maps: Mapping[str, np.ndarray],
    labels: np.ndarray,
    scale: IntervalScale | None = None,
) -> list[RegionMeasurement]:
    """Return measurements with the classical mean, half the 90 % interval and the cone share of each region.

    Parameters
    ----------
    measured
        The regions, with the labels that they have in `labels`.
    maps
        `susceptibility` and `mask`, and of the classical map, the spread and the cone part those there are [ppm], all
        `(z, y, x)`; without the classical map the measurements stay as they are.
    labels
        Whole numbers `(z, y, x)`.
    scale
        How voxels' half widths become a region's; without it they are averaged, as if all voxels of a region erred
        together.
    """
    if CLASSICAL_SUSCEPTIBILITY not in maps:
        return list(measured)
    mask, numbers = torch.as_tensor(maps["mask"].astype(bool)), torch.as_tensor(labels)
    volumes = {name: torch.as_tensor(values) for name, values in maps.items() if name != "mask"}
    return [_trusted(one, volumes, mask, mask & (numbers == one.label), scale) for one in measured]


def _trusted(
    measured: RegionMeasurement, maps: Mapping[str, Tensor], mask: Tensor, region: Tensor, scale: IntervalScale | None
) -> RegionMeasurement:
    half_width = cone_share = None
    # The brain's mean is the reference of both maps, so there is no contrast of which a part could be uncertain.
    is_part = not torch.equal(region, mask)
    if is_part and SUSCEPTIBILITY_SPREAD in maps:
        half_width = float(maps[SUSCEPTIBILITY_SPREAD][region].double().mean())
        if scale is not None:
            half_width = scale.of_region(half_width, measured.n_voxels)
    if is_part and CONE_PART in maps:
        cone_share = region_cone_share(maps[CONE_PART], maps["susceptibility"], mask, region)
    classical = float(maps[CLASSICAL_SUSCEPTIBILITY][region].double().mean())
    return replace(measured, classical_mean=classical, half_width=half_width, cone_share=cone_share)
