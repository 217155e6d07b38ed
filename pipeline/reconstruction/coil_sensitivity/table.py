"""The ways to find coil sensitivities, by name."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from pipeline.errors import UnknownMethod
from pipeline.method import nearest
from pipeline.reconstruction.coil_sensitivity.espirit import espirit
from pipeline.reconstruction.coil_sensitivity.low_resolution import low_resolution
from pipeline.reconstruction.coil_sensitivity.walsh import walsh
from pipeline.reconstruction.kspace import Kspace

FindSensitivities = Callable[[Kspace, Any], Tensor]

SENSITIVITIES: dict[str, FindSensitivities] = {
    "espirit": espirit,
    "walsh": walsh,
    "low_resolution": low_resolution,
}


def find_sensitivities(name: str) -> FindSensitivities:
    """Return the function `(kspace, settings or None)` of that name.

    Raises
    ------
    UnknownMethod
        There is none; the sentence names the nearest right one.
    """
    if name not in SENSITIVITIES:
        raise UnknownMethod(f"There are no sensitivities by '{name}'; {nearest(name, SENSITIVITIES)}")
    return SENSITIVITIES[name]
