"""The thin-slab paper's claim: networks keep the deep nuclei's values where only a slab of the head was scanned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
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
    delivered,
    notes_on_missing,
    sample_of_case,
)
from pipeline.studies.table import Cell, EvaluationTable
from pipeline.training.datasets.sample import Sample

SCAN = Protocol((76, 92, 76), (2.0, 2.0, 2.0), ECHO_TIMES_S, snr=60.0, finest_mm=1.0)
NETWORKS = ("deepqsm", "xqsm", "xqsm_cropped", "unet_df", "lodestone_net")
CLASSICAL = ("total_variation", "weighted_tv", "ilsqr", "medi")
ORDERS = ("removed, then cut", "cut, then removed")
_REMOVAL = "resharp"
_RIM_VOXELS = 2


@dataclass(frozen=True)
class Targets:
    """What a slab is scanned for.

    Attributes
    ----------
    title
        What a table calls it.
    names
        Ends of the labels' names; both sides count together.
    families
        Of the heads, in turn.
    coverages_mm
        Thicknesses of the slabs.
    measured_share
        Of the thinnest slab, the planes in its middle in which all slabs are measured.
    least_voxels
        Fewer are not measured.
    claim
        What the paper says of it.
    """

    title: str
    names: tuple[str, ...]
    families: tuple[str, ...]
    coverages_mm: tuple[float, ...]
    measured_share: float
    least_voxels: int
    claim: str


NUCLEI = Targets(
    "nuclei",
    ("caudate nucleus", "putamen", "globus pallidus externus", "globus pallidus internus"),
    ("textured", "piecewise_smooth"),
    (32.0, 48.0, 64.0, 96.0, 128.0),
    0.5,
    20,
    "The claim: xQSM changes least, by less than 5 % from 48 mm on.",
)
_LESION_CLAIM = "The claim: xQSM trained on individual patches keeps lesions in slabs of 16 mm, the others lose them."
BLEED = Targets("bleed of 0.8 ppm", ("Bleed",), ("textured",), (16.0, 32.0, 64.0), 1.0, 10, _LESION_CLAIM)
CALCIFICATION = Targets(
    "calcification of −0.4 ppm", ("Calcification",), ("textured",), (16.0, 32.0, 64.0), 1.0, 10, _LESION_CLAIM
)

Measured = dict[tuple[str, str, float], dict[tuple[int, str], tuple[float, float]]]
"""Value and truth [ppm] of every head's target, by order, method and coverage."""


@dataclass(frozen=True)
class Slab:
    """A slab of a head across its first axis: the sample, and the labels within it `(z, y, x)`."""

    drawn: Sample
    labels: Tensor
    planes: slice


def slab_of(case: Case, coverage_mm: float, order: str = ORDERS[0], targets: Targets = NUCLEI) -> Slab:
    """Cut a slab out of a scan, about the middle of what it is scanned for, and out of the box of the brain.

    Parameters
    ----------
    case
        An axial scan of a head.
    coverage_mm
        Thickness; the whole brain where it is thinner.
    order
        Whether the background is removed before the cut, then perfectly, or after it by RESHARP from what is left.
    targets
        What lies in its middle.

    Raises
    ------
    UnusableInput
        There is no such order.
    """
    if order not in ORDERS:
        raise UnusableInput(f"The order is '{ORDERS[0]}' or '{ORDERS[1]}', not '{order}'.")
    box = _box(case.mask)
    planes = _planes(case, coverage_mm, box[0], targets)
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


def target_values(
    slab: Slab, susceptibility: Tensor, names: Mapping[int, str], measured: slice, targets: Targets = NUCLEI
) -> dict[str, float]:
    """Return the targets' means over both sides [ppm], relative to unlabelled brain in the same planes.

    Parameters
    ----------
    slab
        The slab.
    susceptibility
        A map of it `(z, y, x)` [ppm].
    names
        What the labels mean.
    measured
        Planes of the scan to measure in, the same for every slab.
    targets
        What to measure; what has too few voxels there is left out.
    """
    start = slab.planes.start
    inner = slice(measured.start - start, measured.stop - start)
    mask = slab.drawn.mask.numpy()
    deep = torch.from_numpy(ndimage.binary_erosion(mask, iterations=_RIM_VOXELS, border_value=1))[inner]
    values, labels = susceptibility[inner].double(), slab.labels[inner]
    reference = values[deep & (labels == 0)].mean()
    found = {}
    for target in targets.names:
        region = deep & torch.isin(labels, _numbers(names, (target,)).to(labels.dtype))
        if int(region.sum()) >= targets.least_voxels:
            found[target] = float(values[region].mean() - reference)
    return found


