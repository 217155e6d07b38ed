"""Corrections of any start map by the measured field: DF-QSM's gradient steps, and DLL2's closed form."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import NotConverged
from pipeline.grid import Grid
from pipeline.method import OnIteration, setting
from pipeline.operators.dipole import AXES
from pipeline.solvers.conjugate_gradient import conjugate_gradient
from pipeline.susceptibility.dipole_inversion.learned.background import GREATEST_ORDER
from pipeline.susceptibility.dipole_inversion.learned.data_term import DataTerm, share_to_level

PAPER_STEPS = 8
PAPER_GRADIENT_PPM = 0.75
_GREATEST_RISE = 1.001


@dataclass(frozen=True)
class DfQsmSettings:
    """Settings of DF-QSM's gradient steps."""

    rule: str = setting("noise", "-", "stop at the field's noise, or as the paper does", choices=("noise", "paper"))
    step: float = setting(1.0, "1", "length of a step down the gradient", minimum=0.01, maximum=4.0)
    iterations: int = setting(50, "1", "steps at most; the paper's rule takes 8", minimum=1, maximum=10000)
    noise_level: float = setting(
        1.0, "1", "stop where the residual is this multiple of the noise", minimum=0.1, maximum=10.0
    )
    tolerance: float = setting(1e-3, "1", "stop where a step changes the map by less than this share", minimum=0.0)
    margin: int = setting(16, "voxel", "least padding around the mask", minimum=4, maximum=128)
    harmonic_order: int = setting(
        4, "1", "degree of the slow fields that the noise rule leaves out of account", minimum=0, maximum=GREATEST_ORDER
    )
    background_steps: int = setting(
        4, "1", "steps of the noise rule that find sources around the mask; 0 takes none out", minimum=0, maximum=100
    )
    is_robust: bool = setting(True, "-", "whether the noise rule looks for outliers and sources around the mask at all")


@dataclass(frozen=True)
class Dll2Settings:
    """Settings of DLL2."""

    regularisation: float = setting(
        0.05, "1", "how strongly the map is held at its start, against D²", minimum=1e-6, maximum=1e3
    )
    is_weighted: bool = setting(False, "-", "weigh voxels by their noise, by iteration; the closed form without")
    iterations: int = setting(50, "1", "steps at most where voxels are weighed", minimum=1, maximum=10000)
    tolerance: float = setting(1e-3, "1", "residual of the weighed equations at which they are solved", minimum=0.0)
    margin: int = setting(16, "voxel", "least padding around the mask", minimum=4, maximum=128)


