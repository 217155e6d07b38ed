"""What the viewers are shown: a map with known values at known places in the patient, and all objects made of it."""

import io
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import pydicom
from pydicom import Dataset

from dicom_io.geometry import Geometry
from dicom_io.read.reader import read_source
from dicom_io.series import SourceSeries
from dicom_io.write.part10 import to_bytes
from dicom_io.write.provenance import RunDescription
from dicom_io.write.scanner import Examination, scanner_series
from node.object_kinds import COMPANION_KINDS, ObjectKind
from node.objects import MadeObject, Outcome, Regions, Wanted, make_objects, measure_regions
from pipeline.maps import CLASSICAL_SUSCEPTIBILITY, SUSCEPTIBILITY_SPREAD, Quality
from pipeline.method import LEARNED_MAP_USED

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


def oblique_geometry(pixel_spacing: tuple[float, float]) -> Geometry:
    """Return a grid tilted about two axes, whose marker voxel lies at MARKER_LPS; PixelSpacing is given [mm]."""
    tilt, turn = np.deg2rad(17.0), np.deg2rad(-6.0)
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    row, column, normal = (about_z @ about_x).T
    steps = np.stack([2.0 * normal, pixel_spacing[0] * column, pixel_spacing[1] * row])
    first = np.asarray(MARKER_LPS) - np.asarray(MARKER_INDEX) @ steps
    return Geometry(
        row_direction=tuple(map(float, row)),
        column_direction=tuple(map(float, column)),
        first_position=tuple(map(float, first)),
        slice_step=tuple(map(float, steps[0])),
        pixel_spacing=pixel_spacing,
        shape=SHAPE,
        frame_of_reference_uid="2.25.20261121",
    )


@dataclass(frozen=True)
class Shown:
    """The map that is shown, the regions drawn on it, the series it was made for, and every object made of it."""

    stored_ppb: np.ndarray
    susceptibility_ppm: np.ndarray
    labels: np.ndarray
    mask: np.ndarray
    source: SourceSeries
    scanner_images: list[Dataset]
    made: list[MadeObject]

    def of(self, kind: ObjectKind) -> list[Dataset]:
        """Return the objects of a kind."""
        return [pydicom.dcmread(io.BytesIO(one.content)) for one in self.made if one.kind == kind]

    @cached_property
    def images(self) -> list[Dataset]:
        """Return the primary series, one image per slice."""
        return self.of(ObjectKind.SUSCEPTIBILITY)

    @property
    def study_uid(self) -> str:
        """Return the study that scanner and node share."""
        return str(self.images[0].StudyInstanceUID)

    def write(self, folder: Path) -> list[Path]:
        """Write what the scanner sent and what the node made into files."""
        paths = write_files(self.scanner_images, folder)
        for one in self.made:
            paths.append(folder / one.name)
            paths[-1].write_bytes(one.content)
        return paths

    def place(self, index: tuple[float, float, float]) -> Place:
        """Return where in the patient (LPS) [mm] a voxel `(z, y, x)` lies."""
        z, y, x = index
        left, back, up = (self.source.geometry.affine_lps @ [x, y, z, 1.0])[:3]
        return float(left), float(back), float(up)

    def region_index(self, label: int) -> tuple[int, int, int]:
        """Return the centre voxel `(z, y, x)` of a region."""
        return _REGIONS[label][0]


def shown_objects(folder: Path, pixel_spacing: tuple[float, float]) -> Shown:
    """Make the scanner's series in `folder`, read it as the node does, and make every object of a learned run on it."""
    geometry = oblique_geometry(pixel_spacing)
    susceptibility, labels, mask = _head()
    magnitude = np.stack([mask * (1500.0 - 300 * echo) + 4 * susceptibility.clip(-200, 200) for echo in range(2)])
    phase = np.stack([np.angle(np.exp(1j * susceptibility * 0.01 * (echo + 1))) for echo in range(2)])
    examination = Examination(seed=f"viewers {pixel_spacing}", patient_name="Viewers^Seen^By", patient_id="VIEWERS-1")
    sent = scanner_series(magnitude.clip(0), phase, ECHO_TIMES_S, geometry, 3.0, examination)
    folder.mkdir(parents=True, exist_ok=True)
    source = read_source(write_files(sent, folder))
    maps = _maps(susceptibility, mask)
    made = _everything(maps, labels, magnitude[0], source)
    return Shown(np.rint(susceptibility).astype(int), maps["susceptibility"], labels, mask, source, sent, made)


