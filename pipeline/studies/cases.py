"""Simulated scans with known truth, as the inputs of every step: what a method is given and what it should find.

A step's inputs are the truth of the step before it with the noise that the echoes allow (the Cramér–Rao bound), masked:
a clean field that runs on outside the mask flatters an inversion. Voxels are averages of finer samples.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from scipy import ndimage
from torch import Tensor

from pipeline.grid import Grid
from pipeline.method import StepContext
from pipeline.simulation.families import FAMILIES, find_family
from pipeline.simulation.forward import coil_phase, relative_field
from pipeline.simulation.sampling import SamplingGrid
from pipeline.simulation.scanner import Protocol, SimulatedScan, acquire
from pipeline.units import radians_per_ppm

TUNING_SEEDS = (101, 211, 307, 401)
"""Heads on which settings may be chosen."""
REPORTING_SEEDS = (7013, 7211, 7307, 7411)
"""Heads on which results are reported; no setting is ever chosen on them."""

ECHO_TIMES_S = (0.005, 0.010, 0.015, 0.020, 0.025)
_ISOTROPIC = Protocol((88, 108, 88), (1.8, 1.8, 1.8), ECHO_TIMES_S, finest_mm=0.9)
_ANISOTROPIC = Protocol((52, 140, 114), (3.0, 1.4, 1.4), ECHO_TIMES_S, finest_mm=0.75)
_COARSE = Protocol((52, 66, 54), (3.0, 3.0, 3.0), ECHO_TIMES_S, finest_mm=1.5)

SCANS: dict[str, Protocol] = {
    "axial, 1.8 mm, SNR 100": replace(_ISOTROPIC, snr=100.0),
    "25° oblique, 1.8 mm, SNR 40": replace(_ISOTROPIC, snr=40.0, rotation_deg=(25.0, 0.0, 0.0)),
    "axial, 1.4 × 1.4 × 3 mm, SNR 60": replace(_ANISOTROPIC, snr=60.0),
    "25° oblique, 1.4 × 1.4 × 3 mm, SNR 20": replace(_ANISOTROPIC, snr=20.0, rotation_deg=(0.0, 25.0, 0.0)),
}
"""How each head of a family is scanned, in the order of the seeds."""
QUICK_SCANS: dict[str, Protocol] = {
    "25° oblique, 3 mm, SNR 50": replace(_COARSE, snr=50.0, rotation_deg=(25.0, 0.0, 0.0))
}

RELAXIVITY_HZ_PER_PPM = 137.0
"""Of susceptibility in R2' at 3 T (Shin 2021, doi:10.1016/j.neuroimage.2021.118371)."""
R2_PER_S = 12.0
"""Of every tissue in the inputs of source separation."""
_OVERLAP_PPM = 0.02
_BIPOLAR_RAD, _BIPOLAR_RAMP_RAD = 0.4, (0.2, -0.3, 1.2)
_ORIENTATIONS = ((0.0, 0.0), (25.0, 0.0), (-20.0, 20.0), (0.0, -28.0))
_REFERENCE_SHIFT_PPM = 0.05
_RAW_PHASE = frozenset({"coil_combination", "bipolar_correction", "phase_offset_removal"})


