"""The label map whose regions are measured: used only where its voxels coincide with those of the series."""

from pathlib import Path

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError

from dicom_io.geometry import Geometry
from node.errors import InvalidSettings

# A corner of the volume may lie this far [mm] from where the series has it: rounding of DICOM's decimal strings.
TOLERANCE_MM = 0.1


def labels_on_grid(path: Path, geometry: Geometry) -> tuple[np.ndarray | None, str]:
    """Return the label map as int `(z, y, x)` on the series' grid, or None, and a sentence that says which.

    A map on another grid belongs to another head position or another patient, so it is never resampled here.

    Raises
    ------
    InvalidSettings
        The file is no NIfTI label map.
    """
    try:
        image = nibabel.load(path)
        labels = np.asanyarray(image.dataobj)
    except (OSError, ImageFileError, ValueError) as error:
        raise InvalidSettings(f"[regions] label_map: {path} cannot be read as NIfTI ({error}).") from error
    if labels.ndim != 3 or not np.array_equal(labels, np.rint(labels)):
        raise InvalidSettings(f"[regions] label_map: {path} is no label map: it needs three axes and whole numbers.")
    if labels.shape != geometry.shape[::-1] or not _coincides(np.asarray(image.affine), geometry):
        return None, "The label map lies on another grid than this series; no regions were measured."
    return np.ascontiguousarray(labels.T.astype(np.int32)), f"Regions were taken from the label map {path.name}."


def _coincides(affine: np.ndarray, geometry: Geometry) -> bool:
    nz, ny, nx = geometry.shape
    corners = np.array([[x, y, z, 1] for x in (0, nx - 1) for y in (0, ny - 1) for z in (0, nz - 1)], dtype=float).T
    distance = np.linalg.norm(((affine - geometry.affine_ras) @ corners)[:3], axis=0)
    return bool(distance.max() <= TOLERANCE_MM)
