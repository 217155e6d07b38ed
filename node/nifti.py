"""NIfTI files ⇄ arrays `(echo, z, y, x)`: the grid, the direction of B0, and how stored phase becomes radians.

A NIfTI file has axes `(x, y, z, echo)` and an affine to RAS+ [mm]; arrays here are its transpose, so a map goes back
with the affine it came with. NIfTI states no unit for phase. It is taken from the file's own numbers only where they
follow one of the conventions that scanners and converters write; anything else is refused, never stretched to fit.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError

from dicom_io.errors import NotFiniteValues, PhaseScaleUnknown
from pipeline.errors import UnusableInput
from pipeline.grid import Grid

ROUNDING = 1e-3
SHEAR_TOLERANCE = 1e-2
AFFINE_TOLERANCE_MM = 1e-2


@dataclass(frozen=True)
class Volume:
    """One or more volumes on one grid: `values` as the header scales them, `stored` as they lie in the file."""

    path: Path
    values: np.ndarray
    stored: np.ndarray
    affine: np.ndarray

    @property
    def n_echoes(self) -> int:
        """Return how many 3-D volumes there are."""
        return int(self.values.shape[0])


def read_volume(path: Path, most_axes: int = 4) -> Volume:
    """Read a 3-D or 4-D NIfTI file as `(echo, z, y, x)`; where five axes are allowed, echo by echo, coil by coil.

    A file `(x, y, z, echo, coil)` becomes `(echo · coil, z, y, x)` with the coils of one echo together.

    Raises
    ------
    UnusableInput
        The file cannot be read as NIfTI, or has fewer than three axes or more than `most_axes`.
    NotFiniteValues
        A voxel is NaN or infinite; the sentence names the first.
    """
    try:
        image = nibabel.load(path)
        stored = np.asanyarray(image.dataobj.get_unscaled())
        values = np.asanyarray(image.dataobj, dtype=np.float32)
    except (OSError, ImageFileError, EOFError, ValueError, AttributeError) as error:
        raise UnusableInput(f"{path} cannot be read as NIfTI: {error}.") from error
    if stored.dtype.kind not in "iufb":
        raise UnusableInput(f"{path} holds values of type {stored.dtype}; real numbers are needed.")
    if most_axes == 5 and stored.ndim == 5:
        stored, values = (array.swapaxes(3, 4).reshape(*array.shape[:3], -1, order="F") for array in (stored, values))
    stored, values = _echo_zyx(path, stored), _echo_zyx(path, values)
    _check_finite(path, values)
    return Volume(path, values, stored, np.asarray(image.affine, dtype=float))


def read_stack(paths: Sequence[Path], most_axes: int = 4) -> list[Volume]:
    """Read one file with all echoes or one file per echo, all on the same grid.

    Raises
    ------
    UnusableInput
        The files' shapes or affines differ; the sentence names both files.
    """
    volumes = [read_volume(path, most_axes) for path in paths]
    for volume in volumes[1:]:
        check_same_grid(volumes[0], volume)
    return volumes


def check_same_grid(first: Volume, second: Volume) -> None:
    """Refuse two files whose voxels do not coincide."""
    if first.values.shape[1:] != second.values.shape[1:]:
        raise UnusableInput(
            f"{first.path} has {_xyz(first)} voxels and {second.path} has {_xyz(second)}; they must be on one grid."
        )
    if not np.allclose(first.affine, second.affine, atol=AFFINE_TOLERANCE_MM):
        raise UnusableInput(
            f"{first.path} and {second.path} lie at different places (their affines differ by up to "
            f"{np.abs(first.affine - second.affine).max():.3g} mm); resample one onto the other."
        )


def grid_of(volume: Volume, b0_direction_xyz: Sequence[float] | None = None) -> Grid:
    """Return the grid of a volume; B0 runs along the scanner's z axis unless `b0_direction_xyz` (voxel axes) is given.

    Raises
    ------
    UnusableInput
        The affine is sheared or singular, or the given direction has no length.
    """
    matrix = volume.affine[:3, :3]
    size_xyz = np.linalg.norm(matrix, axis=0)
    if size_xyz.min() <= 0 or not np.isfinite(matrix).all():
        raise UnusableInput(f"The affine of {volume.path} is singular; set it to the scanner's geometry.")
    axes = matrix / size_xyz
    if np.abs(axes.T @ axes - np.eye(3)).max() > SHEAR_TOLERANCE:
        raise UnusableInput(f"The axes of {volume.path} are not perpendicular; resample it to a regular grid.")
    direction = unit_zyx(axes[2] if b0_direction_xyz is None else b0_direction_xyz)
    nz, ny, nx = volume.values.shape[1:]
    return Grid((nz, ny, nx), (float(size_xyz[2]), float(size_xyz[1]), float(size_xyz[0])), direction)


def unit_zyx(direction_xyz: Sequence[float]) -> tuple[float, float, float]:
    """Return a direction in voxel axes as the unit vector `(z, y, x)`.

    Raises
    ------
    UnusableInput
        It has no length, or a part that is not finite.
    """
    direction = np.asarray(direction_xyz, dtype=float)
    length = float(np.linalg.norm(direction))
    if not (math.isfinite(length) and length > 0):
        raise UnusableInput("The direction of B0 has no length; give three numbers such as 0 0 1.")
    x, y, z = (float(component) / length for component in direction)
    return z, y, x


def phase_in_radians(volumes: Sequence[Volume], radians_per_unit: float | None = None) -> tuple[np.ndarray, str]:
    """Return the phase [rad] in ±π of shape `(echo, z, y, x)`, and a sentence that says how it was scaled.

    The range is judged over all files together: one echo alone may happen not to wrap.

    Raises
    ------
    PhaseScaleUnknown
        The numbers follow no known convention, or `radians_per_unit` takes them beyond ±π.
    """
    values = np.concatenate([volume.values for volume in volumes])
    if radians_per_unit is not None:
        return _wrapped(values * np.float32(radians_per_unit), "given --phase-scale"), (
            f"Phase values were multiplied by the given {radians_per_unit:g} rad."
        )
    stored = np.concatenate([volume.stored for volume in volumes])
    # Radians are looked for first in both, so that a header slope meant for something else cannot rename them.
    for numbers, origin in ((values, "header-scaled"), (stored, "stored, header slope ignored")):
        if _spans(numbers, -math.pi, math.pi):
            return _inside(numbers), f"Phase values ({origin}) span ±π: taken as radians."
        if _spans(numbers, 0.0, 2 * math.pi):
            return _wrapped(numbers, origin), f"Phase values ({origin}) span 0 to 2π: taken as radians."
    for numbers, origin in ((values, "header-scaled"), (stored, "stored, header slope ignored")):
        for lowest, highest, zero, units_per_pi, words in _CONVENTIONS:
            if _spans(numbers, lowest, highest):
                radians = (numbers.astype(np.float32) - np.float32(zero)) * np.float32(math.pi / units_per_pi)
                return _inside(radians), f"Phase values ({origin}) span {words}."
    low, high = float(values.min()), float(values.max())
    raise PhaseScaleUnknown(
        f"{volumes[0].path}: phase values run from {low:.6g} to {high:.6g}, which is neither ±π, 0 to 2π, ±4096, "
        "0 to 4095 nor ±3142; say how many radians one unit is with --phase-scale."
    )


# Lowest and highest value, the value of zero phase, units per π, and the words for the summary.
_CONVENTIONS = (
    (-4096.0, 4095.0, 0.0, 4096.0, "-4096 to 4095 (Siemens after rescaling): π is 4096"),
    (0.0, 4095.0, 2048.0, 2048.0, "0 to 4095 (Siemens, 12 bits as stored): π is 2048 above 2048"),
    (-math.pi * 1000, math.pi * 1000, 0.0, math.pi * 1000, "±3142 (Philips): taken as milliradians"),
)


def _spans(numbers: np.ndarray, lowest: float, highest: float) -> bool:
    """Say whether wrapped noise fills the whole interval and nothing lies outside it."""
    tolerance = ROUNDING * (highest - lowest) / 2
    low, high = float(numbers.min()), float(numbers.max())
    reach = 0.02 * (highest - lowest)
    return lowest - tolerance <= low <= lowest + reach and highest - reach <= high <= highest + tolerance


def _inside(radians: np.ndarray) -> np.ndarray:
    return np.clip(radians, -np.pi, np.pi).astype(np.float32)


def _wrapped(radians: np.ndarray, origin: str) -> np.ndarray:
    low, high = float(radians.min()), float(radians.max())
    limit = math.pi * (1 + ROUNDING)
    if low < -limit or high > 2 * limit or (low < -ROUNDING and high > limit):
        raise PhaseScaleUnknown(f"Phase values ({origin}) run from {low:.4g} to {high:.4g} rad, beyond one turn.")
    return _inside(np.where(radians > np.pi, radians - 2 * np.pi, radians))


def write_volume(path: Path, array: np.ndarray, affine: np.ndarray, description: str) -> None:
    """Write `(z, y, x)` or `(echo, z, y, x)` as NIfTI-1 with units [mm], slope 1; bool becomes uint8.

    The bytes depend on the array and the affine alone: gzip's time stamp is left out by nibabel.
    """
    stored = array.astype(np.uint8) if array.dtype == bool else array.astype(np.float32)
    image = nibabel.Nifti1Image(np.ascontiguousarray(stored.T), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    image.header["descrip"] = description.encode("ascii", "replace")[:79]
    nibabel.save(image, path)


def sidecar(path: Path) -> dict[str, Any]:
    """Return what the BIDS JSON beside a NIfTI file says, or nothing where there is none."""
    name = path.name.removesuffix(".gz").removesuffix(".nii")
    try:
        content = json.loads((path.parent / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _echo_zyx(path: Path, array: np.ndarray) -> np.ndarray:
    while array.ndim > 4 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4:
        raise UnusableInput(f"{path} has {array.ndim} axes; three, or four with echoes last, are needed.")
    return np.ascontiguousarray(array.T)


def _check_finite(path: Path, values: np.ndarray) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        echo, z, y, x = (int(index) for index in np.argwhere(~finite)[0])
        raise NotFiniteValues(
            f"{path} holds {int((~finite).sum())} values that are NaN or infinite, the first at voxel ({x}, {y}, {z}) "
            f"of volume {echo + 1}; set them to 0, or export the file again."
        )


def _xyz(volume: Volume) -> str:
    return "×".join(str(length) for length in reversed(volume.values.shape[1:]))
