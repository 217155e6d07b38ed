"""Combine coils by the strongest pattern that they share in each neighbourhood (adaptive combination, Walsh)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.reconstruction.coil_combination.coils import SmoothSensitivity, combine, refuse_unusable, tell_nobody
from pipeline.susceptibility.coarse_grid import CoarseGrid

_PATTERN_SHARE = 0.4


@dataclass(frozen=True)
class AdaptiveSettings:
    """Choices of the adaptive combination."""

    block_mm: float = setting(
        5.0, "mm", "size of the neighbourhoods in which the coils are correlated", minimum=1.0, maximum=30.0
    )
    iterations: int = setting(20, "1", "power iterations for the strongest pattern", minimum=1, maximum=500)
    rounds: int = setting(100, "1", "rounds that bring neighbouring patterns to one phase", minimum=1, maximum=5000)


def adaptive(
    coil_phase: Tensor,
    coil_magnitude: Tensor,
    echo_times_s: Sequence[float],
    grid: Grid,
    settings: AdaptiveSettings | None = None,
    on_iteration: OnIteration | None = None,
) -> tuple[Tensor, Tensor]:
    """Find the coils' strongest common pattern in each block of the first echo and sum all echoes with it.

    Parameters
    ----------
    coil_phase, coil_magnitude
        Wrapped phase [rad] and magnitude [arbitrary], `(echo, coil, z, y, x)`; one echo is enough.
    echo_times_s
        Echo times [s].
    grid
        The grid of the images.
    settings
        Size of the blocks and lengths of the loops.
    on_iteration
        Told the fraction done.

    Returns
    -------
        Wrapped phase [rad] and magnitude [arbitrary], both `(echo, z, y, x)`. The phase still holds a smooth offset,
        the same in all echoes.

    Raises
    ------
    UnusableInput
        Where shapes disagree or there is no signal.

    Notes
    -----
    An eigenvector leaves its phase open. Neighbouring blocks are brought to one phase by power iterations on the
    products of their patterns, so the offset left is as smooth as the coils allow and has no poles of a single coil.

    References
    ----------
    Walsh 2000, doi:10.1002/(SICI)1522-2594(200005)43:5<682::AID-MRM10>3.0.CO;2-G.
    """
    settings = settings or AdaptiveSettings()
    refuse_unusable(coil_phase, coil_magnitude, len(echo_times_s), grid)
    tell = on_iteration or tell_nobody
    coarse = CoarseGrid.of(grid, settings.block_mm)
    patterns, strength = _patterns(coil_phase[0], coil_magnitude[0], coarse, settings.iterations, tell)
    patterns = _in_one_phase(patterns, strength, settings.rounds) * strength
    smoothing_mm = max(settings.block_mm, *coarse.grid.voxel_size_mm)

    def of_coil(coil: int) -> tuple[Tensor, Tensor]:
        return patterns[coil].real.contiguous(), patterns[coil].imag.contiguous()

    sensitivity = SmoothSensitivity(coarse, smoothing_mm, of_coil)
    return combine(
        coil_phase, coil_magnitude, sensitivity, lambda share: tell(_PATTERN_SHARE + (1 - _PATTERN_SHARE) * share)
    )


def _patterns(
    phase: Tensor, magnitude: Tensor, coarse: CoarseGrid, iterations: int, tell: OnIteration
) -> tuple[Tensor, Tensor]:
    """Return the strongest pattern of each block, complex `(coil, z, y, x)` of length one, and its amplitude."""
    n_coils = phase.shape[0]
    depth, height, width = coarse.factors
    nz, ny, nx = coarse.grid.shape
    vectors, strengths = [], []
    for row in range(nz):
        slab = slice(row * depth, (row + 1) * depth)
        images = torch.polar(magnitude[:, slab], phase[:, slab])
        missing = (0, nx * width - images.shape[3], 0, ny * height - images.shape[2])
        images = torch.nn.functional.pad(images, missing)
        blocks = (
            images.reshape(n_coils, -1, ny, height, nx, width).permute(2, 4, 0, 1, 3, 5).reshape(ny * nx, n_coils, -1)
        )
        vector, strength = _strongest(blocks @ blocks.mH, iterations)
        vectors.append(vector.reshape(ny, nx, n_coils).permute(2, 0, 1))
        strengths.append(strength.reshape(ny, nx))
        tell(0.5 * _PATTERN_SHARE * (row + 1) / nz)
    return torch.stack(vectors, 1), torch.stack(strengths)


def _strongest(correlation: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Return the first eigenvectors `(block, coil)` of Hermitian matrices and the roots of their eigenvalues."""
    # The strongest coil's column starts close to the first eigenvector and is never orthogonal to it.
    strongest = correlation.diagonal(dim1=-2, dim2=-1).real.argmax(-1)
    vector = correlation.gather(-1, strongest[:, None, None].expand(-1, correlation.shape[1], 1))
    smallest = torch.finfo(vector.real.dtype).tiny
    for _ in range(iterations):
        vector = correlation @ (vector / torch.linalg.vector_norm(vector, dim=1, keepdim=True).clamp_min(smallest))
    length = torch.linalg.vector_norm(vector, dim=1, keepdim=True)
    return (vector / length.clamp_min(smallest))[..., 0], length[:, 0, 0].sqrt()


def _in_one_phase(patterns: Tensor, strength: Tensor, rounds: int) -> Tensor:
    """Turn each block's pattern so that neighbours agree in phase, starting from agreement with the whole volume's."""
    flat = (patterns * strength).flatten(1)
    whole = torch.linalg.eigh(flat @ flat.mH).eigenvectors[:, -1]
    gauge = (whole.conj() @ flat).reshape(strength.shape).conj()
    weight = strength / strength.amax().clamp_min(torch.finfo(strength.dtype).tiny)
    links = []
    for axis in range(3):
        size = strength.shape[axis] - 1
        low, high = patterns.narrow(axis + 1, 0, size), patterns.narrow(axis + 1, 1, size)
        both = weight.narrow(axis, 0, size) * weight.narrow(axis, 1, size)
        links.append((low.conj() * high).sum(0) * both)
    gauge = _unit(gauge)
    for _ in range(rounds):
        agreed = gauge * weight.square()
        for axis, link in enumerate(links):
            size = link.shape[axis]
            agreed.narrow(axis, 0, size).addcmul_(link, gauge.narrow(axis, 1, size))
            agreed.narrow(axis, 1, size).addcmul_(link.conj(), gauge.narrow(axis, 0, size))
        gauge = _unit(agreed)
    return patterns * gauge


def _unit(values: Tensor) -> Tensor:
    """Return complex values brought to length one; zeros become one."""
    size = values.abs()
    return torch.where(size > 0, values / size.clamp_min(torch.finfo(size.dtype).tiny), torch.ones_like(values))


def run(inputs: Mapping[str, Tensor], context: StepContext, settings: AdaptiveSettings) -> dict[str, Tensor]:
    """Combine the step's coils; see `adaptive`."""
    phase, magnitude = adaptive(
        inputs["coil_phase"],
        inputs["coil_magnitude"],
        context.echo_times_s,
        context.grid,
        settings,
        context.on_iteration,
    )
    return {"phase": phase, "magnitude": magnitude}


ADAPTIVE = Method(
    name="adaptive",
    citation="Walsh 2000, doi:10.1002/(SICI)1522-2594(200005)43:5<682::AID-MRM10>3.0.CO;2-G",
    run=run,
    settings=AdaptiveSettings,
    inputs=("coil_phase", "coil_magnitude"),
    outputs=("phase", "magnitude"),
    memory_volumes=3.0,
)
