"""Cartesian k-space of a multi-echo scan as the reconstructions take it, checked once when it is made."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import MissingCalibration, UnusableInput
from pipeline.grid import Grid

_LONGEST_ECHO_TIME_S = 0.2


@dataclass(frozen=True)
class Kspace:
    """Cartesian k-space of a multi-echo scan, one readout per (echo, z, y).

    x is the readout, y the first and z the second phase encoding; k = 0 lies at index `size // 2` of each axis.

    `samples` are complex64 `(echo, coil, z, y, x)`, 0 where not measured; `measured` is bool `(echo, z, y)`; `grid` is
    that of the images to be made and has the samples' shape. `noise` holds samples `(coil, n)` of a scan without
    signal. `calibration` is a separate, fully sampled reference `(coil, z, y, x)` of smaller shape with its k = 0 at
    `size // 2`; without it the fully sampled centre of the first echo serves.
    """

    samples: Tensor
    measured: Tensor
    grid: Grid
    echo_times_s: tuple[float, ...]
    b0_tesla: float
    noise: Tensor | None = None
    calibration: Tensor | None = None

    def __post_init__(self) -> None:
        self._check_shapes()
        self._check_values()

    @property
    def n_echoes(self) -> int:
        """Return the number of echoes."""
        return self.samples.shape[0]

    @property
    def n_coils(self) -> int:
        """Return the number of coils."""
        return self.samples.shape[1]

    @property
    def acceleration(self) -> float:
        """Return how many times fewer readouts were measured than the grid has, over all echoes."""
        return self.measured.numel() / max(int(self.measured.sum()), 1)

    def _check_shapes(self) -> None:
        if self.samples.ndim != 5 or not self.samples.is_complex():
            raise UnusableInput(
                f"K-space has axes (echo, coil, z, y, x) and complex values; this has shape "
                f"{tuple(self.samples.shape)} and type {self.samples.dtype}."
            )
        n_echoes, n_coils, *shape = self.samples.shape
        if tuple(shape) != tuple(self.grid.shape):
            raise UnusableInput(f"K-space of shape {tuple(shape)} does not fit the image grid of {self.grid.shape}.")
        if len(self.echo_times_s) != n_echoes:
            raise UnusableInput(f"K-space holds {n_echoes} echoes but {len(self.echo_times_s)} echo times are given.")
        if self.measured.dtype != torch.bool or tuple(self.measured.shape) != (n_echoes, *shape[:2]):
            raise UnusableInput(
                f"What was measured is bool (echo, z, y), here {(n_echoes, *shape[:2])}; it is "
                f"{self.measured.dtype} of shape {tuple(self.measured.shape)}."
            )
        if self.noise is not None and (self.noise.ndim != 2 or self.noise.shape[0] != n_coils):
            raise UnusableInput(f"A noise scan of shape {tuple(self.noise.shape)} does not fit {n_coils} coils.")
        if self.calibration is not None and (self.calibration.ndim != 4 or self.calibration.shape[0] != n_coils):
            raise UnusableInput(f"A reference of shape {tuple(self.calibration.shape)} does not fit {n_coils} coils.")

    def _check_values(self) -> None:
        times = self.echo_times_s
        if times[0] <= 0 or times[-1] > _LONGEST_ECHO_TIME_S or list(times) != sorted(set(times)):
            raise UnusableInput(f"Echo times must be increasing seconds between 0 and 0.2; they are {times}.")
        if not self.b0_tesla > 0:
            raise UnusableInput(f"A field strength of {self.b0_tesla} T cannot be; the header must name it.")
        for name, tensor in (
            ("K-space", self.samples),
            ("The noise scan", self.noise),
            ("The reference scan", self.calibration),
        ):
            if tensor is not None and not all(bool(torch.isfinite(part.sum())) for part in tensor):
                raise UnusableInput(f"{name} holds samples that are not finite numbers; the scan must be repeated.")
        lacking = [number + 1 for number, lines in enumerate(self.measured) if not bool(lines.any())]
        if lacking:
            raise UnusableInput(f"No readout was measured for echo {lacking[0]}; the scan is incomplete.")


def central_block(kspace: Kspace) -> tuple[int, int, int, int]:
    """Find the largest rectangle around k = 0 that the first echo measured without gaps.

    Parameters
    ----------
    kspace
        The scan.

    Returns
    -------
    `(z0, z1, y0, y1)`: the rectangle is `samples[0, :, z0:z1, y0:y1]`.

    Raises
    ------
    MissingCalibration
        k = 0 itself was not measured.
    """
    lines = kspace.measured[0].cpu()
    n_z, n_y = lines.shape
    centre_z, centre_y = n_z // 2, n_y // 2
    if not bool(lines[centre_z, centre_y]):
        raise MissingCalibration(
            "The centre of k-space was not measured and there is no reference scan; "
            "acquire calibration lines or a separate reference."
        )
    # How far each row goes without a gap from the centre to the left and to the right, then over rows without a gap.
    left = lines[:, : centre_y + 1].flip(1).long().cumprod(1).sum(1)
    right = lines[:, centre_y:].long().cumprod(1).sum(1)
    up_left, up_right = (side[: centre_z + 1].flip(0).cummin(0).values for side in (left, right))
    down_left, down_right = (side[centre_z:].cummin(0).values for side in (left, right))
    widths_left = torch.minimum(up_left[:, None], down_left[None])
    widths_right = torch.minimum(up_right[:, None], down_right[None])
    heights = torch.arange(1, len(up_left) + 1)[:, None] + torch.arange(len(down_left))[None]
    areas = heights * (widths_left + widths_right - 1).clamp_min(0)
    up, down = divmod(int(areas.argmax()), areas.shape[1])
    half_left, half_right = int(widths_left[up, down]), int(widths_right[up, down])
    return centre_z - up, centre_z + down + 1, centre_y - half_left + 1, centre_y + half_right
