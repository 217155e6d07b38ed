"""MEDI: nonlinear dipole inversion whose edges may lie only where the magnitude has them; MEDI+0 sets CSF to zero."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import NotConverged, UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.fourier import forward_transform, scale_spectrum
from pipeline.operators.gradient import gradient_length
from pipeline.operators.padding import Frame, frame_around
from pipeline.susceptibility.dipole_inversion.cerebrospinal_fluid import cerebrospinal_fluid
from pipeline.susceptibility.dipole_inversion.gradient_penalty import add_gradient_penalty
from pipeline.susceptibility.dipole_inversion.spectral_least_squares import SpectralDipole, least_squares
from pipeline.susceptibility.relaxometry import log_linear

_LARGEST_WEIGHT = 2.0


@dataclass(frozen=True)
class MediSettings:
    """Settings of MEDI."""

    regularisation: float = setting(
        2e-4, "ppm·mm", "weight of the penalised gradients against the squared field error", minimum=1e-8
    )
    edge_fraction: float = setting(
        0.3, "1", "share of the strongest gradients of the magnitude that are not penalised", minimum=0.0, maximum=0.9
    )
    radians_per_ppm: float = setting(
        6.4, "rad/ppm", "phase of one ppm in the nonlinear data term; 6.4 is 8 ms at 3 T", minimum=0.01, maximum=100.0
    )
    smoothing: float = setting(1e-3, "ppm/mm", "gradients below this are treated as noise", minimum=1e-6)
    outlier: float = setting(
        6.0, "1", "weighted residuals beyond this many standard deviations lose weight", minimum=1.0
    )
    rounds: int = setting(6, "1", "Gauss-Newton steps at most", minimum=1, maximum=100)
    inner_iterations: int = setting(12, "1", "conjugate gradient steps in each of them", minimum=1, maximum=1000)
    tolerance: float = setting(0.02, "1", "stop where a step changes the map by less than this share", minimum=0.0)
    margin: int = setting(8, "voxel", "least padding around the mask", minimum=4, maximum=128)


@dataclass(frozen=True)
class MediZeroSettings(MediSettings):
    """Settings of MEDI+0."""

    csf_weight: float = setting(
        0.1, "1", "weight of the variation inside CSF against the squared field error", minimum=0.0
    )
    csf_largest_r2star: float = setting(5.0, "1/s", "CSF decays more slowly than this", minimum=0.1, maximum=100.0)


@dataclass(frozen=True)
class _Measured:
    """The inputs `(z, y, x)`, framed again for every round, so that none is held in the frame while one is solved."""

    frame: Frame
    local_field: Tensor
    mask: Tensor
    noise: Tensor

    def field(self) -> Tensor:
        return self.frame.embed(torch.where(self.mask, self.local_field, 0.0))

    def precision(self) -> Tensor:
        reference = self.noise[self.mask].median()
        weights = torch.where(self.mask, (reference / self.noise.clamp_min(1e-9)).clamp_max(_LARGEST_WEIGHT), 0.0)
        return self.frame.embed(weights.square_())


def morphology_enabled_inversion(
    local_field: Tensor,
    mask: Tensor,
    magnitude: Tensor,
    field_noise: Tensor,
    grid: Grid,
    settings: MediSettings,
    csf: Tensor | None = None,
    csf_weight: float = 0.0,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Minimise ½‖W(exp(i s D χ) − exp(i s f))‖²/s² + λ Σ |M_G ∇χ| + ½ c ‖χ − its mean‖² over CSF.

    Parameters
    ----------
    local_field
        Field without background `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`; the result is zero outside.
    magnitude
        Echo images `(echo, z, y, x)`, or one image `(z, y, x)` [arbitrary]: their edges are spared by the penalty.
    field_noise
        Standard deviation of the field `(z, y, x)` [ppm].
    grid
        The grid with the direction of B0.
    settings
        Weights and stopping rule.
    csf
        Bool `(z, y, x)`: where the map should be uniform; its mean becomes zero. None asks for neither.
    csf_weight
        Weight c of that wish [1].
    on_iteration
        Told the fraction done.

    Returns
    -------
    Susceptibility `(z, y, x)` [ppm]; up to a constant without CSF, relative to CSF with it.

    Raises
    ------
    UnusableInput
        Shapes disagree or the mask is empty.
    NotConverged
        The field holds extreme values.

    Source: Liu 2012, doi:10.1016/j.neuroimage.2011.08.082; nonlinear data term and outliers: Liu 2013,
    doi:10.1002/mrm.24272; MEDI+0: Liu 2018, doi:10.1002/mrm.26946.
    """
    for name, volume in (("local field", local_field), ("field noise", field_noise), ("magnitude", magnitude)):
        if volume.shape[-3:] != mask.shape:
            raise UnusableInput(f"The {name} has shape {tuple(volume.shape)} but the mask {tuple(mask.shape)}.")
    frame = frame_around(mask, grid, settings.margin)
    smooth = ~frame.embed(_edges(_one_image(magnitude, mask), mask, grid, settings.edge_fraction))
    measured = _Measured(frame, local_field, mask, field_noise)
    dipole = SpectralDipole.on(frame.grid, local_field)
    fluid = None if csf is None else frame.embed(csf & mask)
    solution = _gauss_newton(dipole, measured, smooth, fluid, csf_weight, settings, on_iteration)
    susceptibility = frame.restore(solution)
    if csf is not None:
        susceptibility = susceptibility - susceptibility[csf & mask].mean()
    return susceptibility * mask


