"""How right and how fast reconstructions are: one simulated head, two ways to leave out lines, our methods scored."""

import importlib
import math
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pipeline.reconstruction.coil_sensitivity.table import SENSITIVITIES
from pipeline.reconstruction.kspace import Kspace
from pipeline.reconstruction.reconstruction import combine_coils
from pipeline.reconstruction.table import RECONSTRUCTIONS
from pipeline.simulation.coils import birdcage_array
from pipeline.simulation.families import find_family
from pipeline.simulation.raw_scanner import EchoImages, acquire_kspace
from pipeline.simulation.sampling_patterns import poisson_disk, uniform
from pipeline.simulation.scanner import Protocol, acquire
from pipeline.units import radians_per_ppm

_WHOLE = ((64, 128, 128), (2.0, 1.6, 1.6), 24)
_QUICK = ((32, 64, 64), (4.0, 3.2, 3.2), 16)
_ECHO_TIMES_S = (0.005, 0.025)
_TESLA, _SNR, _N_COILS = 3.0, 59.0, 8
_COILS_SEED, _NOISE_SEED, _PATTERN_SEED = 1, 5, 3
_NO_NOISE = 1e6
_SSIM_WINDOW = 7
REGULAR, POISSON = "AF 2 regular", "AF 4 Poisson disk"
_NOT_MEANT = {(POISSON, "grappa")}
"""GRAPPA takes irregular lines too, but has next to no neighbours there."""
LEARNED_BESIDE = {"variational_network": "l1_wavelet"}
"""Networks of the bench's Poisson disk, and the method of other programs that each is judged by."""


@dataclass(frozen=True)
class BenchCase:
    """One undersampled scan with its truth: images `(echo, z, y, x)`, coil images of echo one, and the brain."""

    name: str
    kspace: Kspace
    truth: Tensor
    true_sensitivities: Tensor
    brain: Tensor


@dataclass(frozen=True)
class Row:
    """What one method of one program reached on one case, for all echoes together.

    `seconds` pass on the clock, `processor_seconds` are spent by all threads. `unexplained_percent` is that of
    sensitivities: the share of the true coil images that no image could explain with them. `remark` says why a method
    did not run, or what is special about the row.
    """

    program: str
    method: str
    case: str
    settings: str = ""
    seconds: float = math.nan
    processor_seconds: float = math.nan
    psnr_db: float = math.nan
    ssim: float = math.nan
    phase_mrad: float = math.nan
    field_ppb: float = math.nan
    unexplained_percent: float = math.nan
    remark: str = ""


def bench_cases(family: str, seed: int, quick: bool) -> list[BenchCase]:
    """Scan one head of a family fully, and leave out lines in every way of the bench.

    Raises
    ------
    UnknownMethod
        There is no such family.
    """
    shape, voxel_size_mm, calibration = _QUICK if quick else _WHOLE
    protocol = Protocol(shape, voxel_size_mm, _ECHO_TIMES_S, _TESLA, _NO_NOISE, finest_mm=0.8)
    scan = EchoImages.of_scan(acquire(find_family(family).head(seed), protocol))
    sensitivities = birdcage_array(scan.grid, _N_COILS, _COILS_SEED)
    block = (min(calibration, shape[0] // 2), calibration)
    patterns = {
        REGULAR: uniform(shape[:2], (1, 2), block),
        POISSON: poisson_disk(shape[:2], 4.0 if not quick else 3.0, block, _PATTERN_SEED),
    }
    cases = []
    for name, pattern in patterns.items():
        kspace, truth = acquire_kspace(scan, sensitivities, pattern, _SNR, _NOISE_SEED)
        cases.append(BenchCase(name, kspace, truth, sensitivities, scan.signal))
    return cases


def our_rows(case: BenchCase, methods: tuple[str, ...] = ()) -> tuple[list[Row], Tensor, dict[str, Tensor]]:
    """Measure sensitivities and reconstructions of this package; of networks, those made for such lines.

    Returns
    -------
    The rows, the sensitivities with which all programs reconstruct, and the images by method.
    """
    rows, chosen = [], None
    for name, find in SENSITIVITIES.items():
        if methods and name != "espirit":
            continue
        found, seconds, spent = timed(partial(find, case.kspace, None))
        rows.append(sensitivity_row(case, "Lodestone", name, "", found, seconds, spent))
        chosen = found if name == "espirit" else chosen
    assert chosen is not None
    images: dict[str, Tensor] = {}
    for name, entry in RECONSTRUCTIONS.items():
        if entry.learned and (case.name != POISSON or name not in LEARNED_BESIDE):
            continue
        if (case.name, name) in _NOT_MEANT or (methods and name not in methods):
            continue
        images[name], seconds, spent = timed(partial(entry.run, case.kspace, chosen, entry.settings(), None))
        rows.append(image_row(case, "Lodestone", name, "", images[name], seconds, spent))
    return rows, chosen, images


def timed(work: Callable[[], Tensor]) -> tuple[Tensor, float, float]:
    """Return what a call returns, the seconds that it took, and those that this process' threads spent."""
    began, spent = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - began, time.process_time() - spent


def children_seconds() -> float:
    """Return the processor seconds that finished child processes have spent so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def image_row(
    case: BenchCase, program: str, method: str, settings: str, images: Tensor, seconds: float, spent: float
) -> Row:
    """Score images: PSNR and SSIM of the magnitude over the whole volume, phase between the echoes in the brain."""
    found, true = images.abs(), case.truth.abs()
    peaks = true.flatten(1).amax(1)
    errors = (found - true).square().flatten(1).mean(1)
    phase = (images[1] * images[0].conj() * (case.truth[1] * case.truth[0].conj()).conj()).angle()[case.brain]
    rms = float(phase.square().mean().sqrt())
    seconds_between = case.kspace.echo_times_s[1] - case.kspace.echo_times_s[0]
    # As the other measures of this package: scikit-image is imported by the few studies that need it.
    similarity = importlib.import_module("skimage.metrics").structural_similarity
    # Its window takes seven voxels each way; a case of few planes has none.
    wide = min(found.shape[1:]) >= _SSIM_WINDOW
    ssim = similarity(found[1].numpy(), true[1].numpy(), data_range=float(peaks[1])) if wide else math.nan
    return Row(
        program,
        method,
        case.name,
        settings,
        seconds,
        spent,
        psnr_db=float((10 * torch.log10(peaks.square() / errors)).mean()),
        ssim=float(ssim),
        phase_mrad=1e3 * rms,
        field_ppb=1e3 * rms / radians_per_ppm(seconds_between, case.kspace.b0_tesla),
    )


def sensitivity_row(
    case: BenchCase, program: str, method: str, settings: str, found: Tensor, seconds: float, spent: float
) -> Row:
    """Score sensitivities by the share of the true coil images in the brain that they cannot explain."""
    coils = case.true_sensitivities * case.truth[0]
    left = (coils - found * combine_coils(coils, found))[:, case.brain]
    share = float(left.norm() / coils[:, case.brain].norm())
    return Row(program, method, case.name, settings, seconds, spent, unexplained_percent=100 * share)
