"""How often an inversion loses a structure that is there, and how often it invents one that is not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scipy.stats import binomtest

from pipeline.networks.table import NETWORKS
from pipeline.networks.weights import FOLDER, is_trained
from pipeline.studies.bootstrap import mean_with_interval, ratio_of_means
from pipeline.studies.cases import REPORTING_SEEDS, make_case
from pipeline.studies.claims_inversions import (
    Inversion,
    OnProgress,
    all_learned,
    classical,
    classical_twin,
    delivered,
    held_out_samples,
    notes_on_missing,
    part_of,
    sample_of_case,
)
from pipeline.studies.claims_slabs import SCAN
from pipeline.studies.removed_structures_pairs import STRUCTURES, Structure, pairs_of
from pipeline.studies.table import Cell, Estimate, EvaluationTable
from pipeline.susceptibility.dipole_inversion.weighted_tv import WeightedTvSettings
from pipeline.training.datasets.sample import Sample
from pipeline.training.plans import ANY, AXIAL, find_plan

SHOWN = 0.5
"""A structure is shown where a map's contrast is at least this share of its own."""
SEED = 77_003
SMOOTHER = 6.0
"""By how much the default inversion's weight is also tried: about what errs least over whole volumes."""
REFERENCE = "weighted_tv"
"""The method that the others' contrasts are compared with."""
_KINDS = ("vein", "rim", "bleed")
_ALL = "all"


@dataclass(frozen=True)
class Findings:
    """What one inversion's maps show of one kind of structure over all pairs.

    Attributes
    ----------
    present, absent
        Contrasts where it is, and at its place or another one where it is not; 1 is the structure's own.
    gained
        Contrast with it less contrast without it, at its place.
    """

    present: tuple[float, ...]
    absent: tuple[float, ...]
    gained: tuple[float, ...]

    @property
    def lost(self) -> Estimate:
        """Return the share of structures that are not shown [%]."""
        return rate_with_interval(sum(value < SHOWN for value in self.present), len(self.present))

    @property
    def invented(self) -> Estimate:
        """Return the share of places without a structure that show one [%]."""
        return rate_with_interval(sum(value >= SHOWN for value in self.absent), len(self.absent))

    @property
    def separation(self) -> float:
        """Return how often a structure shows more contrast than a place without one, whatever the threshold."""
        if not self.present or not self.absent:
            return float("nan")
        wins = sum((there > none) + 0.5 * (there == none) for there in self.present for none in self.absent)
        return wins / (len(self.present) * len(self.absent))


def rate_with_interval(count: int, total: int) -> Estimate:
    """Return a share with the 95 % interval of Clopper and Pearson [%]; not numbers of none.

    Parameters
    ----------
    count
        How often it happened.
    total
        How often it could have.
    """
    if total == 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    limits = binomtest(count, total).proportion_ci(0.95, method="exact")
    return Estimate(100 * count / total, 100 * float(limits.low), 100 * float(limits.high))


def removed_structures(
    inversions: Sequence[Inversion],
    scenes: Sequence[Sample],
    *,
    structures: Sequence[Structure] = STRUCTURES,
    seed: int = SEED,
    where: str = "",
    on_progress: OnProgress | None = None,
) -> list[EvaluationTable]:
    """Invert scans with and without structures, and tell what the maps lose and invent.

    Parameters
    ----------
    inversions
        What to judge.
    scenes
        Scans without the structures.
    structures
        What is laid into them.
    seed
        Decides places and directions.
    where
        What the scenes are, for titles and notes.
    on_progress
        Told the share done.

    Returns
    -------
    Rates by kind of structure; rates of loss by size; what changes far from all structures.
    """
    contrasts: dict[str, dict[Structure, list[tuple[float, float]]]] = {one.name: {} for one in inversions}
    elsewhere: dict[str, dict[Structure, list[float]]] = {one.name: {} for one in inversions}
    far: dict[str, list[tuple[float, float]]] = {one.name: [] for one in inversions}
    n_pairs = 0
    for pair in pairs_of(scenes, structures, seed):
        n_pairs += 1
        for inversion in inversions:
            without, with_them = inversion.run(pair.without), inversion.run(pair.with_them)
            for place in pair.present:
                found = (place.contrast(with_them), place.contrast(without))
                contrasts[inversion.name].setdefault(place.structure, []).append(found)
            for decoy in pair.decoys:
                found_elsewhere = elsewhere[inversion.name].setdefault(decoy.structure, [])
                found_elsewhere += [decoy.contrast(with_them), decoy.contrast(without)]
            change = 1000 * (with_them - without)[pair.far].double()
            change = change - change.mean()
            far[inversion.name].append((float(change.square().mean().sqrt()), float(change.abs().quantile(0.999))))
        if on_progress is not None:
            on_progress(min(1.0, n_pairs / len(scenes)))
    findings = {
        name: {one: _findings(contrasts[name].get(one, []), elsewhere[name].get(one, [])) for one in structures}
        for name in contrasts
    }
    notes = (
        f"{n_pairs} pairs of scans ({where}); a structure is shown where the map's contrast is at least {SHOWN:g} of "
        "the structure's own, against the median of the ring around it; places are where the truth without it holds "
        "at most a quarter of that. Rates with 95 % intervals of Clopper and Pearson.",
    )
    return [
        _kinds_table(findings, where, notes),
        _sizes_table(findings, structures, where, notes),
        _far_table(far, where, notes),
    ]


