"""GRAPPA: missing lines as sums of their measured neighbours in all coils, for any pattern of lines in two directions.

The weights of every constellation of neighbours come from one matrix of correlations of the calibration lines, so that
regular, CAIPIRINHA and irregular patterns are one case, and calibration lines help the lines beside them.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.method import OnIteration, setting
from pipeline.operators.centred_fourier import to_image
from pipeline.reconstruction.coil_sensitivity.calibration import calibration_kspace
from pipeline.reconstruction.kspace import Kspace
from pipeline.reconstruction.reconstruction import Reconstruction, combine_coils

_MOST_CALIBRATION = 40
_CALIBRATION_READOUT = 28
_WIDEST = 3
_NEARLY_EVERY = 0.1
_CHUNK_VALUES = 4_000_000


@dataclass(frozen=True)
class GrappaSettings:
    """Choices of GRAPPA."""

    neighbours: int = setting(
        12, "lines", "nearest measured lines from which a missing one is made, where there are as many", minimum=1
    )
    readout_taps: int = setting(3, "samples", "neighbours along the readout, an odd number", minimum=1, maximum=15)
    regularisation: float = setting(
        1e-2, "1", "energy of the weights, of the mean energy of the neighbours", minimum=0.0, maximum=1.0
    )


@dataclass(frozen=True)
class _Window:
    """Offsets of the neighbours along (z, y), and the correlations of every offset, tap and coil with every other.

    `gram` has shape `(offset, coil, tap, offset, coil, tap)`.
    """

    offsets: list[tuple[int, int]]
    gram: Tensor


@dataclass(frozen=True)
class _Constellation:
    """Missing lines `(n, 2)` with neighbours at the same offsets `(m, 2)`, and their weights `(m, coil, tap, coil)`."""

    missing: Tensor
    offsets: Tensor
    weights: Tensor


def grappa(
    kspace: Kspace,
    sensitivities: Tensor,
    settings: GrappaSettings | None = None,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Fill the missing lines of each coil, transform, and combine the coils by their sensitivities.

    Parameters
    ----------
    kspace
        The scan, of any pattern of measured lines.
    sensitivities
        Complex `(coil, z, y, x)`.
    settings
        Number of the neighbours and regularisation.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Complex images `(echo, z, y, x)`.

    Raises
    ------
    MissingCalibration
        Too little of the centre was measured.

    Source: Griswold 2002, doi:10.1002/mrm.10171; Breuer 2006, doi:10.1002/mrm.20787 (CAIPIRINHA in two directions).
    """
    settings = settings or GrappaSettings()
    window: _Window | None = None
    measured_before: Tensor | None = None
    plan: list[_Constellation] = []
    images = []
    for number, samples in enumerate(kspace.samples):
        lines = kspace.measured[number]

        def tell(share: float, number: int = number) -> None:
            if on_iteration is not None:
                on_iteration((number + share) / kspace.n_echoes)

        if not bool(lines.all()):
            if window is None:
                window = _calibrated(kspace, lines, settings)
            if measured_before is None or not torch.equal(lines, measured_before):
                plan = list(_weights(lines, window, settings))
                measured_before = lines
        hybrid = _filled(to_image(samples, (-1,)), plan if not bool(lines.all()) else [], tell)
        images.append(combine_coils(to_image(hybrid, (-3, -2)), sensitivities))
        tell(1.0)
    return torch.stack(images)


