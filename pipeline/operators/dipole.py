"""The field of a susceptibility distribution: the unit dipole in k-space, in physical units, for any B0 direction."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.operators.fourier import forward_transform, inverse_transform, scale_spectrum

AXES = (-3, -2, -1)


def dipole_kernel(grid: Grid, *, dtype: torch.dtype = torch.float32, device: torch.device | None = None) -> Tensor:
    """Return the dipole kernel 1/3 − (k·b̂)²/|k|² on the half spectrum of a real FFT.

    Frequencies are in 1/mm, so anisotropic voxels are exact; the value at k = 0, which the physics leaves open, is 0.
    At a Nyquist frequency, which stands for both signs, the mean over both is taken, so that the kernel is even.

    Returns
    -------
    Shape `(z, y, x // 2 + 1)`, dimensionless: relative field [ppm] per susceptibility [ppm].

    Source: Salomir 2003, doi:10.1002/cmr.b.10083; Marques & Bowtell 2005, doi:10.1002/cmr.b.20034.
    """
    squared, odd = [], []
    for axis, (size, step) in enumerate(zip(grid.shape, grid.voxel_size_mm, strict=True)):
        frequencies = (torch.fft.rfftfreq if axis == 2 else torch.fft.fftfreq)(size, step, dtype=torch.float64)
        signed = frequencies.clone()
        if size % 2 == 0:
            signed[size // 2] = 0.0
        shape = [1, 1, 1]
        shape[axis] = -1
        squared.append(frequencies.square().reshape(shape))
        odd.append(signed.reshape(shape))
    bz, by, bx = grid.b0_direction

    def placed(values: Tensor) -> Tensor:
        return values.to(dtype=dtype, device=device)

    # Planes in double precision, volumes in the asked one: the volumes are what costs time.
    plane = squared[0] * bz**2 + squared[1] * by**2 + 2 * odd[0] * odd[1] * (bz * by)
    kernel = placed(plane) + placed(squared[2] * bx**2)
    across = 2 * bx * (odd[0] * bz + odd[1] * by)
    if bool(across.any()):
        kernel.addcmul_(placed(across), placed(odd[2]))
    k2 = placed(squared[0] + squared[1]) + placed(squared[2])
    k2[0, 0, 0] = 1.0
    kernel.div_(k2).neg_().add_(1 / 3)
    kernel[0, 0, 0] = 0.0
    return kernel


@dataclass(frozen=True)
class Dipole:
    """The linear map from susceptibility [ppm] to relative field [ppm] on one periodic grid; it is its own adjoint."""

    shape: tuple[int, int, int]
    kernel: Tensor

    @classmethod
    def on(cls, grid: Grid, like: Tensor) -> "Dipole":
        """Build the operator for a grid, in the precision and on the device of a tensor."""
        return cls(grid.shape, dipole_kernel(grid, dtype=like.dtype, device=like.device))

    def __call__(self, susceptibility: Tensor) -> Tensor:
        """Return the field of a susceptibility `(z, y, x)` that repeats itself beyond the grid.

        Raises
        ------
        UnusableInput
            The shape is not the grid's.
        """
        if tuple(susceptibility.shape[-3:]) != self.shape:
            raise UnusableInput(
                f"The map has shape {tuple(susceptibility.shape)}; the dipole was made for {self.shape}."
            )
        if susceptibility.dim() > len(AXES):
            spectrum = torch.fft.rfftn(susceptibility, dim=AXES).mul_(self.kernel)
            return torch.fft.irfftn(spectrum, s=self.shape, dim=AXES)
        return self.from_spectrum(forward_transform(susceptibility))

    def from_spectrum(self, spectrum: Tensor) -> Tensor:
        """Return the field of a susceptibility given by its half spectrum, in the spectrum's memory, which is lost.

        `transform_over` takes the field back; so it costs one volume less than a call.
        """
        return inverse_transform(scale_spectrum(spectrum, self.kernel), self.shape)
