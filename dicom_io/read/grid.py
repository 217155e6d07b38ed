"""The regular grid on which an acquisition's slices lie, or the reason why they lie on none."""

from collections.abc import Mapping

import numpy as np

from dicom_io.errors import GeometryUnusable, MissingAttribute
from dicom_io.geometry import Geometry
from dicom_io.instance import named
from dicom_io.read.headers import FrameHeader
from dicom_io.read.sorting import Slot, Slots, slice_indices
from dicom_io.series import Part

SMALLEST_MM, LARGEST_MM = 0.02, 30.0


def grid_of(slots: Slots, chosen: Mapping[Slot, FrameHeader], part: Part) -> Geometry:
    """Return the grid of an acquisition whose every slot holds one frame.

    Raises
    ------
    GeometryUnusable
        There is one slice only, or the slices form no regular grid.
    MissingAttribute
        The frame of reference is not named.
    """
    if slots.n_slices < 2:
        raise GeometryUnusable("There is one slice only; susceptibility needs a volume: send all slices.")
    _require_aligned(slots, chosen)
    column = [chosen[part, 0, index] for index in range(slots.n_slices)]
    first = column[0]
    start, end = np.array(first.position), np.array(column[-1].position)
    step = (end - start) / (slots.n_slices - 1)
    if not first.frame_of_reference_uid:
        raise MissingAttribute(
            f"{named('FrameOfReferenceUID')} is absent, so a map could not be laid over its source; "
            "ask the sender for complete headers."
        )
    _require_plausible(step, first)
    return Geometry(
        row_direction=first.orientation[:3],
        column_direction=first.orientation[3:],
        first_position=first.position,
        # Rounded, because the order of arrival must not reach the map even in its last bit.
        slice_step=(round(float(step[0]), 9), round(float(step[1]), 9), round(float(step[2]), 9)),
        pixel_spacing=first.pixel_spacing,
        shape=(slots.n_slices, first.rows, first.columns),
        frame_of_reference_uid=first.frame_of_reference_uid,
    )


def _require_plausible(step: np.ndarray, frame: FrameHeader) -> None:
    """Refuse voxels that no scanner makes, as from metres or micrometres written for millimetres."""
    edges = [("ImagePositionPatient", float(np.linalg.norm(step)))]
    edges += [("PixelSpacing", edge) for edge in frame.pixel_spacing]
    for keyword, edge in edges:
        if not SMALLEST_MM < edge < LARGEST_MM:
            raise GeometryUnusable(
                f"By {named(keyword)} a voxel measures {edge:.3g} mm, which no scan has; "
                "ask the sender for intact headers."
            )


def _require_aligned(slots: Slots, chosen: Mapping[Slot, FrameHeader]) -> None:
    """Refuse slices that are shifted within their plane: they would form a sheared grid, not a volume."""
    frames = list(chosen.values())
    indices, _ = slice_indices(frames)
    positions = np.array([frame.position for frame in frames])
    first, last = positions[indices.index(0)], positions[indices.index(slots.n_slices - 1)]
    expected = first + np.outer(indices, (last - first) / (slots.n_slices - 1))
    row, column = np.array(frames[0].orientation[:3]), np.array(frames[0].orientation[3:])
    tolerance = 0.05 * min(frames[0].pixel_spacing)
    in_plane = (last - first) - ((last - first) @ np.cross(row, column)) * np.cross(row, column)
    if np.linalg.norm(positions - expected, axis=1).max() > tolerance or np.linalg.norm(in_plane) > 10 * tolerance:
        raise GeometryUnusable(
            f"{named('ImagePositionPatient')} does not run along the normal of the slices in even steps, so they form "
            "no regular grid; send the images as acquired, without tilt or reformatting."
        )
