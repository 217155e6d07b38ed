"""A simulated segmented 3-D echo-planar scan, with what makes such scans hard: ramps, ghost, drift and distortion."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.operators.centred_fourier import to_kspace
from pipeline.reconstruction.epi import EpiLines, EpiReadouts, echo_trains
from pipeline.reconstruction.epi_regridding import readout_matrix, trapezoid_trajectory
from pipeline.simulation.coils import correlated_noise
from pipeline.simulation.raw_scanner import EchoImages, noise_level
from pipeline.simulation.scanner import SimulatedScan
from pipeline.units import radians_per_ppm

_SAMPLES_PER_VOXEL = 2


@dataclass(frozen=True)
class EpiProtocol:
    """What is set at the simulated scanner for an echo-planar scan, and its imperfections.

    `n_shots` excitations share the lines of a partition, interleaved; `echo_spacing_s` is the time from line to line of
    a shot, of which the gradient ramps twice for `ramp_s`; `shifts_echo_times` delays each shot so that time grows
    evenly over the lines. Readouts of either polarity differ by `polarity_rad` and `polarity_slope_rad` (over the field
    of view), the gradient lags by `lag_s`. The field drifts by `drift_hz` during the scan and breathes by
    `breathing_hz`; shots differ by `shot_phase_rad` (standard deviation). `snr` is as `acquire_kspace` takes it.
    """

    n_shots: int = 8
    echo_spacing_s: float = 0.9e-3
    ramp_s: float = 0.15e-3
    shifts_echo_times: bool = True
    has_navigators: bool = True
    polarity_rad: float = 0.4
    polarity_slope_rad: float = 1.0
    lag_s: float = 2e-6
    drift_hz: float = 4.0
    breathing_hz: float = 0.5
    shot_phase_rad: float = 0.2
    snr: float = 50.0
    seed: int = 0

    @property
    def flat_top_s(self) -> float:
        """Return the time for which the readout gradient stays level [s]."""
        return self.echo_spacing_s - 2 * self.ramp_s

    @property
    def first_sample_s(self) -> float:
        """Return when sampling starts after the gradient's [s]."""
        return 0.1 * self.ramp_s

    @property
    def sampling_s(self) -> float:
        """Return for how long a line is sampled [s]."""
        return self.echo_spacing_s - 2 * self.first_sample_s


@dataclass(frozen=True)
class MovingSignal:
    """What is scanned, and how it changes between echo times: field `(z, y, x)` [Hz], R2* `(z, y, x)` [1/s]."""

    scan: EchoImages
    field_hz: Tensor
    r2star_per_s: Tensor

    @classmethod
    def of_scan(cls, scan: SimulatedScan) -> "MovingSignal":
        """Take the field of a simulated scan, and R2* from the decay between its first and last echo."""
        images = EchoImages.of_scan(scan)
        times = images.echo_times_s
        field_hz = scan.total_field * radians_per_ppm(1.0, images.b0_tesla) / (2 * math.pi)
        if len(times) == 1:
            return cls(images, field_hz, torch.full(images.grid.shape, 20.0))
        first, last = images.images[0].abs(), images.images[-1].abs()
        decay = (first.clamp_min(1e-6) / last.clamp_min(1e-6)).log() / (times[-1] - times[0])
        return cls(images, field_hz, decay.clamp(0, 500))


