"""The claim of DF-QSM's paper: steps down the data term mend any network's map; beside it DLL2 and FINE."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from pipeline.networks.table import NETWORKS
from pipeline.networks.weights import FOLDER, is_trained
from pipeline.studies.bootstrap import mean_with_interval, ratio_of_means
from pipeline.studies.claims_inversions import (
    Inversion,
    OnProgress,
    classical,
    held_out_samples,
    learned,
    notes_on_missing,
    part_of,
)
from pipeline.studies.metrics import nrmse
from pipeline.studies.table import Cell, EvaluationTable
from pipeline.susceptibility.dipole_inversion.learned.data_term import DataTerm
from pipeline.susceptibility.dipole_inversion.learned.refinement import DfQsmSettings, Dll2Settings, df_qsm, dll2
from pipeline.training.datasets.sample import Sample
from pipeline.training.plans import ANY, AXIAL

CLASSICAL_STARTS = ("weighted_tv", "total_variation")
FINE_NETWORKS = ("unet_df",)
LARGEST_RISE = 1.01
"""Our rule may raise the error of no network by more than this factor on average."""
PAPER_VOXELS = 176 * 176 * 160
"""Of the paper's volumes, on which its rule was set; the norm of a gradient grows with the root of their number."""
COMPARED = ("zero", "weighted_tv", "total_variation", "xqsm", "unet_df", "lodestone_net")
"""Starts of the table of all corrections."""
_ZERO = "zero"


@dataclass(frozen=True)
class Outcome:
    """One map of one sample: error [%], residual over the noise, and seconds that the correction took."""

    nrmse: float
    residual: float
    seconds: float


Outcomes = dict[tuple[str, str], list[Outcome]]
"""Of every sample, by start and correction; the correction "none" is the start itself."""


def _by_paper(start: Tensor, drawn: Sample) -> Tensor:
    return df_qsm(start, drawn.local_field, drawn.mask, drawn.grid, DfQsmSettings(rule="paper"), drawn.field_noise)


def _by_paper_per_voxel(start: Tensor, drawn: Sample) -> Tensor:
    """Stop at the paper's norm per root of a voxel: the rule is not homogeneous, so the scan is scaled instead."""
    factor = (PAPER_VOXELS / int(drawn.mask.sum())) ** 0.5
    scaled = replace(drawn, local_field=drawn.local_field * factor)
    return _by_paper(start * factor, scaled) / factor


def _by_noise(start: Tensor, drawn: Sample) -> Tensor:
    return df_qsm(start, drawn.local_field, drawn.mask, drawn.grid, DfQsmSettings(), drawn.field_noise)


def _closed(start: Tensor, drawn: Sample) -> Tensor:
    return dll2(start, drawn.local_field, drawn.mask, drawn.grid, Dll2Settings(), drawn.field_noise)


def _weighed(start: Tensor, drawn: Sample) -> Tensor:
    settings = replace(Dll2Settings(), is_weighted=True)
    return dll2(start, drawn.local_field, drawn.mask, drawn.grid, settings, drawn.field_noise)


CORRECTIONS: Mapping[str, Callable[[Tensor, Sample], Tensor]] = {
    "df_qsm, paper": _by_paper,
    "df_qsm, paper per voxel": _by_paper_per_voxel,
    "df_qsm, ours": _by_noise,
    "dll2": _closed,
    "dll2, weighed": _weighed,
}


def refinement_claims(
    folder: Path = FOLDER,
    *,
    networks: Sequence[str] = tuple(NETWORKS),
    n_samples: int = 8,
    size: int = 48,
    fine_networks: Sequence[str] = FINE_NETWORKS,
    fine_samples: int = 3,
    fine_iterations: int = 15,
    on_progress: OnProgress | None = None,
) -> list[EvaluationTable]:
    """Correct the maps of every trained network, of classical methods and of none, and tell error and residual.

    Parameters
    ----------
    folder
        Where the networks' weights are.
    networks
        Those to correct.
    n_samples
        Samples of the held-out generator; a network that is not told B0 gets axial slices of cubic voxels.
    size
        Edge of a sample [voxel].
    fine_networks, fine_samples, fine_iterations
        FINE trains a copy of the network for every sample: which networks, on how many samples, in how many steps.
    on_progress
        Told the share done.

    Returns
    -------
    DF-QSM by the paper's rule and by ours on every start; then all corrections beside one another.

    Source of the claim: Paluru 2025 (DF-QSM), tables 1 to 4.
    """
    starts = [_zero(), *(classical(name) for name in CLASSICAL_STARTS)]
    starts += [learned(name, folder) for name in networks if is_trained(name, folder)]
    any_scan = held_out_samples(replace(ANY, shape=(size, size, size)), n_samples)
    axial = held_out_samples(replace(AXIAL, shape=(size, size, size)), n_samples)
    found: Outcomes = {}
    for number, start in enumerate(starts):
        told = part_of(on_progress, 0.7 * number / len(starts), 0.7 * (number + 1) / len(starts))
        _correct(start, any_scan if start.knows_direction else axial, found, told)
    slow = [name for name in fine_networks if is_trained(name, folder)]
    for number, name in enumerate(slow):
        drawn = (any_scan if learned(name, folder).knows_direction else axial)[:fine_samples]
        tuned = learned(name, folder, "fine", iterations=fine_iterations)
        found[name, "fine"] = []
        for index, one in enumerate(drawn):
            found[name, "fine"].append(_judged(partial(tuned.run, one), one))
            if on_progress is not None:
                on_progress(0.7 + 0.3 * (number + (index + 1) / len(drawn)) / len(slow))
    missing = notes_on_missing(networks, folder)
    kinds = {start.name: "any" if start.knows_direction else "axial" for start in starts}
    where = f"{n_samples} held-out samples of {size}³ voxels; axial: slices across B0, cubic voxels."
    return [
        _rules_table(found, kinds, (where, *missing)),
        _corrections_table(found, kinds, (where, _fine_note(slow, fine_samples, fine_iterations), *missing)),
    ]


