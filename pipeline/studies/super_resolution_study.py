"""Super-resolution on heads that it was not trained on: error beside zero-filling, and what nuclei do."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from pipeline.acquisition import Acquisition
from pipeline.grid import Grid
from pipeline.networks.super_resolution import coarse_again
from pipeline.recipe import builtin_recipe
from pipeline.reconstruction.gates import invariance_finding
from pipeline.reconstruction.super_resolution import super_resolve
from pipeline.run import run
from pipeline.simulation.families import find_family
from pipeline.simulation.forward import complex_noise
from pipeline.simulation.scanner import SimulatedScan, acquire
from pipeline.studies.reconstruction_trials import Amount, image_errors, nuclei_means
from pipeline.studies.table import EvaluationTable

_PPB, _MRAD = 1e3, 1e3


def super_resolution_tables(
    family: str, amount: Amount, network: torch.nn.Module, on_piece: Callable[[str], None] | None = None
) -> list[EvaluationTable]:
    """Return image errors of zero-filling and of the network, and whether it moves the means of nuclei.

    Parameters
    ----------
    family
        Of the heads.
    amount
        Heads, their fine voxels, and the recipe that maps them; what is measured has voxels twice as large.
    network
        The trained module.
    on_piece
        Told when a head is done.
    """
    rows: list[tuple[object, ...]] = []
    for seed in amount.seeds:
        head = find_family(family).head(seed)
        scan = acquire(head, replace(amount.protocol, snr=math.inf))
        rows += _rows(scan, amount, network, seed)
        if on_piece is not None:
            on_piece(f"{family} {seed}, super-resolution")
    columns = ("head", "images", "PSNR [dB]", "phase [mrad]", "largest change of a nucleus [ppb]", "nuclei kept")
    note = "Changes are those of a nucleus' mean susceptibility against zero-filling; 2 ppb or 2 % may pass."
    return [EvaluationTable("Super-resolution of measured voxels of twice the size", columns, tuple(rows), (note,))]


def _rows(scan: SimulatedScan, amount: Amount, network: torch.nn.Module, seed: int) -> list[tuple[object, ...]]:
    truth = torch.polar(scan.acquisition.magnitude, scan.acquisition.phase)
    grid = scan.acquisition.grid
    coarse_shape = tuple(size // 2 for size in grid.shape)
    coarse_voxel = tuple(2 * size for size in grid.voxel_size_mm)
    coarse_grid = replace(
        grid,
        shape=(coarse_shape[0], coarse_shape[1], coarse_shape[2]),
        voxel_size_mm=(coarse_voxel[0], coarse_voxel[1], coarse_voxel[2]),
    )
    coarse = coarse_again(truth)
    noise = float(truth[0].abs()[scan.brain].mean()) / amount.protocol.snr
    coarse = coarse + complex_noise(tuple(coarse.shape), noise, torch.Generator().manual_seed(seed))
    fine = super_resolve(coarse, coarse_grid, network=network)
    plain_means = _nuclei(fine.zero_filled, scan, grid, amount)
    finer_means = _nuclei(fine.images, scan, grid, amount)
    finding = invariance_finding(plain_means, finer_means)
    plain, finer = (image_errors(images, truth, scan.brain) for images in (fine.zero_filled, fine.images))
    change = finding.figures["largest_change_ppb"]
    return [
        (str(seed), "zero-filled", plain[0], _MRAD * plain[1], None, None),
        (str(seed), "super-resolution", finer[0], _MRAD * finer[1], change, "no" if finding.is_warning else "yes"),
    ]


def _nuclei(images: Tensor, scan: SimulatedScan, grid: Grid, amount: Amount) -> dict[str, float]:
    times, tesla = scan.acquisition.echo_times_s, scan.acquisition.b0_tesla
    taken = Acquisition(images.abs(), images.angle(), times, tesla, grid, scan.brain)
    maps, _ = run(taken, builtin_recipe(amount.recipe))
    return nuclei_means(maps.susceptibility, scan)