def _half_widths(lines: Tensor, neighbours: int, calibration: tuple[int, int]) -> tuple[int, int]:
    """Return how far along z and y to look so that nearly every missing line has as many measured neighbours.

    No farther than the calibration lines can teach: a quarter of them.
    """
    most = [min(_WIDEST, (size - 1) // 4) for size in calibration]
    widths = [min(1, most[0]), min(1, most[1])]
    axis = 1
    while widths != most:
        counts = _neighbour_counts(lines, widths[0], widths[1])[~lines].float()
        if float(counts.quantile(_NEARLY_EVERY)) >= neighbours:
            break
        if widths[axis] < most[axis]:
            widths[axis] += 1
        axis = 1 - axis
    return widths[0], widths[1]


def _neighbour_counts(lines: Tensor, half_z: int, half_y: int) -> Tensor:
    box = torch.ones(1, 1, 2 * half_z + 1, 2 * half_y + 1, device=lines.device)
    return torch.nn.functional.conv2d(lines.float()[None, None], box, padding=(half_z, half_y))[0, 0]


def _calibrated(kspace: Kspace, lines: Tensor, settings: GrappaSettings) -> _Window:
    """Correlate the calibration lines with themselves at every pair of offsets, taps and coils of the window."""
    calibration = calibration_kspace(kspace, _MOST_CALIBRATION)
    n_x = min(_CALIBRATION_READOUT, calibration.shape[-1])
    start = calibration.shape[-1] // 2 - n_x // 2
    block = calibration[..., start : start + n_x]
    half_z, half_y = _half_widths(lines, settings.neighbours, (block.shape[1], block.shape[2]))
    taps = min(settings.readout_taps, n_x - 1 + n_x % 2)
    windows = block.unfold(1, 2 * half_z + 1, 1).unfold(2, 2 * half_y + 1, 1).unfold(3, taps, 1)
    size = (2 * half_z + 1) * (2 * half_y + 1)
    rows = windows.permute(1, 2, 3, 4, 5, 0, 6).reshape(-1, size * len(block) * taps)
    gram = (rows.mH @ rows).reshape(size, len(block), taps, size, len(block), taps)
    offsets = [(dz, dy) for dz in range(-half_z, half_z + 1) for dy in range(-half_y, half_y + 1)]
    return _Window(offsets, gram)


def _weights(lines: Tensor, window: _Window, settings: GrappaSettings) -> Iterator[_Constellation]:
    """Find the weights of every constellation of measured neighbours around the missing lines."""
    half_z, half_y = window.offsets[-1]
    padded = torch.nn.functional.pad(lines, (half_y, half_y, half_z, half_z))
    missing = (~lines).nonzero()
    around = torch.stack(
        [padded[missing[:, 0] + half_z + dz, missing[:, 1] + half_y + dy] for dz, dy in window.offsets], 1
    )
    offsets = torch.tensor(window.offsets, device=lines.device)
    centre, n_coils, taps = len(window.offsets) // 2, window.gram.shape[1], window.gram.shape[2]
    near = torch.argsort(offsets.square().sum(1), stable=True)
    rank = torch.empty_like(around, dtype=torch.long)
    rank[:, near] = around[:, near].long().cumsum(1)
    around = around & (rank <= settings.neighbours)
    constellations, which = torch.unique(around, dim=0, return_inverse=True)
    for number, constellation in enumerate(constellations):
        neighbours = constellation.nonzero()[:, 0]
        if not len(neighbours):
            continue
        size = len(neighbours) * n_coils * taps
        of_neighbours = window.gram[neighbours][:, :, :, neighbours].reshape(size, size)
        to_centre = window.gram[neighbours][:, :, :, centre, :, taps // 2].reshape(size, n_coils)
        energy = of_neighbours.diagonal().real
        energy += settings.regularisation * energy.mean()
        found = torch.linalg.solve(of_neighbours, to_centre).reshape(len(neighbours), n_coils, taps, n_coils)
        yield _Constellation(missing[which == number], offsets[neighbours], found)


def _filled(hybrid: Tensor, plan: list[_Constellation], tell: Callable[[float], None]) -> Tensor:
    """Return k-space `(coil, z, y, x)`, x transformed already, with its missing lines made from their neighbours."""
    filled = hybrid.clone()
    n_x = hybrid.shape[-1]
    places = torch.arange(n_x, device=hybrid.device) - n_x // 2
    by_readout = hybrid.permute(3, 1, 2, 0).contiguous()
    for number, part in enumerate(plan):
        taps = part.weights.shape[2]
        shifts = torch.arange(taps, device=hybrid.device) - taps // 2
        # Neighbours along the readout's k are a phase ramp along x.
        turns = torch.polar(torch.ones(1, device=hybrid.device), -2 * math.pi / n_x * shifts[:, None] * places)
        weights = torch.einsum("nctd,tx->xncd", part.weights, turns.to(hybrid.dtype)).flatten(1, 2)
        z, y = (part.missing[:, axis, None] + part.offsets[:, axis] for axis in (0, 1))
        step = max(1, _CHUNK_VALUES // (z.numel() * hybrid.shape[0]))
        for start in range(0, n_x, step):
            readouts = slice(start, start + step)
            neighbours = by_readout[readouts, z, y].flatten(2)
            made = neighbours @ weights[readouts]
            filled[:, part.missing[:, 0], part.missing[:, 1], readouts] = made.permute(2, 1, 0)
        tell((number + 1) / len(plan))
    return filled


GRAPPA = Reconstruction(
    name="grappa",
    citation="Griswold 2002, doi:10.1002/mrm.10171",
    run=grappa,
    settings=GrappaSettings,
)
