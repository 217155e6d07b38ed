"""What a region has beside a learned map, for people. Without torch: whoever reads the record does not wait for it."""

from collections.abc import Mapping
from typing import Any

PPB_PER_PPM = 1000.0


def trust_in_ppb(region: Mapping[str, Any]) -> dict[str, float]:
    """Return what a region [ppm] has beside a learned map for people [ppb, %]: nothing where no such map was made."""
    found = {}
    if region.get("classical_mean") is not None:
        found["classical_mean_ppb"] = round(region["classical_mean"] * PPB_PER_PPM, 2)
        found["difference_ppb"] = round((region["mean"] - region["classical_mean"]) * PPB_PER_PPM, 2)
    if region.get("half_width") is not None:
        found["half_width_ppb"] = round(region["half_width"] * PPB_PER_PPM, 2)
    if region.get("cone_share") is not None:
        found["cone_share_percent"] = round(100 * region["cone_share"], 1)
    return found
