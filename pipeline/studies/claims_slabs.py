"""The thin-slab paper's claim: networks keep the deep nuclei's values where only a slab of the head was scanned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from scipy import ndimage
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.method import StepContext
from pipeline.methods import STEPS
from pipeline.networks.weights import FOLDER
from pipeline.simulation.scanner import Protocol
from pipeline.studies.bootstrap import mean_with_interval
from pipeline.studies.cases import ECHO_TIMES_S, REPORTING_SEEDS, Case, make_case
from pipeline.studies.claims_inversions import (
    Inversion,
    OnProgress,
    all_learned,
    classical,
    notes_on_missing,
    sample_of_case,
)
from pipeline.studies.table import Cell, EvaluationTable
from pipeline.training.datasets.sample import Sample

COVERAGES_MM = (32.0, 48.0, 64.0, 96.0, 128.0)
SCAN = Protocol((76, 92, 76), (2.0, 2.0, 2.0), ECHO_TIMES_S, snr=60.0, finest_mm=1.0)
NETWORKS = ("deepqsm", "xqsm", "xqsm_cropped", "unet_df", "lodestone_net")
CLASSICAL = ("total_variation", "weighted_tv", "ilsqr", "medi")
NUCLEI = ("caudate nucleus", "putamen", "globus pallidus externus", "globus pallidus internus")
FAMILIES = ("textured", "piecewise_smooth")
ORDERS = ("removed, then cut", "cut, then removed")
_REMOVAL = "resharp"
_MEASURED_SHARE = 0.5
_RIM_VOXELS = 2
_LEAST_VOXELS = 20

Measured = dict[tuple[str, str, float], dict[tuple[int, str], tuple[float, float]]]
"""Value and truth [ppm] of every head's nucleus, by order, method and coverage."""


@dataclass(frozen=True)
class Slab:
    """A slab of a head across its first axis: the sample, and the labels of the nuclei within `(z, y, x)`."""

    drawn: Sample
    labels: Tensor
    planes: slice


def slab_of(case: Case, coverage_mm: float, order: str = ORDERS[0]) -> Slab:
    """Cut a slab out of a scan, in the middle of the deep nuclei, and out of the box of the brain.

    Parameters
    ----------
    case
        An axial scan of a head.
    coverage_mm
        Thickness; the whole brain where it is thinner.
    order
        Whether the background is removed before the cut, then perfectly, or after it by RESHARP from what is left.

    Raises
    ------
    UnusableInput
        There is no such order.
    """
    if order not in ORDERS:
        raise UnusableInput(f"The order is '{ORDERS[0]}' or '{ORDERS[1]}', not '{order}'.")
    box = _box(case.mask)
    planes = _planes(case, coverage_mm, box[0])
    box = (planes, box[1], box[2])
    whole = sample_of_case(case)
    shape = tuple(cut.stop - cut.start for cut in box)
    grid = replace(whole.grid, shape=(shape[0], shape[1], shape[2]))
    mask, field = whole.mask[box], whole.local_field[box]
    if order == ORDERS[1]:
        method = STEPS["background_field_removal"][_REMOVAL]
        given = {"total_field": case.artefacts_for("background_field_removal")["total_field"][box], "mask": mask}
        removed = method.apply(given, StepContext(grid), method.settings())
        mask, field = removed["mask"], removed["local_field"]
    truth = whole.susceptibility[box] * mask
    truth = (truth - truth[mask].mean()) * mask
    noise, magnitude = whole.field_noise[box] * mask, whole.magnitude[box]
    drawn = Sample(truth, field, mask, noise, magnitude, grid, whole.generator)
    return Slab(drawn, case.scan.labels[box], planes)


def nucleus_values(slab: Slab, susceptibility: Tensor, names: Mapping[int, str], measured: slice) -> dict[str, float]:
    """Return the nuclei's means over both sides [ppm], relative to unlabelled brain in the same planes.

    Parameters
    ----------
    slab
        The slab.
    susceptibility
        A map of it `(z, y, x)` [ppm].
    names
        What the labels mean.
    measured
        Planes of the scan to measure in, the same for every slab; a nucleus of fewer than 20 voxels is left out.
    """
    start = slab.planes.start
    inner = slice(measured.start - start, measured.stop - start)
    mask = slab.drawn.mask.numpy()
    deep = torch.from_numpy(ndimage.binary_erosion(mask, iterations=_RIM_VOXELS, border_value=1))[inner]
    values, labels = susceptibility[inner].double(), slab.labels[inner]
    reference = values[deep & (labels == 0)].mean()
    found = {}
    for nucleus in NUCLEI:
        numbers = [number for number, name in names.items() if name.endswith(nucleus)]
        region = deep & torch.isin(labels, torch.tensor(numbers, dtype=labels.dtype))
        if int(region.sum()) >= _LEAST_VOXELS:
            found[nucleus] = float(values[region].mean() - reference)
    return found


