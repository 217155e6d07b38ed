"""Remove the phase that alternates between odd and even echoes when the readout gradient alternates."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, NoSettings, OnIteration, StepContext, setting
from pipeline.susceptibility.coarse_grid import CoarseGrid
from pipeline.susceptibility.phase_offset_removal import collect_signal, signal_mask, subtract_phase
from pipeline.susceptibility.phase_unwrapping import romeo

_AXES = {"any": (0, 1, 2), "z": (0,), "y": (1,), "x": (2,)}
_BLOCK_MM = 2.0
_SIGNAL_FRACTION = 0.05
# Neighbouring blocks share their deviations, so errors are counted per cube of this size.
_CLUSTER_MM = 16.0
_EQUAL_WITHIN = 0.01
_LARGEST_TURN = 2


@dataclass(frozen=True)
class LinearSettings:
    """Choices of the linear correction."""

    readout_axis: str = setting(
        "any", "1", "array axis of the readout, along which the phase may rise", choices=tuple(_AXES)
    )
    apply: str = setting(
        "if_significant",
        "1",
        "whether a phase within its own error is removed too",
        choices=("if_significant", "always"),
    )
    least_phase_rad: float = setting(
        0.03, "rad", "a smaller root mean square between odd and even echoes is left alone", minimum=0.0, maximum=3.0
    )
    least_errors: float = setting(
        5.0, "1", "a phase of fewer standard errors is left alone", minimum=0.0, maximum=100.0
    )
    rounds: int = setting(8, "1", "most rounds of the fit", minimum=1, maximum=50)


@dataclass(frozen=True)
class OddEvenPhase:
    """The phase of odd less that of even echoes: a constant [rad] at a centre [mm] and a slope [rad/mm] `(z, y, x)`.

    `root_mean_square` [rad] is over the signal; `errors` is how many standard errors the whole phase is away from zero.
    """

    constant: float
    slope: tuple[float, float, float]
    centre_mm: tuple[float, float, float]
    root_mean_square: float
    errors: float

    def on(self, grid: Grid, like: Tensor) -> Tensor:
        """Return the phase [rad] on a grid `(z, y, x)`, in the precision and on the device of a tensor."""
        volume = torch.full(grid.shape, self.constant, dtype=like.dtype, device=like.device)
        for places, slope, centre in zip(_places_mm(grid, like), self.slope, self.centre_mm, strict=True):
            volume += slope * (places - centre)
        return volume


def linear(
    phase: Tensor,
    magnitude: Tensor,
    echo_times_s: Sequence[float],
    grid: Grid,
    settings: LinearSettings | None = None,
    mask: Tensor | None = None,
    on_iteration: OnIteration | None = None,
) -> tuple[Tensor, OddEvenPhase]:
    """Estimate a phase that is linear in space and alternates from echo to echo, and take it from every echo.

    Parameters
    ----------
    phase
        Wrapped phase [rad], `(echo, z, y, x)`; three echoes or more.
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)`.
    echo_times_s
        Echo times [s], any spacing.
    grid
        The grid of the images.
    settings
        Readout axis, and when to apply.
    mask
        Voxels that are used, bool `(z, y, x)`; from the magnitude where None.
    on_iteration
        Told the fraction done.

    Returns
    -------
        Wrapped phase [rad] `(echo, z, y, x)`, the very input where the phase found is not significant; and the phase
        found.

    Raises
    ------
    UnusableInput
        Where there are fewer than three echoes, shapes disagree or no voxel has signal.

    Notes
    -----
    In three echoes in a row the offset and the field cancel and the alternating part is left; with equal spacing this
    needs whole multiples of the phases only, so nothing is unwrapped. Its constant is then known up to half a turn,
    which is the same as a constant field and does not reach the susceptibility. With unequal spacing the difference of
    the outer echoes is unwrapped. The plane is fitted to complex values, so the phase may wrap across the head.

    References
    ----------
    Li 2015, doi:10.1007/s10334-014-0470-3.
    """
    settings = settings or LinearSettings()
    if len(echo_times_s) < 3:
        raise UnusableInput(
            f"The bipolar correction needs three echoes or more to tell the readout from the field; there are "
            f"{len(echo_times_s)}. Choose bipolar correction `none`."
        )
    if phase.shape != magnitude.shape or tuple(phase.shape) != (len(echo_times_s), *grid.shape):
        raise UnusableInput(
            f"Phase {tuple(phase.shape)} and magnitude {tuple(magnitude.shape)} must both be "
            f"{(len(echo_times_s), *grid.shape)}."
        )
    tell = on_iteration or _tell_nobody
    coarse = CoarseGrid.of(grid, _BLOCK_MM)
    signal, multiple = _alternating_signal(phase, magnitude, echo_times_s, coarse, mask, tell)
    found = _fit_plane(signal, multiple, coarse.grid, _AXES[settings.readout_axis], settings.rounds)
    tell(1.0)
    is_significant = found.root_mean_square >= settings.least_phase_rad and found.errors >= settings.least_errors
    if settings.apply == "if_significant" and not is_significant:
        return phase, found
    half = found.on(grid, phase).mul_(0.5)
    corrected = torch.empty_like(phase)
    corrected[::2] = subtract_phase(phase[::2], half)
    corrected[1::2] = subtract_phase(phase[1::2], half.neg_())
    return corrected, found


def _tell_nobody(fraction: float) -> None:
    """Stand in where nobody listens to the progress."""


def _places_mm(grid: Grid, like: Tensor) -> list[Tensor]:
    """Return the places of the voxels [mm] along each axis, from the border of the volume, ready to broadcast."""
    places = []
    for axis, (length, size) in enumerate(zip(grid.shape, grid.voxel_size_mm, strict=True)):
        shape = [1, 1, 1]
        shape[axis] = -1
        places.append(((torch.arange(length, dtype=like.dtype, device=like.device) + 0.5) * size).reshape(shape))
    return places


def _alternating_signal(
    phase: Tensor,
    magnitude: Tensor,
    echo_times_s: Sequence[float],
    coarse: CoarseGrid,
    mask: Tensor | None,
    tell: OnIteration,
) -> tuple[Tensor, int]:
    """Return complex values `(z, y, x)` whose phase is a multiple of the phase of odd less even echoes, and which."""
    times = echo_times_s
    spacings = [later - earlier for earlier, later in itertools.pairwise(times)]
    is_equal = max(spacings) - min(spacings) < _EQUAL_WITHIN * min(spacings)
    total: Tensor | None = None
    for first in range(len(times) - 2):
        tell(0.8 * first / (len(times) - 2))
        near = _pair(phase, magnitude, first, first + 1, coarse, mask)
        far = _pair(phase, magnitude, first, first + 2, coarse, mask)
        strength = near.abs().clamp_min_(1e-30).reciprocal_().mul_(4)
        strength.add_(far.abs().clamp_min_(1e-30).reciprocal_()).reciprocal_()
        share = (times[first + 1] - times[first]) / (times[first + 2] - times[first])
        if is_equal:
            angle = far.angle().sub_(near.angle(), alpha=2)
        else:
            inside = signal_mask(far.abs().sqrt(), _SIGNAL_FRACTION)
            angle = share * romeo.unwrap(far.angle()[None], far.abs().sqrt()[None], inside, (1.0,))[0] - near.angle()
            strength = strength * inside
        del near, far
        signal = torch.polar(strength, angle if first % 2 == 0 else -angle)
        del strength, angle
        total = signal if total is None else total + _nearest_turn(signal, total, 0.0 if is_equal else share)
    assert total is not None
    return total * signal_mask(total.abs().sqrt(), _SIGNAL_FRACTION), 2 if is_equal else 1


def _pair(phase: Tensor, magnitude: Tensor, first: int, second: int, coarse: CoarseGrid, mask: Tensor | None) -> Tensor:
    """Return one echo times the conjugate of another on the coarse grid, complex `(z, y, x)`."""
    amplitude = magnitude[first] * magnitude[second]
    if mask is not None:
        amplitude *= mask
    return torch.complex(*collect_signal(coarse, amplitude, phase[second] - phase[first]))


def _nearest_turn(signal: Tensor, guide: Tensor, share: float) -> Tensor:
    """Undo a whole turn of the unwrapped difference, of which a share is in the signal, by comparison with a guide."""
    agreement = torch.vdot(guide.flatten(), signal.flatten())
    turns = [2 * math.pi * share * turn for turn in range(-_LARGEST_TURN, _LARGEST_TURN + 1)]
    best = max(turns, key=lambda turn: float(agreement.real) * math.cos(turn) - float(agreement.imag) * math.sin(turn))
    return signal * complex(math.cos(best), math.sin(best))


def _fit_plane(signal: Tensor, multiple: int, grid: Grid, axes: tuple[int, ...], rounds: int) -> OddEvenPhase:
    """Fit a plane to the phase of complex values `(z, y, x)`, robust to whole turns across the volume."""
    places = _places_mm(grid, signal.real)
    weight = signal.abs()
    weight = weight / weight.sum()
    centre = [float((weight * place).sum()) for place in places]
    # Voxels without signal say nothing; without them the fit takes half the memory.
    kept = weight > 0
    design = weight.new_ones(1 + len(axes), int(kept.sum()))
    for column, axis in zip(design[1:], axes, strict=True):
        column.copy_(torch.masked_select(places[axis] - centre[axis], kept))
    flat, weight = torch.masked_select(signal, kept), torch.masked_select(weight, kept)
    plane = design.new_zeros(len(design))
    for index, axis in enumerate(axes):
        size = grid.shape[axis] - 1
        step = (signal.narrow(axis, 1, size) * signal.narrow(axis, 0, size).conj()).sum()
        plane[1 + index] = step.angle() / grid.voxel_size_mm[axis]
    plane[0] = (flat * torch.polar(torch.ones_like(weight), -(plane @ design))).sum().angle()
    for _ in range(rounds):
        residual = (flat * torch.polar(torch.ones_like(weight), -(plane @ design))).angle()
        trust = weight * (residual.abs() < math.pi / 2)
        normal = (design * trust) @ design.T
        change = torch.linalg.solve(normal, design @ (trust * residual))
        plane = plane + change
        if float((change @ normal @ change).clamp_min(0).sqrt()) < 1e-5:
            break
    errors = _standard_errors(plane, design, trust, residual, _clusters(grid, signal)[kept.flatten()])
    slope = [0.0, 0.0, 0.0]
    for index, axis in enumerate(axes):
        slope[axis] = float(plane[1 + index]) / multiple
    plane[0] = torch.remainder(plane[0] + math.pi, 2 * math.pi) - math.pi
    root = float((weight * (plane @ design).square()).sum().sqrt()) / multiple
    return OddEvenPhase(
        float(plane[0]) / multiple, (slope[0], slope[1], slope[2]), (centre[0], centre[1], centre[2]), root, errors
    )


def _clusters(grid: Grid, like: Tensor) -> Tensor:
    """Return for each voxel the number of the cube in which it lies, `(voxel,)`."""
    number = torch.zeros(grid.shape, dtype=torch.int64, device=like.device)
    for place in _places_mm(grid, like.real):
        cube = (place / _CLUSTER_MM).long()
        number = number * (int(cube.max()) + 1) + cube
    return number.flatten()


def _standard_errors(plane: Tensor, design: Tensor, trust: Tensor, residual: Tensor, clusters: Tensor) -> float:
    """Return by how many standard errors the plane differs from zero (Wald's statistic with clustered errors)."""
    scores = design.new_zeros(int(clusters.max()) + 1, design.shape[0])
    scores.index_add_(0, clusters, (design * (trust * residual)).T)
    inverse = torch.linalg.inv((design * trust) @ design.T)
    covariance = (inverse @ (scores.T @ scores) @ inverse).double()
    scale = covariance.diagonal().sqrt().clamp_min(1e-12)
    correlation = covariance / (scale[:, None] * scale) + 1e-6 * torch.eye(
        len(scale), dtype=scale.dtype, device=scale.device
    )
    standard = plane.double() / scale
    return float((standard @ torch.linalg.solve(correlation, standard)).clamp_min(0).sqrt())


def run_linear(inputs: Mapping[str, Tensor], context: StepContext, settings: LinearSettings) -> dict[str, Tensor]:
    """Correct the step's phase; see `linear`."""
    corrected, _ = linear(
        inputs["phase"],
        inputs["magnitude"],
        context.echo_times_s,
        context.grid,
        settings,
        inputs.get("mask"),
        context.on_iteration,
    )
    return {"phase": corrected}


def run_none(inputs: Mapping[str, Tensor], context: StepContext, settings: NoSettings) -> dict[str, Tensor]:
    """Return the step's phase as it is: all echoes were read in one direction."""
    return {"phase": inputs["phase"]}


LINEAR = Method(
    name="linear",
    citation="linear odd-even phase, Li 2015, doi:10.1007/s10334-014-0470-3",
    run=run_linear,
    settings=LinearSettings,
    inputs=("phase", "magnitude"),
    optional_inputs=("mask",),
    outputs=("phase",),
    memory_volumes=8.5,
)

NONE = Method(
    name="none",
    citation="the phase as it is; for echoes that were all read in one direction",
    run=run_none,
    settings=NoSettings,
    inputs=("phase",),
    outputs=("phase",),
    memory_volumes=0.5,
)