def acquire_epi(
    signal: MovingSignal,
    sensitivities: Tensor,
    protocol: EpiProtocol,
    pattern: Tensor | None = None,
    covariance: Tensor | None = None,
) -> EpiReadouts:
    """Scan with segmented echo trains.

    Off-resonance during one readout is left out: it shifts by hundredths of a voxel. Navigators, three per shot with
    the middle one reversed, are measured before the train, at the centre of k-space along y and z.

    Parameters
    ----------
    signal
        What is scanned.
    sensitivities
        Complex `(coil, z, y, x)`.
    protocol
        How to scan.
    pattern
        The measured lines, bool `(z, y)`; all unless given.
    covariance
        Of the channels' noise, `(coil, coil)` with mean diagonal 1.

    Returns
    -------
        The readouts; the same for the same protocol.

    Raises
    ------
    UnusableInput
        Shots do not share the lines evenly, or a train begins before its excitation.
    """
    plan = _Plan(signal, sensitivities, protocol, pattern)
    if float(plan.navigator_times.min()) <= 0 or float(plan.times.min()) <= float(plan.navigator_times.max()):
        raise UnusableInput("The echo train does not fit before the echo time; use more shots or a later echo.")
    chance = torch.Generator().manual_seed(protocol.seed)
    phases, frequencies = _course(plan.n_shots, protocol, chance)
    lines = torch.cat([plan.lines_of_step(y) for y in range(signal.scan.grid.shape[1])])
    lines = lines[plan.order]
    angles = phases[plan.shot] + 2 * math.pi * frequencies[plan.shot] * plan.times
    samples = lines * torch.polar(torch.ones_like(angles), angles).to(lines)[:, None, None]
    navigators = None
    if protocol.has_navigators:
        navigators = plan.navigators(phases, frequencies)
    level = noise_level(signal.scan, protocol.snr) * math.sqrt(samples.shape[2] / signal.scan.grid.shape[2])
    n_coils = len(sensitivities)
    shared = 2 * (torch.eye(n_coils, dtype=torch.complex64) if covariance is None else covariance)
    for array in (samples, navigators.samples if navigators else None):
        if array is not None:
            array += level * correlated_noise(array.shape[::2], shared, chance).movedim(0, 1).to(array)
    noise = level * correlated_noise((4096,), shared, chance).to(samples)
    return EpiReadouts(
        EpiLines(samples, plan.shot, plan.is_reversed, plan.times),
        plan.echo,
        plan.step_y,
        plan.step_z,
        navigators,
        plan.trajectory(0.0),
        signal.scan.grid,
        signal.scan.echo_times_s,
        signal.scan.b0_tesla,
        noise,
    )


