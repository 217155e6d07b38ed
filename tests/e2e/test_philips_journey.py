"""A real scanner's series travels from a real sender over a real node into a real PACS."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.e2e.conftest import Site, position_along_normal, running_site
from tests.e2e.node_process import lodestone
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

N_SLICES = 53


@dataclass(frozen=True)
class Arrived:
    """What the PACS holds after the classic series, and what the enhanced one added."""

    site: Site
    classic: list[pydicom.Dataset]
    enhanced: list[pydicom.Dataset]

    def of(self, flavour: str) -> list[pydicom.Dataset]:
        return self.classic if flavour == "classic" else self.enhanced


@pytest.fixture(scope="module")
def arrived(
    tmp_path_factory: pytest.TempPathFactory, philips: dict[str, list[Path]], program: Callable[[str], str]
) -> Iterator[Arrived]:
    """Let Orthanc send the classic series, then DCMTK the enhanced one, and DCMTK the enhanced one again."""
    with running_site(tmp_path_factory.mktemp("philips"), program) as site:
        site.send_from_orthanc(philips["classic"])
        classic = maps_in_the_pacs(site, 1)
        known = {image.SOPInstanceUID for image in classic}
        storescu = program("storescu")
        site.send_with_dcmtk(storescu, philips["enhanced"])
        both = maps_in_the_pacs(site, 2)
        site.send_with_dcmtk(storescu, philips["enhanced"])
        yield Arrived(site, classic, [image for image in both if image.SOPInstanceUID not in known])


def maps_in_the_pacs(site: Site, n_maps: int) -> list[pydicom.Dataset]:
    site.node.wait_for_final_states(n_maps)
    eventually(lambda: len(site.reports()) == 2 * n_maps, 30, "the reports' arrival in the PACS")
    return site.derived_images()


def source_slices(paths: list[Path]) -> list[tuple[list[float], list[float], list[float]]]:
    """Return position, orientation and pixel spacing of every slice of the source, ordered along the normal."""
    seen = {}
    for path in paths:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        frames = header.get("PerFrameFunctionalGroupsSequence")
        for frame in frames or [None]:
            if frame is None:
                position, orientation = header.ImagePositionPatient, header.ImageOrientationPatient
                spacing = header.PixelSpacing
            else:
                position = frame.PlanePositionSequence[0].ImagePositionPatient
                orientation = frame.PlaneOrientationSequence[0].ImageOrientationPatient
                spacing = frame.PixelMeasuresSequence[0].PixelSpacing
            stand_in = pydicom.Dataset()
            stand_in.ImageOrientationPatient = orientation
            key = round(position_along_normal(position, stand_in), 3)
            seen[key] = (list(map(float, position)), list(map(float, orientation)), list(map(float, spacing)))
    return [seen[key] for key in sorted(seen)]


def assert_same_geometry(images: list[pydicom.Dataset], paths: list[Path]) -> None:
    slices = source_slices(paths)
    assert len(images) == len(slices) == N_SLICES
    for image, (position, orientation, spacing) in zip(images, slices, strict=True):
        np.testing.assert_allclose(np.asarray(image.ImagePositionPatient, float), position, atol=1e-4)
        np.testing.assert_allclose(np.asarray(image.ImageOrientationPatient, float), orientation, atol=1e-6)
        np.testing.assert_allclose(np.asarray(image.PixelSpacing, float), spacing, atol=1e-6)


def assert_a_plausible_map_in_ppb(images: list[pydicom.Dataset]) -> None:
    volume = np.stack([image.pixel_array for image in images])
    assert volume.dtype == np.int16
    assert all(float(image.RescaleSlope) == 1 and float(image.RescaleIntercept) == 0 for image in images)
    assert len({(image.WindowCenter, image.WindowWidth) for image in images}) == 1
    inside = volume[volume != 0]
    assert inside.size > 0.15 * volume.size
    assert 10 < inside.std() < 200


@pytest.mark.parametrize("flavour", ["classic", "enhanced"])
def test_a_philips_series_comes_back_on_its_own_grid_as_a_map_in_ppb(
    flavour: str, arrived: Arrived, philips: dict[str, list[Path]]
) -> None:
    source = pydicom.dcmread(philips[flavour][0], stop_before_pixels=True)
    images = arrived.of(flavour)

    assert_same_geometry(images, philips[flavour])
    assert_a_plausible_map_in_ppb(images)
    assert {image.StudyInstanceUID for image in images} == {source.StudyInstanceUID}
    assert {image.FrameOfReferenceUID for image in images} == {source.FrameOfReferenceUID}
    assert {str(image.PatientID) for image in images} == {str(source.PatientID)}


def test_the_reports_in_the_pacs_are_read_by_dcmtk_and_hold_the_brains_susceptibility(
    arrived: Arrived, tmp_path: Path, program: Callable[[str], str]
) -> None:
    reports = arrived.site.reports()
    assert len(reports) == 2 * 2
    for number, report in enumerate(reports):
        saved = tmp_path / f"report-{number}.dcm"
        report.save_as(saved)
        text = subprocess.run([program("dsrdump"), str(saved)], check=True, capture_output=True, text=True).stdout
        assert "Imaging Measurement Report" in text
        assert "Magnetic Susceptibility" in text
        assert "Brain" in text


def test_no_object_that_arrived_has_an_error_for_dciodvfy(
    arrived: Arrived, tmp_path: Path, program: Callable[[str], str]
) -> None:
    site = arrived.site
    sampled = [arrived.classic[0], arrived.classic[-1], arrived.enhanced[0], *site.segmentations(), *site.reports()]
    for number, sent in enumerate(sampled):
        saved = tmp_path / f"{number}.dcm"
        sent.save_as(saved)
        judged = subprocess.run([program("dciodvfy"), str(saved)], capture_output=True, text=True)
        assert "Error" not in judged.stderr + judged.stdout, judged.stderr


def test_classic_and_enhanced_input_give_the_same_map_voxel_by_voxel(arrived: Arrived) -> None:
    classic = np.stack([image.pixel_array for image in arrived.classic])
    np.testing.assert_array_equal(classic, np.stack([image.pixel_array for image in arrived.enhanced]))


def test_a_series_sent_twice_is_mapped_and_delivered_once(arrived: Arrived) -> None:
    events = arrived.site.node.ask("audit")

    assert [series["state"] for series in arrived.site.node.series()] == ["recorded", "recorded"]
    assert [event["event"] for event in events].count("instance.repeated") == 1
    assert len(arrived.site.derived_images()) == 2 * N_SLICES


def test_the_audit_chain_is_whole_and_the_provenance_names_every_input(
    arrived: Arrived, philips: dict[str, list[Path]]
) -> None:
    verified = lodestone("audit", "-c", str(arrived.site.node.toml), "--verify")
    assert verified.returncode == 0
    known = arrived.site.node.ask("provenance", arrived.classic[0].SOPInstanceUID)
    assert len(known["inputs"]) == len(philips["classic"])
    assert all(len(entry["sha256"]) == 64 for entry in known["inputs"])
