"""The primal-dual iteration of single-step TGV on one grid, in one sweep that stays in the processor's cache."""

import math
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, interpolate, max_pool3d

from pipeline.grid import Grid
from pipeline.method import OnIteration

# Voxels worked on together, so that what one update touches stays in the processor's cache.
_SLAB_VOXELS = 70_000
# Typical sizes of the map [ppm], of the field's error [ppm], of the slope [ppm/mm], and of the field equation's
# multiplier [ppm·mm²]: in these units all unknowns move at the same pace.
_SIZES = {"susceptibility": 0.05, "error": 0.01, "slope": 0.02, "field": 3e-3}
_CHECK_EVERY = 10

Shift = tuple[int, int, int]
_HERE: Shift = (0, 0, 0)
_UNITS: tuple[Shift, Shift, Shift] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
# Components of the slope's symmetric gradient: three on the diagonal, then the pairs of axes.
_PAIRS = ((0, 1), (0, 2), (1, 2))


@dataclass(frozen=True)
class Scene:
    """What is known on one grid whose outermost voxels are empty; volumes `(z, y, x)`.

    `steps` are the field's differences to the next voxel `(axis, z, y, x)` [ppm], `curvature` their divergence
    [ppm/mm²]. `inside` is where the map lives, `interior` where the field equation holds, `slopes` and `bends` where a
    gradient and a gradient's gradient have their neighbours inside. The limits are those of the two penalties.
    """

    grid: Grid
    inside: Tensor
    interior: Tensor
    slopes: Tensor
    bends: Tensor
    curvature: Tensor
    precision: Tensor
    edge_limit: float
    bend_limit: float

    @classmethod
    def of(
        cls, grid: Grid, inside: Tensor, steps: Tensor, precision: Tensor, edge_limit: float, bend_limit: float
    ) -> "Scene":
        """Derive the masks and the curvature."""
        outside = (~inside).to(steps.dtype)[None, None]
        interior = max_pool3d(outside, 3, stride=1, padding=1)[0, 0] < 0.5
        slopes, bends = inside.clone(), inside.clone()
        curvature = torch.zeros_like(precision)
        for axis, size in enumerate(grid.voxel_size_mm):
            slopes &= inside.roll(-1, axis)
            bends &= inside.roll(1, axis)
            curvature.add_(steps[axis] - steps[axis].roll(1, axis), alpha=1 / size**2)
        curvature *= interior
        return cls(grid, inside, interior, slopes, bends, curvature, precision, edge_limit, bend_limit)


@dataclass
class State:
    """The unknowns `susceptibility`, `error` (ψ) and `slope` (w), and the multipliers `field`, `edge` and `bend`."""

    susceptibility: Tensor
    error: Tensor
    slope: Tensor
    field: Tensor
    edge: Tensor
    bend: Tensor

    @classmethod
    def zeros(cls, scene: Scene) -> "State":
        """Return the start on a grid."""
        shape = tuple(scene.curvature.shape)
        return cls(*(scene.curvature.new_zeros(*lead, *shape) for lead in ((), (), (3,), (), (3,), (6,))))


