"""The tables of one factor at a time: error by level, and how much a nucleus' mean depends on the factor."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.studies.bootstrap import mean_with_interval
from pipeline.studies.table import Estimate, EvaluationTable
from pipeline.training.evaluation_axes import AXES, CENTRE, Level
from pipeline.training.evaluation_results import Result
from pipeline.training.evaluation_trials import COMPOSITE

LEAST_NUCLEUS_PPB = 40.0
"""A nucleus that differs less from the brain's mean has no percentage worth telling."""
FACTORS = ("tilt", "voxel")


def axis_tables(results: Sequence[Result]) -> list[EvaluationTable]:
    """Return a table of detrended NRMSE for each factor and kind of truth, and of regional errors for slabs."""
    tables = []
    for axis, levels in AXES.items():
        for kind, is_patch in (("patches of the held-out generator", True), ("heads", False)):
            chosen = [r for r in results if r.level is not None and (r.generator == COMPOSITE) == is_patch]
            reached = [name for name, level in levels.items() if any(r.level == level for r in chosen)]
            if len(reached) < 2:
                continue
            tables.append(_by_level(f"{axis}, {kind}", chosen, levels, "detrended_nrmse", "detrended NRMSE [%]"))
            if axis == "slab":
                tables.append(_by_level(f"{axis}, {kind}", chosen, levels, "region_error_ppb", "error of nuclei [ppb]"))
    return tables


def _by_level(
    title: str, results: Sequence[Result], levels: dict[str, Level], metric: str, heading: str
) -> EvaluationTable:
    rows = []
    for method in dict.fromkeys(result.method for result in results):
        cells = [
            mean_with_interval(
                [r.scores[metric] for r in results if (r.method, r.level) == (method, level) and r.scores]
            )
            for level in levels.values()
        ]
        rows.append((method, len({r.trial for r in results if r.method == method and r.scores}), *cells))
    centre = f"All else at SNR {CENTRE.snr:g}, B0 along the first axis, cubic voxels, whole volume."
    notes = [centre, "Classical methods at their tuned weights."]
    if "slab" in title:
        notes.append("The field of a slab is that of the slab alone: everything beyond it is removed perfectly.")
    return EvaluationTable(f"{title}: {heading}", ("method", "samples", *levels), tuple(rows), tuple(notes))


@dataclass(frozen=True)
class Change:
    """How far the mean of one nucleus of one head moved from that at the centre [%], less what the truth moved."""

    head: str
    nucleus: str
    level: Level
    percent: float


def nucleus_changes(results: Sequence[Result], method: str, factor: str) -> list[Change]:
    """Return the change of every nucleus with every level of a factor."""
    mine = [r for r in results if r.method == method and r.level is not None and r.generator != COMPOSITE]
    changes = []
    for head in dict.fromkeys(result.trial for result in mine):
        recovered = {
            (result.level, region.name): region.measured_ppb / region.truth_ppb
            for result in mine
            if result.trial == head
            for region in result.regions
            if abs(region.truth_ppb) >= LEAST_NUCLEUS_PPB
        }
        for level in AXES[factor].values():
            for (at, name), share in recovered.items():
                if at == level and level != CENTRE and (CENTRE, name) in recovered:
                    changes.append(Change(head, name, level, 100 * (share / recovered[(CENTRE, name)] - 1)))
    return changes


def dependence(results: Sequence[Result], method: str) -> dict[str, Estimate]:
    """Return the mean absolute change of a nucleus' mean with tilt and with the shape of voxels [%]."""
    found = {factor: nucleus_changes(results, method, factor) for factor in FACTORS}
    return {
        factor: mean_with_interval([abs(change.percent) for change in changes])
        for factor, changes in found.items()
        if changes
    }


def dependence_table(results: Sequence[Result]) -> EvaluationTable:
    """Return how much the means of nuclei depend on tilt and on the shape of voxels, for every method."""
    rows = []
    for method in dict.fromkeys(r.method for r in results if r.level is not None and r.generator != COMPOSITE):
        cells: list[object] = []
        for factor in FACTORS:
            changes = nucleus_changes(results, method, factor)
            cells += [
                mean_with_interval([abs(change.percent) for change in changes]),
                mean_with_interval([change.percent for change in changes]),
                max((abs(change.percent) for change in changes), default=math.nan),
            ]
        rows.append((method, *cells))
    headings = [f"{factor}: {word}" for factor in FACTORS for word in ("mean change [%]", "with sign [%]", "worst [%]")]
    return EvaluationTable(
        "How the mean of a nucleus changes with tilt (20 to 60°) and voxel shape (1 : 2, 1 : 3), against the centre",
        ("method", *headings),
        tuple(rows),
        (
            f"Nuclei at least {LEAST_NUCLEUS_PPB:g} ppb from the brain's mean; measured over true mean, which "
            "takes partial volumes out. Noise of the field is part of the change.",
        ),
    )
