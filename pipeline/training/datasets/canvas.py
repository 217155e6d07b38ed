"""A volume to paint on: shapes of one susceptibility laid over one another with soft edges."""

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

    @property
    def reach_mm(self) -> float:
        """Return the radius of a sphere around the centre that holds the whole solid [mm]."""
        if self.kind == "ellipsoid":
            return max(self.radii)
        return sum(radius**2 for radius in self.radii) ** 0.5


def inside(distance: Tensor, edge_mm: float) -> Tensor:
    """Return the share (0 to 1) of a voxel that lies inside a surface at a signed distance [mm]."""
    return distance.div(-edge_mm).add_(0.5).clamp_(0, 1)


class Canvas:
    """Susceptibility [ppm] and signal being painted, in a space that may be turned and shifted against the grid.

    `points` `(3, z, y, x)` are the coordinates (z, y, x) [mm] of the voxels in that space: turn · position + origin.
    A painter that bends `points` afterwards says in `slack_mm` by how much.
    """

    def __init__(
        self, grid: Grid, chance: Chance, turn: Tensor | None = None, origin: Triple = (0.0, 0.0, 0.0)
    ) -> None:
        self.grid = grid
        self.turn = torch.eye(3) if turn is None else turn
        self.origin = torch.tensor(origin)
        self.slack_mm = 0.0
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

    def box_around(self, centre: Triple, reach_mm: float) -> Box | None:
        """Return the voxels within a distance [mm] of a point of the painter's space; none if it lies off the grid."""
        position = self.turn.T @ (torch.tensor(centre) - self.origin)
        slices = []
        for at, size, step in zip(position.tolist(), self.grid.shape, self.grid.voxel_size_mm, strict=True):
            reach = (reach_mm + self.slack_mm + self.edge_mm) / step
            first = max(0, int(at / step + (size - 1) / 2 - reach))
            last = min(size, int(at / step + (size - 1) / 2 + reach) + 2)
            if first >= last:
                return None
            slices.append(slice(first, last))
        return slices[0], slices[1], slices[2]

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
        box = self.box_around(solid.centre, solid.reach_mm + width)
        if box is not None:
            share = inside(solid.distance(self.points[(slice(None), *box)]), width)
            self.lay(share, ppm, signal, box)

    def scene(self, level: Tensor) -> Scene:
        """Return what was painted, with the distance to the object's surface [mm]."""
        return Scene(self.susceptibility, self.signal, level)