def _gauss_newton(
    dipole: SpectralDipole,
    measured: _Measured,
    smooth: Tensor,
    fluid: Tensor | None,
    fluid_weight: float,
    settings: MediSettings,
    told: OnIteration | None,
) -> Tensor:
    """Solve linearised problems, each with gradient weights and outlier weights from the last map."""
    kernel = dipole.kernel
    spectrum = torch.zeros_like(kernel, dtype=torch.promote_types(kernel.dtype, torch.complex64))
    before = spectrum.new_zeros(())
    for number in range(settings.rounds):
        image = dipole.image(spectrum.clone())
        strength = _penalty_strength(image, smooth, dipole.grid, settings, number == 0)
        del image
        level = settings.regularisation / settings.smoothing if number == 0 else max(float(strength.mean()), 1e-9)
        explained = dipole.image(scale_spectrum(spectrum.clone(), kernel))
        target, trusted = _linearised(explained, measured, settings, number == 0)
        del explained
        spectrum = least_squares(
            dipole,
            target,
            trusted,
            _prior(strength, dipole.grid, fluid, fluid_weight),
            (dipole.frequency_squared * level).clamp_min_(1e-9),
            spectrum,
            settings.inner_iterations,
            1e-2,
            _part(told, number, settings.rounds),
        )
        del target, trusted, strength
        # Half the resolution tells well enough whether the map still moves.
        sample = _half_resolution(spectrum)
        change, size = float((sample - before).abs().norm()), float(sample.abs().norm())
        before = sample
        if not size < float("inf"):
            raise NotConverged("MEDI diverged; the field or its noise holds extreme values. Check the mask.")
        if change <= settings.tolerance * size:
            break
    if told is not None:
        told(1.0)
    return dipole.image(spectrum)


def _linearised(
    explained: Tensor, measured: _Measured, settings: MediSettings, is_first: bool
) -> tuple[Tensor, Tensor]:
    """Return the half spectrum of the weighted field that the next map is to explain, and the weights W²."""
    scale = settings.radians_per_ppm
    residual = measured.field().sub_(explained).mul_(scale).sin_().div_(scale)
    precision = measured.precision()
    if not is_first:
        precision *= _trust(residual, precision, settings.outlier)
    return forward_transform(residual.add_(explained).mul_(precision)), precision