def _zero() -> Inversion:
    return Inversion(_ZERO, lambda drawn: torch.zeros_like(drawn.local_field))


def _correct(start: Inversion, drawn: Sequence[Sample], found: Outcomes, on_progress: OnProgress | None) -> None:
    for name in ("none", *CORRECTIONS):
        found[start.name, name] = []
    for number, one in enumerate(drawn):
        begun = start.run(one)
        found[start.name, "none"].append(_judged(begun.clone, one))
        for name, correct in CORRECTIONS.items():
            found[start.name, name].append(_judged(partial(correct, begun, one), one))
        if on_progress is not None:
            on_progress((number + 1) / len(drawn))


def _judged(make: Callable[[], Tensor], drawn: Sample) -> Outcome:
    before = perf_counter()
    made = make()
    seconds = perf_counter() - before
    term = DataTerm.of(drawn.local_field, drawn.mask, drawn.grid, drawn.field_noise)
    residual = term.ratio(term.residual(term.framed(made)))
    return Outcome(nrmse(made, drawn.susceptibility, drawn.mask), residual, seconds)


def _rules_table(found: Outcomes, kinds: Mapping[str, str], notes: tuple[str, ...]) -> EvaluationTable:
    rows = []
    for start, kind in kinds.items():
        before = found[start, "none"]
        cells: list[Cell] = [start, kind, _mean(before, "nrmse"), _mean(before, "residual")]
        for rule in ("df_qsm, paper", "df_qsm, paper per voxel", "df_qsm, ours"):
            cells.append(_ratio(found[start, rule], before))
        cells.append(_mean(found[start, "df_qsm, ours"], "residual"))
        cells += [_worst(found[start, "df_qsm, ours"], before), _keeps_the_promise(found, start)]
        rows.append(tuple(cells))
    return EvaluationTable(
        "DF-QSM on every network's map (Paluru 2025)",
        (
            "start",
            "scans",
            "NRMSE [%]",
            "residual [noise]",
            "NRMSE ×, paper",
            "NRMSE ×, paper per voxel",
            "NRMSE ×, ours",
            "residual, ours",
            "worst sample ×, ours",
            "lower residual, NRMSE ≤ 1.01 ×",
        ),
        tuple(rows),
        (
            *notes,
            "The residual is weighed by the noise: 1 where all but noise is explained. NRMSE × is the mean after the "
            "correction over the mean before it, with 95 % bootstrap intervals, in pairs; the last column judges the "
            "means by our rule. The paper stops where the norm of the gradient, which grows with the volume, is below "
            "0.75, and after 8 steps: on small volumes it stops at once. 'Per voxel' holds the norm to their volume.",
        ),
    )


def _corrections_table(found: Outcomes, kinds: Mapping[str, str], notes: tuple[str, ...]) -> EvaluationTable:
    rows = []
    for (start, correction), outcomes in found.items():
        if start not in COMPARED:
            continue
        before = found[start, "none"][: len(outcomes)]
        is_start = correction == "none"
        rows.append(
            (
                start,
                kinds[start],
                correction,
                len(outcomes),
                _mean(outcomes, "nrmse"),
                None if is_start else _ratio(outcomes, before),
                _mean(outcomes, "residual"),
                None if is_start else sum(one.seconds for one in outcomes) / len(outcomes),
            )
        )
    rows.sort(key=lambda row: list(kinds).index(str(row[0])))
    return EvaluationTable(
        "DF-QSM, DLL2 and FINE on the same starts",
        ("start", "scans", "correction", "samples", "NRMSE [%]", "NRMSE ×", "residual [noise]", "seconds"),
        tuple(rows),
        notes,
    )


def _mean(outcomes: Sequence[Outcome], figure: str) -> Cell:
    return mean_with_interval([getattr(one, figure) for one in outcomes])


def _ratio(after: Sequence[Outcome], before: Sequence[Outcome]) -> Cell:
    return ratio_of_means([one.nrmse for one in after], [one.nrmse for one in before])


def _worst(after: Sequence[Outcome], before: Sequence[Outcome]) -> float:
    return max(later.nrmse / former.nrmse for later, former in zip(after, before, strict=True))


def _keeps_the_promise(found: Outcomes, start: str) -> bool:
    before, after = found[start, "none"], found[start, "df_qsm, ours"]
    is_lower = sum(one.residual for one in after) <= sum(one.residual for one in before)
    return is_lower and sum(one.nrmse for one in after) <= LARGEST_RISE * sum(one.nrmse for one in before)


def _fine_note(networks: Sequence[str], n_samples: int, n_steps: int) -> str:
    if not networks:
        return "FINE was not run: no weights of the networks that it was asked for."
    return f"FINE trains a copy of {', '.join(networks)} for each of {n_samples} samples, {n_steps} steps at most."
