"""What the viewers are shown: a map with known values at known places in the patient, and all objects made of it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
from pydicom import Dataset

from dicom_io.geometry import Geometry
from dicom_io.read.reader import read_source
from dicom_io.series import SourceSeries
from dicom_io.write.mr_image import susceptibility_series
from dicom_io.write.part10 import to_bytes
from dicom_io.write.provenance import RunDescription
from dicom_io.write.report import RegionValues, measurement_report
from dicom_io.write.scanner import Examination, scanner_series
from dicom_io.write.segmentation import segmentation, segments

# LPS [mm]: 22.5 mm to the patient's left, 14 mm in front of the origin, 9.75 mm towards the feet.
MARKER_LPS = (22.5, -14.0, -9.75)
MARKER_INDEX = (7, 41, 66)
MARKER_PPB = 3000
SHAPE = (18, 96, 112)
ECHO_TIMES_S = (0.006, 0.012)
Place = tuple[float, float, float]
NAMES = {
    1: "left putamen",
    2: "right putamen",
    3: "left globus pallidus",
    4: "right globus pallidus",
    5: "left thalamus",
}
# Centre (z, y, x) and mean [ppb] of each region; the patient's left is where x grows.
_REGIONS = {
    1: ((9, 44, 76), 62.0),
    2: ((9, 44, 36), 58.0),
    3: ((9, 50, 67), 131.0),
    4: ((9, 50, 45), 127.0),
    5: ((10, 58, 63), -21.0),
}
_RADII = (2.3, 6.4, 3.8)


def oblique_geometry() -> Geometry:
    """Return a grid tilted about two axes, with three different voxel edges, whose marker voxel lies at MARKER_LPS."""
    tilt, turn = np.deg2rad(17.0), np.deg2rad(-6.0)
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    row, column, normal = (about_z @ about_x).T
    steps = np.stack([2.0 * normal, 1.25 * column, 1.0 * row])
    first = np.asarray(MARKER_LPS) - np.asarray(MARKER_INDEX) @ steps
    return Geometry(
        row_direction=tuple(map(float, row)),
        column_direction=tuple(map(float, column)),
        first_position=tuple(map(float, first)),
        slice_step=tuple(map(float, steps[0])),
        pixel_spacing=(1.25, 1.0),
        shape=SHAPE,
        frame_of_reference_uid="2.25.20261121",
    )


@dataclass(frozen=True)
class Shown:
    """The map that is shown [ppb], the regions drawn on it, and the series they were made for."""

    susceptibility_ppb: np.ndarray
    labels: np.ndarray
    mask: np.ndarray
    source: SourceSeries
    scanner_images: list[Dataset]
    run: RunDescription

    @cached_property
    def images(self) -> list[Dataset]:
        """Return the primary series."""
        return susceptibility_series(self.susceptibility_ppb, self.source, self.run)

    @cached_property
    def segmentation(self) -> Dataset:
        """Return brain mask and regions."""
        return segmentation(self.mask, self.labels, NAMES, self.images, self.source, self.run)

    @cached_property
    def region_values(self) -> list[RegionValues]:
        """Return what is measured in the regions of the stored map."""
        stored = self.stored_ppb
        voxel_ml = float(np.prod(self.source.geometry.voxel_size_mm)) / 1000
        return [
            RegionValues(
                item.name,
                float(stored[self.labels == item.label].mean()),
                float(stored[self.labels == item.label].std()),
                float(np.median(stored[self.labels == item.label])),
                voxel_ml * int((self.labels == item.label).sum()),
                item.number,
            )
            for item in segments(self.labels, NAMES)
            if item.label
        ]

    @property
    def stored_ppb(self) -> np.ndarray:
        """Return the integer map that a viewer must show, `(z, y, x)` [ppb]."""
        return np.rint(self.susceptibility_ppb).astype(int)

    @cached_property
    def report(self) -> Dataset:
        """Return the segment-referenced report."""
        quality = {"mask_volume_ml": 1200.0, "field_noise_median_ppb": 3.2}
        return measurement_report(self.region_values, self.segmentation, self.images, self.source, self.run, quality)

    @property
    def objects(self) -> list[Dataset]:
        """Return everything that a run delivers."""
        return [*self.images, self.segmentation, self.report]

    def place(self, index: tuple[float, float, float]) -> Place:
        """Return where in the patient (LPS) [mm] a voxel `(z, y, x)` lies."""
        z, y, x = index
        right, back, up = (self.source.geometry.affine_lps @ [x, y, z, 1.0])[:3]
        return float(right), float(back), float(up)

    def region_index(self, label: int) -> tuple[int, int, int]:
        """Return the centre voxel `(z, y, x)` of a region."""
        return _REGIONS[label][0]


def shown_objects(folder: Path) -> Shown:
    """Make the scanner's series in `folder`, read it as the node does, and make the map on its grid."""
    geometry = oblique_geometry()
    susceptibility, labels, mask = _head()
    magnitude = np.stack([mask * (3000.0 - 500 * echo) + 2 * susceptibility.clip(-200, 200) for echo in range(2)])
    phase = np.stack([np.angle(np.exp(1j * susceptibility * 0.01 * (echo + 1))) for echo in range(2)])
    examination = Examination(seed="viewers", patient_name="Viewers^Seen^By", patient_id="VIEWERS-1")
    sent = scanner_series(magnitude.clip(0), phase, ECHO_TIMES_S, geometry, 3.0, examination)
    folder.mkdir(parents=True, exist_ok=True)
    paths = write_files(sent, folder)
    return Shown(susceptibility, labels, mask, read_source(paths), sent, _run())


def write_files(objects: list[Dataset], folder: Path) -> list[Path]:
    """Write each object into a file of its own."""
    paths = [folder / f"{number:04d}.dcm" for number in range(len(objects))]
    for path, one in zip(paths, objects, strict=True):
        path.write_bytes(to_bytes(one))
    return paths


def _head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return map [ppb], labels and brain mask; no two neighbours of the map have the same value."""
    z, y, x = np.indices(SHAPE)
    mask = ((z - 8.5) / 8.0) ** 2 + ((y - 48) / 40.0) ** 2 + ((x - 56) / 46.0) ** 2 <= 1.0
    texture = np.random.default_rng(5).normal(0.0, 9.0, SHAPE)
    susceptibility = 15.0 * np.sin(x / 7.0) * np.cos(y / 9.0) + texture
    labels = np.zeros(SHAPE, np.int16)
    for label, ((cz, cy, cx), mean) in _REGIONS.items():
        radii = _RADII
        inside = ((z - cz) / radii[0]) ** 2 + ((y - cy) / radii[1]) ** 2 + ((x - cx) / radii[2]) ** 2 <= 1.0
        labels[inside] = label
        susceptibility[inside] = mean + texture[inside]
    susceptibility[~mask] = 0.0
    susceptibility[MARKER_INDEX] = MARKER_PPB
    return susceptibility, labels, mask


def _run() -> RunDescription:
    return RunDescription(
        software_version="0.1.0",
        code_revision="1234abc",
        recipe_name="viewers",
        recipe_digest="a" * 64,
        method_sentence="Known values at known places; nothing was computed.",
        reference="none",
        input_digest="b" * 64,
        device_uid="2.25.1234",
        node_ae_title="LODESTONE",
        performed_at=datetime(2026, 11, 21, 9, 30, 5, tzinfo=UTC),
    )
