"""The grid on which tensors live: its shape, its voxel size and the direction of B0 in its axes."""

import math
from dataclasses import dataclass

from pipeline.errors import UnusableInput


@dataclass(frozen=True)
class Grid:
    """A regular grid with axes `(z, y, x)`.

    `voxel_size_mm` is `(z, y, x)` [mm]; `b0_direction` is the unit vector of B0 along `(z, y, x)`.
    """

    shape: tuple[int, int, int]
    voxel_size_mm: tuple[float, float, float]
    b0_direction: tuple[float, float, float] = (1.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or min(self.voxel_size_mm) <= 0:
            raise UnusableInput(f"A grid of shape {self.shape} and voxel size {self.voxel_size_mm} mm cannot exist.")
        if not math.isclose(math.hypot(*self.b0_direction), 1.0, abs_tol=1e-3):
            raise UnusableInput(f"The B0 direction {self.b0_direction} is not a unit vector; divide it by its length.")
