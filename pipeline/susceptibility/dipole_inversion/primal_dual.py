"""The primal-dual iteration of single-step TGV on one grid, in blocks that fit the mask and the processor's cache."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, interpolate, max_pool3d

from pipeline.grid import Grid
from pipeline.method import OnIteration

# Voxels worked on together, so that what one update touches stays in the processor's cache.
_SLAB_VOXELS = 70_000
_SLAB_VOXELS_ON_DEVICE = 2_000_000
# Typical sizes of the map [ppm], of the field's error [ppm], of the slope [ppm/mm], and of the field equation's
# multiplier [ppm·mm²]: in these units all unknowns move at the same pace.
_SIZES = {"susceptibility": 0.05, "error": 0.01, "slope": 0.02, "field": 3e-3}
_CHECK_EVERY = 10

Shift = tuple[int, int, int]
_HERE: Shift = (0, 0, 0)
_UNITS: tuple[Shift, Shift, Shift] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
# Components of the slope's symmetric gradient: three on the diagonal, then the pairs of axes.
_PAIRS = ((0, 1), (0, 2), (1, 2))
# Where the unknowns and the multipliers lie in a state, and where each kind of them may differ from zero.
_CHI, _ERROR, _SLOPE, _FIELD, _EDGE, _BEND = 0, 1, slice(2, 5), 5, slice(6, 9), slice(9, 15)
_COMPONENTS, _UNKNOWNS = 15, 5
_INSIDE, _INTERIOR, _SLOPES, _BENDS = range(4)
_SUPPORTS = (_INSIDE,) * 5 + (_INTERIOR,) + (_SLOPES,) * 3 + (_BENDS,) * 6

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Scene:
    """What is known on one grid whose outermost voxels are empty, cut into boxes of some planes around the mask.

    For every box, `supports` holds four masks `(4, z, y, x)`: where the map lives, where the field equation holds, and
    where a gradient and a gradient's gradient have their neighbours inside. `curvature` is the divergence of the
    field's steps [ppm/mm²]. The limits are those of the two penalties.
    """

    grid: Grid
    boxes: list[Box]
    supports: list[Tensor]
    curvature: list[Tensor]
    precision: list[Tensor]
    edge_limit: float
    bend_limit: float

    @classmethod
    def of(
        cls, grid: Grid, inside: Tensor, steps: Tensor, precision: Tensor, edge_limit: float, bend_limit: float
    ) -> "Scene":
        """Derive the masks and the curvature; `steps` are the field's to the next voxel `(axis, z, y, x)` [ppm]."""
        outside = (~inside).to(steps.dtype)[None, None]
        interior = max_pool3d(outside, 3, stride=1, padding=1)[0, 0] < 0.5
        del outside
        slopes, bends = inside.clone(), inside.clone()
        curvature = torch.zeros_like(precision)
        for axis, size in enumerate(grid.voxel_size_mm):
            slopes &= inside.roll(-1, axis)
            bends &= inside.roll(1, axis)
            curvature.add_(steps[axis] - steps[axis].roll(1, axis), alpha=1 / size**2)
        curvature *= interior
        boxes = _boxes(inside)
        supports = [torch.stack([mask[box] for mask in (inside, interior, slopes, bends)]) for box in boxes]
        curvatures, precisions = ([volume[box].clone() for box in boxes] for volume in (curvature, precision))
        return cls(grid, boxes, supports, curvatures, precisions, edge_limit, bend_limit)

    @property
    def has_interior(self) -> bool:
        """Tell whether the field equation holds anywhere."""
        return any(bool(support[_INTERIOR].any()) for support in self.supports)

    @property
    def n_voxels(self) -> int:
        """Number of voxels in the boxes."""
        return sum(volume.numel() for volume in self.curvature)

    def zeros(self) -> list[Tensor]:
        """Return the start: for every box the unknowns map, field error ψ and slope w, then their multipliers."""
        return [volume.new_zeros(_COMPONENTS, *volume.shape) for volume in self.curvature]

    def susceptibility(self, state: list[Tensor]) -> Tensor:
        """Return the map `(z, y, x)` of a state."""
        return self.whole(state, _CHI)

    def whole(self, state: list[Tensor], component: int) -> Tensor:
        """Return one component of a state `(z, y, x)`, zero beyond the boxes."""
        volume = state[0].new_zeros(self.grid.shape)
        for box, values in zip(self.boxes, state, strict=True):
            volume[box] = values[component]
        return volume


