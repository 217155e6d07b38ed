"""A volume to paint on: shapes of one susceptibility laid over one another with soft edges."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.fields import axis_positions_mm

Box = tuple[slice, slice, slice]
Triple = tuple[float, float, float]
EVERYWHERE: Box = (slice(None), slice(None), slice(None))


@dataclass(frozen=True)
class Scene:
    """What a generator makes, each `(z, y, x)`.

    `susceptibility` [ppm] up to a constant; `signal` of an image without decay [1]; `level` is the signed distance to
    the surface of the object [mm], negative inside.
    """

    susceptibility: Tensor
    signal: Tensor
    level: Tensor


@dataclass(frozen=True)
class Solid:
    """An ellipsoid, box or cylinder: centre and radii along its own axes [mm], `turn` from space to those axes."""

    kind: str
    centre: Triple
    radii: Triple
    turn: Tensor = field(default_factory=lambda: torch.eye(3))

    def distance(self, points: Tensor) -> Tensor:
        """Return the signed distance [mm] of points `(3, ...)` to the surface, exact on it, near beside it."""
        turn = self.turn.to(points.device)
        centre = points.new_tensor(self.centre)
        own = (turn @ points.flatten(1)).sub_((turn @ centre)[:, None])
        radii = points.new_tensor(self.radii)[:, None]
        if self.kind == "box":
            distance = own.abs_().sub_(radii).amax(0)
        elif self.kind == "cylinder":
            across = (own[1:] / radii[1:]).square_().sum(0).sqrt_().sub_(1).mul_(min(self.radii[1:]))
            distance = torch.maximum(own[0].abs_().sub_(radii[0]), across)
        else:
            scaled = own.div_(radii)
            level = scaled.square().sum(0).sqrt_()
            slope = scaled.div_(radii).square_().sum(0).sqrt_().clamp_min_(1e-6)
            distance = level.square().sub_(level).div_(slope)
        return distance.reshape(points.shape[1:])

    def half_extents_mm(self, turn: Tensor) -> list[float]:
        """Return how far the solid reaches along the axes of a space that `turn` carries into this one's [mm]."""
        sides = (self.turn @ turn).abs_().mul_(torch.tensor(self.radii)[:, None])
        if self.kind == "ellipsoid":
            return [float(length) for length in sides.square_().sum(0).sqrt_()]
        return [float(length) for length in sides.sum(0)]


def inside(distance: Tensor, edge_mm: float) -> Tensor:
    """Return the share (0 to 1) of a voxel that lies inside a surface at a signed distance [mm]."""
    return distance.div(-edge_mm).add_(0.5).clamp_(0, 1)


