"""The claim of the thin-slab paper's training: fields of lone patches teach more than fields cut from whole brains."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from pipeline.networks.weights import FOLDER, is_trained
from pipeline.studies.bootstrap import mean_with_interval, ratio_of_means
from pipeline.studies.claims_inversions import (
    OnProgress,
    classical,
    held_out_samples,
    learned,
    maps_of,
    notes_on_missing,
    part_of,
    without_faults,
)
from pipeline.studies.metrics import detrended_nrmse, nrmse, slope
from pipeline.studies.table import EvaluationTable
from pipeline.training.datasets.recipe import MODES
from pipeline.training.datasets.sample import Sample
from pipeline.training.plans import AXIAL

TRAINED_ON = {"xqsm": "individual", "xqsm_cropped": "cropped"}
_REFERENCE = "total_variation"


def patches_claim(
    folder: Path = FOLDER,
    *,
    n_samples: int = 12,
    size: int = 48,
    on_progress: OnProgress | None = None,
) -> EvaluationTable:
    """Compare xQSM trained on individual patches with xQSM trained on cropped ones, on fields of both kinds.

    Parameters
    ----------
    folder
        Where the networks' weights are.
    n_samples
        Samples of the held-out generator, for each kind of field; axial slices, cubic voxels.
    size
        Edge of a sample [voxel].
    on_progress
        Told the share done.

    Source of the claim: Zhu, "Deep grey matter quantitative susceptibility mapping from small spatial coverages using
    deep learning"; the network: Gao 2021, doi:10.1002/nbm.4461.
    """
    networks = [name for name in TRAINED_ON if is_trained(name, folder)]
    inversions = [classical(_REFERENCE), *(learned(name, folder) for name in networks)]
    rows = []
    for number, mode in enumerate(MODES):
        drawn = held_out_samples(replace(without_faults(AXIAL, size), mode=mode), n_samples)
        maps = maps_of(inversions, drawn, part_of(on_progress, number / len(MODES), (number + 1) / len(MODES)))
        errors = {name: _figures(found, drawn) for name, found in maps.items()}
        for name, found in errors.items():
            against = errors.get("xqsm_cropped") if name == "xqsm" else None
            rows.append(
                (
                    mode,
                    name,
                    TRAINED_ON.get(name),
                    *(mean_with_interval(values) for values in found),
                    ratio_of_means(found[0], against[0]) if against else None,
                )
            )
    return EvaluationTable(
        "xQSM trained on individual or on cropped patches (Zhu)",
        ("field of", "method", "trained on", "NRMSE [%]", "detrended [%]", "slope", "NRMSE individual / cropped"),
        tuple(rows),
        (
            f"{n_samples} held-out samples of {size}³ voxels for each kind of field, axial slices, cubic voxels, noise "
            "but no other fault; 95 % bootstrap intervals, ratios in pairs. Individual: the patch is the whole world; "
            "cropped: the field is that of a larger object.",
            "The claim: training on individual patches errs less; the ratio is then below 1.",
            *notes_on_missing(TRAINED_ON, folder),
        ),
    )


def _figures(maps: Sequence[Tensor], drawn: Sequence[Sample]) -> list[tuple[float, ...]]:
    figures = [
        tuple(metric(found, one.susceptibility, one.mask) for metric in (nrmse, detrended_nrmse, slope))
        for found, one in zip(maps, drawn, strict=True)
    ]
    return list(zip(*figures, strict=True))
