"""Separate positive and negative susceptibility: the field tells their difference, the decay rate R2′ their sum."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import NotConverged, UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import AXES, dipole_kernel
from pipeline.operators.fourier import inverse_transform
from pipeline.operators.gradient import forward_difference, laplacian_spectrum
from pipeline.operators.padding import frame_around

_CONSTANT_TESLA = 3.0
_LARGEST_WEIGHT = 2.0


@dataclass(frozen=True)
class RelaxationSettings:
    """How the decay rate R2* becomes the sum of the positive and negative susceptibility."""

    relaxometric_constant: float = setting(
        137.0,
        "Hz/ppm",
        "R2′ of one ppm of either sign at 3 T; it grows in proportion to the field strength",
        minimum=1.0,
    )
    r2_rate: float = setting(
        13.0, "1/s", "R2 of the tissue, taken off R2* where no R2 map is given to leave R2′", minimum=0.0
    )


@dataclass(frozen=True)
class ChiSeparationSettings(RelaxationSettings):
    """Settings of the joint inversion."""

    relaxation_weight: float = setting(
        0.1, "1", "weight of R2′ / constant [ppm] against the field [ppm]", minimum=1e-4, maximum=100.0
    )
    regularisation: float = setting(
        1e-3, "ppm·mm", "weight of the total variation of each map against the squared errors", minimum=1e-8
    )
    edge_penalty: float = setting(30.0, "1/(ppm·mm)", "penalty of the split gradient, per regularisation", minimum=1.0)
    iterations: int = setting(100, "1", "alternating steps at most", minimum=1, maximum=1000)
    tolerance: float = setting(2e-3, "1", "stop where a step changes the maps by less than this share", minimum=0.0)
    margin: int = setting(4, "voxel", "least padding around the mask", minimum=4, maximum=128)


def total_strength(
    r2star: Tensor,
    mask: Tensor,
    b0_tesla: float | None,
    settings: RelaxationSettings,
    r2: Tensor | None = None,
) -> Tensor:
    """Return the sum of the sizes of positive and negative susceptibility that R2′ tells.

    Parameters
    ----------
    r2star
        R2* [1/s], `(z, y, x)`.
    mask
        Bool `(z, y, x)`; the result is zero outside.
    b0_tesla
        Field strength [T]; None stands for the 3 T for which the constant is given.
    settings
        The constant, and R2 where it is not measured.
    r2
        R2 [1/s], `(z, y, x)`.

    Returns
    -------
        |χ+| + |χ−| [ppm], `(z, y, x)`.

    Raises
    ------
    UnusableInput
        Shapes disagree.

    Source: Shin 2021, doi:10.1016/j.neuroimage.2021.118371.
    """
    if r2star.shape != mask.shape or (r2 is not None and r2.shape != mask.shape):
        raise UnusableInput(f"R2* {tuple(r2star.shape)}, R2 and the mask {tuple(mask.shape)} must lie on one grid.")
    constant = settings.relaxometric_constant * (b0_tesla or _CONSTANT_TESLA) / _CONSTANT_TESLA
    r2_prime = (r2star - (settings.r2_rate if r2 is None else r2)).clamp_min(0)
    return torch.where(mask, r2_prime / constant, 0)


def separate_voxelwise(susceptibility: Tensor, strength: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Solve χ = χ+ + χ− and |χ+| + |χ−| = strength in each voxel.

    Parameters
    ----------
    susceptibility
        Susceptibility [ppm], `(z, y, x)`, referenced so that zero is tissue without sources.
    strength
        Sum of the sizes [ppm], `(z, y, x)`; where it is less than |χ|, |χ| is taken.
    mask
        Bool `(z, y, x)`; the result is zero outside.

    Returns
    -------
        Positive susceptibility χ+ ≥ 0 and negative susceptibility χ− ≤ 0 [ppm], each `(z, y, x)`.

    Raises
    ------
    UnusableInput
        Shapes disagree.

    Source: Shin 2021, doi:10.1016/j.neuroimage.2021.118371.
    """
    if susceptibility.shape != mask.shape or strength.shape != mask.shape:
        raise UnusableInput(
            f"Susceptibility {tuple(susceptibility.shape)}, strength {tuple(strength.shape)} and mask "
            f"{tuple(mask.shape)} must lie on one grid."
        )
    strength = torch.maximum(strength, susceptibility.abs())
    return (
        torch.where(mask, (strength + susceptibility) / 2, 0),
        torch.where(mask, (susceptibility - strength) / 2, 0),
    )


