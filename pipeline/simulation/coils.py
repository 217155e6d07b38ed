"""Receive coils around a head: the sensitivities of an array of loops, and the noise that its channels share."""

import math

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid

_ARRAY_CENTRE_MM = (0.0, 5.0, 9.0)
_SEMI_AXES_MM = (118.0, 138.0, 150.0)
"""Half the width, depth and height of the ellipsoid on which the loops lie, some centimetres outside the skin."""
_SEGMENTS = 16
_WAVELENGTH_MM = 280.0
"""Of radio waves in brain tissue at 3 T (relative permittivity about 50)."""
_KNOT_MM = 6.0
"""Sensitivities are smooth: they are computed on knots about this far apart, and interpolated by cubics."""
_WIRE_MM = 6.0
"""Thickness of a loop's conductor, within which its field stays finite."""


def birdcage_array(where: Grid | Tensor, n_coils: int, seed: int = 0) -> Tensor:
    """Return the sensitivities of rings of loops around a head, as one combined image would weigh them.

    The field of each polygonal loop follows Biot and Savart's law; what a coil receives is its part across B0, which
    turns against the precession, delayed by the way through tissue. The squares of the magnitudes add up to one in
    every voxel, so that the combined image is the imaged object itself.

    Parameters
    ----------
    where
        Voxel positions `(3, z, y, x)` of a regular grid of any tilt, in patient coordinates x (left), y (back), z
        (head) [mm]; or the grid alone, whose middle then lies in the middle of the array.
    n_coils
        Number of loops.
    seed
        Decides by how much each loop is out of its ideal place.

    Returns
    -------
        Complex sensitivities `(coil, z, y, x)`, complex64.

    Raises
    ------
    UnusableInput
        There is no coil, or the positions have no leading axis of three.

    References
    ----------
    Roemer et al. 1990, doi:10.1002/mrm.1910160203.
    """
    if n_coils < 1:
        raise UnusableInput(f"An array of {n_coils} coils receives nothing; ask for one or more.")
    points = _points(where) if isinstance(where, Grid) else where
    if points.ndim != 4 or points.shape[0] != 3:
        raise UnusableInput(f"Positions need the shape (3, z, y, x); they have {tuple(points.shape)}.")
    knots, spreads = _knots(points)
    sensitivities = torch.stack([_received(loop, knots) for loop in _loops(n_coils, seed).to(points)])
    for axis, spread in enumerate(spreads, start=1):
        sensitivities = torch.movedim(spread.to(sensitivities) @ sensitivities.movedim(axis, -2), -2, axis)
    strength = torch.linalg.vector_norm(sensitivities, dim=0)
    return sensitivities.div_(strength).contiguous()


def noise_covariance(n_coils: int, correlation: float = 0.2, seed: int = 0) -> Tensor:
    """Return a covariance of the channels' noise: neighbours share noise, and no two channels are equally loud.

    Parameters
    ----------
    n_coils
        Number of channels.
    correlation
        Magnitude of the correlation between neighbours (0 up to below 1); it falls by this factor from coil to coil.
    seed
        Decides the channels' levels (0.8 to 1.25) and the phases of the correlations.

    Returns
    -------
        Hermitian and positive definite `(coil, coil)`, complex64; its mean diagonal is 1.

    Raises
    ------
    UnusableInput
        The correlation is out of range.
    """
    if not 0 <= correlation < 1:
        raise UnusableInput(f"A correlation of {correlation} between coils is out of range; it lies in [0, 1).")
    chance = torch.Generator().manual_seed(seed)
    steps = torch.arange(n_coils)
    apart = (steps[:, None] - steps).abs()
    shared = torch.pow(torch.tensor(correlation, dtype=torch.float64), torch.minimum(apart, n_coils - apart))
    levels = 0.8 * (1.25 / 0.8) ** torch.rand(n_coils, generator=chance, dtype=torch.float64)
    levels = levels / levels.square().mean().sqrt()
    turned = torch.polar(levels, 2 * math.pi * torch.rand(n_coils, generator=chance, dtype=torch.float64))
    return (turned[:, None] * shared * turned.conj()).to(torch.complex64)


def correlated_noise(shape: tuple[int, ...], covariance: Tensor, chance: torch.Generator) -> Tensor:
    """Return complex noise `(coil, *shape)` whose channels have a covariance `(coil, coil)`.

    The diagonal is the variance of real and imaginary part together.
    """
    white = torch.randn((len(covariance), math.prod(shape), 2), generator=chance) * math.sqrt(0.5)
    factor = torch.linalg.cholesky(covariance.to(torch.complex128)).to(torch.complex64)
    return (factor @ torch.view_as_complex(white)).reshape(-1, *shape)


