"""The series whose headers are damaged on purpose: real ones cut to a few slices, and simulated ones."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_io.errors import DicomError
from dicom_io.geometry import Geometry
from dicom_io.instance import quietly
from dicom_io.read.headers import FrameHeader, read_frame_headers
from dicom_io.read.multiframe import IMAGES, MULTI_FRAME
from dicom_io.read.reader import read_source
from dicom_io.write.scanner import scanner_series
from dicom_io.write.scanners.scan import Scan
from dicom_io.write.scanners.table import FLAVOURS

SLICES = 3
SAME_PLACE_MM = 0.01
DECLARED_SLICES = (("Philips Imaging DD 001", 0x2001, 0x18), ("GEMS_RELA_01", 0x0021, 0x4F))
ECHO_TIMES_S = (0.004, 0.0085, 0.013)
FIELD_T = 3.0
SHAPE = (SLICES, 12, 10)


@dataclass(frozen=True)
class Subject:
    """A series before anything was done to it: its objects in the order of their files."""

    name: str
    objects: tuple[Dataset, ...]
    is_simulated: bool = False

    def headers(self, number: int) -> list[FrameHeader]:
        """Return the frames of one object, none where its header cannot be read."""
        try:
            return read_frame_headers(self.objects[number])
        except DicomError:
            return []


def encoded(dataset: Dataset) -> bytes:
    """Return the Part 10 file of an object."""
    stream = BytesIO()
    with quietly():
        dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def simulated_subjects() -> list[Subject]:
    """Return one small scan as every simulated scanner writes it."""
    scan = phantom_scan()
    written = {name: write(scan) for name, write in FLAVOURS.items()}
    written["simulated"] = scanner_series(scan.magnitude, scan.phase, scan.echo_times_s, scan.geometry, FIELD_T)
    return [Subject(name, tuple(map(with_file_meta, objects)), True) for name, objects in written.items()]


def phantom_scan() -> Scan:
    """Return the scan behind the simulated subjects."""
    geometry = oblique_grid()
    magnitude, phase = smooth_phantom(geometry)
    return Scan(
        magnitude=magnitude,
        phase=phase,
        echo_times_s=ECHO_TIMES_S,
        geometry=geometry,
        magnetic_field_strength_t=FIELD_T,
    )


def oblique_grid() -> Geometry:
    """Return an oblique, anisotropic grid of few voxels, as large as a head and around the isocentre."""
    cosine, sine = float(np.cos(np.deg2rad(20.0))), float(np.sin(np.deg2rad(20.0)))
    return Geometry(
        row_direction=(1.0, 0.0, 0.0),
        column_direction=(0.0, cosine, sine),
        first_position=(-100.5, -99.25, -42.0),
        slice_step=(0.0, round(-6.0 * sine, 9), round(6.0 * cosine, 9)),
        pixel_spacing=(18.0, 21.0),
        shape=SHAPE,
        frame_of_reference_uid="1.2.826.0.1.3680043.8.498.77",
    )


def smooth_phantom(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Return magnitude and phase [rad], growing with the field, `(echo, z, y, x)`; the phase fills ±π in each echo."""
    z, y, x = np.meshgrid(*(np.arange(n, dtype=float) for n in geometry.shape), indexing="ij")
    hertz = 40 * np.sin(0.9 * x) + 30 * y + 2 * z - 60
    times = np.array(ECHO_TIMES_S)[:, None, None, None]
    magnitude = (1000 + 70 * x + 10 * y + 25 * z) * np.exp(-times / 0.03)
    return magnitude, np.angle(np.exp(1j * (2 * np.pi * hertz * times + 0.3)))


def with_file_meta(dataset: Dataset) -> Dataset:
    """Return the object ready to be written as a file."""
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def real_subjects(folder: Path) -> list[Subject]:
    """Return every series of MR images below a folder, each cut to a few slices.

    A folder that holds files is one subject; where none of those below one folder can be read alone, all of them
    together are one more, because magnitude and phase difference are often kept apart.
    """
    found: list[Subject] = []
    for top in sorted(item for item in folder.iterdir() if item.is_dir()):
        leaves = sorted({path.parent for path in top.rglob("*")})
        series = [(leaf, objects) for leaf in leaves if (objects := _images(leaf))]
        found += [Subject(leaf.relative_to(folder).as_posix(), _cut(objects)) for leaf, objects in series]
        whole = [item for _, objects in series for item in objects]
        if len(series) > 1 and _is_one_study(whole) and not any(_is_readable(leaf) for leaf, _ in series):
            found.append(Subject(f"{top.name} (all)", _cut(whole)))
    return found


def _images(leaf: Path) -> list[Dataset]:
    objects = []
    for path in sorted(item for item in leaf.iterdir() if item.is_file() and _is_part_10(item)):
        try:
            with quietly():
                read_frame_headers(path)
                dataset = dcmread(path)
        except DicomError:
            continue
        if dataset.SOPClassUID in IMAGES and "PixelData" in dataset and _is_plain(dataset):
            objects.append(dataset)
    return objects


def _is_part_10(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _is_plain(dataset: Dataset) -> bool:
    return bool(dataset.get("Manufacturer")) and not dataset.file_meta.TransferSyntaxUID.is_compressed


def _is_one_study(objects: Sequence[Dataset]) -> bool:
    return len({item.get("StudyInstanceUID") for item in objects}) == 1


def _is_readable(leaf: Path) -> bool:
    try:
        read_source(sorted(item for item in leaf.iterdir() if item.is_file()))
    except DicomError:
        return False
    return True


def _cut(objects: Sequence[Dataset]) -> tuple[Dataset, ...]:
    """Return a few neighbouring slices of a series, with the numbers of slices that it declares put right."""
    frames = [frame for item in objects for frame in read_frame_headers(item)]
    normal = np.cross(frames[0].orientation[:3], frames[0].orientation[3:])
    places = sorted({round(float(np.dot(frame.position, normal)) / SAME_PLACE_MM) for frame in frames})
    start = max(0, (len(places) - SLICES) // 2)
    kept = set(places[start : start + SLICES])
    return tuple(item for dataset in objects for item in _cut_object(dataset, normal, kept))


def _cut_object(dataset: Dataset, normal: np.ndarray, kept: set[int]) -> Iterator[Dataset]:
    frames = read_frame_headers(dataset)
    inside = [round(float(np.dot(frame.position, normal)) / SAME_PLACE_MM) in kept for frame in frames]
    if not any(inside):
        return
    cut = copy.deepcopy(dataset)
    if dataset.SOPClassUID in MULTI_FRAME:
        size = len(dataset.PixelData) // len(frames)
        numbers = [number for number, is_inside in enumerate(inside) if is_inside]
        cut.PerFrameFunctionalGroupsSequence = [cut.PerFrameFunctionalGroupsSequence[number] for number in numbers]
        cut.PixelData = b"".join(dataset.PixelData[number * size : (number + 1) * size] for number in numbers)
        cut.NumberOfFrames = len(numbers)
    _declare(cut)
    yield with_file_meta(cut)


def _declare(dataset: Dataset) -> None:
    for creator, group, offset in DECLARED_SLICES:
        try:
            tag = dataset.private_block(group, creator).get_tag(offset)
        except KeyError:
            continue
        # A copy's block still leads to the elements of the original.
        if tag in dataset:
            dataset[tag].value = SLICES
