"""Where voxels lie in the patient: one regular grid of parallel slices, in DICOM's patient coordinates (LPS) [mm].

Arrays are always `(z, y, x)`: slices along the normal, rows, columns (PS3.3 C.7.6.2.1.1).
"""

from dataclasses import dataclass

import numpy as np

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Geometry:
    """The grid of one acquisition.

    `row_direction` and `column_direction` are the two halves of ImageOrientationPatient: the directions in which the
    column index and the row index grow. `first_position` is ImagePositionPatient of slice 0 [mm]. `slice_step` is
    the vector from one slice position to the next [mm]. `pixel_spacing` is PixelSpacing: between rows, between
    columns [mm].
    """

    row_direction: Vector
    column_direction: Vector
    first_position: Vector
    slice_step: Vector
    pixel_spacing: tuple[float, float]
    shape: tuple[int, int, int]
    frame_of_reference_uid: str

    @property
    def normal(self) -> np.ndarray:
        """Return the unit normal: row direction × column direction."""
        normal = np.cross(self.row_direction, self.column_direction)
        return normal / np.linalg.norm(normal)

    @property
    def voxel_size_mm(self) -> tuple[float, float, float]:
        """Return `(z, y, x)` voxel size [mm]; z is the distance between slice planes."""
        return float(abs(np.dot(self.normal, self.slice_step))), self.pixel_spacing[0], self.pixel_spacing[1]

    @property
    def b0_direction(self) -> tuple[float, float, float]:
        """Return the unit vector of B0, the patient's z axis, along the array axes `(z, y, x)`."""
        along_zyx = np.array([self.normal[2], self.column_direction[2], self.row_direction[2]])
        along_zyx = along_zyx / np.linalg.norm(along_zyx)
        return float(along_zyx[0]), float(along_zyx[1]), float(along_zyx[2])

    @property
    def affine_lps(self) -> np.ndarray:
        """Return the 4×4 matrix from voxel index `(x, y, z, 1)` to patient coordinates LPS [mm]."""
        affine = np.eye(4)
        affine[:3, 0] = np.asarray(self.row_direction) * self.pixel_spacing[1]
        affine[:3, 1] = np.asarray(self.column_direction) * self.pixel_spacing[0]
        affine[:3, 2] = self.slice_step
        affine[:3, 3] = self.first_position
        return affine

    @property
    def affine_ras(self) -> np.ndarray:
        """Return the 4×4 NIfTI matrix from voxel index `(x, y, z, 1)` to RAS+ [mm]."""
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ self.affine_lps

    def position(self, slice_index: int) -> Vector:
        """Return ImagePositionPatient [mm] of slice `slice_index`."""
        x, y, z = np.asarray(self.first_position) + slice_index * np.asarray(self.slice_step)
        return float(x), float(y), float(z)