@dataclass(frozen=True)
class Case:
    """One scan of one head; `artefacts_for` gives a step's inputs, the properties give the truth.

    `offset` is the phase that all echoes share [rad]; `r2star` [1/s] is None where it is not known.
    """

    name: str
    family: str
    scan: SimulatedScan
    protocol: Protocol
    offset: Tensor
    r2star: Tensor | None = None

    @property
    def grid(self) -> Grid:
        """The grid of the scan."""
        return self.scan.acquisition.grid

    @property
    def mask(self) -> Tensor:
        """The true brain."""
        return self.scan.brain

    @cached_property
    def field_noise(self) -> Tensor:
        """Least possible standard deviation of a field fitted with a phase offset [ppm], `(z, y, x)`."""
        return least_field_noise(self.scan.acquisition.magnitude, self.signal_noise, self._times, self._tesla)

    @cached_property
    def field_noise_without_offset(self) -> Tensor:
        """The same for a field fitted to phase that is known to be free of an offset [ppm]."""
        magnitude = self.scan.acquisition.magnitude
        return least_field_noise(magnitude, self.signal_noise, self._times, self._tesla, with_offset=False)

    @property
    def signal_noise(self) -> float:
        """Standard deviation of one channel of the complex images [unit of the magnitude]."""
        return float(self.scan.acquisition.magnitude[0][self.mask].mean()) / self.protocol.snr

    @cached_property
    def depth_mm(self) -> Tensor:
        """Distance to the surface of the brain [mm]."""
        distance = ndimage.distance_transform_edt(self.mask.numpy(), sampling=self.grid.voxel_size_mm)
        return torch.from_numpy(distance).float()

    @cached_property
    def offset_free_phase(self) -> Tensor:
        """Wrapped, noisy phase without the offset [rad], `(echo, z, y, x)`."""
        return _wrapped(self.scan.acquisition.phase - self.offset)

    @cached_property
    def unwrapped_phase(self) -> Tensor:
        """The same with the whole turns that the true field asks for [rad]."""
        return self.offset_free_phase + 2 * math.pi * self.turns

    @property
    def turns(self) -> Tensor:
        """Whole turns to add to the wrapped phase, `(echo, z, y, x)`."""
        true = torch.stack([self.scan.total_field * radians_per_ppm(time, self._tesla) for time in self._times])
        return ((true - self.offset_free_phase) / (2 * math.pi)).round()

    @cached_property
    def sources(self) -> tuple[Tensor, Tensor]:
        """Paramagnetic (≥ 0) and diamagnetic (≤ 0) susceptibility [ppm] whose sum is the truth."""
        overlap = torch.where(self.mask & (self.scan.susceptibility < 0), _OVERLAP_PPM, 0.0)
        chi = self.scan.susceptibility
        return chi.clamp_min(0) + overlap, chi.clamp_max(0) - overlap

    @property
    def context(self) -> StepContext:
        """What a method may know beside its arrays; several B0 directions for steps that take several scans."""
        return StepContext(self.grid, self._times, self._tesla, b0_directions=_tilted(self.grid.b0_direction))

    @property
    def _tesla(self) -> float:
        return self.protocol.b0_tesla

    @property
    def _times(self) -> tuple[float, ...]:
        return self.protocol.echo_times_s

    def artefacts_for(self, step: str) -> dict[str, Tensor]:
        """Return every input that a simulated scan can give to a step."""
        images = self.scan.acquisition
        given = {
            "phase": images.phase if step in _RAW_PHASE else self.offset_free_phase,
            "magnitude": images.magnitude,
            "mask": self.mask,
            "unwrapped_phase": self.unwrapped_phase,
            "total_field": self._noisy(self.scan.total_field, 1),
            "local_field": self._noisy(self.scan.local_field, 2),
            "field_noise": torch.where(self.mask, self.field_noise, 0.0),
            "susceptibility": torch.where(self.mask, self.scan.susceptibility + _REFERENCE_SHIFT_PPM, 0.0),
            "region": self.mask & (self.scan.susceptibility.abs() < 1e-3),
        }
        if self.r2star is not None:
            given["r2star"] = torch.where(self.mask, self.r2star, 0.0)
        if step == "masking":
            del given["mask"]
        special = _SPECIAL_INPUTS.get(step)
        return given | special(self) if special else given

    def _noisy(self, field: Tensor, seed: int) -> Tensor:
        """Return a field with the least possible noise, zero outside the brain."""
        chance = torch.Generator().manual_seed(1000 * self.protocol.seed + seed)
        noise = torch.randn(field.shape, generator=chance) * self.field_noise
        return torch.where(self.mask, field + noise, 0.0)


def make_case(family: str, seed: int, scan_name: str, protocol: Protocol) -> Case:
    """Scan the head of a family and seed; the same for the same arguments.

    Raises
    ------
    UnknownMethod
        There is no such family.
    """
    head = find_family(family).head(seed)
    numbered = replace(protocol, seed=seed)
    scan = acquire(head, numbered)
    voxels = _voxels(scan, numbered)
    # The tissues' own decay, without the dephasing by uneven fields.
    r2star = head.sample(voxels, sum(protocol.voxel_size_mm) / 3).r2star
    return Case(f"{family}, {scan_name}", family, scan, numbered, coil_phase(voxels.points()), r2star)


def cases(
    families: tuple[str, ...] = tuple(FAMILIES),
    seeds: tuple[int, ...] = REPORTING_SEEDS,
    scans: Mapping[str, Protocol] = SCANS,
) -> Iterator[Case]:
    """Yield a case per family and scan, one at a time; the n-th scan is of the head of the n-th seed."""
    for family in families:
        for seed, (name, protocol) in zip(seeds, scans.items(), strict=False):
            yield make_case(family, seed, name, protocol)


def least_field_noise(
    magnitude: Tensor,
    signal_noise: float,
    echo_times_s: tuple[float, ...],
    b0_tesla: float,
    with_offset: bool = True,
) -> Tensor:
    """Return the Cramér–Rao bound of a field fitted to phase, together with a phase offset or without one.

    Parameters
    ----------
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)`.
    signal_noise
        Standard deviation of one channel [same unit].
    echo_times_s
        Echo times [s], at least two.
    b0_tesla
        Field strength [T].
    with_offset
        Whether the phase at time zero is unknown.

    Returns
    -------
        Standard deviation [ppm], `(z, y, x)`.
    """
    times = torch.tensor(echo_times_s, dtype=magnitude.dtype)[:, None, None, None]
    weight = (magnitude / signal_noise).square().clamp_min(1e-6)
    centre = (weight * times).sum(0) / weight.sum(0) if with_offset else 0.0
    information = (weight * (times - centre).square()).sum(0)
    return information.rsqrt() / radians_per_ppm(1.0, b0_tesla)


