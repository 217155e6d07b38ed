"""How fast a series is read, beside pydicom decoding the same pixels, in one run and in turns."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.dataelem import DataElement
from pydicom.uid import RLELossless

from dicom_io.read.reader import read_echo_series
from dicom_io.write.scanners.scan import Scan
from dicom_io.write.scanners.table import FLAVOURS
from node.reading_study.subjects import encoded, oblique_grid, with_file_meta

# Files of few objects are read within milliseconds, so that more turns cost nothing and one disturbance less.
TURNS, TURNS_OF_FEW, FEW = 3, 9, 20
N_SLICES = 64
TIMES_S = (0.004, 0.008, 0.012, 0.016, 0.02)
MATRIX = (192, 192)
STATED, OPEN, RUN_LENGTH = "lengths stated", "lengths left open", "RLE"
# Scanners leave the lengths of sequences open, pydicom states them; in classic images there are hardly any.
TIMED: Mapping[str, tuple[str, ...]] = {
    "siemens_classic": (STATED, RUN_LENGTH),
    "philips_classic": (STATED,),
    "philips_enhanced": (STATED, OPEN, RUN_LENGTH),
    "siemens_enhanced": (STATED, OPEN),
}


@dataclass(frozen=True)
class Reading:
    """The best time [s] of both readers over a few turns."""

    flavour: str
    form: str
    n_objects: int
    n_frames: int
    pydicom_s: float
    lodestone_s: float

    @property
    def ratio(self) -> float:
        """How much longer reading an acquisition takes than decoding its pixels."""
        return self.lodestone_s / self.pydicom_s


def time_readings(folder: Path, timed: Mapping[str, Sequence[str]] = TIMED) -> Iterator[Reading]:
    """Write 640 images of 192 × 192 as some flavours in some forms, and yield the times of both readers."""
    for flavour, forms in timed.items():
        objects = [encoded(with_file_meta(item)) for item in FLAVOURS[flavour](_noise())]
        for form in forms:
            yield _reading(flavour, form, [_FORMS[form](item) for item in objects], folder / flavour / form)


def _reading(flavour: str, form: str, contents: Sequence[bytes], folder: Path) -> Reading:
    folder.mkdir(parents=True)
    paths = [folder / f"{number:04d}.dcm" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    n_frames = sum(int(dcmread(path, stop_before_pixels=True).get("NumberOfFrames", 1)) for path in paths)
    best = np.full(2, np.inf)
    for _ in range(TURNS if len(paths) > FEW else TURNS_OF_FEW):
        best = np.minimum(best, (_seconds(paths, decode_with_pydicom), _seconds(paths, read_echo_series)))
    return Reading(flavour, form, len(paths), n_frames, float(best[0]), float(best[1]))


def _with_open_lengths(content: bytes) -> bytes:
    dataset = dcmread(BytesIO(content))
    dataset.walk(_leave_open)
    return encoded(dataset)


def _leave_open(dataset: Dataset, element: DataElement) -> None:
    if element.VR == "SQ":
        element.is_undefined_length = True
        for item in element.value:
            item.is_undefined_length_sequence_item = True


def _run_length_encoded(content: bytes) -> bytes:
    dataset = dcmread(BytesIO(content))
    dataset.compress(RLELossless, generate_instance_uid=False)
    return encoded(dataset)


_FORMS: Mapping[str, Callable[[bytes], bytes]] = {
    STATED: bytes,
    OPEN: _with_open_lengths,
    RUN_LENGTH: _run_length_encoded,
}


def decode_with_pydicom(paths: Sequence[Path]) -> None:
    """Decode every pixel with pydicom, one object after the other, and understand nothing."""
    for path in paths:
        _ = dcmread(path).pixel_array


def _seconds(paths: Sequence[Path], read: object) -> float:
    began = time.perf_counter()
    read(paths)  # type: ignore[operator]
    return time.perf_counter() - began


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
