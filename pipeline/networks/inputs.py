"""How a local field becomes the input of a network, and its output a map: padding, scaling, and the dipole kernel.

Training and inference both go through `prepare` and `finish`, so that a network never sees numbers scaled otherwise
than those it was trained on.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.operators.dipole import AXES, dipole_kernel


class FieldScan(Protocol):
    """What a network can be given of a scan; the samples of the training stream are of this kind too."""

    @property
    def local_field(self) -> Tensor:
        """Field without background `(z, y, x)` [ppm]."""

    @property
    def mask(self) -> Tensor:
        """Bool `(z, y, x)`."""

    @property
    def grid(self) -> Grid:
        """The grid with the direction of B0."""

    @property
    def field_noise(self) -> Tensor | None:
        """Standard deviation of the field `(z, y, x)` [ppm], where it is known."""


@dataclass(frozen=True)
class Scan:
    """The inputs of an inversion by a network."""

    local_field: Tensor
    mask: Tensor
    grid: Grid
    field_noise: Tensor | None = None


@dataclass(frozen=True)
class Window:
    """Where a volume lies in the larger one that a network or an FFT needs."""

    shape: tuple[int, int, int]
    padded_shape: tuple[int, int, int]

    @property
    def before(self) -> tuple[int, int, int]:
        """Return how many voxels come before the volume along each axis; as many or one more come after it."""
        z, y, x = ((padded - size) // 2 for padded, size in zip(self.padded_shape, self.shape, strict=True))
        return z, y, x

    def pad(self, volume: Tensor) -> Tensor:
        """Surround a volume `(…, z, y, x)` by zeros."""
        widths = []
        for start, size, padded in reversed(list(zip(self.before, self.shape, self.padded_shape, strict=True))):
            widths += [start, padded - size - start]
        return functional.pad(volume, widths)

    def crop(self, padded: Tensor) -> Tensor:
        """Cut the volume `(…, z, y, x)` out again."""
        for axis, start, size in zip(AXES, self.before, self.shape, strict=True):
            padded = padded.narrow(axis, start, size)
        return padded


def window_of_multiples(shape: tuple[int, int, int], multiple: int, margin: int = 0) -> Window:
    """Return the smallest window around a shape of which every size is a multiple, with a margin on each side."""
    z, y, x = (-(-(size + 2 * margin) // multiple) * multiple for size in shape)
    return Window(shape, (z, y, x))


@dataclass(frozen=True)
class Context:
    """What `finish` needs to know of the volume that `prepare` was given, and what a model-based network computes with.

    Attributes
    ----------
    window
        Where the volume lies in the channels.
    mask
        Bool `(z, y, x)` on the grid of the scan.
    scale
        What the output is multiplied by, a scalar of the precision of the field [ppm].
    padded_mask
        `(1, z, y, x)`, one in the mask; for unrolled networks.
    kernel
        Dipole kernel on the half spectrum of twice the size of the channels; for unrolled networks.
    base
        What the output is added to: a padded map [ppm] or a spectrum.
    gain
        What multiplies the output before it is added to a spectrum: the scale of each frequency, zero where measured.
    """

    window: Window
    mask: Tensor
    scale: Tensor
    padded_mask: Tensor | None = None
    kernel: Tensor | None = None
    base: Tensor | None = None
    gain: Tensor | None = None


class Preparation(Protocol):
    """One network's way from a scan to its channels and from its output to a map."""

    def prepare(self, scan: FieldScan, start: Tensor | None) -> tuple[Tensor, Context]:
        """Return the channels `(channel, z, y, x)` and what `finish` needs."""

    def finish(self, output: Tensor, context: Context) -> Tensor:
        """Return the susceptibility `(z, y, x)` [ppm] of an output `(channel, z, y, x)`."""


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of fields and of susceptibilities in the masks of the training material [ppm]."""

    field_mean: float = 0.0
    field_deviation: float = 1.0
    susceptibility_mean: float = 0.0
    susceptibility_deviation: float = 1.0


def masked_field(scan: FieldScan) -> Tensor:
    """Return the field of a scan, zero outside its mask.

    Raises
    ------
    UnusableInput
        Field, mask and grid disagree, or the mask is empty.
    """
    if not tuple(scan.local_field.shape) == tuple(scan.mask.shape) == scan.grid.shape:
        raise UnusableInput(
            f"The field has shape {tuple(scan.local_field.shape)}, the mask {tuple(scan.mask.shape)} and the grid "
            f"{scan.grid.shape}; all three must agree."
        )
    if not bool(scan.mask.any()):
        raise UnusableInput("The mask is empty: no voxel can be mapped. Check the magnitude images or give a mask.")
    return torch.where(scan.mask, scan.local_field, 0.0)


@dataclass(frozen=True)
class FieldPreparation:
    """The field alone, scaled by constants; the output scaled back by constants."""

    multiple: int
    scaling: Scaling

    def prepare(self, scan: FieldScan, start: Tensor | None) -> tuple[Tensor, Context]:
        """Return the scaled field `(1, z, y, x)`, zero outside the mask, padded to multiples."""
        field = masked_field(scan)
        window = window_of_multiples(scan.grid.shape, self.multiple)
        scaled = (field - self.scaling.field_mean) / self.scaling.field_deviation * scan.mask
        return window.pad(scaled)[None], Context(window, scan.mask, field.new_ones(()))

    def finish(self, output: Tensor, context: Context) -> Tensor:
        """Return the susceptibility `(z, y, x)` [ppm], zero outside the mask."""
        return unscaled(output, context, self.scaling)


@dataclass(frozen=True)
class UnrolledPreparation:
    """The field in ppm, its mask, and the dipole kernel of its grid; the network scales its maps itself."""

    scaling: Scaling

    def prepare(self, scan: FieldScan, start: Tensor | None) -> tuple[Tensor, Context]:
        """Return the field `(1, z, y, x)` [ppm], zero outside the mask, and the kernel of twice its size."""
        field = masked_field(scan)
        depth, height, width = scan.grid.shape
        doubled = replace(scan.grid, shape=(2 * depth, 2 * height, 2 * width))
        context = Context(
            Window(scan.grid.shape, scan.grid.shape),
            scan.mask,
            field.new_ones(()),
            padded_mask=scan.mask[None].to(field.dtype),
            kernel=dipole_kernel(doubled, dtype=field.dtype, device=field.device),
        )
        return field[None], context

    def finish(self, output: Tensor, context: Context) -> Tensor:
        """Return the susceptibility `(z, y, x)` [ppm], zero outside the mask."""
        return unscaled(output, context, self.scaling)


def unscaled(output: Tensor, context: Context, scaling: Scaling) -> Tensor:
    """Return the first channel of an output in ppm on the grid of the scan, zero outside the mask."""
    scaled = context.window.crop(output[0]).to(context.scale.dtype)
    return (scaled * scaling.susceptibility_deviation + scaling.susceptibility_mean) * context.mask


def convolved(volumes: Tensor, kernels: Tensor) -> Tensor:
    """Return the fields of maps by kernels on grids of twice their size, so that nothing wraps around.

    Parameters
    ----------
    volumes
        Shape `(batch, 1, z, y, x)`.
    kernels
        Shape `(batch, 2z, 2y, x + 1)`, for each volume its own.

    Returns
    -------
    The shape of `volumes`, in the precision of `kernels`.
    """
    shape = volumes.shape[-3:]
    doubled = [2 * size for size in shape]
    spectrum = torch.fft.rfftn(volumes.to(kernels.dtype), s=doubled, dim=AXES) * kernels[:, None]
    return torch.fft.irfftn(spectrum, s=doubled, dim=AXES)[..., : shape[0], : shape[1], : shape[2]]
