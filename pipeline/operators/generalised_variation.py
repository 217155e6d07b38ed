"""Total generalised variation for splitting methods: the gradient may follow a smooth field for little."""

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.operators.gradient import add_periodic_adjoint, add_periodic_gradient

# Some thirty arrays of a slab are held at once.
_SLAB_VOXELS = 16_000
_TINY = 1e-20
_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
_HALF = 0.5**0.5
# Share by which the unknown's step is shortened, so that it and the smooth field may move at once.
_CAUTION = 0.25

Window = tuple[slice, slice, slice]


class SplitGeneralisedVariation:
    """The split parts of min over w of α₁ Σ |∇x − w| + α₀ Σ |ℰ w|, updated slab by slab, as `SplitGradient` is.

    ℰ w is the symmetrised gradient. Both terms are split and over-relaxed; w itself takes one step down per update, in
    a window outside which it is zero. Differences are per mm, those of x periodic, those of w end at the window.
    """

    def __init__(
        self, grid: Grid, window: Window, like: Tensor, threshold: float, smoothness_mm: float, relaxation: float
    ) -> None:
        """Start from zero.

        Parameters
        ----------
        grid
            A periodic grid.
        window
            Where w may differ from zero.
        like
            Its precision and device are used.
        threshold
            α₁ over the penalty of the gradient's splitting: by how much ∇x − w is shortened [ppm/mm].
        smoothness_mm
            α₀ / α₁ [mm].
        relaxation
            Between 1 and 2.
        """
        self._steps, self._window = grid.voxel_size_mm, window
        self._threshold, self._relaxation = threshold, relaxation
        least = min(self._steps)
        self._bent_threshold = threshold * smoothness_mm / least**2
        self._bent_penalty = least**2
        norm = 4 * sum(1 / step**2 for step in self._steps)
        self._step = 1 / (1 + 1 / _CAUTION + self._bent_penalty * norm)
        inner = tuple(cut.stop - cut.start for cut in window)
        self._smooth = like.new_zeros(3, *inner)
        # Splits are kept in units of their thresholds, where half precision is enough.
        stored = torch.float16 if like.dtype == torch.float32 else like.dtype
        self._kept = like.new_zeros(3, *grid.shape, dtype=stored)
        self._bent = like.new_zeros(6, *inner, dtype=stored)
        plane = grid.shape[1] * grid.shape[2]
        self._slab = grid.shape[0] if like.is_cuda else max(1, _SLAB_VOXELS // plane)

    @staticmethod
    def penalty(gradient_penalty: float) -> float:
        """Return the penalty of the unknown's own problem for that of the gradient's splitting."""
        return gradient_penalty * (1 + _CAUTION)

    def update(self, volume: Tensor) -> Tensor:
        """Replace a new volume `(z, y, x)` by that towards which the next volume is drawn [1/mm²]."""
        first_plane, depth = volume[0].clone(), len(volume)
        carried, drawn_on = torch.zeros_like(self._smooth[:, 0]), torch.zeros_like(first_plane)
        for start in range(0, depth, self._slab):
            stop = min(start + self._slab, depth)
            slope = volume.new_zeros(3, stop - start, *volume.shape[1:])
            planes, following = volume[start:stop], first_plane if stop == depth else volume[stop]
            add_periodic_gradient(slope, planes, following, self._steps, 1.0)
            first, last = self._planes(start, stop)
            z = self._window[0].start
            here = (slice(None), slice(z + first - start, z + last - start), *self._window[1:])
            residual = slope.clone()
            if last > first:
                residual[here].sub_(self._smooth[:, first:last])
            self._shorten(residual, start, stop)
            if last > first:
                carried = self._advance_smooth(first, last, residual[here], carried)
            slope.sub_(residual, alpha=1 / (1 + _CAUTION))
            planes.zero_()[0].add_(drawn_on)
            drawn_on = add_periodic_adjoint(planes, slope, self._steps)
        volume[0].add_(drawn_on)
        return volume

    def _planes(self, start: int, stop: int) -> tuple[int, int]:
        """Return which planes of the window lie between two planes of the grid."""
        z, size = self._window[0].start, self._smooth.shape[1]
        return min(max(start - z, 0), size), min(max(stop - z, 0), size)

    def _shorten(self, rest: Tensor, start: int, stop: int) -> None:
        """Update the split of ∇x − w in some planes, and take from it, in place, what it is drawn towards."""
        pulled = self._kept[:, start:stop].to(rest.dtype).mul_(self._threshold)
        pulled.add_(rest, alpha=self._relaxation)
        cut = _share_cut_off(pulled, self._threshold)
        rest.sub_(pulled).addcmul_(pulled, cut, value=2.0)
        pulled.mul_(cut.mul_(self._relaxation).add_(1 - self._relaxation))
        self._kept[:, start:stop] = pulled.div_(self._threshold)

    def _advance_smooth(self, first: int, last: int, residual: Tensor, carried: Tensor) -> Tensor:
        """Update the split of ℰ w in some planes of the window and step w down there; return what the next plane gets.

        The next plane must keep its old value until its own split is updated.
        """
        size = self._smooth.shape[1]
        ahead = self._smooth[:, first : min(last + 1, size)]
        bend = _symmetrised_gradient(ahead, last - first, self._steps)
        pulled = self._bent[:, first:last].to(bend.dtype).mul_(self._bent_threshold)
        pulled.add_(bend, alpha=self._relaxation)
        cut = _share_cut_off(pulled, self._bent_threshold)
        bend.sub_(pulled).addcmul_(pulled, cut, value=2.0)
        pulled.mul_(cut.mul_(self._relaxation).add_(1 - self._relaxation))
        self._bent[:, first:last] = pulled.div_(self._bent_threshold)
        force = residual.new_zeros(3, last - first + 1, *residual.shape[2:])
        force[:, :-1].copy_(residual)
        force[:, 0].add_(carried)
        _subtract_adjoint(force, bend, self._bent_penalty, self._steps, last == size)
        self._smooth[:, first:last].add_(force[:, :-1], alpha=self._step)
        return force[:, -1].clone()


def _share_cut_off(parts: Tensor, threshold: float) -> Tensor:
    """Return by which share vectors `(part, z, y, x)` are shortened; `vector_norm` is slow along a first axis."""
    squared = parts[0].square()
    for part in parts[1:]:
        squared.addcmul_(part, part)
    return squared.sqrt_().clamp_min_(_TINY).reciprocal_().mul_(threshold).clamp_max_(1.0)


def _symmetrised_gradient(ahead: Tensor, count: int, steps: tuple[float, float, float]) -> Tensor:
    """Return ℰ of a vector field in its first planes `(6, z, y, x)`; mixed parts count twice and are scaled by √2.

    A difference that would need a voxel beyond the end is zero.
    """
    here = ahead[:, :count]
    slopes = []
    for axis, step in enumerate(steps):
        slope = torch.zeros_like(here)
        size = ahead.shape[axis + 1] - 1
        difference = ahead.narrow(axis + 1, 1, size) - ahead.narrow(axis + 1, 0, size)
        slope.narrow(axis + 1, 0, size).copy_(difference[:, : slope.shape[1]] if axis else difference).div_(step)
        slopes.append(slope)
    parts = [
        slopes[left][right] if left == right else (slopes[left][right] + slopes[right][left]).mul_(_HALF)
        for left, right in _PAIRS
    ]
    return torch.stack(parts)


def _subtract_adjoint(
    force: Tensor, bend: Tensor, factor: float, steps: tuple[float, float, float], is_end: bool
) -> None:
    """Subtract a multiple of ℰᵀ of some planes from a vector field that has one plane more."""
    for part, (left, right) in zip(bend, _PAIRS, strict=True):
        for axis, component in {(left, right), (right, left)}:
            scale = factor / steps[axis] * (1.0 if left == right else _HALF)
            target = force[component]
            count = part.shape[axis] - (1 if axis or is_end else 0)
            flow = part.narrow(axis, 0, count)
            inner = target if axis == 0 else target[:-1]
            inner.narrow(axis, 0, count).add_(flow, alpha=scale)
            inner.narrow(axis, 1, count).sub_(flow, alpha=scale)
