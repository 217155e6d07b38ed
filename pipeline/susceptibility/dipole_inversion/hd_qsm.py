"""HD-QSM: total variation whose data term is first the absolute error, which no outlier can bend, then the square."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import NotConverged, UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import dipole_kernel
from pipeline.operators.fourier import (
    forward_transform,
    inverse_transform,
    scale_spectrum,
    transform_over,
    volume_with_room,
)
from pipeline.operators.padding import Frame, frame_around
from pipeline.susceptibility.dipole_inversion.spectral_least_squares import laplacian_spectrum

_LARGEST_WEIGHT = 2.0
# Slices worked on together, so that what one shrink step touches stays in the processor's cache.
_SLAB = 2


@dataclass(frozen=True)
class HdQsmSettings:
    """Settings of HD-QSM. Those of the first stage follow from these by square roots, as its authors recommend."""

    regularisation: float = setting(
        2e-4, "ppm·mm", "weight of the total variation against the squared field error", minimum=1e-8
    )
    edge_penalty: float = setting(100.0, "1/(ppm·mm)", "penalty of the split gradient, per regularisation", minimum=1.0)
    absolute_iterations: int = setting(10, "1", "steps with the absolute error", minimum=1, maximum=1000)
    iterations: int = setting(40, "1", "steps with the squared error at most", minimum=1, maximum=1000)
    tolerance: float = setting(5e-3, "1", "stop where a step changes the map by less than this share", minimum=0.0)
    margin: int = setting(8, "voxel", "least padding around the mask", minimum=4, maximum=128)


def hybrid_data_fidelity(
    local_field: Tensor,
    mask: Tensor,
    grid: Grid,
    settings: HdQsmSettings,
    field_noise: Tensor | None = None,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Minimise κ‖W(D χ − f)‖₁ + λ Σ |∇χ| for a while, then ½‖V(D χ − f)‖² + λ Σ |∇χ| from there.

    W is one over the field's noise (one at its median), V is W reduced where the first stage explains the field badly.
    κ is the median of the absolute error that is met on the way, so that both data terms pull alike.

    Parameters
    ----------
    local_field
        Field without background `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`; the result is zero outside.
    grid
        The grid with the direction of B0.
    settings
        Weight, penalty, numbers of steps and stopping rule.
    field_noise
        Standard deviation of the field `(z, y, x)` [ppm]; None trusts every voxel of the mask alike.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Susceptibility `(z, y, x)` [ppm], up to a constant.

    Raises
    ------
    UnusableInput
        Shapes disagree or the mask is empty.
    NotConverged
        The field holds extreme values.

    Source: Lambert 2022, doi:10.1002/mrm.29218; alternation: Milovic 2018, doi:10.1002/mrm.27073.
    """
    if local_field.shape != mask.shape:
        raise UnusableInput(f"The field has shape {tuple(local_field.shape)} but the mask {tuple(mask.shape)}.")
    frame = frame_around(mask, grid, settings.margin)
    # Beyond the mask's window nothing is known, and the alternation's own field is what is wanted there.
    field = torch.where(mask[frame.inner], local_field[frame.inner], 0.0)
    weight = _weights(mask, field_noise, local_field)[frame.inner].clone()
    solver = _Alternation(frame, field, settings)
    solver.absolute_stage(field, weight, on_iteration)
    discrepancy = solver.field()[frame.window].sub_(field).abs_().mul_(weight > 0)
    largest = float(discrepancy.max())
    if not largest < float("inf"):
        raise NotConverged("HD-QSM diverged; the field or its noise holds extreme values. Check the mask.")
    weight *= 1 - discrepancy.div_(max(largest, 1e-12))
    del discrepancy
    solver.squared_stage(field, weight.square_(), on_iteration)
    susceptibility = solver.susceptibility
    del solver, field, weight
    return frame.restore(susceptibility).masked_fill_(~mask, 0.0)


