"""The slices of a two-dimensional scan: how many there are, and where in the stack each of them lies."""

import numpy as np

from dicom_io.errors import GeometryUnusable, RawLinesMissing
from dicom_io.kspace.scan import RawScan, imaging_readouts

_SAME_STEP = 0.01
_SAME_DIRECTION = 1e-3
_SAME_PLACE_MM = 0.1
_AXES = ("read_dir", "phase_dir", "slice_dir")


def n_slices(scan: RawScan) -> int:
    """Return how many slices the readouts of the images count, one for a volume.

    Raises
    ------
    GeometryUnusable
        Several slabs were measured.
    """
    count = int(scan.slice[imaging_readouts(scan)].max()) + 1
    if count > 1 and scan.header.encoded.shape[0] > 1:
        raise GeometryUnusable("The raw data hold several slabs; send each slab as a scan of its own.")
    return count


def places_of_slices(scan: RawScan) -> np.ndarray:
    """Return the place in the stack of each slice number, counted along the slices' own direction.

    Scanners measure slices interleaved, and count them in the order of measurement or of place; positions decide.

    Raises
    ------
    GeometryUnusable
        The slices do not lie one behind the other, parallel and at equal distances; or they are slabs.
    RawLinesMissing
        The header announces more slices than came.
    """
    numbers, first = np.unique(scan.slice[imaging_readouts(scan)], return_index=True)
    heads = scan.heads[imaging_readouts(scan)[first]]
    announced = scan.header.limits.get("slice")
    n_announced = 0 if announced is None else announced.maximum - announced.minimum + 1
    count = max(n_announced, n_slices(scan))
    if len(numbers) < count:
        raise RawLinesMissing(
            f"The scan has {count} slices, and readouts of {len(numbers)} came; slices are missing, send it again."
        )
    if len(numbers) == 1:
        return np.zeros(1, int)
    if any(np.ptp(heads[axis].astype(float), axis=0).max() > _SAME_DIRECTION for axis in _AXES):
        raise GeometryUnusable("The slices of the raw data are not parallel; send one stack per scan.")
    positions, normal = heads["position"].astype(float), heads["slice_dir"][0].astype(float)
    along = positions @ normal
    beside = positions - along[:, None] * normal
    order = np.argsort(along)
    steps = np.diff(along[order])
    is_stack = np.ptp(beside, axis=0).max() <= _SAME_PLACE_MM and steps.min() > 0
    if not is_stack or np.ptp(steps) > _SAME_STEP + 0.01 * abs(float(steps.mean())):
        raise GeometryUnusable("The slices of the raw data do not lie at equal distances; send one stack per scan.")
    places = np.empty(len(order), int)
    places[order] = np.arange(len(order))
    return places
