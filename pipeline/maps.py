"""The output of the mathematics: maps with their units, and figures of their quality."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from pipeline.method import LEARNED_MAP_USED, Finding

LEARNED, CLASSICAL = "learned", "classical"
CLASSICAL_SUSCEPTIBILITY, SUSCEPTIBILITY_SPREAD, CONE_PART = (
    "classical_susceptibility",
    "susceptibility_spread",
    "cone_part",
)
COMPANIONS = (
    "t2star",
    "paramagnetic",
    "diamagnetic",
    "weighted_image",
    "minimum_intensity_projection",
    CLASSICAL_SUSCEPTIBILITY,
    SUSCEPTIBILITY_SPREAD,
    CONE_PART,
)
"""What a recipe may make beside the maps: T2* [s], separated sources [ppm], weighted images [arbitrary].

Beside a learned map: the classical map that stands for it where a check fails, with the same reference; half the width
of each voxel's 90 % interval; the part of the map at frequencies which the field hardly shows. All in ppm.
"""
COMPANION_SERIES: Mapping[str, str] = {
    "local_field": "local_field",
    "r2star": "r2star",
    "swi": "weighted_image",
    "uncertainty": SUSCEPTIBILITY_SPREAD,
    "comparison": CLASSICAL_SUSCEPTIBILITY,
}
"""What a recipe may want to be seen beside the susceptibility, and the artefact that each is made of."""


@dataclass(frozen=True)
class Maps:
    """Maps on the acquisition's grid, float32 `(z, y, x)`; zero outside `mask`.

    `susceptibility` [ppm, relative to `reference`], `total_field` [ppm], `local_field` [ppm], `r2star` [1/s],
    `mask` bool. `field_noise` is the standard deviation of the total field [ppm]. `r2star` is None for one echo.
    `companions` holds what else the recipe made, by the names in `COMPANIONS`; weighted images reach beyond the mask.
    """

    susceptibility: torch.Tensor
    total_field: torch.Tensor
    local_field: torch.Tensor
    mask: torch.Tensor
    r2star: torch.Tensor | None
    field_noise: torch.Tensor
    reference: str
    companions: Mapping[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Quality:
    """Figures about one run: name → value; the name ends in the unit.

    `warnings` are sentences for the report; `findings` are what the methods said of their own maps, whose warnings and
    figures are among these too. `weights` holds the SHA-256 of the weights of every network that the recipe names.
    """

    figures: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    weights: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for a file or the record."""
        return {
            "figures": dict(self.figures),
            "warnings": list(self.warnings),
            "findings": [asdict(finding) for finding in self.findings],
            "weights": dict(self.weights),
            "susceptibility_source": self.susceptibility_source,
        }

    @property
    def susceptibility_source(self) -> str:
        """Return "learned" where a network made the susceptibility, else "classical"."""
        return LEARNED if self.figures.get(LEARNED_MAP_USED, 0.0) > 0 else CLASSICAL