class _Alternation:
    """The alternating direction method on one frame; both stages share the split gradient and its multiplier."""

    def __init__(self, frame: Frame, like: Tensor, settings: HdQsmSettings) -> None:
        self.grid, self.window, self.settings = frame.grid, frame.window, settings
        grid = frame.grid
        self.kernel = dipole_kernel(grid, dtype=like.dtype, device=like.device)
        self.penalty = settings.regularisation * settings.edge_penalty
        self.inverse = laplacian_spectrum(grid, like).mul_(self.penalty).add_(self.kernel.square()).reciprocal_()
        # Neither edges nor field see the constant; it is left at zero.
        self.inverse[0, 0, 0] = 0.0
        self.susceptibility = like.new_zeros(grid.shape)
        self.edge_dual = like.new_zeros(3, *grid.shape)
        self.edges = volume_with_room(grid.shape, like).zero_()
        self.total = settings.absolute_iterations + settings.iterations

    def field(self) -> Tensor:
        """Return the field of the present map, with room for its spectrum."""
        spectrum = scale_spectrum(forward_transform(self.susceptibility), self.kernel)
        return inverse_transform(spectrum, self.grid.shape)

    def absolute_stage(self, field: Tensor, weight: Tensor, told: OnIteration | None) -> None:
        """Alternate with the absolute error: its step shrinks the residual towards zero."""
        wanted, dual = volume_with_room(self.grid.shape, field).zero_(), torch.zeros_like(field)
        wanted[self.window] = field
        for number in range(self.settings.absolute_iterations):
            wanted = self._update_map(wanted)
            shifted = wanted[self.window].add_(dual).sub_(field)
            if number == 0:
                # Plane by plane: the places of a whole volume, as three long indices each, take more than the volume.
                known = [plane[trusted > 0] for plane, trusted in zip(shifted, weight, strict=True)]
                level = float(torch.cat(known).abs_().median())
                del known
                limit = weight * level
            torch.minimum(shifted, limit, out=dual)
            torch.maximum(dual, -limit, out=dual)
            shifted.sub_(dual, alpha=2).add_(field)
            if told is not None:
                told((number + 1) / self.total)

    def squared_stage(self, field: Tensor, precision: Tensor, told: OnIteration | None) -> None:
        """Alternate with the squared error, whose step is a weighted mean, until the map stands still.

        The field and its precision are overwritten.
        """
        share = precision.add_(1.0).reciprocal_()
        known = field.mul_(1 - share)
        wanted, dual = self.field(), torch.zeros_like(field)
        wanted[self.window].mul_(share).add_(known)
        for number in range(self.settings.iterations):
            previous = self.susceptibility[::2, ::2, ::2].clone()
            wanted = self._update_map(wanted)
            shifted = wanted[self.window].add_(dual)
            torch.addcmul(known, share, shifted, out=dual)
            # Now the dual holds what lies between prediction and data: it is to become their difference.
            dual.sub_(shifted).neg_()
            shifted.sub_(dual, alpha=2)
            if told is not None:
                told((self.settings.absolute_iterations + number + 1) / self.total)
            # Every eighth voxel tells well enough whether the map still moves.
            sample = self.susceptibility[::2, ::2, ::2]
            if float(previous.sub_(sample).norm()) <= self.settings.tolerance * float(sample.norm()):
                break
        if told is not None:
            told(1.0)

    def _update_map(self, wanted: Tensor) -> Tensor:
        """Find the map nearest to the wanted field and edges, shrink its edges, and return its field.

        The wanted field is overwritten; it and what is returned have room for their spectra.
        """
        del self.susceptibility
        spectrum, field = transform_over(self.edges), scale_spectrum(transform_over(wanted), self.kernel)
        field.add_(spectrum, alpha=self.penalty)
        spectrum.copy_(scale_spectrum(field, self.inverse))
        field = inverse_transform(scale_spectrum(field, self.kernel), self.grid.shape)
        self.susceptibility = inverse_transform(spectrum, self.grid.shape)
        self.edges = volume_with_room(self.grid.shape, field).zero_()
        slab = _SLAB if self.edges.device.type == "cpu" else self.grid.shape[0]
        for first in range(0, self.grid.shape[0], slab):
            self._shrink(first, min(first + slab, self.grid.shape[0]))
        return field

    def _shrink(self, first: int, last: int) -> None:
        """Shrink the gradients of some slices; leave the multiplier, and what the next map's divergence should be."""
        steps = self.grid.voxel_size_mm
        dual = self.edge_dual[:, first:last]
        for axis, step in enumerate(steps):
            _add_difference(dual[axis], self.susceptibility, axis, first, last, 1 / step)
        limit = 1 / self.settings.edge_penalty
        length = dual[0].square().addcmul_(dual[1], dual[1]).addcmul_(dual[2], dual[2]).sqrt_()
        factor = length.clamp_min_(limit).reciprocal_().mul_(limit)
        flow = dual * (1 - 2 * factor)
        dual *= factor
        for axis, step in enumerate(steps):
            _add_adjoint(self.edges, flow[axis], axis, first, last, 1 / step)


def _add_difference(target: Tensor, volume: Tensor, axis: int, first: int, last: int, factor: float) -> None:
    """Add the periodic forward difference of some slices of a volume."""
    target.sub_(volume[first:last], alpha=factor)
    if axis == 0:
        following = min(last + 1, volume.shape[0])
        target[: following - first - 1].add_(volume[first + 1 : following], alpha=factor)
        if last == volume.shape[0]:
            target[-1].add_(volume[0], alpha=factor)
        return
    size, block = volume.shape[axis] - 1, volume[first:last]
    target.narrow(axis, 0, size).add_(block.narrow(axis, 1, size), alpha=factor)
    target.select(axis, size).add_(block.select(axis, 0), alpha=factor)


def _add_adjoint(target: Tensor, flow: Tensor, axis: int, first: int, last: int, factor: float) -> None:
    """Add the adjoint of `_add_difference` of some slices to a whole volume."""
    block = target[first:last]
    block.sub_(flow, alpha=factor)
    if axis == 0:
        following = min(last + 1, target.shape[0])
        target[first + 1 : following].add_(flow[: following - first - 1], alpha=factor)
        if last == target.shape[0]:
            target[0].add_(flow[-1], alpha=factor)
        return
    size = target.shape[axis] - 1
    block.narrow(axis, 1, size).add_(flow.narrow(axis, 0, size), alpha=factor)
    block.select(axis, 0).add_(flow.select(axis, size), alpha=factor)


def _weights(mask: Tensor, noise: Tensor | None, like: Tensor) -> Tensor:
    if noise is None:
        return mask.to(like.dtype)
    reference = noise[mask].median()
    return torch.where(mask, (reference / noise.clamp_min(1e-9)).clamp_max(_LARGEST_WEIGHT), 0.0)


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: HdQsmSettings) -> dict[str, Tensor]:
    susceptibility = hybrid_data_fidelity(
        artefacts["local_field"],
        artefacts["mask"],
        context.grid,
        settings,
        artefacts.get("field_noise"),
        context.on_iteration,
    )
    return {"susceptibility": susceptibility}


HD_QSM = Method(
    name="hd_qsm",
    citation="Lambert 2022, doi:10.1002/mrm.29218",
    run=_run,
    settings=HdQsmSettings,
    inputs=("local_field", "mask"),
    outputs=("susceptibility",),
    optional_inputs=("field_noise",),
    memory_volumes=11.0,
)