def separate_jointly(
    local_field: Tensor,
    strength: Tensor,
    mask: Tensor,
    grid: Grid,
    settings: ChiSeparationSettings,
    field_noise: Tensor | None = None,
    on_iteration: OnIteration | None = None,
) -> tuple[Tensor, Tensor]:
    """Invert field and decay together for a positive and a negative map, each with sparse edges.

    With p = χ+ ≥ 0 and n = −χ− ≥ 0, minimise ½‖W(D(p − n) − f)‖² + ½β‖p + n − strength‖² + λ Σ(|∇p| + |∇n|) by the
    alternating direction method of multipliers. In p − n and p + n the steps are closed forms in k-space.

    Parameters
    ----------
    local_field
        Field without background [ppm], `(z, y, x)`.
    strength
        Sum of the sizes of both susceptibilities [ppm], `(z, y, x)`.
    mask
        Bool `(z, y, x)`; the result is zero outside.
    grid
        The grid with the direction of B0.
    settings
        Weights, penalty and stopping rule.
    field_noise
        Standard deviation of the field [ppm], `(z, y, x)`; None trusts every voxel of the mask alike.
    on_iteration
        Told the fraction done.

    Returns
    -------
        Positive susceptibility χ+ ≥ 0 and negative susceptibility χ− ≤ 0 [ppm], each `(z, y, x)`.

    Raises
    ------
    UnusableInput
        Shapes disagree or the mask is empty.
    NotConverged
        The maps became infinite.

    Source: Shin 2021, doi:10.1016/j.neuroimage.2021.118371; the splitting: Bilgic 2014, doi:10.1002/mrm.25029.
    """
    if local_field.shape != mask.shape or strength.shape != mask.shape:
        raise UnusableInput(
            f"Field {tuple(local_field.shape)}, strength {tuple(strength.shape)} and mask {tuple(mask.shape)} must "
            "lie on one grid."
        )
    frame = frame_around(mask, grid, settings.margin)
    box = frame.inner
    inside = mask[box]
    problem = _Splitting(
        torch.where(inside, local_field[box], 0),
        _precision(inside, None if field_noise is None else field_noise[box], local_field),
        torch.where(inside, strength[box], 0),
        frame.grid,
        settings,
    )
    if on_iteration is not None:
        on_iteration(0.0)
    for number in range(settings.iterations):
        change = problem.step()
        if not math.isfinite(change):
            raise NotConverged("The source separation diverged; check the mask, the field and R2* for extreme values.")
        done = change <= settings.tolerance or number + 1 == settings.iterations
        if on_iteration is not None:
            on_iteration(1.0 if done else (number + 1) / settings.iterations)
        if done:
            break
    positive, negative = torch.zeros_like(local_field), torch.zeros_like(local_field)
    positive[box] = torch.where(inside, problem.sides[0].kept(), 0)
    negative[box] = torch.where(inside, problem.sides[1].kept(), 0)
    return positive, negative.neg_()


def _precision(mask: Tensor, noise: Tensor | None, like: Tensor) -> Tensor:
    if noise is None:
        return mask.to(like.dtype)
    reference = noise[mask].median()
    return torch.where(mask, (reference / noise.clamp_min(1e-9)).clamp_max(_LARGEST_WEIGHT), 0.0).square_()


