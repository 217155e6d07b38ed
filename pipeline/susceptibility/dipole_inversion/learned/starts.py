"""The maps that our own network starts from: total variation as weighted_tv minimises it, then smoother and freer."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.method import OnIteration, setting
from pipeline.networks.inputs import FieldScan
from pipeline.operators.padding import frame_around
from pipeline.susceptibility.dipole_inversion.magnitude_edges import steep_places
from pipeline.susceptibility.dipole_inversion.total_variation import refuse_other_shapes, weighted_alternation
from pipeline.susceptibility.dipole_inversion.weighted_tv import WeightedTvSettings


@dataclass(frozen=True)
class StartSettings:
    """Settings of the two start maps."""

    regularisation: float = setting(
        0.3, "mm", "weight of the total variation of the first, as a multiple of the field's median noise", minimum=1e-6
    )
    smoother: float = setting(3.0, "1", "how many times that weight the second has", minimum=1.0)
    outside_share: float = setting(
        0.1, "1", "share of the second's weight that is left outside the mask", minimum=0.0, maximum=1.0
    )
    rounds: int = setting(3, "1", "reweightings of the first", minimum=1, maximum=100)
    further_rounds: int = setting(4, "1", "reweightings of the second, which goes on", minimum=1, maximum=100)
    iterations: int = setting(10, "1", "alternating steps per round at most", minimum=1, maximum=1000)
    margin: int = setting(16, "voxel", "least padding around the mask", minimum=4, maximum=128)


def start_maps(
    scan: FieldScan,
    magnitude: Tensor | None = None,
    on_iteration: OnIteration | None = None,
    settings: StartSettings | None = None,
) -> Tensor:
    """Return two maps of a field by total variation, the first close to the data, the second for a field not so clean.

    The first is the map of weighted_tv, smoothed three times more, which is better wherever the voxels' size and not
    the noise limits the field; it is the classical twin of the network's map. The second is three times smoother still,
    and leaves sources outside the mask nearly free: they take what background removal left and what the mask cut off.

    Parameters
    ----------
    scan
        Local field, mask, grid and field noise.
    magnitude
        Echo images `(echo, z, y, x)`, or one image `(z, y, x)`; None penalises edges everywhere.
    on_iteration
        Told the fraction done.
    settings
        Weights and steps; the defaults where None.

    Returns
    -------
    Susceptibility `(2, z, y, x)` [ppm], zero outside the mask, each up to a constant.

    Raises
    ------
    UnusableInput
        Shapes disagree or the mask is empty.
    NotConverged
        The field holds extreme values.

    Source: as weighted_tv; sources outside the mask as in Liu 2017, doi:10.1002/mrm.26331.
    """
    settings = StartSettings() if settings is None else settings
    shared = WeightedTvSettings()
    field, mask, noise = scan.local_field, scan.mask, scan.field_noise
    refuse_other_shapes(field, mask, noise)
    frame = frame_around(mask, scan.grid, settings.margin)
    typical = shared.assumed_noise if noise is None else max(float(noise[mask].median()), 1e-9)
    highest = 1 / shared.edge_penalty
    thresholds = field.new_full(frame.grid.shape, highest)
    if magnitude is not None:
        spared = steep_places(magnitude, mask, scan.grid.voxel_size_mm, shared.edge_share)
        thresholds[frame.window].masked_fill_(spared[frame.inner], 0.0)
        del spared
    penalty = settings.regularisation * typical * shared.edge_penalty
    alternation = weighted_alternation(frame, field, mask, noise, thresholds, penalty)
    outside = ~frame.embed(mask)
    total = settings.rounds + settings.further_rounds
    starts = []
    for number in range(total):
        told = None if on_iteration is None else _part(on_iteration, number, total, settings.iterations)
        goes_on = number + 1 < total
        latest = alternation.advance(settings.iterations, shared.tolerance, told, goes_on=goes_on)
        if number + 1 in (settings.rounds, total):
            starts.append(frame.restore(latest).masked_fill_(~mask, 0.0))
        if goes_on:
            smoother = settings.smoother if number + 1 >= settings.rounds else 1.0
            alternation.gradient.spare_steep_places(latest, highest * smoother, shared.steepness)
            if number + 1 >= settings.rounds:
                alternation.gradient.thresholds.masked_scatter_(
                    outside, alternation.gradient.thresholds[outside].mul_(settings.outside_share)
                )
        # Free it before the next round makes another.
        del latest
    return torch.stack(starts)


def _part(told: OnIteration, number: int, total: int, iterations: int) -> OnIteration:
    return lambda step: told((number + step / iterations) / total)
