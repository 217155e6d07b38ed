"""The papers' claims, each tested again on simulated scans with known truth; whichever way they fall."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.networks.weights import FOLDER
from pipeline.simulation.scanner import Protocol
from pipeline.studies.claims_inversions import Inversion, OnProgress, all_learned, classical, part_of
from pipeline.studies.claims_k_qsm import k_qsm_claim
from pipeline.studies.claims_patches import patches_claim
from pipeline.studies.claims_refinement import refinement_claims
from pipeline.studies.claims_slabs import BLEED, CALCIFICATION, ORDERS, SCAN, slabs_claim
from pipeline.studies.claims_training_heads import training_heads_claim
from pipeline.studies.table import EvaluationTable


@dataclass(frozen=True)
class ClaimSizes:
    """How much each claim is tested on; the defaults are those of a report and take about ten minutes on one core.

    Attributes
    ----------
    size
        Edge of a held-out sample [voxel].
    n_k_qsm, n_patches, n_refined
        Held-out samples of the claims of k-QSM, of xQSM (of each kind of field) and of DF-QSM.
    n_fine, fine_iterations
        Samples and steps of FINE, which trains a copy of a network for each.
    n_heads, scan
        Heads that slabs are cut from, and how they are scanned.
    n_training_steps
        Steps of the trainings on one head and on five; 0 leaves that claim out, which takes minutes for 200 steps.
    """

    size: int = 48
    n_k_qsm: int = 12
    n_patches: int = 8
    n_refined: int = 5
    n_fine: int = 2
    fine_iterations: int = 10
    n_heads: int = 2
    scan: Protocol = SCAN
    n_training_steps: int = 0


Test = Callable[[OnProgress | None], list[EvaluationTable]]

QUICK = ClaimSizes(n_k_qsm=3, n_patches=2, n_refined=2, n_fine=1, fine_iterations=3, n_heads=1)
_COVERAGES_AFTER_CUT_MM = (32.0, 64.0, 128.0)


def claims(
    folder: Path = FOLDER, sizes: ClaimSizes | None = None, on_progress: OnProgress | None = None
) -> list[EvaluationTable]:
    """Test all claims.

    Parameters
    ----------
    folder
        Where the networks' weights are; what has none is left out, and a note under the table says so.
    sizes
        How much each is tested on; those of a report where None.
    on_progress
        Told the share done.

    Returns
    -------
    The tables, in the order of the papers.
    """
    chosen = ClaimSizes() if sizes is None else sizes
    parts = _parts(folder, chosen)
    total = sum(share for share, _ in parts)
    tables: list[EvaluationTable] = []
    before = 0.0
    for share, test in parts:
        tables += test(part_of(on_progress, before / total, (before + share) / total))
        before += share
    return tables


def _parts(folder: Path, sizes: ClaimSizes) -> Sequence[tuple[float, Test]]:
    """Return each claim's test and its share of the time."""
    parts: list[tuple[float, Test]] = [
        (
            8.0 * sizes.n_k_qsm,
            lambda told: [k_qsm_claim(folder, n_samples=sizes.n_k_qsm, size=sizes.size, on_progress=told)],
        ),
        (
            12.0 * sizes.n_patches,
            lambda told: [patches_claim(folder, n_samples=sizes.n_patches, size=sizes.size, on_progress=told)],
        ),
        (
            45.0 * sizes.n_refined + 2.5 * sizes.n_fine * sizes.fine_iterations,
            lambda told: refinement_claims(
                folder,
                n_samples=sizes.n_refined,
                size=sizes.size,
                fine_samples=sizes.n_fine,
                fine_iterations=sizes.fine_iterations,
                on_progress=told,
            ),
        ),
        (
            90.0 * sizes.n_heads,
            lambda told: slabs_claim(folder, n_heads=sizes.n_heads, scan=sizes.scan, on_progress=told),
        ),
        (30.0 * sizes.n_heads, lambda told: _slabs_cut_first(folder, sizes, told)),
        (30.0 * sizes.n_heads, lambda told: _lesions_in_slabs(folder, sizes, told)),
    ]
    if sizes.n_training_steps:
        steps = sizes.n_training_steps
        parts.append((3.0 * steps, lambda told: [training_heads_claim(steps, size=sizes.size, on_progress=told)]))
    return parts


def _slabs_cut_first(folder: Path, sizes: ClaimSizes, on_progress: OnProgress | None) -> list[EvaluationTable]:
    """Test slabs as they are scanned, where the background is removed from what the slab holds."""
    return slabs_claim(
        folder,
        n_heads=sizes.n_heads,
        scan=sizes.scan,
        coverages_mm=_COVERAGES_AFTER_CUT_MM,
        orders=ORDERS[1:],
        inversions=_few(folder),
        on_progress=on_progress,
    )


def _lesions_in_slabs(folder: Path, sizes: ClaimSizes, on_progress: OnProgress | None) -> list[EvaluationTable]:
    """Test slabs about a bleed and about a calcification."""
    tables = []
    for number, targets in enumerate((BLEED, CALCIFICATION)):
        told = part_of(on_progress, number / 2, (number + 1) / 2)
        chosen = _few(folder)
        tables += slabs_claim(
            folder, n_heads=sizes.n_heads, targets=targets, scan=sizes.scan, inversions=chosen, on_progress=told
        )
    return tables


def _few(folder: Path) -> list[Inversion]:
    """Return the inversions of the shorter comparisons."""
    chosen = [classical("total_variation"), classical("weighted_tv")]
    return [*chosen, *all_learned(("xqsm", "xqsm_cropped", "lodestone_net"), folder)]
