"""Measure a map in labelled regions: mean, spread, median and volume of each."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput


@dataclass(frozen=True)
class RegionMeasurement:
    """What a map shows in one region.

    `mean`, `sd` and `median` have the map's unit (ppm for susceptibility); `sd` is that of the region's voxels, 0 for a
    single one. `volume_ml` [ml] counts the voxels that were measured.

    Beside a learned map: `classical_mean` is that of the classical map, `half_width` that of the 90 % interval of the
    mean, `cone_share` the share of the contrast, 0 to 1, from frequencies that the field hardly shows; None elsewhere.
    """

    label: int
    name: str
    mean: float
    sd: float
    median: float
    volume_ml: float
    n_voxels: int
    classical_mean: float | None = None
    half_width: float | None = None
    cone_share: float | None = None


def measure(
    susceptibility: Tensor,
    labels: Tensor,
    names: Mapping[int, str],
    mask: Tensor,
    voxel_size_mm: tuple[float, float, float],
) -> list[RegionMeasurement]:
    """Measure a map in every labelled region that lies at least partly inside the mask.

    Parameters
    ----------
    susceptibility
        The map [ppm], `(z, y, x)`.
    labels
        Whole numbers, same shape; 0 is no region.
    names
        Name of each label; a label without one is called by its number.
    mask
        Where the map holds values, bool, same shape. Voxels outside are not measured.
    voxel_size_mm
        Voxel size along `(z, y, x)` [mm].

    Returns
    -------
        One measurement per region in the order of the labels. A region without a voxel in the mask has none: a mean
        over nothing must not reach a report.

    Raises
    ------
    UnusableInput
        Shapes disagree, or labels are not whole numbers from 0.
    """
    if not susceptibility.shape == labels.shape == mask.shape:
        raise UnusableInput(
            f"The map {tuple(susceptibility.shape)}, the labels {tuple(labels.shape)} and the mask "
            f"{tuple(mask.shape)} must lie on one grid; resample the labels to the map."
        )
    if labels.is_floating_point() or (labels.numel() and int(labels.min()) < 0):
        raise UnusableInput("Labels must be whole numbers from 0; store the label map as unsigned integers.")
    inside = mask & (labels > 0)
    values, found = susceptibility[inside].double(), labels[inside]
    voxel_ml = math.prod(voxel_size_mm) / 1000
    return [
        _measured(int(label), names.get(int(label), f"Label {int(label)}"), values[found == label], voxel_ml)
        for label in torch.unique(found)
    ]


def _measured(label: int, name: str, values: Tensor, voxel_ml: float) -> RegionMeasurement:
    n_voxels = values.numel()
    return RegionMeasurement(
        label=label,
        name=name,
        mean=float(values.mean()),
        sd=float(values.std()) if n_voxels > 1 else 0.0,
        median=float(values.quantile(0.5)),
        volume_ml=n_voxels * voxel_ml,
        n_voxels=n_voxels,
    )