def slabs_claim(
    folder: Path = FOLDER,
    *,
    n_heads: int = 2,
    targets: Targets = NUCLEI,
    coverages_mm: Sequence[float] = (),
    orders: Sequence[str] = ORDERS[:1],
    inversions: Sequence[Inversion] | None = None,
    scan: Protocol = SCAN,
    on_progress: OnProgress | None = None,
) -> list[EvaluationTable]:
    """Invert slabs of simulated heads, and compare values in the middle with the truth and with the widest slab's.

    Parameters
    ----------
    folder
        Where the networks' weights are.
    n_heads
        Heads, of the targets' families in turn.
    targets
        What the slabs are scanned for.
    coverages_mm
        Thicknesses of the slabs; the targets' own where empty.
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
    For every order, the targets' mean error, and their change from the widest coverage.

    Source of the claim: Zhu, "Deep grey matter quantitative susceptibility mapping from small spatial coverages using
    deep learning".
    """
    chosen = _all(folder) if inversions is None else list(inversions)
    measured: Measured = {}
    coverages = tuple(sorted(coverages_mm or targets.coverages_mm))
    total = n_heads * len(orders) * len(coverages)
    done = 0
    for number in range(n_heads):
        case = _head(targets.families, number, scan)
        middle = _measured(case, coverages[0], targets)
        for order in orders:
            for coverage in coverages:
                slab = slab_of(case, coverage, order, targets)
                truth = target_values(slab, slab.drawn.susceptibility, case.scan.label_names, middle, targets)
                for inversion in chosen:
                    found = target_values(slab, inversion.run(slab.drawn), case.scan.label_names, middle, targets)
                    pairs = {(number, target): (found[target], truth[target]) for target in truth}
                    measured.setdefault((order, inversion.name, coverage), {}).update(pairs)
                done += 1
                if on_progress is not None:
                    on_progress(done / total)
    names = [inversion.name for inversion in chosen]
    notes = (
        f"{n_heads} simulated heads at {scan.voxel_size_mm[0]:g} mm, axial; {', '.join(targets.names)}, both sides, in "
        "planes in the middle of the thinnest slab, relative to unlabelled brain there; 95 % bootstrap intervals over "
        "heads and regions.",
        *(notes_on_missing(NETWORKS, folder) if inversions is None else ()),
    )
    return [
        table
        for order in orders
        for table in (
            _error_table(
                f"Thin slabs ({order}): error of the {targets.title}", order, names, coverages, measured, notes
            ),
            _change_table(
                f"Thin slabs ({order}): change of the {targets.title}",
                order,
                names,
                coverages,
                measured,
                (*notes, targets.claim),
            ),
        )
    ]


def _all(folder: Path) -> list[Inversion]:
    return [*(classical(name) for name in CLASSICAL), *all_learned(NETWORKS, folder), *delivered(folder)]


def _error_table(
    title: str,
    order: str,
    names: Sequence[str],
    coverages: tuple[float, ...],
    measured: Measured,
    notes: tuple[str, ...],
) -> EvaluationTable:
    rows = []
    for name in names:
        cells: list[Cell] = [name]
        for coverage in coverages:
            pairs = measured[order, name, coverage].values()
            cells.append(mean_with_interval([1000 * abs(found - truth) for found, truth in pairs]))
        rows.append(tuple(cells))
    return EvaluationTable(f"{title} [ppb]", _columns(coverages), tuple(rows), notes)


def _change_table(
    title: str,
    order: str,
    names: Sequence[str],
    coverages: tuple[float, ...],
    measured: Measured,
    notes: tuple[str, ...],
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
    return EvaluationTable(f"{title} from {widest:g} mm [% of the truth]", _columns(coverages[:-1]), tuple(rows), notes)


def _columns(coverages: Sequence[float]) -> tuple[str, ...]:
    return ("method", *(f"{coverage:g} mm" for coverage in coverages))


def _box(mask: Tensor) -> tuple[slice, slice, slice]:
    places = mask.nonzero()
    low, high = places.amin(0).tolist(), (places.amax(0) + 1).tolist()
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


def _planes(case: Case, coverage_mm: float, within: slice, targets: Targets) -> slice:
    """Return the planes of a slab about the middle of its targets, moved so that it stays within the brain."""
    count = round(coverage_mm / case.grid.voxel_size_mm[0])
    if count >= within.stop - within.start:
        return within
    first = _middle(case, targets) - count // 2
    first = min(max(first, within.start), within.stop - count)
    return slice(first, first + count)


def _measured(case: Case, thinnest_mm: float, targets: Targets) -> slice:
    """Return the planes in the middle of the thinnest slab, in which every slab is measured."""
    count = max(1, round(targets.measured_share * thinnest_mm / case.grid.voxel_size_mm[0]))
    first = _middle(case, targets) - count // 2
    return slice(first, first + count)


def _middle(case: Case, targets: Targets) -> int:
    labels = case.scan.labels
    numbers = _numbers(case.scan.label_names, targets.names).to(labels.dtype)
    planes = torch.isin(labels, numbers).any(2).any(1).nonzero().flatten()
    return int(planes.double().mean().round())


def _numbers(names: Mapping[int, str], targets: tuple[str, ...]) -> Tensor:
    return torch.tensor([number for number, name in names.items() if name.endswith(targets)])


@lru_cache(maxsize=3)
def _head(families: tuple[str, ...], number: int, scan: Protocol) -> Case:
    """Return one of the heads on which results are reported; families take turns."""
    seed = REPORTING_SEEDS[number // len(families) % len(REPORTING_SEEDS)]
    return make_case(families[number % len(families)], seed, "slab", scan)