def df_qsm(
    start: Tensor,
    local_field: Tensor,
    mask: Tensor,
    grid: Grid,
    settings: DfQsmSettings,
    field_noise: Tensor | None = None,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Step down the gradient of ‖W(D χ − f)‖² from a start map, until the field is explained up to its noise.

    By our rule W is one over the noise, and less for outliers; slow fields are left out of account, and so is what a
    few steps explain by sources around the mask, since background removal leaves such fields and a map that explains
    them is worse than its start. The last step is shortened so that the residual ends at the noise and never below: a
    map that already explains the field comes back as it is, and so does one that would explain the field as it was
    measured, with all that is left out, worse than its start.
    By the paper's rule every voxel counts alike, and there are eight steps, fewer where the norm of the gradient falls
    below 0.75 ppm. Unlike the published code, there are zeros around the mask, and nothing wraps around.

    Parameters
    ----------
    start
        A map by any method `(z, y, x)` [ppm].
    local_field
        Field without background `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`; the result is zero outside.
    grid
        The grid with the direction of B0.
    settings
        Rule and numbers.
    field_noise
        Standard deviation of the field `(z, y, x)` [ppm]; None assumes 2 ppb.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Susceptibility `(z, y, x)` [ppm].

    Raises
    ------
    UnusableInput
        Shapes disagree or the mask is empty.
    NotConverged
        The residual rises: the step is too long.

    Source: Paluru 2025 (DF-QSM), equation 12; stop at the noise and what is left out: ours, after Morozov 1966.
    """
    by_noise = settings.rule == "noise"
    term = DataTerm.of(
        local_field,
        mask,
        grid,
        field_noise,
        margin=settings.margin,
        is_weighted=by_noise,
        order=settings.harmonic_order if by_noise else None,
    )
    if not (by_noise and settings.is_robust):
        return stepped(start, term, settings, on_iteration)
    cleaned = term.cleaned(term.framed(start), settings.background_steps)
    found = stepped(start, cleaned, settings, on_iteration)
    return found if _misfit(term, found) <= _misfit(term, start) else start.masked_fill(~mask, 0.0)


def _misfit(term: DataTerm, susceptibility: Tensor) -> float:
    return float(term.residual(term.framed(susceptibility)).norm())


def stepped(start: Tensor, term: DataTerm, settings: DfQsmSettings, on_iteration: OnIteration | None = None) -> Tensor:
    """Step down the gradient of a data term as `df_qsm` does.

    Parameters
    ----------
    start
        A map by any method `(z, y, x)` [ppm].
    term
        What the map is to explain; for the rule "noise", cleaned of background and outliers where that is wanted.
    settings
        Rule, length and number of steps, and where they end.
    on_iteration
        Told the fraction done.

    Raises
    ------
    UnusableInput
        Shapes disagree.
    NotConverged
        The residual rises: the step is too long.
    """
    by_noise = settings.rule == "noise"
    current = term.framed(start)
    residual = term.residual(current)
    level = settings.noise_level * term.expected if by_noise else 0.0
    n_steps = settings.iterations if by_noise else PAPER_STEPS
    for number in range(n_steps):
        if float(residual.norm()) <= level:
            break
        slope = term.slope(residual)
        if not by_noise and float(slope.norm()) < PAPER_GRADIENT_PPM:
            break
        change = slope.mul_(-settings.step)
        improved = term.residual(current + change)
        _refuse_rise(residual, improved)
        share = share_to_level(residual, improved, level)
        current = current.add_(change, alpha=share)
        if on_iteration is not None:
            on_iteration((number + 1) / n_steps)
        moved = share * float(change.norm())
        if share < 1.0 or (by_noise and moved <= settings.tolerance * float(current.norm())):
            break
        residual = improved
    if on_iteration is not None:
        on_iteration(1.0)
    return term.restored(current)


def _refuse_rise(before: Tensor, after: Tensor) -> None:
    # Written so that NaN is refused too.
    if not float(after.norm()) <= _GREATEST_RISE * float(before.norm()):
        raise NotConverged("DF-QSM diverged; choose a shorter step, and check the field, its noise and the start map.")


def dll2(
    start: Tensor,
    local_field: Tensor,
    mask: Tensor,
    grid: Grid,
    settings: Dll2Settings,
    field_noise: Tensor | None = None,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Return (D W² D + λ)⁻¹ (D W² f + λ χ₀), the map between a start map χ₀ and the measured field.

    Where every voxel counts alike, this is one division in k-space; the field outside the mask, which was not
    measured, is then that of the start map. Where voxels are weighed by their noise, W is zero outside the mask, and
    the equations are solved by conjugate gradients.

    Parameters
    ----------
    start
        A map by any method `(z, y, x)` [ppm].
    local_field
        Field without background `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`; the result is zero outside.
    grid
        The grid with the direction of B0.
    settings
        λ and weights.
    field_noise
        Standard deviation of the field `(z, y, x)` [ppm]; used where voxels are weighed.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Susceptibility `(z, y, x)` [ppm].

    Raises
    ------
    UnusableInput
        Shapes disagree or the mask is empty.
    NotConverged
        The field or the start map holds extreme values.

    Source: DLL2 as stated in Paluru 2025 (DF-QSM), equation 13.
    """
    term = DataTerm.of(local_field, mask, grid, field_noise, margin=settings.margin, is_weighted=settings.is_weighted)
    current = term.framed(start)
    residual = term.residual(current)
    if settings.is_weighted:
        corrected = current + _solved(term, residual, settings, on_iteration)
    else:
        kernel = term.dipole.kernel
        response = kernel / (kernel.square() + settings.regularisation)
        spectrum = torch.fft.rfftn(residual, dim=AXES).mul_(response)
        corrected = current - torch.fft.irfftn(spectrum, s=term.dipole.shape, dim=AXES)
    if on_iteration is not None:
        on_iteration(1.0)
    return term.restored(corrected.mul_(term.mask))


def _solved(term: DataTerm, residual: Tensor, settings: Dll2Settings, told: OnIteration | None) -> Tensor:
    """Return the correction that the weighed equations ask for, zero outside the mask."""
    right = term.slope(residual).neg_()

    def normal(framed: Tensor) -> Tensor:
        return term.slope(term.response(framed)).add_(framed, alpha=settings.regularisation)

    def count(done: int) -> None:
        if told is not None:
            told(done / settings.iterations)

    return conjugate_gradient(
        normal,
        right,
        torch.zeros_like(right),
        n_iterations=settings.iterations,
        tolerance=settings.tolerance * float(right.norm()),
        on_iteration=count,
        in_place=True,
    )
