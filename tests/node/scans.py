"""A small scan for the node's tests: a ball of water with a paramagnetic core, as a scanner's MR images."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_io.geometry import Geometry
from dicom_io.write.part10 import to_bytes
from dicom_io.write.scanner import Examination, scanner_series
from node.inbox import StoredInstance
from node.services import Services

ECHO_TIMES_S = (0.006, 0.018)
SHAPE = (16, 32, 32)
B0_TESLA = 3.0
# 2π · 42.577 MHz/T · 3 T · 1e-6 [rad/s per ppm]
RADIANS_PER_S_AND_PPM = 2 * np.pi * 42.577478518 * B0_TESLA


@dataclass(frozen=True)
class Scan:
    """Arrays `(echo, z, y, x)` and where they lie."""

    magnitude: np.ndarray
    phase: np.ndarray
    geometry: Geometry


def geometry(shape: tuple[int, int, int] = SHAPE) -> Geometry:
    """Return an axial grid of 2 mm voxels."""
    return Geometry(
        row_direction=(1.0, 0.0, 0.0),
        column_direction=(0.0, 1.0, 0.0),
        first_position=(-32.0, -32.0, -16.0),
        slice_step=(0.0, 0.0, 2.0),
        pixel_spacing=(2.0, 2.0),
        shape=shape,
        frame_of_reference_uid="2.25.77",
    )


def scan(seed: int = 0) -> Scan:
    """Return a ball of water whose core, 0.1 ppm more paramagnetic, makes a dipole field."""
    chance = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2) + 1e-6
    ball = radius < 7.5
    outside = 0.1 / 3 * (3.0 / radius) ** 3 * (3 * (z / radius) ** 2 - 1)
    field_ppm = np.where(radius < 3.0, 0.0, outside)
    times = np.array(ECHO_TIMES_S)[:, None, None, None]
    signal = ball * 1000.0 * np.exp(-20.0 * times) * np.exp(1j * (0.3 + RADIANS_PER_S_AND_PPM * field_ppm * times))
    noise = chance.normal(0, 8, (2, *signal.shape))
    signal = signal + noise[0] + 1j * noise[1]
    return Scan(np.abs(signal).astype(np.float32), np.angle(signal).astype(np.float32), geometry())


def instances(seed: str = "test", taken: Scan | None = None) -> list[Dataset]:
    """Return the scan as one series of MR images: 2 echoes × 16 slices × magnitude and phase."""
    taken = taken or scan()
    made = scanner_series(taken.magnitude, taken.phase, ECHO_TIMES_S, taken.geometry, B0_TESLA, Examination(seed=seed))
    # The images share their common elements; a test that changes one image must not change all.
    return [copy.deepcopy(image) for image in made]


def split(images: Iterable[Dataset]) -> tuple[list[Dataset], list[Dataset]]:
    """Return the same images as a magnitude series and a phase series, as several manufacturers send them."""
    halves: tuple[list[Dataset], list[Dataset]] = ([], [])
    for image in images:
        is_phase = "P" in image.ImageType
        image.SeriesInstanceUID = f"{image.SeriesInstanceUID[:50]}.{1 + is_phase}"
        if "ImagesInAcquisition" in image:
            del image.ImagesInAcquisition
        halves[is_phase].append(image)
    return halves


def write(folder: Path, images: Sequence[Dataset]) -> list[Path]:
    """Write images as files and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04d}.dcm" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(to_bytes(image))
    return paths


def store(services: Services, image: Dataset) -> StoredInstance:
    """Put an image into the inbox as the listener does."""
    plain = pydicom.dcmread(BytesIO(to_bytes(image)))
    del plain.file_meta
    # Over the network comes the dataset alone.
    plain.preamble = None
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, plain, implicit_vr=False, little_endian=True)
    return services.inbox.store(
        buffer.getvalue(),
        SOPClassUID=str(image.SOPClassUID),
        SOPInstanceUID=str(image.SOPInstanceUID),
        TransferSyntaxUID=str(ExplicitVRLittleEndian),
        calling_ae="SCANNER",
    )