class _Side:
    """One of the two maps: its split from its sign and the split of its gradient, each with the multiplier.

    `shifted` holds the map plus the multiplier of its sign; the part above zero is the map that is kept, the part below
    is the new multiplier. `excess` holds the multipliers of the differences along each axis.
    """

    def __init__(self, like: Tensor) -> None:
        self.shifted = torch.zeros_like(like)
        # Half precision holds multipliers, which are no longer than the shrinkage, to three digits.
        kind = torch.float16 if like.dtype == torch.float32 else like.dtype
        self.excess = [torch.zeros_like(like.narrow(axis, 1, like.shape[axis] - 1), dtype=kind) for axis in range(3)]

    def kept(self) -> Tensor:
        """Return the non-negative map."""
        return self.shifted.clamp_min(0)

    def kept_sample(self) -> Tensor:
        """Return every eighth voxel of it, enough to tell how much it changes."""
        return self.shifted[::2, ::2, ::2].clamp_min(0)

    def split_edges(self, volume: Tensor, steps_mm: tuple[float, float, float], shrink: float) -> Tensor:
        """Shorten the gradient of a volume, and return the adjoint gradient of what the next round aims at."""
        length = torch.zeros_like(volume)
        for axis, (excess, step) in enumerate(zip(self.excess, steps_mm, strict=True)):
            pulled = forward_difference(volume, axis).div_(step).add_(excess)
            length.narrow(axis, 0, excess.shape[axis]).addcmul_(pulled, pulled)
        # What is cut off the gradient becomes the multiplier; the aim is what was kept less what was cut off.
        cut = length.sqrt_().clamp_min_(shrink).reciprocal_().mul_(shrink)
        total = torch.zeros_like(volume)
        for axis, (excess, step) in enumerate(zip(self.excess, steps_mm, strict=True)):
            size = excess.shape[axis]
            # Made once more rather than kept: three of them would take as many volumes.
            aim = forward_difference(volume, axis).div_(step).add_(excess)
            cut_off = aim * cut.narrow(axis, 0, size)
            excess.copy_(cut_off)
            aim.sub_(cut_off, alpha=2).div_(step)
            total.narrow(axis, 0, size).sub_(aim)
            total.narrow(axis, 1, size).add_(aim)
        return total

    def split_sign(self, volume: Tensor) -> Tensor:
        """Keep what is positive of a volume, and return what the next round aims at."""
        self.shifted.clamp_max_(0).add_(volume)
        return self.shifted.abs()