def coarser_field(grid: Grid, inside: Tensor, steps: Tensor, precision: Tensor) -> tuple[Grid, Tensor, Tensor, Tensor]:
    """Return grid, mask, steps and precision on half the resolution, from the blocks that lie wholly inside.

    The step between two blocks is the mean over their four lines of half the first step, the middle one, and half the
    last: no phase is unwrapped to find it.
    """
    z, y, x = (size // 2 for size in grid.shape)
    dz, dy, dx = (2 * size for size in grid.voxel_size_mm)
    halves = []
    for axis in range(3):
        line = steps[axis] / 2 + steps[axis].roll(-1, axis) + steps[axis].roll(-2, axis) / 2
        kernel = [2, 2, 2]
        kernel[axis] = 1
        pooled = avg_pool3d(line[None, None], tuple(kernel), stride=2)[0, 0]
        halves.append(pooled)
    whole = _pooled(inside.to(steps.dtype)) > 0.99
    coarse = replace(grid, shape=(z, y, x), voxel_size_mm=(dz, dy, dx))
    return coarse, whole, torch.stack(halves), _pooled(precision) * whole


def _pooled(volume: Tensor) -> Tensor:
    return avg_pool3d(volume[None, None], 2)[0, 0]


def prolonged(state: State, scene: Scene) -> State:
    """Return a state on the grid of twice the resolution, as the start there."""
    finer = {}
    for item in fields(State):
        values: Tensor = getattr(state, item.name)
        stacked = values.reshape(1, -1, *values.shape[-3:])
        doubled = interpolate(stacked, scale_factor=2, mode="trilinear", align_corners=False)
        finer[item.name] = doubled.reshape(*values.shape[:-3], *scene.inside.shape)
    finer["susceptibility"] *= scene.inside
    finer["error"] *= scene.inside
    finer["slope"] *= scene.inside
    finer["field"] *= scene.interior
    finer["edge"] *= scene.slopes
    finer["bend"] *= scene.bends
    return State(**finer)


def solve(scene: Scene, state: State, iterations: int, tolerance: float, told: OnIteration | None) -> State:
    """Iterate on one grid until the map stands still; the state is changed.

    Multipliers rise along what the unknowns violate; then the unknowns fall along the multipliers, extrapolated by
    their last change. Both happen slab by slab in one sweep: an unknown is updated as soon as no multiplier needs its
    old value any more.
    """
    sweep = _Sweep(scene, state)
    for number in range(iterations):
        checks = number % _CHECK_EVERY == _CHECK_EVERY - 1
        before = state.susceptibility.clone() if checks else None
        sweep()
        if told is not None:
            told((number + 1) / iterations)
        if before is not None:
            change = float(before.sub_(state.susceptibility).norm())
            if not change > tolerance * float(state.susceptibility.norm()):
                break
    return state


class _Sweep:
    """One iteration over all slabs, with what does not change between iterations."""

    def __init__(self, scene: Scene, state: State) -> None:
        self.scene, self.state = scene, state
        spacing, direction = scene.grid.voxel_size_mm, scene.grid.b0_direction
        self.inverse = tuple(1 / size for size in spacing)
        self.laplacian = tuple(1 / size**2 for size in spacing)
        self.dipole = tuple((1 / 3 - part**2) / size**2 for size, part in zip(spacing, direction, strict=True))
        self.mixed = {
            (a, b): -2 * direction[a] * direction[b] / (4 * spacing[a] * spacing[b])
            for a, b in _PAIRS
            if abs(direction[a] * direction[b]) > 1e-9
        }
        self._choose_steps()
        on_cpu = scene.inside.device.type == "cpu"
        depth = scene.grid.shape[0]
        rows, columns = scene.grid.shape[1:]
        wanted = max(1, _SLAB_VOXELS // (rows * columns)) if on_cpu else depth - 2
        self.slab = min(wanted, depth - 2)
        # Extrapolated multipliers of the plane before the last slab, the last slab, and the present one.
        self.ahead = scene.curvature.new_zeros(10, 2 * self.slab + 2, rows, columns)

    def _choose_steps(self) -> None:
        """Choose steps by the sums of the operators' coefficients, each unknown in its own unit."""
        scene = self.scene
        chi, psi, slope, field = (_SIZES[name] for name in ("susceptibility", "error", "slope", "field"))
        wave = 4 * sum(self.laplacian)
        dipole = 4 * sum(abs(part) for part in self.dipole) + 4 * sum(abs(part) for part in self.mixed.values())
        gradient = 2 * max(self.inverse)
        edge, bend = scene.edge_limit, scene.bend_limit
        self.rise = {
            "field": field / (wave * psi + dipole * chi),
            "edge": edge / (gradient * chi + slope),
            "bend": bend / (2 * gradient * slope),
        }
        self.fall = {
            "susceptibility": chi / (dipole * field + 3 * gradient * edge),
            "error": psi / (wave * field),
            "slope": slope / (edge + 4 * gradient * bend),
        }

    def __call__(self) -> None:
        """Update multipliers of each slab, then unknowns of the slab before it."""
        depth = self.scene.grid.shape[0]
        self.ahead.zero_()
        bounds = [(first, min(first + self.slab, depth - 1)) for first in range(1, depth - 1, self.slab)]
        for number, (first, last) in enumerate(bounds):
            self._raise(first, last, 1 + self.slab)
            if number:
                self._lower(*bounds[number - 1])
            kept = self.slab + 1
            self.ahead[:, :kept] = self.ahead[:, self.slab : self.slab + kept].clone()
            self.ahead[:, kept:].zero_()
        self._lower(*bounds[-1])

    def _raise(self, first: int, last: int, place: int) -> None:
        """Update the multipliers of some planes and store their extrapolation."""
        state, scene = self.state, self.scene
        own = (first, last)
        violated = _stencil(state.error, own, self.laplacian, {})
        violated += _stencil(state.susceptibility, own, self.dipole, self.mixed)
        violated -= _at(scene.curvature, own)
        self._advance(state.field, violated.mul_(self.rise["field"]), _at(scene.interior, own), None, own, place, 0)
        edges = self._edges(own).mul_(self.rise["edge"])
        self._advance(state.edge, edges, _at(scene.slopes, own), scene.edge_limit, own, place, 1)
        bends = self._bends(own).mul_(self.rise["bend"])
        self._advance(state.bend, bends, _at(scene.bends, own), scene.bend_limit, own, place, 4)

    def _advance(
        self,
        multiplier: Tensor,
        change: Tensor,
        mask: Tensor,
        limit: float | None,
        own: tuple[int, int],
        place: int,
        channel: int,
    ) -> None:
        """Add a change to a multiplier, shorten it to its limit, and store twice the new minus the old."""
        here = _at(multiplier, own)
        change.add_(here)
        if limit is not None:
            # In a symmetric tensor each pair of axes stands for two components.
            squared = change.square()
            if len(squared) == 6:
                squared[3:] *= 2
            change *= (squared.sum(0).sqrt_().clamp_min_(limit).reciprocal_().mul_(limit)).mul_(mask)
        else:
            change *= mask
        count = multiplier.shape[0] if multiplier.dim() == 4 else 1
        target = self.ahead[channel : channel + count, place : place + own[1] - own[0], 1:-1, 1:-1]
        torch.sub(2 * change, here, out=target) if count > 1 else torch.sub(2 * change, here, out=target[0])
        here.copy_(change)

    def _edges(self, own: tuple[int, int]) -> Tensor:
        """Return ∇χ − w."""
        chi, slope = self.state.susceptibility, self.state.slope
        result = _at(slope, own).neg()
        for axis, unit in enumerate(_UNITS):
            result[axis].add_(_at(chi, own, unit), alpha=self.inverse[axis])
            result[axis].sub_(_at(chi, own), alpha=self.inverse[axis])
        return result

    def _bends(self, own: tuple[int, int]) -> Tensor:
        """Return the symmetric gradient of w by backward differences."""
        slope = self.state.slope
        here = _at(slope, own)
        result = here.new_zeros(6, *here.shape[1:])
        for axis, unit in enumerate(_UNITS):
            result[axis].add_(here[axis] - _at(slope[axis], own, _negative(unit)), alpha=self.inverse[axis])
        for number, (a, b) in enumerate(_PAIRS, start=3):
            one = here[a] - _at(slope[a], own, _negative(_UNITS[b]))
            result[number].add_(one, alpha=self.inverse[b] / 2)
            other = here[b] - _at(slope[b], own, _negative(_UNITS[a]))
            result[number].add_(other, alpha=self.inverse[a] / 2)
        return result

    def _lower(self, first: int, last: int) -> None:
        """Update the unknowns of some planes from the extrapolated multipliers."""
        state, scene, own = self.state, self.scene, (first, last)
        field, edge, bend = self.ahead[0], self.ahead[1:4], self.ahead[4:10]
        near = (1, 1 + last - first)
        inside = _at(scene.inside, own)
        error = _at(state.error, own)
        error.sub_(_stencil(field, near, self.laplacian, {}), alpha=self.fall["error"])
        error.div_(1 + self.fall["error"] * _at(scene.precision, own)).mul_(inside)
        descent = _stencil(field, near, self.dipole, self.mixed)
        for axis, unit in enumerate(_UNITS):
            descent.add_(_at(edge[axis], near, _negative(unit)), alpha=self.inverse[axis])
            descent.sub_(_at(edge[axis], near), alpha=self.inverse[axis])
        _at(state.susceptibility, own).sub_(descent, alpha=self.fall["susceptibility"]).mul_(inside)
        for axis, unit in enumerate(_UNITS):
            descent = _at(bend[axis], near) - _at(bend[axis], near, unit)
            descent.mul_(self.inverse[axis]).sub_(_at(edge[axis], near))
            for number, pair in enumerate(_PAIRS, start=3):
                if axis in pair:
                    other = pair[0] if pair[1] == axis else pair[1]
                    flow = _at(bend[number], near) - _at(bend[number], near, _UNITS[other])
                    descent.add_(flow, alpha=self.inverse[other])
            _at(state.slope[axis], own).sub_(descent, alpha=self.fall["slope"]).mul_(inside)


def _at(volume: Tensor, planes: tuple[int, int], shift: Shift = _HERE) -> Tensor:
    """Return a view of some planes without the rim, shifted by a voxel or none."""
    dz, dy, dx = shift
    rows, columns = volume.shape[-2:]
    return volume[..., planes[0] + dz : planes[1] + dz, 1 + dy : rows - 1 + dy, 1 + dx : columns - 1 + dx]


def _negative(shift: Shift) -> Shift:
    return -shift[0], -shift[1], -shift[2]


def _stencil(
    volume: Tensor, planes: tuple[int, int], second: tuple[float, ...], mixed: dict[tuple[int, int], float]
) -> Tensor:
    """Return Σ cᵢ ∂²/∂i² + Σ cᵢⱼ ∂²/∂i∂j of a volume, with the grid's spacing in the coefficients."""
    result = _at(volume, planes) * (-2 * math.fsum(second))
    for unit, factor in zip(_UNITS, second, strict=True):
        result.add_(_at(volume, planes, unit), alpha=factor).add_(_at(volume, planes, _negative(unit)), alpha=factor)
    for (a, b), factor in mixed.items():
        for sign in (1, -1):
            corner = [0, 0, 0]
            corner[a], corner[b] = 1, sign
            z, y, x = corner
            result.add_(_at(volume, planes, (z, y, x)), alpha=sign * factor)
            result.add_(_at(volume, planes, (-z, -y, -x)), alpha=sign * factor)
    return result