def removed_structure_tables(
    folder: Path = FOLDER,
    *,
    n_scenes: int = 24,
    n_heads: int = 2,
    size: int = 64,
    with_axial_networks: bool = True,
    on_progress: OnProgress | None = None,
) -> list[EvaluationTable]:
    """Judge classical methods and all trained networks on pairs with and without structures.

    Networks that are not told B0 are judged on axial scans of cubic voxels, beside the default inversion there.

    Parameters
    ----------
    folder
        Where the networks' weights are.
    n_scenes, size
        Samples of the held-out generator, and their edge [voxel].
    n_heads
        Heads that no network trains on, at 2 mm, with more scenes.
    with_axial_networks
        Whether the networks are judged that are not told B0.
    on_progress
        Told the share done.
    """
    aware = [name for name in NETWORKS if find_plan(name).knows_direction]
    unaware = [name for name in NETWORKS if not find_plan(name).knows_direction]
    heads = [
        sample_of_case(make_case(family, seed, "structures", SCAN))
        for family, seed in zip(("textured", "piecewise_smooth") * n_heads, REPORTING_SEEDS * n_heads, strict=False)
    ][:n_heads]
    scenes = [*held_out_samples(replace(ANY, shape=(size, size, size)), n_scenes), *heads]
    inversions = [*_classical(), *all_learned(aware, folder), *delivered(folder)]
    axial_networks = [name for name in unaware if is_trained(name, folder)] if with_axial_networks else []
    share = 0.6 if axial_networks else 1.0
    where = f"{n_scenes} of the held-out generator and {n_heads} heads, any voxel and tilt"
    tables = removed_structures(inversions, scenes, where=where, on_progress=part_of(on_progress, 0.0, share))
    if axial_networks:
        scenes = held_out_samples(replace(AXIAL, shape=(size, size, size)), max(1, n_scenes // 3), SEED)
        inversions = [classical("weighted_tv"), *all_learned(axial_networks, folder)]
        where = f"{len(scenes)} of the held-out generator, axial, cubic voxels"
        tables += removed_structures(inversions, scenes, where=where, on_progress=part_of(on_progress, share, 1.0))
    missing = notes_on_missing(aware if not with_axial_networks else NETWORKS, folder)
    return [replace(table, notes=(*table.notes, *missing)) for table in tables]


def _classical() -> list[Inversion]:
    weight = SMOOTHER * WeightedTvSettings().regularisation
    smoother = classical("weighted_tv", f"weighted_tv × {SMOOTHER:g}", regularisation=weight)
    return [classical("tkd"), classical("star"), classical("weighted_tv"), smoother, classical_twin()]


def _findings(pairs: Sequence[tuple[float, float]], elsewhere: Sequence[float]) -> Findings:
    present = tuple(there for there, _ in pairs)
    own_place = tuple(none for _, none in pairs)
    return Findings(present, (*own_place, *elsewhere), tuple(there - none for there, none in pairs))


def _together(found: Sequence[Findings]) -> Findings:
    return Findings(
        tuple(value for one in found for value in one.present),
        tuple(value for one in found for value in one.absent),
        tuple(value for one in found for value in one.gained),
    )


def _kinds_table(
    findings: Mapping[str, Mapping[Structure, Findings]], where: str, notes: tuple[str, ...]
) -> EvaluationTable:
    reference = findings.get(REFERENCE)
    rows = []
    for name, by_structure in findings.items():
        for kind in (*_KINDS, _ALL):
            found = _of_kind(by_structure, kind)
            if not found.present:
                continue
            gained = mean_with_interval(found.gained)
            against = ratio_of_means(found.gained, _of_kind(reference, kind).gained) if reference else None
            absent = len(found.absent)
            rows.append(
                (
                    name,
                    kind,
                    len(found.present),
                    gained,
                    against,
                    found.lost,
                    absent,
                    found.invented,
                    found.separation,
                )
            )
    return EvaluationTable(
        f"Removed structures: lost and invented ({where})",
        (
            "method",
            "structure",
            "present",
            "contrast gained",
            f"× {REFERENCE}",
            "lost [%]",
            "absent",
            "invented [%]",
            "separation",
        ),
        tuple(rows),
        (
            *notes,
            "Contrast gained: with it less without it at its place, over its own; 1 as it should be; × is its ratio to "
            "another method's on the same structures. Absent places are its own in the scan without it, and another "
            "one in both scans. Separation: how often a structure shows more than an absent one, whatever the "
            "threshold; 0.5 by chance.",
        ),
    )


def _of_kind(by_structure: Mapping[Structure, Findings], kind: str) -> Findings:
    return _together([one for structure, one in by_structure.items() if kind in (structure.kind, _ALL)])


def _sizes_table(
    findings: Mapping[str, Mapping[Structure, Findings]],
    structures: Sequence[Structure],
    where: str,
    notes: tuple[str, ...],
) -> EvaluationTable:
    rows = []
    for structure in structures:
        count = max((len(by_structure[structure].present) for by_structure in findings.values()), default=0)
        cells: list[Cell] = [structure.name, count]
        cells += [by_structure[structure].lost if count else None for by_structure in findings.values()]
        rows.append(tuple(cells))
    columns = ("structure", "present", *findings)
    return EvaluationTable(f"Removed structures: lost, by size [%] ({where})", columns, tuple(rows), notes)


def _far_table(far: Mapping[str, Sequence[tuple[float, float]]], where: str, notes: tuple[str, ...]) -> EvaluationTable:
    rows = tuple(
        (
            name,
            mean_with_interval([rms for rms, _ in changes]),
            mean_with_interval([largest for _, largest in changes]),
        )
        for name, changes in far.items()
    )
    return EvaluationTable(
        f"Removed structures: change far from them [ppb] ({where})",
        ("method", "root mean square", "99.9 % of voxels below"),
        rows,
        (*notes, "Beyond the rings by four voxels nothing differs between the two scans but the structures' field."),
    )