class Canvas:
    """Susceptibility [ppm] and signal being painted, in a space that may be turned and shifted against the grid.

    `points` `(3, z, y, x)` are the coordinates (z, y, x) [mm] of the voxels in that space: turn · position + origin.
    A painter that bends `points` afterwards says in `slack_mm` by how much. Where `bumps` is given, the surface of
    every solid wavers by it [mm].
    """

    def __init__(
        self, grid: Grid, chance: Chance, turn: Tensor | None = None, origin: Triple = (0.0, 0.0, 0.0)
    ) -> None:
        self.grid = grid
        self.turn = torch.eye(3) if turn is None else turn
        self.origin = torch.tensor(origin)
        self._rows, self._start = self.turn.tolist(), origin
        self.slack_mm = 0.0
        self.bumps: Tensor | None = None
        z, y, x = axis_positions_mm(grid, chance.device)
        turned = self.turn.to(chance.device)
        self.points = torch.empty((3, *grid.shape), device=chance.device)
        for axis in range(3):
            plane = turned[axis, 0] * z[:, None] + turned[axis, 1] * y[None, :] + origin[axis]
            torch.add(plane[:, :, None], turned[axis, 2] * x, out=self.points[axis])
        self.susceptibility = torch.zeros(grid.shape, device=chance.device)
        self.signal = torch.ones(grid.shape, device=chance.device)

    @property
    def edge_mm(self) -> float:
        """Return the mean edge of a voxel [mm]: over this width a surface is softened."""
        z, y, x = self.grid.voxel_size_mm
        return float((z * y * x) ** (1 / 3))

    def box_around(self, solid: Solid, width_mm: float) -> Box | None:
        """Return the voxels that a solid and a rim around it [mm] may touch; none if it lies off the grid."""
        position, unsure_mm = self._position(solid.centre)
        slices = []
        extents = solid.half_extents_mm(self.turn)
        for at, reach, size, step in zip(position, extents, self.grid.shape, self.grid.voxel_size_mm, strict=True):
            # A bent space stretches what is in it.
            stretched = reach * 1.25 if self.slack_mm else reach
            reach = (stretched + unsure_mm + width_mm) / step
            first = max(0, int(at / step + (size - 1) / 2 - reach))
            last = min(size, int(at / step + (size - 1) / 2 + reach) + 2)
            if first >= last:
                return None
            slices.append(slice(first, last))
        return slices[0], slices[1], slices[2]

    def _position(self, point: Triple) -> tuple[Triple, float]:
        """Return where a point of the painter's space lies in the grid [mm from its middle], and how unsure that is."""
        target, bend, position, miss_mm = point, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.0
        for _ in range(4 if self.slack_mm else 1):
            before = position
            position = self._in_grid(tuple(a - b for a, b in zip(target, bend, strict=True)))
            miss_mm = math.dist(position, before)
            index = [
                round(at / step + (size - 1) / 2)
                for at, step, size in zip(position, self.grid.voxel_size_mm, self.grid.shape, strict=True)
            ]
            if not self.slack_mm:
                return position, 0.0
            if any(not 0 <= at < size for at, size in zip(index, self.grid.shape, strict=True)):
                return position, self.slack_mm
            bend = self._bend_at(index)
        return position, miss_mm + max(self.grid.voxel_size_mm)

    def _in_grid(self, point: Sequence[float]) -> Triple:
        """Return where a point lies along the axes of the grid [mm from its middle], were the space not bent."""
        z, y, x = (at - start for at, start in zip(point, self._start, strict=True))
        (a, b, c), (d, e, f), (g, h, i) = self._rows
        return a * z + d * y + g * x, b * z + e * y + h * x, c * z + f * y + i * x

    def _bend_at(self, index: Sequence[int]) -> Triple:
        """Return by how much the space is bent at a voxel [mm]."""
        z, y, x = (
            (at - (size - 1) / 2) * step
            for at, size, step in zip(index, self.grid.shape, self.grid.voxel_size_mm, strict=True)
        )
        found = self.points[:, index[0], index[1], index[2]].tolist()
        straight = [a * z + b * y + c * x + start for (a, b, c), start in zip(self._rows, self._start, strict=True)]
        return found[0] - straight[0], found[1] - straight[1], found[2] - straight[2]

    def lay(self, share: Tensor, ppm: float, signal: float | None = None, box: Box = EVERYWHERE) -> None:
        """Lay a substance over a share (0 to 1) of every voxel in a box; no signal given: what was there stays."""
        painted = self.susceptibility[box]
        painted.lerp_(painted.new_tensor(ppm), share)
        if signal is not None:
            painted = self.signal[box]
            painted.lerp_(painted.new_tensor(signal), share)

    def lay_solid(self, solid: Solid, ppm: float, signal: float | None = None, edge_mm: float | None = None) -> None:
        """Lay a solid, softened over a width [mm] (by default a voxel)."""
        width = self.edge_mm if edge_mm is None else max(edge_mm, self.edge_mm)
        box = self.box_around(solid, width)
        if box is not None:
            distance = solid.distance(self.points[(slice(None), *box)])
            if self.bumps is not None:
                distance += self.bumps[box]
            self.lay(inside(distance, width), ppm, signal, box)

    def scene(self, level: Tensor) -> Scene:
        """Return what was painted, with the distance to the object's surface [mm]."""
        return Scene(self.susceptibility, self.signal, level)
