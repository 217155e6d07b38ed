"""Do the readouts of a scan that calls itself Cartesian run along straight lines of the grid?"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from dicom_io.kspace.scan import BENT, CARTESIAN, RawHeader

_ALONG_SHARE = 0.01


def with_true_trajectory(header: RawHeader, places: Iterable[np.ndarray]) -> RawHeader:
    """Return a header that does not call readouts Cartesian which are not.

    Parameters
    ----------
    header
        As it was read.
    places
        Where the samples of each readout lie, `(sample, axis)`, for the readouts that state it; any scale.
    """
    if header.trajectory != CARTESIAN:
        return header
    return header if all(_is_straight(one) for one in places) else replace(header, trajectory=BENT)


def _is_straight(places: np.ndarray) -> bool:
    """Say whether samples run along the first axis alone."""
    if places.size == 0 or places.shape[1] < 2:
        return True
    extents = np.ptp(places.astype(np.float64), axis=0)
    # An axis that is not filled in stays at zero.
    return bool(extents[1:].max() <= _ALONG_SHARE * max(float(extents[0]), 1e-30) or not extents.any())
