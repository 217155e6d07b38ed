"""The reader and dcm2niix, which share no code, find the same volumes: values, signs, order and orientation.

For the series in the golden data dcm2niix' own reference volumes are compared, which its authors looked at; the
simulated scanners' files are converted here by the real program.
"""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from dicom_io.geometry import Geometry
from dicom_io.read.grid import grid_of
from dicom_io.read.headers import FrameHeader, read_frame_headers
from dicom_io.read.pixels import decode
from dicom_io.read.reader import read_echo_series
from dicom_io.read.sorting import Slots, arrange
from dicom_io.series import Part
from dicom_io.write.scanners.table import FLAVOURS
from tests.dicom_io.write.test_scanners import sent, write

pytestmark = pytest.mark.golden
# What one unit of phase is in dcm2niix' output [rad], which is as the header rescales it, the sign included: GE's falls
# as the field grows.
PHASE_UNIT_RAD = {"siemens": np.pi / 4096, "united": np.pi / 4096, "ge": -1e-3, "philips": 1e-3, "canon": 1.0}
# Debian's version does not know Canon's words for real and imaginary, and stacks both as two points in time.
CONVERTED = tuple(flavour for flavour in FLAVOURS if flavour != "canon_real_and_imaginary")
PARTS = {"_ph": Part.PHASE, "_real": Part.REAL, "_imaginary": Part.IMAGINARY, "": Part.MAGNITUDE}
CLOSE = 2e-3
"""Of the brightest voxel: what a phase in steps of a milliradian may differ by, with room."""

Volumes = dict[tuple[Part, float], np.ndarray]


def on_grid(image: nibabel.Nifti1Image, geometry: Geometry) -> np.ndarray:
    """Return a NIfTI volume as `(z, y, x)` on a grid that has its voxels, in another order of axes."""
    from_grid = np.linalg.inv(image.affine) @ geometry.affine_ras
    steps = np.round(from_grid).astype(int)
    assert np.abs(from_grid - steps).max() < 5e-3
    assert (np.abs(steps[:3, :3]).sum(axis=0) == 1).all()
    z, y, x = np.indices(geometry.shape).reshape(3, -1)
    i, j, k = steps[:3] @ np.array([x, y, z, np.ones_like(x)])
    return np.asarray(image.dataobj, dtype=np.float64)[i, j, k].reshape(geometry.shape)


def converted(program: str, folder: Path, geometry: Geometry) -> Volumes:
    """Return what dcm2niix makes of a folder, by part and echo time [s], on the reader's grid."""
    made = folder.parent / "converted"
    made.mkdir()
    # Philips' values as displayed: its "precise" ones take the scale of the first slice for all.
    subprocess.run([program, "-p", "n", "-o", made, "-f", "%s", folder], check=True, capture_output=True)
    found: Volumes = {}
    for sidecar in made.glob("*.json"):
        ending = next(ending for ending in PARTS if sidecar.stem.endswith(ending))
        time = json.loads(sidecar.read_text(encoding="utf-8"))["EchoTime"]
        found[PARTS[ending], round(time, 6)] = on_grid(nibabel.load(sidecar.with_suffix(".nii")), geometry)
    return found


def comparable(volumes: Volumes, slots: Slots) -> Volumes:
    """Return the volumes with each slice divided by the manufacturer's own scale, which dcm2niix leaves alone."""
    times = [round(time / 1000, 6) for time in slots.echo_times_ms]
    return {
        (part, time): volume
        / np.array([slots.frames[part, times.index(time), z][0].values.gain for z in range(len(volume))])[:, None, None]
        for (part, time), volume in volumes.items()
    }


def require_same(found: np.ndarray, expected: np.ndarray) -> None:
    """Compare two images, complex or not, up to one positive factor."""
    factor = np.abs(expected).sum() / np.abs(found).sum()
    assert np.abs(factor * found - expected).max() < CLOSE * np.abs(expected).max()


