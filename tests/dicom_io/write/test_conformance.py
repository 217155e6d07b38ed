"""Independent programs find nothing wrong with any object, whatever the source."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset

from dicom_io.series import SourceSeries
from dicom_io.write.part10 import to_bytes
from dicom_io.write.validation import validate

pytestmark = pytest.mark.golden


def test_dciodvfy_finds_no_error_in_any_output(
    source: SourceSeries,
    make_all: Callable[[SourceSeries], list[Dataset]],
    conformance_errors: Callable[[Dataset], list[str]],
) -> None:
    *images, regions, report = make_all(source)
    for dataset in (images[0], images[-1], regions, report):
        assert conformance_errors(dataset) == []


def test_dciodvfy_finds_no_error_in_what_a_learned_run_delivers(
    source: SourceSeries,
    make_learned: Callable[[SourceSeries], list[Dataset]],
    conformance_errors: Callable[[Dataset], list[str]],
) -> None:
    made = make_learned(source)
    n_slices = source.geometry.shape[0]
    for dataset in (made[0], made[n_slices], *made[-2:]):
        validate(dataset)
        assert conformance_errors(dataset) == []


def test_dciodvfy_finds_no_error_in_what_the_simulated_scanner_sends(
    scanner_images: list[Dataset], conformance_errors: Callable[[Dataset], list[str]]
) -> None:
    for dataset in (scanner_images[0], scanner_images[-1]):
        assert conformance_errors(dataset) == []


def test_dciodvfy_would_find_an_error(
    scanner_images: list[Dataset], conformance_errors: Callable[[Dataset], list[str]]
) -> None:
    del scanner_images[0].ScanningSequence
    assert any("ScanningSequence" in line for line in conformance_errors(scanner_images[0]))


def test_our_own_validation_accepts_every_output(
    source: SourceSeries, make_all: Callable[[SourceSeries], list[Dataset]]
) -> None:
    for dataset in make_all(source):
        validate(dataset)


def test_dcentvfy_finds_patient_study_series_and_grid_consistent_with_the_source(
    simulated: SourceSeries,
    scanner_images: list[Dataset],
    make_all: Callable[[SourceSeries], list[Dataset]],
    program: Callable[[str], str],
    tmp_path: Path,
) -> None:
    paths = []
    for number, dataset in enumerate([*scanner_images, *make_all(simulated)]):
        path = tmp_path / f"{number:03d}.dcm"
        path.write_bytes(to_bytes(dataset))
        paths.append(str(path))
    judged = subprocess.run([program("dcentvfy"), *paths], capture_output=True, text=True, timeout=60, check=False)
    assert "Error" not in judged.stdout + judged.stderr
    assert judged.returncode == 0


def test_dsrdump_reads_regions_values_and_units_from_the_report(
    source: SourceSeries,
    make_all: Callable[[SourceSeries], list[Dataset]],
    program: Callable[[str], str],
    tmp_path: Path,
) -> None:
    path = tmp_path / "report.dcm"
    path.write_bytes(to_bytes(make_all(source)[-1]))
    dumped = subprocess.run([program("dsrdump"), str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert dumped.returncode == 0
    assert dumped.stderr == ""
    assert 'NUM:(,,"Magnetic Susceptibility")="41.25" ([ppb],UCUM,"parts per billion")' in dumped.stdout
    assert '(11000004,SCT,"Caudate nucleus")' in dumped.stdout
    assert '(7771000,SCT,"Left")' in dumped.stdout
    assert 'NUM:(,,"R2star median")="20.0" (/s,UCUM,"per second")' in dumped.stdout


HEADERS = (
    "router_negatives/uih_umr770_r002_t1_gre3d/00000080.dcm",
    "router_negatives/canon_galan_v61_dwi_classic/10000_001.dcm",
    "router_negatives/siemens_terra_xa60_7t_bold_enhanced/75739475",
    "direct_fieldmap_traps/ge_architect_dv27_b0rf/i100572.MRDC.17",
    "direct_fieldmap_traps/philips_achieva_530_b0/IM_0027_fMAP.dcm",
)


@pytest.mark.parametrize("name", HEADERS)
def test_the_headers_of_other_scanners_lead_to_objects_without_error(
    name: str,
    data_dir: Path,
    simulated: SourceSeries,
    make_all: Callable[[SourceSeries], list[Dataset]],
    conformance_errors: Callable[[Dataset], list[str]],
) -> None:
    template = pydicom.dcmread(data_dir / name, stop_before_pixels=True)
    image, *_, regions, report = make_all(replace(simulated, template=template))
    for dataset in (image, regions, report):
        validate(dataset)
        assert conformance_errors(dataset) == []