def _boxes(inside: Tensor) -> list[Box]:
    """Return for each slab of planes the least rectangle that holds its voxels, from the first plane to the last."""
    depth, rows, columns = inside.shape
    voxels = _SLAB_VOXELS if inside.device.type == "cpu" else _SLAB_VOXELS_ON_DEVICE
    thickness = min(max(1, voxels // (rows * columns)), depth - 2)
    boxes = []
    for first in range(1, depth - 1, thickness):
        planes = slice(first, min(first + thickness, depth - 1))
        places = inside[planes].any(0).nonzero()
        if places.numel():
            low, high = places.amin(0).tolist(), places.amax(0).tolist()
            boxes.append((planes, slice(low[0], high[0] + 1), slice(low[1], high[1] + 1)))
    return boxes


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


def prolonged(state: list[Tensor], coarse: Scene, fine: Scene) -> list[Tensor]:
    """Return a state on the grid of twice the resolution, as the start there."""
    finer = fine.zeros()
    for component, support in enumerate(_SUPPORTS):
        values = coarse.whole(state, component)[None, None]
        doubled = interpolate(values, scale_factor=2, mode="trilinear", align_corners=False)[0, 0]
        for box, supports, target in zip(fine.boxes, fine.supports, finer, strict=True):
            torch.mul(doubled[box], supports[support], out=target[component])
    return finer


def solve(
    scene: Scene, state: list[Tensor], iterations: int, tolerance: float, told: OnIteration | None
) -> list[Tensor]:
    """Iterate on one grid until the map stands still; the state is changed.

    Multipliers rise along what the unknowns violate; then the unknowns fall along the multipliers, extrapolated by
    their last change. Both happen box by box in one sweep: an unknown is updated as soon as no multiplier needs its
    old value any more.
    """
    sweep = _Sweep(scene, state)
    for number in range(iterations):
        checks = number % _CHECK_EVERY == _CHECK_EVERY - 1
        before = [values[_CHI].clone() for values in state] if checks else None
        sweep()
        if told is not None:
            told((number + 1) / iterations)
        if before is not None:
            change = _length([old.sub_(values[_CHI]) for old, values in zip(before, state, strict=True)])
            if not change > tolerance * _length([values[_CHI] for values in state]):
                break
    return state


def _length(parts: list[Tensor]) -> float:
    return math.hypot(*(float(part.norm()) for part in parts))


class _Sweep:
    """One iteration over all boxes, with what does not change between iterations."""

    def __init__(self, scene: Scene, state: list[Tensor]) -> None:
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
        # Extrapolated multipliers of the boxes whose neighbours still need them.
        self.ahead: dict[int, Tensor] = {}

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
        """Update multipliers of each box, then unknowns of the box before it."""
        count = len(self.scene.boxes)
        for number in range(count):
            self._raise(number)
            if number:
                self._lower(number - 1)
        self._lower(count - 1)
        self.ahead.clear()

    def _surrounded(self, parts: Mapping[int, Tensor], number: int) -> Tensor:
        """Return what a box and its neighbours hold, in the box with a rim of one voxel."""
        boxes = self.scene.boxes
        sizes = [side.stop - side.start + 2 for side in boxes[number]]
        result = parts[number].new_zeros(parts[number].shape[0], *sizes)
        for other in (number - 1, number, number + 1):
            if other not in parts:
                continue
            here, there = [], []
            for side, beside in zip(boxes[number], boxes[other], strict=True):
                low, high = max(side.start - 1, beside.start), min(side.stop + 1, beside.stop)
                here.append(slice(low - side.start + 1, max(low, high) - side.start + 1))
                there.append(slice(low - beside.start, max(low, high) - beside.start))
            result[:, here[0], here[1], here[2]] = parts[other][:, there[0], there[1], there[2]]
        return result

    def _raise(self, number: int) -> None:
        """Update the multipliers of a box and store their extrapolation."""
        scene, own = self.scene, self.state[number]
        near = range(max(0, number - 1), min(len(self.state), number + 2))
        around = self._surrounded({other: self.state[other][:_UNKNOWNS] for other in near}, number)
        chi, error, slope = around[_CHI], around[_ERROR], around[_SLOPE]
        violated = _stencil(error, self.laplacian, {})
        violated += _stencil(chi, self.dipole, self.mixed)
        violated -= scene.curvature[number]
        ahead = own.new_empty(_COMPONENTS - _UNKNOWNS, *own.shape[1:])
        _, interior, slopes, bends = scene.supports[number]
        _advance(own[_FIELD], violated.mul_(self.rise["field"]), interior, None, ahead[0])
        edges = self._edges(chi, slope).mul_(self.rise["edge"])
        _advance(own[_EDGE], edges, slopes, scene.edge_limit, ahead[1:4])
        bent = self._bends(slope).mul_(self.rise["bend"])
        _advance(own[_BEND], bent, bends, scene.bend_limit, ahead[4:10])
        self.ahead[number] = ahead

    def _edges(self, chi: Tensor, slope: Tensor) -> Tensor:
        """Return ∇χ − w."""
        result = _at(slope).neg()
        for axis, unit in enumerate(_UNITS):
            result[axis].add_(_at(chi, unit), alpha=self.inverse[axis])
            result[axis].sub_(_at(chi), alpha=self.inverse[axis])
        return result

    def _bends(self, slope: Tensor) -> Tensor:
        """Return the symmetric gradient of w by backward differences."""
        here = _at(slope)
        result = here.new_zeros(6, *here.shape[1:])
        for axis, unit in enumerate(_UNITS):
            result[axis].add_(here[axis] - _at(slope[axis], _negative(unit)), alpha=self.inverse[axis])
        for number, (a, b) in enumerate(_PAIRS, start=3):
            one = here[a] - _at(slope[a], _negative(_UNITS[b]))
            result[number].add_(one, alpha=self.inverse[b] / 2)
            other = here[b] - _at(slope[b], _negative(_UNITS[a]))
            result[number].add_(other, alpha=self.inverse[a] / 2)
        return result

    def _lower(self, number: int) -> None:
        """Update the unknowns of a box from the extrapolated multipliers."""
        scene, own = self.scene, self.state[number]
        around = self._surrounded(self.ahead, number)
        self.ahead.pop(number - 1, None)
        field, edge, bend = around[0], around[1:4], around[4:10]
        inside = scene.supports[number][_INSIDE]
        error = own[_ERROR]
        error.sub_(_stencil(field, self.laplacian, {}), alpha=self.fall["error"])
        error.div_(1 + self.fall["error"] * scene.precision[number]).mul_(inside)
        descent = _stencil(field, self.dipole, self.mixed)
        for axis, unit in enumerate(_UNITS):
            descent.add_(_at(edge[axis], _negative(unit)), alpha=self.inverse[axis])
            descent.sub_(_at(edge[axis]), alpha=self.inverse[axis])
        own[_CHI].sub_(descent, alpha=self.fall["susceptibility"]).mul_(inside)
        for axis, unit in enumerate(_UNITS):
            descent = _at(bend[axis]) - _at(bend[axis], unit)
            descent.mul_(self.inverse[axis]).sub_(_at(edge[axis]))
            for place, pair in enumerate(_PAIRS, start=3):
                if axis in pair:
                    other = pair[0] if pair[1] == axis else pair[1]
                    flow = _at(bend[place]) - _at(bend[place], _UNITS[other])
                    descent.add_(flow, alpha=self.inverse[other])
            own[_SLOPE][axis].sub_(descent, alpha=self.fall["slope"]).mul_(inside)


def _advance(multiplier: Tensor, change: Tensor, mask: Tensor, limit: float | None, ahead: Tensor) -> None:
    """Add a change to a multiplier, shorten it to its limit, and write twice the new minus the old to `ahead`."""
    change.add_(multiplier)
    if limit is not None:
        # In a symmetric tensor each pair of axes stands for two components.
        squared = change.square()
        if len(squared) == 6:
            squared[3:] *= 2
        change *= (squared.sum(0).sqrt_().clamp_min_(limit).reciprocal_().mul_(limit)).mul_(mask)
    else:
        change *= mask
    torch.sub(2 * change, multiplier, out=ahead)
    multiplier.copy_(change)


def _at(volume: Tensor, shift: Shift = _HERE) -> Tensor:
    """Return a view without the rim, shifted by a voxel or none."""
    z, y, x = (slice(1 + d, size - 1 + d) for d, size in zip(shift, volume.shape[-3:], strict=True))
    return volume[..., z, y, x]


def _negative(shift: Shift) -> Shift:
    return -shift[0], -shift[1], -shift[2]


def _stencil(volume: Tensor, second: tuple[float, ...], mixed: dict[tuple[int, int], float]) -> Tensor:
    """Return Σ cᵢ ∂²/∂i² + Σ cᵢⱼ ∂²/∂i∂j of a volume, with the grid's spacing in the coefficients."""
    result = _at(volume) * (-2 * math.fsum(second))
    for unit, factor in zip(_UNITS, second, strict=True):
        result.add_(_at(volume, unit), alpha=factor).add_(_at(volume, _negative(unit)), alpha=factor)
    for (a, b), factor in mixed.items():
        for sign in (1, -1):
            corner = [0, 0, 0]
            corner[a], corner[b] = 1, sign
            z, y, x = corner
            result.add_(_at(volume, (z, y, x)), alpha=sign * factor)
            result.add_(_at(volume, (-z, -y, -x)), alpha=sign * factor)
    return result
