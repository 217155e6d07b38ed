"""What a training makes small: distances between maps, their gradients and their fields, in units near one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.networks.inputs import Window
from pipeline.operators.dipole import AXES, dipole_kernel
from pipeline.operators.gradient import forward_difference
from pipeline.operators.padding import fast_even_size

SQUARE_SHARE, GRADIENT_SHARE, FIELD_SHARE = 0.5, 0.3, 0.1
_TINY = 1e-12
_QSMNET_FIELD, _QSMNET_GRADIENT = 5.0, 0.1
_FIELD_MARGIN = 8


@dataclass(frozen=True)
class Wanted:
    """What the maps of a batch should be.

    Attributes
    ----------
    susceptibility
        Truth `(batch, z, y, x)` [ppm], zero outside the mask.
    local_field
        Measured field, same shape [ppm].
    weight
        Trust in the field: 1 where it is as noisy as usual, 0 outside the mask, same shape.
    mask
        One inside, same shape.
    unit
        What counts as one in each sample `(batch, 1, 1, 1)` [ppm].
    field_unit
        The same for fields.
    grids
        The grid of each sample.
    """

    susceptibility: Tensor
    local_field: Tensor
    weight: Tensor
    mask: Tensor
    unit: Tensor
    field_unit: Tensor
    grids: Sequence[Grid]


Loss = Callable[[Tensor, Wanted], Tensor]


def squared(estimate: Tensor, wanted: Wanted) -> Tensor:
    """Return the mean squared error in the masks, in units of `unit`."""
    return _mean_inside(((estimate - wanted.susceptibility) / wanted.unit).square(), wanted.mask)


def absolute(estimate: Tensor, wanted: Wanted) -> Tensor:
    """Return the mean absolute error in the masks, in units of `unit`."""
    return _mean_inside(((estimate - wanted.susceptibility) / wanted.unit).abs(), wanted.mask)


def ours(estimate: Tensor, wanted: Wanted) -> Tensor:
    """Return L1 + 0.5 · root mean square + 0.3 · gradient L1 + 0.1 · L1 of the field of the error, without its mean.

    The root mean square is each sample's own, so that strong sources weigh as they do in the NRMSE. The mean is open in
    every field, so a map is not blamed for it. The field term compares with the true map's field and not with the
    measured one: noise is nothing to fit.
    """
    error = _without_mean(estimate - wanted.susceptibility, wanted.mask) / wanted.unit
    slopes = sum(
        (_mean_inside(forward_difference(error, axis).abs(), both) for axis, both in _neighbours(wanted.mask)),
        error.new_zeros(()),
    )
    field = _mean_inside((fields_of(error, wanted.grids) * wanted.weight).abs(), wanted.mask)
    size = wanted.mask.sum(AXES).clamp(min=1)
    squares = (error.square() * wanted.mask).sum(AXES) / size
    distance = _mean_inside(error.abs(), wanted.mask) + SQUARE_SHARE * (squares + _TINY).sqrt().mean()
    return distance + GRADIENT_SHARE / 3 * slopes + FIELD_SHARE * field


def qsmnet(estimate: Tensor, wanted: Wanted) -> Tensor:
    """Return QSMnet's L1 + 5 · L1 between the map's field and the measured one + 0.1 · difference of gradients.

    Maps and fields are each in their own unit, as the paper normalises them.

    Source: Yoon 2018, doi:10.1016/j.neuroimage.2018.06.030.
    """
    misfit = (fields_of(estimate, wanted.grids) - wanted.local_field) / wanted.field_unit
    found, truth = estimate / wanted.unit, wanted.susceptibility / wanted.unit
    slopes = sum(
        (
            _mean_inside((forward_difference(found, axis).abs() - forward_difference(truth, axis).abs()).abs(), both)
            for axis, both in _neighbours(wanted.mask)
        ),
        found.new_zeros(()),
    )
    field = _mean_inside(misfit.abs(), wanted.mask)
    return absolute(estimate, wanted) + _QSMNET_FIELD * field + _QSMNET_GRADIENT / 3 * slopes


LOSSES: dict[str, Loss] = {"squared": squared, "absolute": absolute, "ours": ours, "qsmnet": qsmnet}


def fields_of(maps: Tensor, grids: Sequence[Grid]) -> Tensor:
    """Return the fields `(batch, z, y, x)` of maps, each on its own grid, with a rim of zeros against wrap-around.

    Parameters
    ----------
    maps
        Shape `(batch, z, y, x)`.
    grids
        One for each.
    """
    depth, height, width = (fast_even_size(size + 2 * _FIELD_MARGIN) for size in grids[0].shape)
    window = Window(grids[0].shape, (depth, height, width))
    kernels = torch.stack(
        [
            dipole_kernel(replace(grid, shape=window.padded_shape), dtype=maps.dtype, device=maps.device)
            for grid in grids
        ]
    )
    spectrum = torch.fft.rfftn(window.pad(maps), dim=AXES) * kernels
    return window.crop(torch.fft.irfftn(spectrum, s=window.padded_shape, dim=AXES))


def _neighbours(mask: Tensor) -> list[tuple[int, Tensor]]:
    """Return, for each axis, where a voxel and the next one are both in the mask."""
    pairs = []
    for axis in AXES:
        size = mask.shape[axis] - 1
        pairs.append((axis, mask.narrow(axis, 0, size) * mask.narrow(axis, 1, size)))
    return pairs


def _mean_inside(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / mask.sum().clamp(min=1)


def _without_mean(values: Tensor, mask: Tensor) -> Tensor:
    mean = (values * mask).sum(AXES, keepdim=True) / mask.sum(AXES, keepdim=True).clamp(min=1)
    return (values - mean) * mask