def _half_resolution(spectrum: Tensor) -> Tensor:
    """Return the low frequencies of a half spectrum, positive and negative."""
    z, y, x = (size // 4 for size in (spectrum.shape[0], spectrum.shape[1], 2 * spectrum.shape[2]))
    return torch.cat((spectrum[:z, :y, :x], spectrum[:z, -y:, :x], spectrum[-z:, :y, :x], spectrum[-z:, -y:, :x]), 1)


def _prior(strength: Tensor, grid: Grid, fluid: Tensor | None, fluid_weight: float) -> Callable[[Tensor], Tensor]:
    """Return the operator of the quadratic penalties on an image."""

    def apply(image: Tensor) -> Tensor:
        result = torch.zeros_like(image)
        add_gradient_penalty(result, image, strength, grid.voxel_size_mm)
        if fluid is not None and fluid_weight > 0:
            inside = image[fluid]
            result[fluid] += fluid_weight * (inside - inside.mean())
        return result

    return apply


def _penalty_strength(solution: Tensor, smooth: Tensor, grid: Grid, settings: MediSettings, is_first: bool) -> Tensor:
    """Return λ/|∇χ| `(z, y, x)`, zero at the edges of the magnitude."""
    if is_first:
        length = torch.full_like(solution, settings.regularisation / settings.smoothing)
    else:
        length = gradient_length(solution, grid.voxel_size_mm)
        length.square_().add_(settings.smoothing**2).rsqrt_().mul_(settings.regularisation)
    return length.mul_(smooth)


def _one_image(magnitude: Tensor, mask: Tensor) -> Tensor:
    """Return the root of the echoes' summed squares inside the mask."""
    if magnitude.dim() == 3:
        return torch.where(mask, magnitude, 0.0)
    image = torch.zeros_like(magnitude[0])
    for echo in magnitude:
        image.addcmul_(echo, echo)
    return image.sqrt_().mul_(mask)


def _edges(image: Tensor, mask: Tensor, grid: Grid, edge_fraction: float) -> Tensor:
    """Return where the magnitude is steepest inside the mask."""
    steepness = gradient_length(image, grid.voxel_size_mm)
    inside = steepness[mask]
    rank = max(1, min(inside.numel(), round((1 - edge_fraction) * inside.numel())))
    return mask & (steepness > inside.kthvalue(rank).values)


def _trust(residual: Tensor, precision: Tensor, limit: float) -> Tensor:
    """Return factors below one for weighted residuals beyond `limit` standard deviations."""
    weighted = residual.abs().mul_(precision.sqrt())
    spread = weighted[precision > 0].square().mean().sqrt()
    return (limit * spread / weighted.clamp_min_(1e-12)).clamp_max_(1.0).square_()


def _part(told: OnIteration | None, number: int, rounds: int) -> OnIteration | None:
    if told is None:
        return None
    return lambda fraction: told((number + fraction) / rounds)


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: MediSettings) -> dict[str, Tensor]:
    return {"susceptibility": _inverted(artefacts, context, settings)}


def _run_zero(artefacts: Mapping[str, Tensor], context: StepContext, settings: MediZeroSettings) -> dict[str, Tensor]:
    mask, csf = artefacts["mask"], artefacts.get("region")
    if csf is None:
        r2star = artefacts.get("r2star")
        if r2star is None:
            r2star = log_linear(artefacts["magnitude"], mask, context.echo_times_s)
        csf = cerebrospinal_fluid(r2star, mask, context.grid, settings.csf_largest_r2star)
    csf = csf.bool() & mask
    if not bool(csf.any()):
        raise UnusableInput("The region of cerebrospinal fluid holds no voxel of the mask; give another region.")
    return {"susceptibility": _inverted(artefacts, context, settings, csf, settings.csf_weight)}


def _inverted(
    artefacts: Mapping[str, Tensor],
    context: StepContext,
    settings: MediSettings,
    csf: Tensor | None = None,
    csf_weight: float = 0.0,
) -> Tensor:
    return morphology_enabled_inversion(
        artefacts["local_field"],
        artefacts["mask"],
        artefacts["magnitude"],
        artefacts["field_noise"],
        context.grid,
        settings,
        csf,
        csf_weight,
        context.on_iteration,
    )


MEDI = Method(
    name="medi",
    citation="Liu 2012, doi:10.1016/j.neuroimage.2011.08.082; Liu 2013, doi:10.1002/mrm.24272",
    run=_run,
    settings=MediSettings,
    inputs=("local_field", "mask", "magnitude", "field_noise"),
    outputs=("susceptibility",),
    memory_volumes=10.0,
)
MEDI_0 = Method(
    name="medi_0",
    citation="Liu 2018, doi:10.1002/mrm.26946",
    run=_run_zero,
    settings=MediZeroSettings,
    inputs=("local_field", "mask", "magnitude", "field_noise"),
    outputs=("susceptibility",),
    optional_inputs=("region", "r2star"),
    memory_volumes=10.5,
)
