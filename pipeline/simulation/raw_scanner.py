"""A simulated scanner that gives its raw data: the k-space that an array of coils receives of a known head."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.operators.centred_fourier import to_kspace
from pipeline.reconstruction.kspace import Kspace
from pipeline.simulation.coils import correlated_noise
from pipeline.simulation.motion import Pose, moved, pose_of_lines
from pipeline.simulation.scanner import SimulatedScan

READOUT_OVERSAMPLING = 2


@dataclass(frozen=True)
class EchoImages:
    """What is scanned: noise-free complex images `(echo, z, y, x)` with their times, field strength and grid.

    `signal`, bool `(z, y, x)`, is where the signal-to-noise ratio is defined, such as the brain.
    """

    images: Tensor
    echo_times_s: tuple[float, ...]
    b0_tesla: float
    grid: Grid
    signal: Tensor

    def __post_init__(self) -> None:
        expected = (len(self.echo_times_s), *self.grid.shape)
        if tuple(self.images.shape) != expected or not self.images.is_complex():
            raise UnusableInput(f"Echo images are complex {expected}; these have shape {tuple(self.images.shape)}.")
        if tuple(self.signal.shape) != self.grid.shape or not bool(self.signal.any()):
            raise UnusableInput("The region of signal is empty or not on the grid of the images.")

    @classmethod
    def of_scan(cls, scan: SimulatedScan) -> "EchoImages":
        """Take the images of a simulated scan; scan with an infinite `snr`, since the raw scanner adds the noise."""
        taken = scan.acquisition
        images = torch.polar(taken.magnitude, taken.phase)
        return cls(images, taken.echo_times_s, taken.b0_tesla, taken.grid, scan.brain)


@dataclass(frozen=True)
class RawReadouts:
    """The readouts of a scan in the order of acquisition, as a scanner sends them.

    `samples` is complex64 `(readout, coil, sample)`, twice as many samples as voxels along x; `echo`, `step_y` and
    `step_z` are int64 `(readout,)` and count from 0; `noise` is complex64 `(readout, coil, sample)` without signal.
    """

    samples: Tensor
    echo: Tensor
    step_y: Tensor
    step_z: Tensor
    noise: Tensor


def acquire_kspace(
    scan: EchoImages,
    sensitivities: Tensor,
    pattern: Tensor,
    snr: float,
    seed: int = 0,
    covariance: Tensor | None = None,
    n_noise: int = 4096,
    reference_shape: tuple[int, int, int] | None = None,
    poses: Sequence[Pose] = (),
) -> tuple[Kspace, Tensor]:
    """Measure the lines of a pattern, sorted into k-space, without readout oversampling.

    Parameters
    ----------
    scan
        What is scanned.
    sensitivities
        Complex `(coil, z, y, x)`, the squares of whose magnitudes add up to one.
    pattern
        The measured lines, bool `(z, y)` for all echoes or `(echo, z, y)`.
    snr
        Mean magnitude of the first echo where signal is, over the noise of real or imaginary part after all lines of
        all coils are combined; infinite for none.
    seed
        Decides the noise; the same for every pattern.
    covariance
        Of the channels' noise, `(coil, coil)` with mean diagonal 1; without it channels are equal and independent.
    n_noise
        Number of samples of the noise scan.
    reference_shape
        Matrix `(z, y, x)` of a separate reference scan, or None for none.
    poses
        Where the head is, one after another; each for an equal number of lines.

    Returns
    -------
        The k-space, and the images `(echo, z, y, x)` that a perfect reconstruction gives.

    Raises
    ------
    UnusableInput
        Shapes disagree.
    """
    measured = _for_every_echo(pattern, scan)
    level, shared = noise_level(scan, snr), _shared_noise(sensitivities, covariance)
    chance = torch.Generator().manual_seed(seed)
    lines_of_poses = _lines_of_poses(measured, poses)
    samples = torch.empty((len(scan.images), len(sensitivities), *scan.grid.shape), dtype=torch.complex64)
    samples = samples.to(scan.images.device)
    for echo, lines in enumerate(measured):
        samples[echo] = _received(scan, sensitivities, echo, lines_of_poses)
        samples[echo] += level * correlated_noise(scan.grid.shape, shared, chance).to(samples)
        samples[echo] *= lines[:, :, None]
    noise = level * correlated_noise((n_noise,), shared, chance).to(samples)
    reference = None
    if reference_shape is not None:
        reference = _received(scan, sensitivities, 0, None)
        reference += level * correlated_noise(scan.grid.shape, shared, chance).to(samples)
        reference = reference[(slice(None), *_middle(scan.grid.shape, reference_shape))].clone()
    kspace = Kspace(samples, measured, scan.grid, scan.echo_times_s, scan.b0_tesla, noise, reference)
    return kspace, scan.images


def acquire_readouts(
    scan: EchoImages,
    sensitivities: Tensor,
    pattern: Tensor,
    snr: float,
    seed: int = 0,
    covariance: Tensor | None = None,
    n_noise: int = 16,
    poses: Sequence[Pose] = (),
) -> RawReadouts:
    """Measure the lines of a pattern as the scanner sends them: readout by readout, oversampled along x.

    Parameters
    ----------
    scan, sensitivities, pattern, snr, seed, covariance, poses
        As `acquire_kspace` takes them.
    n_noise
        Number of readouts of the noise scan.

    Returns
    -------
        The readouts; all echoes of a line follow one another, then the next line along y, then along z.

    Raises
    ------
    UnusableInput
        Shapes disagree.
    """
    measured = _for_every_echo(pattern, scan)
    level, shared = noise_level(scan, snr), _shared_noise(sensitivities, covariance)
    chance = torch.Generator().manual_seed(seed)
    lines_of_poses = _lines_of_poses(measured, poses)
    width = READOUT_OVERSAMPLING * scan.grid.shape[2]
    parts = []
    for echo, lines in enumerate(measured):
        whole = _received(scan, sensitivities, echo, lines_of_poses, READOUT_OVERSAMPLING)
        samples = whole[:, lines].movedim(1, 0)
        parts.append(samples + level * correlated_noise(samples.shape[::2], shared, chance).movedim(0, 1).to(samples))
    echoes, step_z, step_y = measured.nonzero().unbind(1)
    order = torch.argsort((step_z * measured.shape[2] + step_y) * len(measured) + echoes)
    noise = level * correlated_noise((n_noise, width), shared, chance).movedim(0, 1)
    return RawReadouts(torch.cat(parts)[order], echoes[order], step_y[order], step_z[order], noise)


def noise_level(scan: EchoImages, snr: float) -> float:
    """Return the standard deviation of real or imaginary part of one coil's mean noise that makes a ratio `snr`."""
    return float(scan.images[0].abs()[scan.signal].mean()) / snr