def slabs_claim(
    folder: Path = FOLDER,
    *,
    n_heads: int = 2,
    coverages_mm: Sequence[float] = COVERAGES_MM,
    orders: Sequence[str] = ORDERS[:1],
    inversions: Sequence[Inversion] | None = None,
    scan: Protocol = SCAN,
    on_progress: OnProgress | None = None,
) -> list[EvaluationTable]:
    """Invert slabs of simulated heads, and compare the nuclei's values with the truth and with the whole head's.

    Parameters
    ----------
    folder
        Where the networks' weights are.
    n_heads
        Heads, of two families in turn.
    coverages_mm
        Thicknesses of the slabs.
    orders
        Whether the background is removed before or after the cut.
    inversions
        What to compare; by default classical methods and the networks that have weights.
    scan
        How the heads are scanned; axial, so that every network may be asked.
    on_progress
        Told the share done.

    Returns
    -------
    For every order, the nuclei's mean error, and their change from the widest coverage.

    Source of the claim: Zhu, "Deep grey matter quantitative susceptibility mapping from small spatial coverages using
    deep learning".
    """
    chosen = _all(folder) if inversions is None else list(inversions)
    measured: Measured = {}
    total = n_heads * len(orders) * len(coverages_mm)
    done = 0
    for number in range(n_heads):
        family, seed = FAMILIES[number % len(FAMILIES)], REPORTING_SEEDS[number // len(FAMILIES) % len(REPORTING_SEEDS)]
        case = make_case(family, seed, "slab", scan)
        middle = _measured(case, min(coverages_mm))
        for order in orders:
            for coverage in coverages_mm:
                slab = slab_of(case, coverage, order)
                truth = nucleus_values(slab, slab.drawn.susceptibility, case.scan.label_names, middle)
                for inversion in chosen:
                    found = nucleus_values(slab, inversion.run(slab.drawn), case.scan.label_names, middle)
                    pairs = {(number, nucleus): (found[nucleus], truth[nucleus]) for nucleus in truth}
                    measured.setdefault((order, inversion.name, coverage), {}).update(pairs)
                done += 1
                if on_progress is not None:
                    on_progress(done / total)
    names = [inversion.name for inversion in chosen]
    notes = (
        f"{n_heads} simulated heads at {scan.voxel_size_mm[0]:g} mm, axial; caudate, putamen and both pallida, both "
        "sides, in the planes in the middle of the thinnest slab, relative to unlabelled brain there; 95 % bootstrap "
        "intervals over heads and nuclei.",
        *(notes_on_missing(NETWORKS, folder) if inversions is None else ()),
    )
    coverages = tuple(sorted(coverages_mm))
    return [
        table
        for order in orders
        for table in (
            _error_table(order, names, coverages, measured, notes),
            _change_table(order, names, coverages, measured, notes),
        )
    ]


def _all(folder: Path) -> list[Inversion]:
    return [*(classical(name) for name in CLASSICAL), *all_learned(NETWORKS, folder)]


def _error_table(
    order: str, names: Sequence[str], coverages: tuple[float, ...], measured: Measured, notes: tuple[str, ...]
) -> EvaluationTable:
    rows = []
    for name in names:
        cells: list[Cell] = [name]
        for coverage in coverages:
            pairs = measured[order, name, coverage].values()
            cells.append(mean_with_interval([1000 * abs(found - truth) for found, truth in pairs]))
        rows.append(tuple(cells))
    title = f"Thin slabs ({order}): error of the nuclei [ppb]"
    return EvaluationTable(title, _columns(coverages), tuple(rows), notes)


def _change_table(
    order: str, names: Sequence[str], coverages: tuple[float, ...], measured: Measured, notes: tuple[str, ...]
) -> EvaluationTable:
    widest = coverages[-1]
    rows = []
    for name in names:
        cells: list[Cell] = [name]
        for coverage in coverages[:-1]:
            thin, wide = measured[order, name, coverage], measured[order, name, widest]
            changes = [100 * (thin[key][0] - wide[key][0]) / wide[key][1] for key in thin if key in wide]
            cells.append(mean_with_interval(changes))
        rows.append(tuple(cells))
    return EvaluationTable(
        f"Thin slabs ({order}): change of the nuclei from {widest:g} mm [% of the truth]",
        _columns(coverages[:-1]),
        tuple(rows),
        (*notes, "The claim: xQSM changes least, by less than 5 % from 48 mm on."),
    )


def _columns(coverages: Sequence[float]) -> tuple[str, ...]:
    return ("method", *(f"{coverage:g} mm" for coverage in coverages))


def _box(mask: Tensor) -> tuple[slice, slice, slice]:
    places = mask.nonzero()
    low, high = places.amin(0).tolist(), (places.amax(0) + 1).tolist()
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


def _planes(case: Case, coverage_mm: float, within: slice) -> slice:
    """Return the planes of a slab about the middle of the deep nuclei, moved so that it stays within the brain."""
    count = round(coverage_mm / case.grid.voxel_size_mm[0])
    if count >= within.stop - within.start:
        return within
    first = _middle(case) - count // 2
    first = min(max(first, within.start), within.stop - count)
    return slice(first, first + count)


def _measured(case: Case, thinnest_mm: float) -> slice:
    """Return the planes in the middle of the thinnest slab, in which every slab is measured."""
    count = max(1, round(_MEASURED_SHARE * thinnest_mm / case.grid.voxel_size_mm[0]))
    first = _middle(case) - count // 2
    return slice(first, first + count)


def _middle(case: Case) -> int:
    numbers = [number for number, name in case.scan.label_names.items() if name.endswith(NUCLEI)]
    labels = case.scan.labels
    planes = torch.isin(labels, torch.tensor(numbers, dtype=labels.dtype)).any(2).any(1).nonzero().flatten()
    return int(planes.double().mean().round())
