"""What speaks for and against each region's mean in a learned map, from the maps that come with it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pipeline.maps import CLASSICAL_SUSCEPTIBILITY, CONE_PART, SUSCEPTIBILITY_SPREAD
from pipeline.regions.measurements import RegionMeasurement
from pipeline.susceptibility.dipole_inversion.learned.trust import region_cone_share


def with_trust(
    measured: Sequence[RegionMeasurement], maps: Mapping[str, np.ndarray], labels: np.ndarray
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
    """
    if CLASSICAL_SUSCEPTIBILITY not in maps:
        return list(measured)
    mask, numbers = torch.as_tensor(maps["mask"].astype(bool)), torch.as_tensor(labels)
    volumes = {name: torch.as_tensor(values) for name, values in maps.items() if name != "mask"}
    return [_trusted(one, volumes, mask, mask & (numbers == one.label)) for one in measured]


def _trusted(
    measured: RegionMeasurement, maps: Mapping[str, Tensor], mask: Tensor, region: Tensor
) -> RegionMeasurement:
    half_width = cone_share = None
    # The brain's mean is the reference of both maps, so there is no contrast of which a part could be uncertain.
    is_part = not torch.equal(region, mask)
    if is_part and SUSCEPTIBILITY_SPREAD in maps:
        # As if all voxels of a region erred together, which is the widest that its mean's interval can be.
        half_width = float(maps[SUSCEPTIBILITY_SPREAD][region].double().mean())
    if is_part and CONE_PART in maps:
        cone_share = region_cone_share(maps[CONE_PART], maps["susceptibility"], mask, region)
    classical = float(maps[CLASSICAL_SUSCEPTIBILITY][region].double().mean())
    return replace(measured, classical_mean=classical, half_width=half_width, cone_share=cone_share)
