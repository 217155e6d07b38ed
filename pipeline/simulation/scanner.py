"""A simulated scanner: multi-echo gradient-echo images of a known head, with all that is needed to score a map."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.acquisition import Acquisition
from pipeline.grid import Grid
from pipeline.simulation.anatomy import AIR_ABOVE_TISSUE_PPM
from pipeline.simulation.forward import (
    coil_phase,
    coil_sensitivity,
    complex_noise,
    echo_signal,
    relative_field,
    rotation,
    shim,
)
from pipeline.simulation.phantom import Head
from pipeline.simulation.sampling import SamplingGrid
from pipeline.simulation.shapes import Point

OnProgress = Callable[[float], None]

ISOCENTRE_MM: Point = (0.0, 5.0, 9.0)
"""The middle of the brain, where the operator puts the middle of the volume."""

_MARGIN_MM = 12.0
_SLAB_SAMPLES = 3_000_000


@dataclass(frozen=True)
class Protocol:
    """What the operator sets at the simulated scanner.

    `shape` and `voxel_size_mm` are `(z, y, x)`; `rotation_deg` turns the volume about the patient's x, y and z axes;
    `snr` is the brain's mean magnitude at the first echo over the noise of one channel; `finest_mm` is about the
    distance between the samples from which voxels are averaged; `seed` decides the noise.
    """

    shape: tuple[int, int, int]
    voxel_size_mm: tuple[float, float, float]
    echo_times_s: tuple[float, ...] = (0.004, 0.010, 0.016, 0.022, 0.028)
    b0_tesla: float = 3.0
    snr: float = 60.0
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    finest_mm: float = 0.6
    seed: int = 0

    @property
    def samples_per_voxel(self) -> tuple[int, int, int]:
        """Return how many samples a voxel is averaged from along `(z, y, x)`: two at least, so that it can dephase."""
        counts = [max(2, round(size / self.finest_mm)) for size in self.voxel_size_mm]
        return counts[0], counts[1], counts[2]


DEMONSTRATION = Protocol(shape=(104, 152, 128), voxel_size_mm=(1.5, 1.5, 1.5), finest_mm=0.75)
"""Whole brain, coarse enough for a demonstration on a laptop."""
SMALL = Protocol(shape=(52, 72, 60), voxel_size_mm=(3.0, 3.0, 3.0), echo_times_s=(0.003, 0.008, 0.013), finest_mm=1.5)
"""Small and quick, for tests of everything but accuracy."""


@dataclass(frozen=True)
class SimulatedScan:
    """Images and the truth behind them, all on the acquired grid `(z, y, x)`.

    `susceptibility` [ppm, relative to water, zero outside the brain], `total_field` [ppm, shimmed], `local_field`
    [ppm, of the brain's own susceptibility], `brain` bool, `labels` numbered as in `label_names`. `directions` are the
    unit vectors along a row, down a column and through the slices, `first_position_mm` the centre of voxel (0, 0, 0),
    in patient coordinates x (left), y (back), z (head).
    """

    acquisition: Acquisition
    susceptibility: Tensor
    labels: Tensor
    label_names: dict[int, str]
    brain: Tensor
    total_field: Tensor
    local_field: Tensor
    directions: tuple[Point, Point, Point]
    first_position_mm: Point


@dataclass(frozen=True)
class _Volume:
    """The samples behind a protocol: the acquired grid, and the finer grid with a margin around it."""

    protocol: Protocol
    acquired: SamplingGrid
    fine: SamplingGrid
    margin: tuple[int, int, int]
    b0_direction: tuple[float, float, float]

    @property
    def fine_step_mm(self) -> tuple[float, float, float]:
        lengths = [math.hypot(*step) for step in self.fine.steps_mm]
        return lengths[0], lengths[1], lengths[2]

    @property
    def inner(self) -> tuple[slice, slice, slice]:
        """The fine samples inside the acquired volume."""
        pool = self.protocol.samples_per_voxel
        cuts = [
            slice(before, before + size * n)
            for before, size, n in zip(self.margin, self.protocol.shape, pool, strict=True)
        ]
        return cuts[0], cuts[1], cuts[2]


@dataclass
class _FineTissue:
    """Tissues on the fine grid; susceptibility with margin, the rest inside the acquired volume, in few bytes."""

    susceptibility: Tensor
    proton_density: Tensor
    r2star: Tensor
    labels: Tensor
    brain: Tensor


def acquire(head: Head, protocol: Protocol, on_progress: OnProgress | None = None) -> SimulatedScan:
    """Scan a head.

    Tissues are sampled several times finer than the voxels, on the volume's own tilt; their field is computed there,
    shimmed, and the complex signals averaged over each voxel, so that no voxel holds one field only. Phase offset,
    uneven sensitivity and complex noise are part of the images, and phase is wrapped.

    Parameters
    ----------
    head
        Whom to scan.
    protocol
        How to scan.
    on_progress
        Told the share of the work that is done (0 to 1).

    Returns
    -------
        Images and truth; the same for the same head and protocol.
    """
    tell = on_progress or _ignore
    volume = _lay_out(protocol)
    tissue = _sample(head, volume, lambda share: tell(0.4 * share))
    inner = volume.inner
    step, b0 = volume.fine_step_mm, volume.b0_direction
    of_brain = torch.zeros_like(tissue.susceptibility)
    of_brain[inner] = (tissue.susceptibility[inner] + AIR_ABOVE_TISSUE_PPM) * tissue.brain
    pool = protocol.samples_per_voxel
    susceptibility = _mean(of_brain[inner], pool)
    local_field = _mean(relative_field(of_brain, step, b0)[inner], pool)
    del of_brain
    tell(0.5)
    field = relative_field(tissue.susceptibility, step, b0)[inner].clone()
    tissue.susceptibility = field.new_empty(0)
    shim(field, tissue.brain)
    tell(0.6)
    brain = _mean(tissue.brain, pool) > 0.5
    images = _echoes(tissue, field, volume, lambda share: tell(0.6 + 0.35 * share))
    magnitude, phase = _received(images, brain, volume)
    tell(1.0)
    return SimulatedScan(
        acquisition=Acquisition(
            magnitude, phase, protocol.echo_times_s, protocol.b0_tesla, Grid(protocol.shape, protocol.voxel_size_mm, b0)
        ),
        susceptibility=susceptibility,
        labels=_majority(tissue.labels, pool),
        label_names=head.label_names,
        brain=brain,
        total_field=_mean(field, pool),
        local_field=local_field,
        directions=_directions(protocol),
        first_position_mm=volume.acquired.first_mm,
    )


def _ignore(share: float) -> None:
    """Stand in where nobody listens to the progress."""


def _directions(protocol: Protocol) -> tuple[Point, Point, Point]:
    row, column, slices = (tuple(vector) for vector in rotation(protocol.rotation_deg).T.tolist())
    return row, column, slices


def _lay_out(protocol: Protocol) -> _Volume:
    row, column, slices = _directions(protocol)
    units = (slices, column, row)
    pool = protocol.samples_per_voxel
    voxel = _scaled(units, protocol.voxel_size_mm)
    first = _moved(ISOCENTRE_MM, voxel, [-(size - 1) / 2 for size in protocol.shape])
    fine_size = [size / n for size, n in zip(protocol.voxel_size_mm, pool, strict=True)]
    step = _scaled(units, fine_size)
    sizes = [size * n for size, n in zip(protocol.shape, pool, strict=True)]
    padded = [_fast_size(size + 2 * math.ceil(_MARGIN_MM / mm)) for size, mm in zip(sizes, fine_size, strict=True)]
    margin = [(large - small) // 2 for large, small in zip(padded, sizes, strict=True)]
    fine_first = _moved(first, step, [-(n - 1) / 2 - before for n, before in zip(pool, margin, strict=True)])
    b0_direction = (slices[2], column[2], row[2])
    acquired = SamplingGrid(protocol.shape, first, voxel)
    fine = SamplingGrid((padded[0], padded[1], padded[2]), fine_first, step)
    return _Volume(protocol, acquired, fine, (margin[0], margin[1], margin[2]), b0_direction)


def _scaled(units: tuple[Point, Point, Point], sizes: list[float] | tuple[float, ...]) -> tuple[Point, Point, Point]:
    vectors = [tuple(size * part for part in unit) for unit, size in zip(units, sizes, strict=True)]
    return vectors[0], vectors[1], vectors[2]  # type: ignore[return-value]


def _moved(start: Point, steps: tuple[Point, Point, Point], counts: list[float]) -> Point:
    place = [start[axis] + sum(n * step[axis] for n, step in zip(counts, steps, strict=True)) for axis in range(3)]
    return place[0], place[1], place[2]


def _fast_size(least: int) -> int:
    """Return the next even size whose prime factors are 2, 3 and 5."""
    size = least + least % 2
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 2


def _sample(head: Head, volume: _Volume, tell: OnProgress) -> _FineTissue:
    """Sample the head slab by slab; a whole volume of coordinates would take four times the memory of the field."""
    inner = volume.inner
    size = [cut.stop - cut.start for cut in inner]
    tissue = _FineTissue(
        susceptibility=torch.empty(volume.fine.shape),
        proton_density=torch.empty(size, dtype=torch.float16),
        r2star=torch.empty(size, dtype=torch.float16),
        labels=torch.empty(size, dtype=torch.uint8),
        brain=torch.empty(size, dtype=torch.float16),
    )
    edge_mm = sum(volume.fine_step_mm) / 3
    n_z, n_y, n_x = volume.fine.shape
    for place, grid in volume.fine.slabs(max(1, _SLAB_SAMPLES // (n_y * n_x))):
        sample = head.sample(grid, edge_mm)
        tissue.susceptibility[place] = sample.susceptibility
        start, stop = max(place.start, inner[0].start), min(place.stop, inner[0].stop)
        if start < stop:
            taken = (slice(start - place.start, stop - place.start), inner[1], inner[2])
            kept = slice(start - inner[0].start, stop - inner[0].start)
            for name in ("proton_density", "r2star", "labels", "brain"):
                getattr(tissue, name)[kept] = getattr(sample, name)[taken]
        tell(place.stop / n_z)
    return tissue


def _mean(values: Tensor, pool: tuple[int, int, int]) -> Tensor:
    """Return the mean over the samples of every voxel."""
    parts = [
        torch.nn.functional.avg_pool3d(values[place].float()[None], pool)[0]
        for place in _voxel_slabs(values.shape, pool)
    ]
    return torch.cat(parts)


def _voxel_slabs(shape: tuple[int, ...], pool: tuple[int, int, int]) -> Iterator[slice]:
    """Yield slabs of samples along z, each of whole voxels."""
    thickness = max(1, _SLAB_SAMPLES // (shape[1] * shape[2] * pool[0])) * pool[0]
    for start in range(0, shape[0], thickness):
        yield slice(start, min(start + thickness, shape[0]))


def _majority(labels: Tensor, pool: tuple[int, int, int]) -> Tensor:
    """Return the label that fills at least half of a voxel, else 0."""
    result = torch.zeros([size // n for size, n in zip(labels.shape, pool, strict=True)], dtype=torch.int32)
    for label in range(1, int(labels.max()) + 1):
        where = (labels == label).nonzero()
        if not len(where):
            continue
        low = [int(least) // n * n for least, n in zip(where.amin(0), pool, strict=True)]
        high = [(int(most) // n + 1) * n for most, n in zip(where.amax(0), pool, strict=True)]
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        share = _mean((labels[box] == label).float(), pool)
        voxels = tuple(slice(a // n, b // n) for a, b, n in zip(low, high, pool, strict=True))
        result[voxels].masked_fill_(share >= 0.5, label)
    return result


def _echoes(tissue: _FineTissue, field: Tensor, volume: _Volume, tell: OnProgress) -> Tensor:
    """Return the noise-free complex signals `(echo, z, y, x)` before the coil."""
    protocol, pool = volume.protocol, volume.protocol.samples_per_voxel
    images = torch.empty((len(protocol.echo_times_s), *protocol.shape), dtype=torch.complex64)
    for place in _voxel_slabs(field.shape, pool):
        density, decay = tissue.proton_density[place].float(), tissue.r2star[place].float()
        voxels = slice(place.start // pool[0], place.stop // pool[0])
        for echo, time in enumerate(protocol.echo_times_s):
            images[echo, voxels] = echo_signal(density, decay, field[place], time, protocol.b0_tesla, pool)
        tell(place.stop / field.shape[0])
    return images


def _received(images: Tensor, brain: Tensor, volume: _Volume) -> tuple[Tensor, Tensor]:
    """Return magnitude and wrapped phase [rad] as the coil receives the signals, with its noise."""
    points = volume.acquired.points()
    images *= torch.polar(coil_sensitivity(points), coil_phase(points))
    noise = float(images[0].abs()[brain].mean()) / volume.protocol.snr
    chance = torch.Generator().manual_seed(volume.protocol.seed)
    for echo in images:
        echo += complex_noise(volume.protocol.shape, noise, chance)
    return images.abs(), images.angle()
