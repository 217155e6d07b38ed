"""The claim of k-QSM's paper: a network in k-space mends what truncated division leaves in the cone, and no more."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pipeline.networks.weights import FOLDER, is_trained
from pipeline.operators.dipole import AXES, dipole_kernel
from pipeline.operators.padding import frame_around
from pipeline.studies.bootstrap import mean_with_interval, ratio_of_means
from pipeline.studies.claims_inversions import (
    Inversion,
    OnProgress,
    classical,
    held_out_samples,
    learned,
    maps_of,
    notes_on_missing,
    without_faults,
)
from pipeline.studies.metrics import nrmse
from pipeline.studies.table import EvaluationTable
from pipeline.training.datasets.sample import Sample
from pipeline.training.plans import ANY

NETWORKS_BY_THRESHOLD = {0.1: "kqsm", 0.2: "kqsm_02"}
_MARGIN = 8


def cone_errors(estimate: Tensor, drawn: Sample, threshold: float) -> tuple[float, float]:
    """Return the error inside and outside the cone |D| < threshold, each over the truth's power there [%].

    Parameters
    ----------
    estimate
        A map of the sample `(z, y, x)` [ppm]; its mean in the mask does not matter.
    drawn
        The sample with its truth.
    threshold
        Least absolute value of the dipole kernel that counts as measured.
    """
    frame = frame_around(drawn.mask, drawn.grid, _MARGIN)
    in_cone = dipole_kernel(frame.grid).abs() < threshold
    # The inner columns of a half spectrum stand for two frequencies each.
    columns = torch.full((in_cone.shape[2],), 2.0)
    columns[0] = 1.0
    if frame.grid.shape[2] % 2 == 0:
        columns[-1] = 1.0

    def power(values: Tensor) -> tuple[float, float]:
        centred = torch.where(drawn.mask, values - values[drawn.mask].mean(), 0.0)
        spectrum = torch.fft.rfftn(frame.embed(centred), dim=AXES).abs().square().mul_(columns).double()
        return float(spectrum[in_cone].sum()), float(spectrum[~in_cone].sum())

    wrong, wanted = power(estimate - drawn.susceptibility), power(drawn.susceptibility)
    inside, outside = (100 * (error / truth) ** 0.5 for error, truth in zip(wrong, wanted, strict=True))
    return inside, outside


def k_qsm_claim(
    folder: Path = FOLDER,
    *,
    n_samples: int = 12,
    size: int = 48,
    on_progress: OnProgress | None = None,
) -> EvaluationTable:
    """Compare k-QSM with truncated division at the same thresholds, in the cone and outside it.

    Parameters
    ----------
    folder
        Where the networks' weights are.
    n_samples
        Samples of the held-out generator.
    size
        Edge of a sample [voxel].
    on_progress
        Told the share done.

    Source of the claim: He 2022, doi:10.3389/fnins.2022.837721.
    """
    drawn = held_out_samples(without_faults(ANY, size), n_samples)
    inversions: list[tuple[float, Inversion]] = []
    for threshold, network in NETWORKS_BY_THRESHOLD.items():
        plain = classical("tkd", f"tkd {threshold}", threshold=threshold, correct_underestimation=False)
        inversions.append((threshold, plain))
        corrected = classical("tkd", f"tkd {threshold}, corrected", threshold=threshold)
        inversions.append((threshold, corrected))
        if is_trained(network, folder):
            inversions.append((threshold, learned(network, folder)))
    maps = maps_of([inversion for _, inversion in inversions], drawn, on_progress)
    rows = []
    reference: list[tuple[float, ...]] = []
    for threshold, inversion in inversions:
        found = _errors(maps[inversion.name], drawn, threshold)
        if inversion.name == f"tkd {threshold}":
            reference = found
        rows.append(
            (
                inversion.name,
                threshold,
                *(mean_with_interval(errors) for errors in found),
                *(ratio_of_means(mine, theirs) for mine, theirs in zip(found, reference, strict=True)),
            )
        )
    return EvaluationTable(
        "k-QSM against truncated division (He 2022)",
        (
            "method",
            "threshold",
            "NRMSE [%]",
            "in the cone [%]",
            "outside [%]",
            "NRMSE / tkd",
            "in the cone / tkd",
            "outside / tkd",
        ),
        tuple(rows),
        (
            f"{n_samples} held-out samples of {size}³ voxels, noise but no other fault; the cone is |D| < threshold; "
            "errors of the masked map's spectrum over the truth's in the same part of k-space; 95 % bootstrap "
            "intervals, ratios in pairs.",
            "The claim: less error in the cone at the same error outside. tkd is equation 3 of the paper; 'corrected' "
            "divides by the mean of the point spread function.",
            *notes_on_missing(NETWORKS_BY_THRESHOLD.values(), folder),
        ),
    )


def _errors(maps: Sequence[Tensor], drawn: Sequence[Sample], threshold: float) -> list[tuple[float, ...]]:
    """Return for each of three figures its value of every sample."""
    figures = [
        (nrmse(found, one.susceptibility, one.mask), *cone_errors(found, one, threshold))
        for found, one in zip(maps, drawn, strict=True)
    ]
    return list(zip(*figures, strict=True))
