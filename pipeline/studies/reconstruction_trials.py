"""Accelerated scans of heads that no network was trained on, reconstructed in every way, mapped, and measured."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.acquisition import Acquisition
from pipeline.recipe import builtin_recipe
from pipeline.reconstruction.coil_sensitivity.espirit import espirit
from pipeline.reconstruction.coil_sensitivity.holes import fill_holes
from pipeline.reconstruction.gates import residual_power
from pipeline.reconstruction.kspace import Kspace
from pipeline.reconstruction.noise_whitening import whiten
from pipeline.reconstruction.reconstruction import Reconstruction
from pipeline.reconstruction.zero_filled import ZERO_FILLED
from pipeline.run import run
from pipeline.simulation.coils import birdcage_array, noise_covariance
from pipeline.simulation.families import find_family
from pipeline.simulation.raw_scanner import EchoImages, acquire_kspace
from pipeline.simulation.sampling_patterns import poisson_disk
from pipeline.simulation.scanner import Protocol, SimulatedScan, acquire
from pipeline.units import radians_per_ppm

FULLY_SAMPLED = ZERO_FILLED.name
"""How a scan without acceleration is reconstructed: nothing is missing."""
SIDES = ("Left ", "Right ")
_ECHO_TIMES_S = (0.005, 0.012, 0.019, 0.026)
_ZHOU_ECHO_TIMES_S = (0.0033, 0.0105, 0.0178, 0.025)
"""First and last of Zhou 2025; four of its eight."""
_CORRELATION = 0.15
_PPB, _MRAD = 1e3, 1e3
_TINY = 1e-12


@dataclass(frozen=True)
class Amount:
    """How much is measured.

    Attributes
    ----------
    protocol
        How each head is scanned; its `snr` is that of the k-space.
    seeds
        Of the heads.
    accelerations
        Beside 1, which is always there.
    calibration
        Lines `(z, y)` of the fully measured centre.
    n_coils
        Loops of the array.
    recipe
        That maps the images.
    """

    protocol: Protocol
    seeds: tuple[int, ...]
    accelerations: tuple[float, ...] = (2.0, 3.0, 4.0, 5.0)
    calibration: tuple[int, int] = (24, 24)
    n_coils: int = 8
    recipe: str = "default"


FULL = Amount(
    Protocol((76, 252, 198), (2.0, 0.8, 0.8), _ZHOU_ECHO_TIMES_S, snr=60.0, finest_mm=0.8),
    seeds=(7013, 7211, 7307),
    accelerations=(3.0, 4.0, 5.0),
    n_coils=16,
)
"""Voxels, echo times and accelerations of Zhou 2025, with half of its 32 coils."""
QUICK = Amount(
    Protocol((52, 72, 58), (3.0, 2.8, 2.8), _ECHO_TIMES_S, snr=60.0, finest_mm=1.4),
    seeds=(7013, 7211),
    accelerations=(3.0, 4.0, 5.0),
    calibration=(16, 16),
)
"""Voxels so large that small nuclei are a few of them: quick, but accelerations cost more here than in a real scan."""


@dataclass(frozen=True)
class ReconstructionTrial:
    """One reconstruction of one head.

    Attributes
    ----------
    seed
        Of the head.
    method
        Name of the reconstruction.
    acceleration
        All lines over the measured ones, rounded as asked for.
    psnr_db
        Of the magnitude in the brain, against the noise-free images, relative to their largest.
    phase_mrad, field_ppb
        Root mean square error of the phase between first and last echo in the brain, and as a field.
    residual
        Of the measured samples, over the noise.
    seconds
        That the reconstruction took.
    nuclei
        Mean susceptibility of each nucleus, both sides together [ppm].
    """

    seed: int
    method: str
    acceleration: float
    psnr_db: float
    phase_mrad: float
    field_ppb: float
    residual: float
    seconds: float
    nuclei: Mapping[str, float]


@dataclass(frozen=True)
class Truth:
    """What the nuclei of one head truly are [ppm], relative to the brain's mean as maps are."""

    seed: int
    nuclei: Mapping[str, float]


Found = ReconstructionTrial | Truth


