"""Does the volume lie in the scanner? Directions turned round put it beside the bore's axis, where nothing is imaged.

The origin of patient coordinates is the isocentre, but for the table, which moves along z only: PS3.3 C.7.6.2.1.1
leaves the origin open, and all manufacturers choose it so. ImageOrientationPatient times −1 leaves corner and normal
where they are and the rest of the header as it was, so this is the only witness against it that every scanner gives.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from dicom_io.errors import ContradictoryHeader
from dicom_io.instance import named
from dicom_io.read.headers import FrameHeader
from dicom_io.read.sorting import Slot

MOSTLY = 0.8
NEAREST, FARTHEST = 0.75, 1.35
# A limb may lie far to one side, but neither so far for its field of view, nor so far above or below the table.
SMALLEST_FIELD_OF_VIEW_MM = (200.0, 100.0)


def require_at_isocentre(chosen: Mapping[Slot, FrameHeader], names: Mapping[str, str]) -> None:
    """Refuse a volume that misses the bore's axis, but would be centred on it with a direction turned round.

    Raises
    ------
    ContradictoryHeader
        From the middle of the volume the axis lies 0.75 to 1.35 fields of view towards the first row or column.
    """
    frames = list(chosen.values())
    first = frames[0]
    row, column = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    width, height = first.columns * first.pixel_spacing[1], first.rows * first.pixel_spacing[0]
    middle = np.mean([frame.position for frame in frames], axis=0) + (width * row + height * column) / 2
    for direction, extent in ((row, width), (column, height)):
        if _is_turned_round(direction, extent, middle):
            raise ContradictoryHeader(
                f"{names[first.sop_instance_uid]}: by {named('ImagePositionPatient')} and "
                f"{named('ImageOrientationPatient')} the volume lies {_distance(direction, middle):.0f} mm beside the "
                "axis of the scanner, and in it only if a direction were turned round; ask the sender for intact "
                "headers."
            )


def _is_turned_round(direction: np.ndarray, extent: float, middle: Sequence[float]) -> bool:
    across = direction[:2]
    main = int(np.argmax(np.abs(direction)))
    if np.linalg.norm(across) < MOSTLY or main == 2 or extent < SMALLEST_FIELD_OF_VIEW_MM[main]:
        return False
    towards_first = float(np.dot(middle[:2], across) / np.dot(across, across)) / extent
    return NEAREST < towards_first < FARTHEST


def _distance(direction: np.ndarray, middle: Sequence[float]) -> float:
    across = direction[:2] / np.linalg.norm(direction[:2])
    return abs(float(np.dot(middle[:2], across)))