def _for_every_echo(pattern: Tensor, scan: EchoImages) -> Tensor:
    """Return the measured lines as bool `(echo, z, y)`."""
    expected = (len(scan.images), *scan.grid.shape[:2])
    lines = pattern.to(scan.images.device)
    measured = lines.expand(expected).clone() if lines.ndim == 2 and lines.shape == expected[1:] else lines
    if tuple(measured.shape) != expected or measured.dtype != torch.bool:
        raise UnusableInput(f"A sampling pattern is bool (z, y) or {expected}; this is {tuple(pattern.shape)}.")
    return measured


def _shared_noise(sensitivities: Tensor, covariance: Tensor | None) -> Tensor:
    """Return the covariance of complex samples whose real and imaginary part have variance 1 on average."""
    n_coils = len(sensitivities)
    shared = torch.eye(n_coils, dtype=torch.complex64) if covariance is None else covariance.cpu()
    if tuple(shared.shape) != (n_coils, n_coils):
        raise UnusableInput(f"A noise covariance of shape {tuple(shared.shape)} does not fit {n_coils} coils.")
    return 2 * shared


@dataclass(frozen=True)
class _LinesOfPoses:
    """Which pose holds while a line `(z, y)` is measured."""

    poses: tuple[Pose, ...]
    lines: Tensor


def _lines_of_poses(measured: Tensor, poses: Sequence[Pose]) -> _LinesOfPoses | None:
    if not poses:
        return None
    lines = measured.any(0)
    held = torch.full(lines.shape, -1, device=lines.device)
    held[lines] = pose_of_lines(int(lines.sum()), poses).to(held)
    return _LinesOfPoses(tuple(poses), held)


def _received(
    scan: EchoImages, sensitivities: Tensor, echo: int, lines_of_poses: _LinesOfPoses | None, oversampling: int = 1
) -> Tensor:
    """Return the noise-free k-space `(coil, z, y, x)` of one echo, each line in its pose."""
    image = scan.images[echo]
    if lines_of_poses is None:
        return to_kspace(_widened(sensitivities * image, oversampling))
    n_coils, (n_z, n_y, n_x) = len(sensitivities), scan.grid.shape
    result = image.new_zeros((n_coils, n_z, n_y, oversampling * n_x))
    for number, pose in enumerate(lines_of_poses.poses):
        lines = lines_of_poses.lines == number
        # The coils stay where they are; the head alone moves.
        whole = to_kspace(_widened(sensitivities * moved(image, scan.grid, pose), oversampling))
        result[:, lines] = whole[:, lines]
    return result


def _widened(images: Tensor, oversampling: int) -> Tensor:
    """Surround images by empty space along x, so that k-space has so many times more samples there."""
    size = images.shape[-1]
    before = oversampling * size // 2 - size // 2
    return torch.nn.functional.pad(images, (before, (oversampling - 1) * size - before))


def _middle(shape: Sequence[int], smaller: Sequence[int]) -> tuple[slice, ...]:
    """Return the block of a smaller shape whose index `size // 2` lies at that of the larger."""
    if any(not 0 < part <= whole for part, whole in zip(smaller, shape, strict=True)):
        raise UnusableInput(f"A reference of {tuple(smaller)} does not fit into {tuple(shape)}.")
    starts = [whole // 2 - part // 2 for part, whole in zip(smaller, shape, strict=True)]
    return tuple(slice(start, start + part) for start, part in zip(starts, smaller, strict=True))