def _voxels(scan: SimulatedScan, protocol: Protocol) -> SamplingGrid:
    """Return the positions of the scan's voxels in the patient."""
    row, column, slices = scan.directions
    steps = []
    for unit, size in zip((slices, column, row), protocol.voxel_size_mm, strict=True):
        steps.append((unit[0] * size, unit[1] * size, unit[2] * size))
    return SamplingGrid(protocol.shape, scan.first_position_mm, (steps[0], steps[1], steps[2]))


def _wrapped(phase: Tensor) -> Tensor:
    return torch.remainder(phase + math.pi, 2 * math.pi) - math.pi


def _bipolar_inputs(case: Case) -> dict[str, Tensor]:
    """Return the phase with a constant and a ramp added to every second echo, as gradients of two signs leave it."""
    axes = [torch.linspace(-0.5, 0.5, size) for size in case.grid.shape]
    z, y, x = (ramp * axis for ramp, axis in zip(_BIPOLAR_RAMP_RAD, axes, strict=True))
    phase = case.scan.acquisition.phase.clone()
    phase[1::2] += _BIPOLAR_RAD + z[:, None, None] + y[:, None] + x
    return {"phase": _wrapped(phase)}


def _coil_inputs(case: Case, n_coils: int = 6) -> dict[str, Tensor]:
    """Return what coils around the head receive: smooth sensitivities, phases of their own, noise in each."""
    images = torch.polar(case.scan.acquisition.magnitude, case.scan.acquisition.phase)
    points = _voxels(case.scan, case.protocol).points() / 100
    chance = torch.Generator().manual_seed(case.protocol.seed)
    echoes = torch.empty((len(images), n_coils, *case.grid.shape), dtype=torch.complex64)
    for coil in range(n_coils):
        angle = 2 * math.pi * coil / n_coils
        x, y = points[0] - math.cos(angle), points[1] - math.sin(angle)
        sensitivity = torch.exp(-(x.square() + y.square() + 0.5 * points[2].square()) / 1.4)
        own_phase = angle + 1.5 * math.cos(angle) * points[0] - 1.2 * math.sin(angle) * points[1] + 0.8 * points[2]
        echoes[:, coil] = images * torch.polar(sensitivity, own_phase)
    echoes += torch.view_as_complex(torch.randn((*echoes.shape, 2), generator=chance)) * (0.5 * case.signal_noise)
    return {"coil_phase": echoes.angle(), "coil_magnitude": echoes.abs()}


def _tilted(b0_direction: tuple[float, float, float]) -> tuple[tuple[float, float, float], ...]:
    """Return B0 along `(z, y, x)` for several tilts of the head."""
    directions = []
    for about_y, about_x in _ORIENTATIONS:
        z, y, x = b0_direction
        cosine, sine = math.cos(math.radians(about_y)), math.sin(math.radians(about_y))
        z, x = cosine * z - sine * x, sine * z + cosine * x
        cosine, sine = math.cos(math.radians(about_x)), math.sin(math.radians(about_x))
        z, y = cosine * z - sine * y, sine * z + cosine * y
        directions.append((z, y, x))
    return tuple(directions)


def _orientation_inputs(case: Case) -> dict[str, Tensor]:
    """Return the noisy local field of the truth for every tilt, computed on samples half a voxel apart."""
    fine = case.scan.susceptibility
    for axis in range(3):
        fine = fine.repeat_interleave(2, axis)
    half = [size / 2 for size in case.grid.voxel_size_mm]
    fields = []
    for index, direction in enumerate(_tilted(case.grid.b0_direction)):
        field = relative_field(fine, (half[0], half[1], half[2]), direction)
        fields.append(case._noisy(torch.nn.functional.avg_pool3d(field[None], 2)[0], 10 + index))
    return {"local_fields": torch.stack(fields)}


def _separation_inputs(case: Case) -> dict[str, Tensor]:
    """Return R2* as R2 plus the share that susceptibility of either sign adds to it."""
    paramagnetic, diamagnetic = case.sources
    rate = R2_PER_S + RELAXIVITY_HZ_PER_PPM * (paramagnetic - diamagnetic)
    chi = torch.where(case.mask, case.scan.susceptibility, 0.0)
    return {"r2star": torch.where(case.mask, rate, 0.0), "susceptibility": chi}


_SPECIAL_INPUTS: dict[str, Callable[[Case], dict[str, Tensor]]] = {
    "coil_combination": _coil_inputs,
    "bipolar_correction": _bipolar_inputs,
    "multi_orientation_inversion": _orientation_inputs,
    "source_separation": _separation_inputs,
}