class _Plan:
    """The lines of a scan in the order of acquisition: every partition, shot, echo and line of its train."""

    def __init__(
        self, signal: MovingSignal, sensitivities: Tensor, protocol: EpiProtocol, pattern: Tensor | None
    ) -> None:
        self.signal, self.protocol = signal, protocol
        self.coil_images = sensitivities * signal.scan.images[:, None]
        n_z, n_y, self.n_x = signal.scan.grid.shape
        measured = torch.ones((n_z, n_y), dtype=torch.bool) if pattern is None else pattern.cpu()
        middle, spacing = n_y // 2, protocol.echo_spacing_s
        rows = []
        for z in range(n_z):
            for shot, train in enumerate(echo_trains(n_y, protocol.n_shots)):
                for echo in range(len(signal.scan.echo_times_s)):
                    rows += [
                        (echo, z * protocol.n_shots + shot, z, y, place)
                        for place, y in enumerate(train)
                        if measured[z, y]
                    ]
        self.echo, self.shot, self.step_z, self.step_y, place = torch.tensor(rows).unbind(1)
        self.n_shots = n_z * protocol.n_shots
        self.is_reversed = place % 2 == 1
        late = torch.tensor(signal.scan.echo_times_s, dtype=torch.float64)[self.echo]
        if protocol.shifts_echo_times:
            self.times = late + (self.step_y - middle) * (spacing / protocol.n_shots)
        else:
            self.times = late + (place - middle // protocol.n_shots) * spacing
        # Lines are simulated step by step along y; this brings them back into the order of acquisition.
        self.order = torch.argsort(torch.argsort(self.step_y, stable=True))
        self.navigator_times = float(self.times.min()) - spacing * torch.tensor([3.5, 2.5, 1.5], dtype=torch.float64)

    def trajectory(self, lag_s: float) -> Tensor:
        """Return where along k_x the samples of a forward readout lie, with the gradient's lag."""
        protocol = self.protocol
        return trapezoid_trajectory(
            _SAMPLES_PER_VOXEL * self.n_x,
            self.n_x,
            protocol.ramp_s,
            protocol.flat_top_s,
            protocol.ramp_s,
            protocol.first_sample_s,
            protocol.sampling_s,
            lag_s,
        )

    def lines_of_step(self, y: int) -> Tensor:
        """Return the noise-free readouts `(line, coil, sample)` of one step along y, all echoes and partitions."""
        size = self.signal.scan.grid.shape[1]
        chosen = self.step_y == y
        turns = -2 * math.pi / size * (y - size // 2) * (torch.arange(size) - size // 2)
        encoding = torch.polar(torch.full_like(turns, size**-0.5, dtype=torch.float64), turns.double())
        lines = []
        for echo, time in self._times_of_step(chosen):
            weight = self._change(time - self.signal.scan.echo_times_s[echo]) * encoding.to(torch.complex64)[:, None]
            lines.append(to_kspace((self.coil_images[echo] * weight).sum(-2), (-2,)))
        hybrid = torch.stack(lines)[self.echo[chosen], :, self.step_z[chosen]]
        return self._read_out(hybrid, self.is_reversed[chosen])

    def navigators(self, phases: Tensor, frequencies: Tensor) -> EpiLines:
        """Return the noise-free navigators of all shots."""
        n_z, n_y, _ = self.signal.scan.grid.shape
        is_reversed = torch.tensor([False, True, False])
        start = self.signal.scan.echo_times_s[0]
        hybrid = torch.stack(
            [
                (self.coil_images[0] * self._change(time - start)).sum((-3, -2)) / math.sqrt(n_z * n_y)
                for time in self.navigator_times.tolist()
            ]
        )
        one = self._read_out(hybrid, is_reversed)
        angles = phases[:, None] + 2 * math.pi * frequencies[:, None] * self.navigator_times
        samples = one * torch.polar(torch.ones_like(angles), angles).to(one)[:, :, None, None]
        shots = torch.arange(self.n_shots).repeat_interleave(3)
        return EpiLines(
            samples.flatten(0, 1), shots, is_reversed.repeat(self.n_shots), self.navigator_times.repeat(self.n_shots)
        )

    def _times_of_step(self, chosen: Tensor) -> list[tuple[int, float]]:
        """Return for every echo the time at which a step along y is measured; the same in all partitions."""
        found = {}
        for echo, time in zip(self.echo[chosen].tolist(), self.times[chosen].tolist(), strict=True):
            found[echo] = time
        return [(echo, found.get(echo, time)) for echo, time in enumerate(self.signal.scan.echo_times_s)]

    def _change(self, elapsed_s: float) -> Tensor:
        """Return the factor by which the signal changes in a time, complex64 `(z, y, x)`."""
        turned = 2 * math.pi * elapsed_s * self.signal.field_hz
        return torch.polar(torch.exp(-elapsed_s * self.signal.r2star_per_s), turned).to(torch.complex64)

    def _read_out(self, hybrid: Tensor, is_reversed: Tensor) -> Tensor:
        """Return the samples of lines `(line, coil, x)`, with the phase between polarities and the gradient's lag."""
        places = (torch.arange(self.n_x) - self.n_x // 2) / self.n_x
        half = 0.5 * (self.protocol.polarity_rad + self.protocol.polarity_slope_rad * places)
        true = self.trajectory(self.protocol.lag_s)
        result = hybrid.new_empty((*hybrid.shape[:2], len(true)))
        for reverse, sign in ((False, -1.0), (True, 1.0)):
            chosen = is_reversed == reverse
            matrix = readout_matrix(sign * -true, self.n_x) * torch.polar(torch.ones_like(half), sign * half)
            result[chosen] = hybrid[chosen] @ matrix.to(torch.complex64).mT
        return result


def _course(n_shots: int, protocol: EpiProtocol, chance: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the phase [rad] and the field's drift [Hz] of every shot."""
    phases = protocol.shot_phase_rad * torch.randn(n_shots, generator=chance, dtype=torch.float64)
    share = torch.linspace(-0.5, 0.5, n_shots, dtype=torch.float64)
    breathing = torch.sin(2 * math.pi * torch.arange(n_shots) / 61.0)
    return phases, protocol.drift_hz * share + protocol.breathing_hz * breathing