class _Splitting:
    """The state of the alternating rounds: two sides, the field that is seen, and the fixed operators.

    The maps lie on the box of the mask; only the transforms are padded to the grid.
    """

    def __init__(
        self, field: Tensor, precision: Tensor, strength: Tensor, grid: Grid, settings: ChiSeparationSettings
    ) -> None:
        self.grid, self.precision = grid, precision
        self.box = tuple(slice(length) for length in field.shape)
        self.weighted_field = precision * field
        self.shrink = 1 / settings.edge_penalty
        self.edge_weight = settings.regularisation * settings.edge_penalty
        self.sign_weight = settings.relaxation_weight
        self.relaxation = strength * settings.relaxation_weight
        self.kernel = dipole_kernel(grid, dtype=field.dtype, device=field.device)
        smooth = laplacian_spectrum(grid, field).mul_(self.edge_weight / 2).add_(self.sign_weight / 2)
        self.sum_inverse = (smooth + settings.relaxation_weight).reciprocal_()
        self.difference_inverse = smooth.addcmul_(self.kernel, self.kernel).reciprocal_()
        self.sides = (_Side(field), _Side(field))
        self.field_excess = torch.zeros_like(field)
        self.seen = self._spectrum(self.weighted_field / (precision + 1)).mul_(self.kernel)
        self.sum_aim, self.difference_aim = self.relaxation.clone(), torch.zeros_like(field)

    def step(self) -> float:
        """Do one round; return the relative change of the two maps."""
        total = self._volume(self._spectrum(self.sum_aim).mul_(self.sum_inverse))[self.box].clone()
        difference = self._invert_field()
        self.sum_aim.copy_(self.relaxation)
        self.difference_aim.zero_()
        change = size = 0.0
        for side, sign in zip(self.sides, (1.0, -1.0), strict=True):
            before = side.kept_sample()
            volume = torch.add(total, difference, alpha=sign).mul_(0.5)
            edges = side.split_edges(volume, self.grid.voxel_size_mm, self.shrink)
            aim = side.split_sign(volume).mul_(self.sign_weight / 2).add_(edges, alpha=self.edge_weight / 2)
            self.sum_aim += aim
            self.difference_aim.add_(aim, alpha=sign)
            after = side.kept_sample()
            size += float(after.square().sum())
            change += float(after.sub_(before).square_().sum())
        return math.sqrt(change / size) if size > 0 else (0.0 if change == 0 else math.inf)

    def _invert_field(self) -> Tensor:
        """Return the difference of the maps that the field and the last aims ask for; weigh the field that it makes."""
        spectrum = self._spectrum(self.difference_aim).add_(self.seen).mul_(self.difference_inverse)
        # Its memory serves the spectra that follow.
        del self.seen
        predicted = self._volume(spectrum * self.kernel)
        difference = self._volume(spectrum)[self.box].clone()
        # Outside the mask nothing is known of the field: what the maps make there is what is seen.
        shifted = predicted[self.box].add_(self.field_excess)
        seen = (self.weighted_field + shifted).div_(self.precision + 1)
        torch.sub(shifted, seen, out=self.field_excess)
        shifted.copy_(seen.sub_(self.field_excess))
        self.seen = self._spectrum(predicted).mul_(self.kernel)
        return difference

    def _spectrum(self, volume: Tensor) -> Tensor:
        return torch.fft.rfftn(volume, s=self.grid.shape, dim=AXES)

    def _volume(self, spectrum: Tensor) -> Tensor:
        return inverse_transform(spectrum, self.grid.shape)


def _run_jointly(
    artefacts: Mapping[str, Tensor], context: StepContext, settings: ChiSeparationSettings
) -> dict[str, Tensor]:
    mask = artefacts["mask"]
    strength = total_strength(artefacts["r2star"], mask, context.b0_tesla, settings, artefacts.get("r2"))
    positive, negative = separate_jointly(
        artefacts["local_field"],
        strength,
        mask,
        context.grid,
        settings,
        artefacts.get("field_noise"),
        context.on_iteration,
    )
    return {"paramagnetic": positive, "diamagnetic": negative}


def _run_voxelwise(
    artefacts: Mapping[str, Tensor], context: StepContext, settings: RelaxationSettings
) -> dict[str, Tensor]:
    mask = artefacts["mask"]
    strength = total_strength(artefacts["r2star"], mask, context.b0_tesla, settings, artefacts.get("r2"))
    positive, negative = separate_voxelwise(artefacts["susceptibility"], strength, mask)
    return {"paramagnetic": positive, "diamagnetic": negative}


_CITATION = "Shin 2021, doi:10.1016/j.neuroimage.2021.118371"

CHI_SEPARATION = Method(
    name="chi_separation",
    citation=_CITATION,
    run=_run_jointly,
    settings=ChiSeparationSettings,
    inputs=("local_field", "mask", "r2star"),
    outputs=("paramagnetic", "diamagnetic"),
    optional_inputs=("field_noise", "r2"),
    memory_volumes=16.0,
)

VOXELWISE = Method(
    name="voxelwise",
    citation=f"{_CITATION} (its two equations in each voxel of a given susceptibility map)",
    run=_run_voxelwise,
    settings=RelaxationSettings,
    inputs=("susceptibility", "mask", "r2star"),
    outputs=("paramagnetic", "diamagnetic"),
    optional_inputs=("r2",),
    memory_volumes=3.5,
)
