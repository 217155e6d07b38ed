"""The output of the mathematics: maps with their units, and figures of their quality."""

from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class Maps:
    """Maps on the acquisition's grid, float32 `(z, y, x)`; zero outside `mask`.

    `susceptibility` [ppm, relative to `reference`], `total_field` [ppm], `local_field` [ppm], `r2star` [1/s],
    `mask` bool. `field_noise` is the standard deviation of the total field [ppm]. `r2star` is None for one echo.
    """

    susceptibility: torch.Tensor
    total_field: torch.Tensor
    local_field: torch.Tensor
    mask: torch.Tensor
    r2star: torch.Tensor | None
    field_noise: torch.Tensor
    reference: str


@dataclass(frozen=True)
class Quality:
    """Figures about one run: name → value; the name ends in the unit. `warnings` are sentences for the report."""

    figures: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