def _maps(susceptibility_ppb: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    """Return the maps of a learned run [ppm, 1/s, any] with the given susceptibility."""
    inside = mask.astype(np.float32)
    others = {
        CLASSICAL_SUSCEPTIBILITY: 0.0009 * susceptibility_ppb,
        SUSCEPTIBILITY_SPREAD: 0.004 + 0.00005 * np.abs(susceptibility_ppb),
        "local_field": 0.0003 * susceptibility_ppb,
        "r2star": 20.0 + 0.2 * susceptibility_ppb.clip(0, 200),
        "weighted_image": 900.0 - susceptibility_ppb.clip(-200, 200),
    }
    maps = {name: (values * inside).astype(np.float32) for name, values in others.items()}
    return {"susceptibility": (0.001 * susceptibility_ppb).astype(np.float32), "mask": mask.astype(np.uint8), **maps}


def _everything(
    maps: dict[str, np.ndarray], labels: np.ndarray, magnitude: np.ndarray, source: SourceSeries
) -> list[MadeObject]:
    figures = {"mask_volume_ml": 1312.4, "field_noise_median_ppb": 9.3, LEARNED_MAP_USED: 1.0}
    noisy = "The field is noisy (9.3 ppb, usual are 2 to 5): small differences between regions are not to be trusted."
    quality = Quality(figures, (noisy,), weights={"lodestone_net": "c" * 64}).as_dict()
    regions = Regions(labels, NAMES)
    measured = measure_regions(maps, regions, source.geometry.voxel_size_mm, quality)
    outcome = Outcome(maps, quality, measured, regions, magnitude)
    wanted = Wanted(tuple(ObjectKind), COMPANION_KINDS)
    learned, twin = (
        described_run("learned", "This is the map of the network lodestone_net."),
        described_run("classical"),
    )
    return make_objects(outcome, source, learned, wanted, twin)


def write_files(objects: list[Dataset], folder: Path) -> list[Path]:
    """Write each object into a file of its own."""
    paths = [folder / f"{number:04d}.dcm" for number in range(len(objects))]
    for path, one in zip(paths, objects, strict=True):
        path.write_bytes(to_bytes(one))
    return paths


def _head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return map [ppb], labels and brain mask; the map has the texture of noise, and no value near a half."""
    z, y, x = np.indices(SHAPE)
    mask = ((z - 8.5) / 8.0) ** 2 + ((y - 48) / 40.0) ** 2 + ((x - 56) / 46.0) ** 2 <= 1.0
    texture = np.random.default_rng(5).normal(0.0, 9.0, SHAPE)
    susceptibility = 15.0 * np.sin(x / 7.0) * np.cos(y / 9.0) + texture
    labels = np.zeros(SHAPE, np.int16)
    for label, ((cz, cy, cx), mean) in _REGIONS.items():
        scaled = (z - cz) / _RADII[0], (y - cy) / _RADII[1], (x - cx) / _RADII[2]
        inside = sum(axis**2 for axis in scaled) <= 1.0
        labels[inside] = label
        susceptibility[inside] = mean + texture[inside]
    susceptibility = np.where(mask, np.rint(susceptibility) + 0.2, 0.0)
    susceptibility[MARKER_INDEX] = MARKER_PPB
    return susceptibility, labels, mask


def described_run(recipe_name: str, map_sentence: str = "") -> RunDescription:
    """Return what the objects say of the run; one with a sentence on its map is a network's."""
    return RunDescription(
        software_version="0.1.0",
        code_revision="1234abc",
        recipe_name=recipe_name,
        recipe_digest="a" * 64,
        method_sentence="Known values at known places; nothing was computed.",
        reference="none",
        input_digest="b" * 64,
        device_uid="2.25.1234",
        node_ae_title="LODESTONE",
        performed_at=datetime(2026, 11, 21, 9, 30, 5, tzinfo=UTC),
        weights=(("lodestone_net", "c" * 64),) if map_sentence else (),
        map_sentence=map_sentence,
    )