@pytest.mark.parametrize("flavour", CONVERTED)
def test_every_simulated_series_reads_as_dcm2niix_converts_it(
    flavour: str, tmp_path: Path, program: Callable[[str], str]
) -> None:
    paths = write(tmp_path / "series", sent(flavour))
    series = read_echo_series(paths)
    slots = arrange([frame for path in paths for frame in read_frame_headers(path)])
    volumes = comparable(converted(program("dcm2niix"), tmp_path / "series", series.source.geometry), slots)
    unit = PHASE_UNIT_RAD[flavour.split("_")[0]]
    times = [round(time, 6) for time in series.source.echo_times_s]
    assert set(volumes) == {(part, time) for part in slots.parts for time in times}
    for time, magnitude, phase in zip(times, series.magnitude, series.phase.astype(float), strict=True):
        if (Part.MAGNITUDE, time) in volumes:
            require_same(volumes[Part.MAGNITUDE, time], magnitude)
        if (Part.PHASE, time) in volumes:
            require_same(magnitude * np.exp(1j * unit * volumes[Part.PHASE, time]), magnitude * np.exp(1j * phase))
        if (Part.REAL, time) in volumes:
            turned = volumes[Part.REAL, time] + 1j * np.sign(unit) * volumes[Part.IMAGINARY, time]
            # It passes GE's change of sign from slice to slice on; the reader takes it back.
            turned[1::2] *= -1 if flavour == "ge_alternating_slices" else 1
            require_same(turned, magnitude * np.exp(1j * phase))


def rescaled(frame: FrameHeader, objects: dict[str, np.ndarray]) -> np.ndarray:
    stored = objects[frame.sop_instance_uid][(frame.frame_number or 1) - 1].astype(np.float64)
    # The references hold Philips' "precise" values: of one slope everywhere here, so that they can be compared.
    return (stored * (frame.values.slope or 1.0) + (frame.values.intercept or 0.0)) / frame.values.gain


# Series that are refused as a map's input, but whose images must be found and placed all the same.
REFUSED = [
    ("siemens_prisma_ve11c_fieldmap_phantom", "2_magnitude", "Si_2_gre_field_magph_e1", Part.MAGNITUDE, 0),
    ("siemens_prisma_ve11c_fieldmap_phantom", "2_magnitude", "Si_2_gre_field_magph_e2", Part.MAGNITUDE, 1),
    ("siemens_prisma_ve11c_fieldmap_phantom", "3_phasediff", "Si_3_gre_field_magph_e2_ph", Part.PHASE_DIFFERENCE, 0),
    ("siemens_prisma_xa30_enhanced_fieldmap", "8_magnitude", "8_gre_field_mapping_e1", Part.MAGNITUDE, 0),
    ("siemens_prisma_xa30_enhanced_fieldmap", "8_magnitude", "8_gre_field_mapping_e2", Part.MAGNITUDE, 1),
    ("siemens_prisma_xa30_enhanced_fieldmap", "9_phasediff", "9_gre_field_mapping_e2_ph", Part.PHASE_DIFFERENCE, 0),
    ("direct_fieldmap_traps", "philips_achieva_530_b0", "Ph_801_WIP_B0_NS_e1", Part.MAGNITUDE, 0),
    ("direct_fieldmap_traps", "philips_achieva_530_b0", "Ph_801_WIP_B0_NS_e2_fieldmaphz", Part.FIELD_MAP, 0),
    ("direct_fieldmap_traps", "ge_architect_dv27_b0rf", "GE_6_CV_Neuro_HH_Adv", Part.FIELD_MAP, 0),
    ("direct_fieldmap_traps", "ge_architect_dv27_b0rf", "GE_6_CV_Neuro_HH_Adv_fieldmaphz", Part.FIELD_MAP, 0),
]


@pytest.mark.parametrize(("series", "folder", "name", "part", "echo"), REFUSED, ids=[entry[2] for entry in REFUSED])
def test_the_images_of_a_refused_series_lie_where_dcm2niix_has_them(
    series: str, folder: str, name: str, part: Part, echo: int, data_dir: Path
) -> None:
    headers = {path: read_frame_headers(path) for path in sorted((data_dir / series / folder).iterdir())}
    objects = {frames[0].sop_instance_uid: decode(path) for path, frames in headers.items()}
    slots = arrange([frame for frames in headers.values() for frame in frames if frame.part is part])
    geometry = grid_of(slots, {slot: held[0] for slot, held in slots.frames.items()}, part)
    reference = on_grid(nibabel.load(data_dir / series / "dcm2niix_ref" / f"{name}.nii"), geometry)
    # GE's magnitude and field map share every attribute that names a part, so that a slot holds one of each.
    candidates = [slots.frames[part, echo, index] for index in range(slots.n_slices)]
    assert {len(held) for held in candidates} == {2 if folder.startswith("ge") else 1}
    off = [
        min(np.abs(rescaled(frame, objects) - plane).max() for frame in held)
        for held, plane in zip(candidates, reference, strict=True)
    ]
    assert max(off) <= 1e-3 * np.abs(reference).max()
