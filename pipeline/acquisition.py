"""The input of the mathematics: echo images with their times, field strength and grid."""

from dataclasses import dataclass

import torch

from pipeline.errors import UnusableInput
from pipeline.grid import Grid


@dataclass(frozen=True)
class Acquisition:
    """Multi-echo gradient-echo images.

    `magnitude` [arbitrary] and `phase` [rad, growing with the field] have shape `(echo, z, y, x)`.
    `mask`, when given, is a brain mask `(z, y, x)` that replaces the computed one.
    """

    magnitude: torch.Tensor
    phase: torch.Tensor
    echo_times_s: tuple[float, ...]
    b0_tesla: float
    grid: Grid
    mask: torch.Tensor | None = None

    def __post_init__(self) -> None:
        expected = (len(self.echo_times_s), *self.grid.shape)
        for name, tensor in (("magnitude", self.magnitude), ("phase", self.phase)):
            if tuple(tensor.shape) != expected:
                raise UnusableInput(
                    f"The {name} has shape {tuple(tensor.shape)}; {len(self.echo_times_s)} echo times on a grid of "
                    f"{self.grid.shape} need {expected}."
                )
        if any(later <= earlier for earlier, later in zip(self.echo_times_s, self.echo_times_s[1:], strict=False)):
            raise UnusableInput(f"Echo times must increase; they are {self.echo_times_s} s.")
        if self.echo_times_s[0] <= 0 or self.echo_times_s[-1] > 0.2:
            raise UnusableInput(f"Echo times must be seconds between 0 and 0.2; they are {self.echo_times_s}.")
