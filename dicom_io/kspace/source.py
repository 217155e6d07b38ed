"""Where the voxels of a raw scan will lie, and what derived objects need to know of it, as if its images had come."""

from collections.abc import Sequence

import numpy as np
from pydicom import Dataset
from pydicom.valuerep import format_number_as_ds

from dicom_io.errors import RawHeaderUnusable
from dicom_io.geometry import Geometry, Vector
from dicom_io.kspace.scan import RawScan, imaging_readouts
from dicom_io.series import SourceFrame, SourceSeries

PHASE_SCALING = "the angle of complex images that Lodestone reconstructed from k-space"
_TOLERANCE = 1e-3
_FARTHEST_MM = 10_000.0


def is_mirrored(scan: RawScan) -> bool:
    """Say whether read, phase and slice directions are left-handed, so that images must be reversed along z.

    DICOM's slices are ordered along the normal of rows and columns or against it, and a map's z axis is that normal.
    """
    read, phase, normal = _directions(scan)
    return bool(np.dot(np.cross(read, phase), normal) < 0)


def geometry_of(scan: RawScan, shape: Sequence[int], frame_of_reference_uid: str) -> Geometry:
    """Return the grid of images of `shape` `(z, y, x)` with the encoded voxels, reversed along z where `is_mirrored`.

    ISMRMRD's position is where index `size // 2` of every axis lies.

    Raises
    ------
    RawHeaderUnusable
        The directions are not perpendicular unit vectors, or the position cannot be.
    """
    read, phase, normal = _directions(scan)
    nz, ny, nx = shape
    dz, dy, dx = scan.header.encoded.voxel_size_mm
    imaging = imaging_readouts(scan)
    slices = np.unique(scan.slice[imaging])
    if len(slices) > 1:
        nz, positions = len(slices), _positions(scan, slices)
        along = positions @ normal
        centre = positions[np.argsort(along)[nz // 2]]
        dz = float(np.ptp(along)) / (nz - 1)
    else:
        centre = scan.heads["position"][imaging[0]].astype(float)
    if not np.abs(centre).max() <= _FARTHEST_MM:
        raise RawHeaderUnusable(
            "The readouts state a position that cannot be in a scanner, so nobody knows where the image lies; send the "
            "scan with its geometry."
        )
    step = normal * dz
    first = centre - read * dx * (nx // 2) - phase * dy * (ny // 2) - step * (nz // 2)
    if is_mirrored(scan):
        first, step = first + step * (nz - 1), -step
    return Geometry(
        _vector(read), _vector(phase), _vector(first), _vector(step), (dy, dx), (nz, ny, nx), frame_of_reference_uid
    )


def source_of(scan: RawScan, template: Dataset, geometry: Geometry) -> SourceSeries:
    """Return what derived objects need to know of a raw scan.

    Parameters
    ----------
    scan
        The scan.
    template
        The Raw Data object that stands for it.
    geometry
        The grid of its images.
    """
    header = scan.header
    described = Dataset()
    described.update({element.tag: element for element in template if not element.tag.is_private})
    if header.repetition_times_s:
        described.RepetitionTime = format_number_as_ds(1000 * header.repetition_times_s[0])
    if header.flip_angles_deg:
        described.FlipAngle = format_number_as_ds(header.flip_angles_deg[0])
    described.MagneticFieldStrength = format_number_as_ds(round(header.field_strength_t, 6))
    described.MRAcquisitionType = "3D" if header.encoded.shape[0] > 1 else "2D"
    described.ScanningSequence = ["EP", "GR"] if header.trajectory == "epi" else "GR"
    frame = SourceFrame(str(template.SOPClassUID), str(template.SOPInstanceUID), None, str(template.SeriesInstanceUID))
    return SourceSeries(
        geometry=geometry,
        echo_times_s=header.echo_times_s,
        magnetic_field_strength_t=header.field_strength_t,
        vendor=header.vendor or "unknown",
        template=described,
        frames=((frame,),) * geometry.shape[0],
        phase_scaling=PHASE_SCALING,
        is_enhanced=False,
        notes=scan.notes,
    )


def _directions(scan: RawScan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    head = scan.heads[imaging_readouts(scan)[0]]
    axes = np.array([head["read_dir"], head["phase_dir"], head["slice_dir"]], float)
    if not np.allclose(axes @ axes.T, np.eye(3), atol=_TOLERANCE):
        raise RawHeaderUnusable(
            "The readouts state read, phase and slice directions that are no perpendicular unit vectors, so nobody "
            "knows where the image lies; send the scan with its geometry."
        )
    # Single precision leaves errors that DICOM's validators notice.
    read = axes[0] / np.linalg.norm(axes[0])
    phase = axes[1] - read * (read @ axes[1])
    phase /= np.linalg.norm(phase)
    normal = np.cross(read, phase)
    return read, phase, normal if normal @ axes[2] > 0 else -normal


def _positions(scan: RawScan, slices: np.ndarray) -> np.ndarray:
    imaging = imaging_readouts(scan)
    numbers = scan.slice[imaging]
    return np.array([scan.heads["position"][imaging[numbers == one][0]] for one in slices], float)


def _vector(numbers: np.ndarray) -> Vector:
    x, y, z = (round(float(number), 9) + 0.0 for number in numbers)
    return x, y, z
