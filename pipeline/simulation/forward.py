"""The physics of the simulated scanner: the field of a head, the shims that flatten it, the signal that it dephases.

Written apart from the operators that invert fields, so that a mistake there cannot cancel itself here.
"""

import math

import torch
from torch import Tensor

from pipeline.units import radians_per_ppm


def relative_field(
    susceptibility: Tensor, voxel_size_mm: tuple[float, float, float], b0_direction: tuple[float, float, float]
) -> Tensor:
    """Return the field that a susceptibility distribution adds to B0, with the sphere of Lorentz taken out.

    Parameters
    ----------
    susceptibility
        Susceptibility relative to the surrounding air [ppm], `(z, y, x)`; it repeats itself beyond its edges.
    voxel_size_mm
        Distance between samples along `(z, y, x)` [mm].
    b0_direction
        Unit vector of B0 along `(z, y, x)`.

    Returns
    -------
        Field relative to B0 [ppm], `(z, y, x)`.

    References
    ----------
    Marques & Bowtell 2005, doi:10.1002/cmr.b.20034.
    """
    spectrum = torch.fft.rfftn(susceptibility)
    kz, ky, kx = (
        frequencies(size, step)
        for frequencies, size, step in zip(
            (torch.fft.fftfreq, torch.fft.fftfreq, torch.fft.rfftfreq), susceptibility.shape, voxel_size_mm, strict=True
        )
    )
    signed_z, signed_y, signed_x = (
        _without_nyquist(k, size) for k, size in zip((kz, ky, kx), susceptibility.shape, strict=True)
    )
    b_z, b_y, b_x = b0_direction
    in_plane = ky[:, None].square() + kx.square()
    linear = signed_y[:, None] * b_y + signed_x * b_x
    square = (ky[:, None] * b_y).square() + (kx * b_x).square() + 2 * (signed_y[:, None] * b_y) * (signed_x * b_x)
    # Plane by plane: a whole kernel would take as much memory as the spectrum.
    for plane in range(len(kz)):
        squared = in_plane + kz[plane].square()
        if plane == 0:
            squared[0, 0] = 1.0
        along = square + (kz[plane] * b_z).square() + 2 * signed_z[plane] * b_z * linear
        factor = 1 / 3 - along / squared
        if plane == 0:
            factor[0, 0] = 0.0
        spectrum[plane] *= factor
    return torch.fft.irfftn(spectrum, s=susceptibility.shape)


def _without_nyquist(frequencies: Tensor, size: int) -> Tensor:
    """Return frequencies with 0 in the place of the highest one of an even size, which stands for both signs."""
    signed = frequencies.clone()
    if size % 2 == 0:
        signed[size // 2] = 0.0
    return signed


def shim(field: Tensor, brain: Tensor, every: int = 3) -> Tensor:
    """Subtract centre frequency and linear shims, as a scanner sets them over the brain before it measures.

    Parameters
    ----------
    field
        Field [ppm], `(z, y, x)`; changed in place, since it may fill much of the memory.
    brain
        Share of brain (0 to 1), same shape.
    every
        Step along each axis between the samples used for the fit.

    Returns
    -------
        The shimmed field [ppm].
    """
    axes = [torch.linspace(-1, 1, size, dtype=field.dtype) for size in field.shape]
    thinned = (slice(None, None, every),) * 3
    chosen = brain[thinned] > 0.5
    places = torch.meshgrid(*(axis[::every] for axis in axes), indexing="ij")
    columns = [torch.ones_like(field[thinned][chosen]), *(place[chosen] for place in places)]
    design = torch.stack(columns, 1).double()
    observed = field[thinned][chosen].double()[:, None]
    offset, z, y, x = torch.linalg.solve(design.T @ design, design.T @ observed)[:, 0].float().tolist()
    field -= offset
    field -= z * axes[0][:, None, None]
    field -= y * axes[1][:, None]
    field -= x * axes[2]
    return field


def echo_signal(
    proton_density: Tensor,
    r2star: Tensor,
    field: Tensor,
    echo_time_s: float,
    b0_tesla: float,
    pool: tuple[int, int, int],
) -> Tensor:
    """Return the complex signal of acquired voxels as the mean over the samples inside each.

    Averaging complex samples makes the voxel lose signal where its field is uneven, as near sinuses and veins.

    Parameters
    ----------
    proton_density
        Signal at time zero [arbitrary], `(z, y, x)`, as are the next two.
    r2star
        Decay [1/s].
    field
        Field [ppm]; phase grows with it.
    echo_time_s
        Echo time [s].
    b0_tesla
        Field strength [T].
    pool
        Samples per voxel along `(z, y, x)`.

    Returns
    -------
        Complex signal, `(z, y, x)` divided by `pool`.
    """
    amplitude = proton_density * torch.exp(r2star * -echo_time_s)
    angle = field * radians_per_ppm(echo_time_s, b0_tesla)
    parts = torch.stack((amplitude * angle.cos(), amplitude * angle.sin()))
    means = torch.nn.functional.avg_pool3d(parts[None], pool)[0]
    return torch.complex(means[0], means[1])


def coil_phase(points: Tensor) -> Tensor:
    """Return the phase that transmitter and receiver add to every echo alike [rad] at points `(3, ...)` [mm]."""
    x, y, z = (points[axis] / 100 for axis in range(3))
    return 0.6 + 0.9 * x - 0.7 * y + 0.5 * z + 0.8 * (x.square() + y.square()) - 0.9 * y * z


def coil_sensitivity(points: Tensor) -> Tensor:
    """Return the receive sensitivity at points `(3, ...)` [mm]: an array of coils sees the rim best."""
    x, y, z = (points[axis] / 100 for axis in range(3))
    return 0.85 * torch.exp(0.45 * (x.square() + y.square() + 0.6 * z.square())) * (1 + 0.08 * y)


def complex_noise(shape: tuple[int, ...], standard_deviation: float, chance: torch.Generator) -> Tensor:
    """Return white complex noise of a standard deviation per real and imaginary part."""
    parts = torch.randn((*shape, 2), generator=chance) * standard_deviation
    return torch.view_as_complex(parts)


def rotation(degrees_about_xyz: tuple[float, float, float]) -> Tensor:
    """Return the matrix `(3, 3)` that turns about the patient's x, then y, then z axis."""
    turned = torch.eye(3, dtype=torch.float64)
    for axis, degrees in enumerate(degrees_about_xyz):
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        first, second = (axis + 1) % 3, (axis + 2) % 3
        matrix = torch.eye(3, dtype=torch.float64)
        matrix[first, first] = matrix[second, second] = cosine
        matrix[first, second], matrix[second, first] = -sine, sine
        turned = matrix @ turned
    return turned
