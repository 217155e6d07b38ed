"""How fast a series is read, beside pydicom decoding the same pixels, in one run and in turns."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread

from dicom_io.read.reader import read_echo_series
from dicom_io.write.scanners.scan import Scan
from dicom_io.write.scanners.table import FLAVOURS
from node.reading_study.subjects import encoded, oblique_grid, with_file_meta

TURNS = 3
N_SLICES = 64
TIMES_S = (0.004, 0.008, 0.012, 0.016, 0.02)
MATRIX = (192, 192)
TIMED = ("siemens_classic", "philips_classic", "philips_enhanced")


@dataclass(frozen=True)
class Reading:
    """The best time [s] of both readers over a few turns."""

    flavour: str
    n_objects: int
    n_frames: int
    pydicom_s: float
    lodestone_s: float

    @property
    def ratio(self) -> float:
        """How much longer reading an acquisition takes than decoding its pixels."""
        return self.lodestone_s / self.pydicom_s


def time_reading(flavour: str, folder: Path) -> Reading:
    """Write 640 images of 192 × 192 as one flavour and time both readers."""
    folder.mkdir(parents=True)
    objects = [with_file_meta(item) for item in FLAVOURS[flavour](_noise())]
    paths = [folder / f"{number:04d}.dcm" for number in range(len(objects))]
    for path, dataset in zip(paths, objects, strict=True):
        path.write_bytes(encoded(dataset))
    n_frames = sum(_n_frames(item) for item in objects)
    del objects
    best = np.full(2, np.inf)
    for _ in range(TURNS):
        best = np.minimum(best, (_seconds(paths, decode_with_pydicom), _seconds(paths, read_echo_series)))
    return Reading(flavour, len(paths), n_frames, float(best[0]), float(best[1]))


def decode_with_pydicom(paths: Sequence[Path]) -> None:
    """Decode every pixel with pydicom, one object after the other, and understand nothing."""
    for path in paths:
        _ = dcmread(path).pixel_array


def _seconds(paths: Sequence[Path], read: object) -> float:
    began = time.perf_counter()
    read(paths)  # type: ignore[operator]
    return time.perf_counter() - began


def _n_frames(dataset: Dataset) -> int:
    return int(dataset.get("NumberOfFrames", 1))


def _noise() -> Scan:
    generator = np.random.default_rng(1)
    geometry = replace(oblique_grid(), shape=(N_SLICES, *MATRIX))
    shape = (len(TIMES_S), *geometry.shape)
    return Scan(
        magnitude=generator.uniform(500, 1000, shape).astype(np.float32),
        phase=generator.uniform(-np.pi, np.pi, shape).astype(np.float32),
        echo_times_s=TIMES_S,
        geometry=geometry,
        magnetic_field_strength_t=3.0,
    )
