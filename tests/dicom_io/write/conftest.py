"""Sources to write from, a run to describe, and the two programs that judge what was written."""

import subprocess
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from dicom_io.geometry import Geometry
from dicom_io.read.reader import read_source
from dicom_io.series import SourceSeries
from dicom_io.write.mr_image import MapRole, susceptibility_series
from dicom_io.write.part10 import to_bytes
from dicom_io.write.provenance import RunDescription
from dicom_io.write.report import RegionValues, TrustValues, measurement_report
from dicom_io.write.scanner import scanner_series
from dicom_io.write.segmentation import segmentation
from tests.run_descriptions import described

ECHO_TIMES_S = (0.004, 0.008, 0.012)
NAMES = {3: "left caudate", 7: "dentate R", 9: "subthalamic nucleus left"}
QUALITY = {"mask_volume_ml": 1200.5, "field_noise_median_ppb": 3.25, "r2star_median_per_s": 20.0, "n_echoes_used": 3.0}


@pytest.fixture
def run_description() -> RunDescription:
    return described(
        method_sentence="ROMEO unwrapping – Dymerska 2021; total field inversion, µ = 1 ± 0.1.",
    )


@pytest.fixture(scope="session")
def oblique() -> Geometry:
    """Return a small grid turned about the patient's x axis, with three different voxel edges."""
    cosine, sine = np.cos(0.35), np.sin(0.35)
    return Geometry(
        row_direction=(1.0, 0.0, 0.0),
        column_direction=(0.0, float(cosine), float(sine)),
        first_position=(-21.5, -20.25, -10.0),
        slice_step=(0.0, float(-2 * sine), float(2 * cosine)),
        pixel_spacing=(1.0, 1.5),
        shape=(6, 32, 30),
        frame_of_reference_uid="2.25.99",
    )


def scan(geometry: Geometry) -> list[Dataset]:
    """Return what a scanner would send of that grid."""
    random = np.random.default_rng(7)
    shape = (len(ECHO_TIMES_S), *geometry.shape)
    return scanner_series(random.random(shape), random.uniform(-np.pi, np.pi, shape), ECHO_TIMES_S, geometry, 3.0)


@pytest.fixture
def scanner_images(oblique: Geometry) -> list[Dataset]:
    return scan(oblique)


@pytest.fixture(scope="session")
def simulated_once(oblique: Geometry, tmp_path_factory: pytest.TempPathFactory) -> SourceSeries:
    folder = tmp_path_factory.mktemp("simulated")
    images = scan(oblique)
    paths = [folder / f"{number:03d}.dcm" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(to_bytes(image))
    return read_source(paths)


@pytest.fixture
def simulated(simulated_once: SourceSeries) -> SourceSeries:
    """Return the simulated source, with a header that a test may change."""
    return replace(simulated_once, template=deepcopy(simulated_once.template))


@pytest.fixture(scope="session")
def philips_classic(data_dir: Path) -> SourceSeries:
    return read_source(sorted(data_dir.glob("philips_ingenia_571_2echo_gre/classic/*.dcm")))


@pytest.fixture(scope="session")
def philips_enhanced(data_dir: Path) -> SourceSeries:
    return read_source(list(data_dir.glob("philips_ingenia_571_2echo_gre/enhanced/*phMag.dcm")))


@pytest.fixture(params=["philips_classic", "philips_enhanced", "simulated"])
def source(request: pytest.FixtureRequest) -> SourceSeries:
    """Return every kind of source in turn."""
    return request.getfixturevalue(request.param)


def map_of(source: SourceSeries) -> np.ndarray:
    """Make a map [ppb] with a known pattern."""
    return np.random.default_rng(1).normal(0.0, 80.0, source.geometry.shape)


def mask_and_labels(source: SourceSeries) -> tuple[np.ndarray, np.ndarray]:
    """Make a mask, and labels on top of each other's slices inside it."""
    mask = np.zeros(source.geometry.shape, bool)
    mask[1:-1, 5:25, 5:25] = True
    labels = np.zeros(source.geometry.shape, np.int16)
    labels[2:4, 6:9, 6:9] = 3
    labels[2:4, 10:14, 10:12] = 7
    labels[2:3, 15:16, 15:18] = 9
    return mask, labels


@pytest.fixture
def make_all(run_description: RunDescription) -> Callable[[SourceSeries], list[Dataset]]:
    """Return the function that makes everything a run delivers: images, segmentation, report."""

    def make(source: SourceSeries) -> list[Dataset]:
        images = susceptibility_series(map_of(source), source, run_description)
        regions = segmentation(*mask_and_labels(source), NAMES, images, source, run_description)
        values = [
            RegionValues("left caudate", 41.25, 12.0, 40.5, 3.5, 2),
            RegionValues("dentate R", 90.0, 20, 88, 0.5, 3),
        ]
        report = measurement_report(values, regions, images, source, run_description, QUALITY)
        return [*images, regions, report]

    return make


@pytest.fixture
def conformance_errors(program: Callable[[str], str], tmp_path: Path) -> Callable[[Dataset], list[str]]:
    """Return the function that asks dciodvfy for an object's errors."""
    dciodvfy = program("dciodvfy")

    def errors(dataset: Dataset) -> list[str]:
        path = tmp_path / "object.dcm"
        path.write_bytes(to_bytes(dataset))
        judged = subprocess.run([dciodvfy, "-new", str(path)], capture_output=True, timeout=60, check=False)
        # It quotes names in the character set of the object.
        lines = (judged.stdout + judged.stderr).decode("ascii", "replace").splitlines()
        assert lines, "dciodvfy said nothing, not even the kind of object"
        return [line for line in lines if line.startswith("Error")]

    return errors


@pytest.fixture
def learned_run(run_description: RunDescription) -> RunDescription:
    return replace(
        run_description,
        recipe_name="learned",
        weights=(("lodestone_net", "c" * 64),),
        map_sentence="This is the map of the network lodestone_net.",
    )


@pytest.fixture
def make_learned(learned_run: RunDescription) -> Callable[[SourceSeries], list[Dataset]]:
    """Return the function that makes what a learned run delivers: both maps, segmentation, report."""

    def make(source: SourceSeries) -> list[Dataset]:
        images = susceptibility_series(map_of(source), source, learned_run, MapRole.LEARNED)
        twins = susceptibility_series(0.9 * map_of(source), source, learned_run, MapRole.TWIN)
        regions = segmentation(*mask_and_labels(source), NAMES, images, source, learned_run)
        values = [
            RegionValues("left caudate", 41.25, 12.0, 40.5, 3.5, 2, TrustValues(38.0, 4.5, 0.12)),
            RegionValues("dentate R", 90.0, 20, 88, 0.5, 3, TrustValues(80.0)),
        ]
        sentences = ("The map is the network’s: every check was passed.", "The field is noisy (16.2 ppb).")
        report = measurement_report(values, regions, images, source, learned_run, QUALITY, sentences)
        return [*images, *twins, regions, report]

    return make