def _points(grid: Grid) -> Tensor:
    """Return the positions of a grid about the array's centre, turned so that B0 points along z."""
    b0 = torch.tensor(grid.b0_direction[::-1], dtype=torch.float64)
    near = torch.tensor([1.0, 0.0, 0.0] if abs(b0[0]) < 0.7 else [0.0, 1.0, 0.0], dtype=torch.float64)
    first = near - (near @ b0) * b0
    first = first / first.norm()
    second = torch.linalg.cross(b0, first)
    # A volume whose x lies along B0 keeps its y as the first axis across; left stays left elsewhere.
    turn = torch.stack((first, second, b0))
    along = [(torch.arange(size) - size // 2) * step for size, step in zip(grid.shape, grid.voxel_size_mm, strict=True)]
    z, y, x = torch.meshgrid(*(axis.double() for axis in along), indexing="ij")
    centre = torch.tensor(_ARRAY_CENTRE_MM, dtype=torch.float64)[:, None, None, None]
    return (torch.einsum("ab,bzyx->azyx", turn, torch.stack((x, y, z))) + centre).float()


def _knots(points: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return positions `(3, z, y, x)` that surround a regular grid coarsely, and per axis the weights back to it."""
    first = points[:, 0, 0, 0].double()
    places, spreads = first[:, None, None, None], []
    for axis, size in enumerate(points.shape[1:], start=1):
        last = points.select(axis, -1)[:, 0, 0].double()
        extent = last - first
        count = max(1, math.ceil(float(extent.norm()) / _KNOT_MM))
        spreads.append(_cubic_weights(size, count).to(points.device))
        steps = (torch.arange(count + 3, device=points.device, dtype=torch.float64) - 1) / count
        shape = [3, 1, 1, 1]
        shape[axis] = count + 3
        places = places + (extent[:, None] * steps).reshape(shape)
    return places.to(points), spreads


def _cubic_weights(size: int, count: int) -> Tensor:
    """Return the weights `(sample, knot)` of cubic convolution between knots −1 to count + 1, at `size` samples."""
    place = torch.linspace(0, count, size) if size > 1 else torch.zeros(1)
    apart = (place[:, None] - (torch.arange(count + 3) - 1)).abs()
    near = (1.5 * apart - 2.5) * apart.square() + 1
    far = ((-0.5 * apart + 2.5) * apart - 4) * apart + 2
    return torch.where(apart < 1, near, torch.where(apart < 2, far, torch.zeros_like(apart)))


def _loops(n_coils: int, seed: int) -> Tensor:
    """Return the corners of the loops `(coil, corner, 3)` [mm], in patient coordinates."""
    chance = torch.Generator().manual_seed(seed)
    rings = max(1, round(n_coils / 9))
    counts = [n_coils // rings + (ring < n_coils % rings) for ring in range(rings)]
    loops = []
    for ring, count in enumerate(counts):
        height = 0.0 if rings == 1 else 0.62 * (2 * ring / (rings - 1) - 1)
        for place in range(count):
            jitter = 0.06 * (torch.rand(2, generator=chance, dtype=torch.float64) - 0.5)
            angle = 2 * math.pi * (place + 0.5 * (ring % 2)) / count + float(jitter[0]) * 8 / count
            loops.append(_loop(angle, height + float(jitter[1]), count, rings))
    return torch.stack(loops)


def _loop(angle: float, height: float, in_ring: int, rings: int) -> Tensor:
    """Return the corners of a loop that lies on the ellipsoid and overlaps its neighbours, `(corner, 3)` [mm]."""
    across = math.sqrt(1 - height**2)
    direction = torch.tensor([across * math.cos(angle), across * math.sin(angle), height], dtype=torch.float64)
    axes = torch.tensor(_SEMI_AXES_MM, dtype=torch.float64)
    normal = direction / axes
    normal = normal / normal.norm()
    upwards = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    sideways = torch.linalg.cross(upwards, normal)
    sideways = sideways / sideways.norm()
    steep = torch.linalg.cross(normal, sideways)
    middle = 0.5 * (_SEMI_AXES_MM[0] + _SEMI_AXES_MM[1])
    wide = min(75.0, 1.15 * math.pi * across * middle / max(in_ring, 4))
    tall = 75.0 if rings == 1 else min(75.0, 1.15 * 0.62 * _SEMI_AXES_MM[2] / (rings - 1))
    turns = torch.arange(_SEGMENTS, dtype=torch.float64) * (2 * math.pi / _SEGMENTS)
    rim = wide * turns.cos()[:, None] * sideways + tall * turns.sin()[:, None] * steep
    return torch.tensor(_ARRAY_CENTRE_MM, dtype=torch.float64) + direction * axes + rim


def _received(corners: Tensor, points: Tensor) -> Tensor:
    """Return the complex field across B0 of unit current through a loop, at points `(3, ...)`, with its delay."""
    x, y, z = points
    along_x, along_y = torch.zeros_like(x), torch.zeros_like(x)
    start, to_start = corners[-1], _way(points, corners[-1])
    for stop in corners:
        to_stop = _way(points, stop)
        edge_x, edge_y, edge_z = (stop - start).tolist()
        # Biot and Savart's integral over a straight edge; the scalar product of both ways follows from the triangle.
        product = 0.5 * (to_start.square() + to_stop.square() - (edge_x**2 + edge_y**2 + edge_z**2))
        both = to_start * to_stop
        weight = (to_start + to_stop) / (both * (both + product))
        along_x += weight * (edge_y * (z - start[2]) - edge_z * (y - start[1]))
        along_y += weight * (edge_z * (x - start[0]) - edge_x * (z - start[2]))
        start, to_start = stop, to_stop
    delay = _way(points, corners.mean(0)) * (2 * math.pi / _WAVELENGTH_MM)
    return torch.complex(along_x, -along_y) * torch.polar(torch.ones_like(delay), delay)


def _way(points: Tensor, corner: Tensor) -> Tensor:
    """Return the distance of points `(3, ...)` from a corner [mm], never less than the conductor is thick."""
    squares = [(points[axis] - corner[axis]).square() for axis in range(3)]
    return (squares[0] + squares[1] + squares[2] + _WIRE_MM**2).sqrt()
