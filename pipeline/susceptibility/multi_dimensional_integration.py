"""Total field from products of echoes in which every offset cancels (multi-dimensional integration, MDI)."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import SingleEcho
from pipeline.grid import Grid
from pipeline.method import Method, NoSettings, StepContext
from pipeline.susceptibility.echo_fit import MaskedVoxels, field_strength, image_noise, relative_magnitude
from pipeline.susceptibility.phase_unwrapping import romeo
from pipeline.susceptibility.phase_unwrapping.turns import TURN, add_whole_turns, refuse_unusable
from pipeline.units import radians_per_ppm

# Spacings that differ by less than this part share one product.
_SAME_SPACING = 0.005


@dataclass(frozen=True)
class Spacing:
    """All pairs of echoes that lie equally far apart [s]."""

    time_s: float
    pairs: tuple[tuple[int, int], ...]


def spacings(echo_times_s: Sequence[float]) -> tuple[Spacing, ...]:
    """Return the pairs of echoes grouped by their distance in time, the shortest distance first."""
    pairs = itertools.combinations(range(len(echo_times_s)), 2)
    ordered = sorted((echo_times_s[late] - echo_times_s[early], early, late) for early, late in pairs)
    groups: list[list[tuple[float, int, int]]] = []
    for pair in ordered:
        if groups and pair[0] - groups[-1][0][0] < _SAME_SPACING * pair[0]:
            groups[-1].append(pair)
        else:
            groups.append([pair])
    return tuple(
        Spacing(sum(time for time, _, _ in group) / len(group), tuple((early, late) for _, early, late in group))
        for group in groups
    )


def multi_dimensional_integration(
    phase: Tensor,
    magnitude: Tensor,
    mask: Tensor,
    echo_times_s: Sequence[float],
    b0_tesla: float,
    grid: Grid,
) -> tuple[Tensor, Tensor]:
    """Sum conjugate products over all pairs of echoes with one spacing and join the spacings by least squares.

    Parameters
    ----------
    phase
        Wrapped phase [rad], `(echo, z, y, x)`; an offset does not matter.
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)`.
    mask
        Where to map, bool `(z, y, x)`.
    echo_times_s
        Echo times [s], two or more, any spacing.
    b0_tesla
        Field strength [T].
    grid
        The grid of the images.

    Returns
    -------
        Total field [ppm] and its standard deviation [ppm], both `(z, y, x)` and zero outside the mask.

    Raises
    ------
    SingleEcho
        Where there is one echo only.
    UnusableInput
        Where shapes disagree or the mask is empty.

    Notes
    -----
    Only the phase over the shortest spacing is unwrapped in space; each longer one takes the turn nearest to the field
    found so far. The published weights are not known to us: here a spacing counts by the inverse variance of its
    phase, times its length. The offset stays free in each voxel, so the noise is that of a fit with free offset.

    References
    ----------
    Ye 2022, Magnetic Resonance in Medicine 87:658.
    """
    refuse_unusable(phase, magnitude, mask, echo_times_s)
    if len(echo_times_s) < 2:
        raise SingleEcho("MDI needs two echoes or more; choose echo combination `weighted_average`.")
    voxels = MaskedVoxels.of(mask, grid)
    wrapped, strength = voxels.gather(phase), relative_magnitude(voxels.gather(magnitude))
    shortest, *longer = spacings(echo_times_s)
    # The path search takes the most memory, so nothing that can wait is there yet.
    unwrapped = _unwrapped(_product(wrapped, strength, shortest)[0], strength, mask, voxels)
    slope, moment = torch.zeros_like(wrapped[0]), torch.zeros_like(wrapped[0])
    shares = torch.zeros_like(wrapped)
    for spacing in (shortest, *longer):
        angle, share = _product(wrapped, strength, spacing)
        angle = unwrapped if spacing is shortest else add_whole_turns(angle, slope / moment * spacing.time_s)
        trust = _noise_variance(share, strength).reciprocal_().mul_(spacing.time_s)
        slope.addcmul_(trust, angle)
        moment.add_(trust, alpha=spacing.time_s)
        shares.addcmul_(share, trust)
    slope.div_(moment)
    variance = _noise_variance(shares.div_(moment), strength)
    del shares, share, moment, unwrapped, angle, trust
    weight = strength.square_()
    residuals = _residuals(wrapped, weight, slope, echo_times_s)
    del wrapped
    sigma = image_noise(residuals, weight, len(echo_times_s) - 2, magnitude, mask, voxels)
    radians = radians_per_ppm(1.0, b0_tesla)
    return voxels.spread(slope / radians), voxels.spread(variance.sqrt_().mul_(sigma).div_(radians))


def _product(phase: Tensor, strength: Tensor, spacing: Spacing) -> tuple[Tensor, Tensor]:
    """Return the phase [rad] over a spacing `(voxel,)` and the share `(echo, voxel)` of each echo's phase in it."""
    real, imaginary, total = (torch.zeros_like(phase[0]) for _ in range(3))
    share = torch.zeros_like(phase)
    for early, late in spacing.pairs:
        weight = strength[early] * strength[late]
        angle = phase[late] - phase[early]
        real.addcmul_(weight, torch.cos(angle))
        imaginary.addcmul_(weight, angle.sin_())
        total.add_(weight)
        share[late].add_(weight)
        share[early].sub_(weight)
    return torch.atan2(imaginary, real), share.div_(total)


def _noise_variance(share: Tensor, strength: Tensor) -> Tensor:
    """Return the variance `(voxel,)` of a sum of phases with shares, for images with noise of variance one."""
    total = torch.zeros_like(share[0])
    for part, size in zip(share, strength, strict=True):
        noise = part / size
        total.addcmul_(noise, noise)
    return total


def _unwrapped(angle: Tensor, strength: Tensor, mask: Tensor, voxels: MaskedVoxels) -> Tensor:
    """Unwrap the phase over the shortest spacing `(voxel,)` in space."""
    volume, magnitude = voxels.spread(angle), voxels.spread(strength[0])
    return voxels.gather(romeo.unwrap(volume[None], magnitude[None], mask, (1.0,))[0])


def _residuals(phase: Tensor, weight: Tensor, slope: Tensor, echo_times_s: Sequence[float]) -> list[Tensor]:
    """Return what field and best offset leave in each echo [rad], within half a turn, `(voxel,)` each."""
    left = [torch.add(values, slope, alpha=-time) for values, time in zip(phase, echo_times_s, strict=True)]
    real, imaginary = torch.zeros_like(slope), torch.zeros_like(slope)
    for values, trust in zip(left, weight, strict=True):
        real.addcmul_(trust, torch.cos(values))
        imaginary.addcmul_(trust, torch.sin(values))
    offset = torch.atan2(imaginary, real)
    for values in left:
        values.sub_(offset)
        values.sub_((values / TURN).round_(), alpha=TURN)
    return left


def run(inputs: Mapping[str, Tensor], context: StepContext, settings: NoSettings) -> dict[str, Tensor]:
    """Map the step's echoes; see `multi_dimensional_integration`."""
    total_field, noise = multi_dimensional_integration(
        inputs["phase"],
        inputs["magnitude"],
        inputs["mask"],
        context.echo_times_s,
        field_strength(context),
        context.grid,
    )
    return {"total_field": total_field, "field_noise": noise}


MDI = Method(
    name="mdi",
    citation="Ye 2022, Magnetic Resonance in Medicine 87:658 (weights ours)",
    run=run,
    settings=NoSettings,
    inputs=("phase", "magnitude", "mask"),
    outputs=("total_field", "field_noise"),
    memory_volumes=11.0,
)
