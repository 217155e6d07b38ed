"""Equal data sets become equal bytes."""

import os
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO

import pydicom
from pydicom import Dataset

from dicom_io.series import SourceSeries
from dicom_io.write.part10 import IMPLEMENTATION_VERSION_NAME, to_bytes


def test_a_second_run_makes_the_same_bytes(
    source: SourceSeries, make_all: Callable[[SourceSeries], list[Dataset]]
) -> None:
    first = [to_bytes(dataset) for dataset in make_all(source)]
    second = [to_bytes(dataset) for dataset in make_all(source)]
    assert first == second


_SCRIPT = """
import hashlib, sys, numpy as np
from datetime import datetime, UTC
from dicom_io.geometry import Geometry
from dicom_io.series import SourceFrame, SourceSeries
from dicom_io.write.companions import Companion, companion_series
from dicom_io.write.enhanced_mr import enhanced_susceptibility
from dicom_io.write.key_objects import key_object_selection
from dicom_io.write.mr_image import susceptibility_series
from dicom_io.write.parametric_map import parametric_map
from dicom_io.write.part10 import to_bytes
from dicom_io.write.planar_report import planar_report
from dicom_io.write.presentation import presentation_state
from dicom_io.write.provenance import RunDescription
from dicom_io.write.report import RegionValues, measurement_report
from dicom_io.write.scanner import scanner_series
from dicom_io.write.segmentation import segmentation
grid = Geometry((1., 0., 0.), (0., 1., 0.), (0., 0., 0.), (0., 0., 1.), (1., 1.), (3, 8, 8), "2.25.5")
scan = scanner_series(np.ones((1, 3, 8, 8)), np.zeros((1, 3, 8, 8)), [0.004], grid, 3.0)
frames = tuple((SourceFrame(i.SOPClassUID, i.SOPInstanceUID),) for i in scan[:3])
source = SourceSeries(grid, (0.004,), 3.0, "x", scan[0], frames, "x", False)
words = ("software_version", "code_revision", "recipe_name", "recipe_digest", "method_sentence", "reference")
words = {word: word for word in (*words, "input_digest", "node_ae_title")}
run = RunDescription(**words, device_uid="2.25.8", performed_at=datetime(2026, 1, 1, tzinfo=UTC))
images = susceptibility_series(np.zeros((3, 8, 8)), source, run)
regions = segmentation(np.ones((3, 8, 8), bool), None, {}, images, source, run)
report = measurement_report([RegionValues("Brain", 1., 2., 3., 4., 1)], regions, images, source, run, {"n_a": 1.0})
made = [*scan, *images, regions, report, enhanced_susceptibility(np.zeros((3, 8, 8)), source, run)]
made += [image for kind in Companion for image in companion_series(kind, np.ones((3, 8, 8)), source, run)]
made.append(parametric_map(np.zeros((3, 8, 8)), images, source, run))
made.append(planar_report([], np.ones((3, 8, 8), bool), None, images, source, run, {"n_a": 1.0}))
made += [presentation_state(images, source, run), key_object_selection(images, ["A check failed."], source, run)]
print(hashlib.sha256(b"".join(to_bytes(d) for d in made)).hexdigest())
"""


def test_another_process_makes_the_same_bytes() -> None:
    digests = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        ran = subprocess.run(
            [sys.executable, "-c", _SCRIPT], env=environment, capture_output=True, text=True, timeout=120, check=True
        )
        digests.add(ran.stdout.strip())
    assert len(digests) == 1


def test_the_file_meta_group_names_this_software_and_the_object(
    simulated: SourceSeries, make_all: Callable[[SourceSeries], list[Dataset]]
) -> None:
    for dataset in make_all(simulated):
        read = pydicom.dcmread(BytesIO(to_bytes(dataset)))
        assert read.file_meta.ImplementationVersionName == IMPLEMENTATION_VERSION_NAME
        assert read.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        assert read.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian


def test_encoding_leaves_the_data_set_as_it_was(scanner_images: list[Dataset]) -> None:
    before = scanner_images[0].to_json()
    to_bytes(scanner_images[0])
    assert scanner_images[0].to_json() == before
