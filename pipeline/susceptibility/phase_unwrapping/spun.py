"""Unwrap each echo by growing regions from reliable seeds and merging them by a vote along their borders (SPUN).

The method is published in outline only; the measures of reliability and the vote are this project's reading of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.method import Method, StepContext, setting
from pipeline.susceptibility.phase_unwrapping.each_echo import unwrap_each_echo
from pipeline.susceptibility.phase_unwrapping.spanning_forest import Forest, Pairs, cheapest_branches, join, neighbours
from pipeline.susceptibility.phase_unwrapping.turns import TURN


@dataclass(frozen=True)
class SpunSettings:
    """Choices of the region growing."""

    least_reliability: float = setting(
        0.3, "1", "a region grows across borders of at least this reliability; the vote joins the rest", minimum=0.0
    )


def unwrap_by_regions(phase: Tensor, magnitude: Tensor, mask: Tensor, settings: SpunSettings) -> Tensor:
    """Unwrap one volume: grow regions where the phase is reliable, then merge them.

    Parameters
    ----------
    phase
        Wrapped phase within ±π [rad], `(z, y, x)`.
    magnitude
        Magnitude [arbitrary], `(z, y, x)`.
    mask
        Where to unwrap, bool `(z, y, x)`.
    settings
        How far a region grows by itself.

    Returns
    -------
        Unwrapped phase [rad], `(z, y, x)`, zero outside the mask, in each of its parts up to whole turns.

    Notes
    -----
    The reliability of the border between two voxels is (1 − |phase step| / π) times that of its worse voxel; a voxel's
    is (1 − its mean |phase step| / π) times its magnitude relative to the median, 1 at most. Inside a region the most
    reliable border is always crossed first. Then each region joins the neighbour for which the reliabilities along the
    whole common border agree best on one number of turns, until none is left.

    References
    ----------
    Ye 2019, J Magn Reson Imaging 50:62.
    """
    inside = mask.cpu().numpy()
    angles = phase.detach().cpu().numpy()[inside]
    pairs, reliability = _rated_pairs(angles, magnitude.detach().cpu().numpy()[inside], neighbours(inside))
    trusted = reliability >= settings.least_reliability
    # A trusted pair ends up inside one region, so only the others are needed after the growing.
    doubtful, doubtful_reliability = pairs.take(~trusted), reliability[~trusted]
    pairs, reliability = pairs.take(trusted), reliability[trusted]
    del trusted
    branches = cheapest_branches(len(angles), pairs, np.subtract(1, reliability, out=reliability))
    del pairs, reliability
    turns = _merged(join(len(angles), branches), doubtful, doubtful_reliability)
    unwrapped = np.zeros(inside.shape, dtype=angles.dtype)
    unwrapped[inside] = angles + TURN * turns.astype(angles.dtype)
    return torch.from_numpy(unwrapped).to(device=phase.device)


def _rated_pairs(
    angles: NDArray, magnitude: NDArray, ends: tuple[NDArray[np.int32], NDArray[np.int32]]
) -> tuple[Pairs, NDArray[np.float32]]:
    """Return the pairs of neighbours with the turns between them, and how far each can be trusted (0 to 1)."""
    first, second = ends
    step = angles[second] - angles[first]
    jump = -np.rint(step / TURN)
    step += angles.dtype.type(TURN) * jump
    jump = jump.astype(np.int8)
    size = np.divide(np.abs(step, out=step), angles.dtype.type(np.pi), out=step)
    n_voxels = len(angles)
    total = np.bincount(first, size, n_voxels) + np.bincount(second, size, n_voxels)
    count = np.bincount(first, minlength=n_voxels) + np.bincount(second, minlength=n_voxels)
    bright = max(float(np.median(magnitude)), np.finfo(np.float64).tiny)
    quality = ((1 - total / np.maximum(count, 1)) * np.minimum(magnitude / bright, 1)).astype(np.float32)
    del total, count
    reliability = np.subtract(1, size, out=size)
    reliability *= np.minimum(quality[first], quality[second])
    return Pairs(first, second, jump), np.clip(reliability, 0, 1, out=reliability).astype(np.float32, copy=False)


def _merged(forest: Forest, pairs: Pairs, reliability: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return the whole turns of each voxel after all regions that touch are joined."""
    region, turns, n_regions = forest.tree, forest.turns, forest.n_trees
    while True:
        # The turns between two regions follow from those of the two voxels on the border.
        between = Pairs(
            region[pairs.first], region[pairs.second], pairs.jump + turns[pairs.first] - turns[pairs.second]
        )
        border = between.first != between.second
        if not border.any():
            return turns
        pairs, reliability = pairs.take(border), reliability[border]
        joined = join(n_regions, _election(n_regions, between.take(border), reliability))
        turns = turns + joined.turns[region]
        region, n_regions = joined.tree[region], joined.n_trees


def _election(n_regions: int, between: Pairs, reliability: NDArray[np.float32]) -> Pairs:
    """Return for each region the neighbour on whose turns its border agrees best; together they hold no cycle."""
    swapped = between.first > between.second
    low = np.where(swapped, between.second, between.first).astype(np.int64)
    high = np.where(swapped, between.first, between.second).astype(np.int64)
    jump = np.where(swapped, -between.jump, between.jump)
    least, span = int(jump.min()), int(jump.max() - jump.min()) + 1
    # One number names a pair of regions and a number of turns; its votes lie side by side once sorted.
    names, votes = _summed((low * n_regions + high) * span + (jump - least), reliability)
    couple = names // span
    begins = np.concatenate([[True], couple[1:] != couple[:-1]]).nonzero()[0]
    total = np.add.reduceat(votes, begins)
    order = np.lexsort((votes, couple))
    winner = order[np.concatenate([begins[1:], [len(couple)]]) - 1]
    margin = 2 * votes[winner] - total
    candidates = Pairs(
        (couple[winner] // n_regions).astype(np.int32),
        (couple[winner] % n_regions).astype(np.int32),
        (names[winner] % span + least).astype(np.int32),
    )
    # Of several values for one place the last is kept, which is the best; the strict order rules cycles out.
    ranked = candidates.take(np.argsort(margin, kind="stable"))
    favourite = np.full(n_regions, -1, dtype=np.int64)
    latest = np.arange(len(ranked))
    np.maximum.at(favourite, ranked.first, latest)
    np.maximum.at(favourite, ranked.second, latest)
    return ranked.take(np.unique(favourite[favourite >= 0]))


def _summed(names: NDArray[np.int64], votes: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return each name once, in order, with the sum of its votes."""
    order = np.argsort(names, kind="stable")
    ordered = names[order]
    begins = np.concatenate([[True], ordered[1:] != ordered[:-1]]).nonzero()[0]
    return ordered[begins], np.add.reduceat(votes[order].astype(np.float64), begins)


def run(inputs: Mapping[str, Tensor], context: StepContext, settings: SpunSettings) -> dict[str, Tensor]:
    """Unwrap the step's phase; see `unwrap_by_regions`."""
    unwrapped = unwrap_each_echo(
        partial(unwrap_by_regions, settings=settings),
        inputs["phase"],
        inputs["magnitude"],
        inputs["mask"],
        context.echo_times_s,
        context.on_iteration,
    )
    return {"unwrapped_phase": unwrapped}


SPUN = Method(
    name="spun",
    citation="Ye 2019, J Magn Reson Imaging 50:62 (seed-prioritised region growing)",
    run=run,
    settings=SpunSettings,
    inputs=("phase", "magnitude", "mask"),
    outputs=("unwrapped_phase",),
    memory_volumes=11.5,
)