def reconstruction_trials(
    family: str, amount: Amount, methods: Sequence[Reconstruction], on_trial: Callable[[str], None] | None = None
) -> Iterator[Found]:
    """Scan heads with every acceleration, reconstruct them with every method, and map them.

    Parameters
    ----------
    family
        Of the heads.
    amount
        How many of what.
    methods
        Rows of the table of reconstructions, with their default settings.
    on_trial
        Told the name of every trial when it is done.

    Yields
    ------
    For each head its truth, its fully sampled trial (acceleration 1), then the accelerated ones.
    """
    for seed in amount.seeds:
        head = find_family(family).head(seed)
        scan = acquire(head, replace(amount.protocol, snr=math.inf))
        yield Truth(seed, _truth(scan))
        scanner = _Scanner(EchoImages.of_scan(scan), scan, amount, seed)
        for acceleration in (1.0, *amount.accelerations):
            for trial in scanner.trials(acceleration, methods if acceleration > 1 else (ZERO_FILLED,)):
                if on_trial is not None:
                    on_trial(f"{family} {seed}, {trial.method}, AF {acceleration:g}")
                yield trial


class _Scanner:
    """One head in one coil array."""

    def __init__(self, images: EchoImages, scan: SimulatedScan, amount: Amount, seed: int) -> None:
        self.images, self.scan, self.amount, self.seed = images, scan, amount, seed
        self.coils = birdcage_array(images.grid, amount.n_coils, seed)

    def trials(self, acceleration: float, methods: Sequence[Reconstruction]) -> Iterator[ReconstructionTrial]:
        shape = (self.images.grid.shape[0], self.images.grid.shape[1])
        pattern = poisson_disk(shape, acceleration, self.amount.calibration, self.seed)
        covariance = noise_covariance(self.amount.n_coils, _CORRELATION, self.seed)
        measured, _ = acquire_kspace(self.images, self.coils, pattern, self.amount.protocol.snr, self.seed, covariance)
        kspace = whiten(measured)
        # As `reconstruct` finds them.
        sensitivities, _ = fill_holes(kspace, espirit(kspace))
        for method in methods:
            began = time.perf_counter()
            found = method.apply(kspace, sensitivities, method.settings())
            seconds = time.perf_counter() - began
            yield self._scored(method.name, acceleration, found, kspace, sensitivities, seconds)

    def _scored(
        self, name: str, acceleration: float, found: Tensor, kspace: Kspace, sensitivities: Tensor, seconds: float
    ) -> ReconstructionTrial:
        brain, times = self.scan.brain, kspace.echo_times_s
        psnr, phase = image_errors(found, self.images.images, brain)
        interval = radians_per_ppm(times[-1] - times[0], kspace.b0_tesla)
        images = Acquisition(found.abs(), found.angle(), times, kspace.b0_tesla, kspace.grid, brain)
        maps, _ = run(images, builtin_recipe(self.amount.recipe))
        return ReconstructionTrial(
            seed=self.seed,
            method=name,
            acceleration=acceleration,
            psnr_db=psnr,
            phase_mrad=_MRAD * phase,
            field_ppb=_PPB * phase / interval,
            residual=float(residual_power(found, kspace, sensitivities).mean().sqrt()),
            seconds=seconds,
            nuclei=nuclei_means(maps.susceptibility, self.scan),
        )


def image_errors(found: Tensor, truth: Tensor, brain: Tensor) -> tuple[float, float]:
    """Return the PSNR of the magnitude [dB] and the phase error between first and last echo [rad], in the brain.

    The magnitude's scale is fitted: that of k-space is the receiver's.

    Parameters
    ----------
    found, truth
        Complex `(echo, z, y, x)`.
    brain
        Bool `(z, y, x)`.
    """
    own, true = found.abs()[:, brain].double(), truth.abs()[:, brain].double()
    own = own * ((own * true).sum() / own.square().sum().clamp_min(_TINY))
    error = (own - true).square().mean().sqrt().clamp_min(_TINY)
    turned = (found[-1] * found[0].conj() * (truth[-1] * truth[0].conj()).conj())[brain]
    return 20 * math.log10(float(true.max() / error)), float(turned.angle().square().mean().sqrt())


def nuclei_means(susceptibility: Tensor, scan: SimulatedScan) -> dict[str, float]:
    """Return the mean susceptibility of every nucleus of either side [ppm]; lesions are left out."""
    means = {}
    for label, name in scan.label_names.items():
        where = (scan.labels == label) & scan.brain
        if name.startswith(SIDES) and bool(where.any()):
            means[name] = float(susceptibility[where].mean())
    return means


def _truth(scan: SimulatedScan) -> dict[str, float]:
    inside = scan.susceptibility[scan.brain]
    return nuclei_means(torch.where(scan.brain, scan.susceptibility - inside.mean(), 0.0), scan)
