"""A real scanner's series travels from a real sender over a real node into a real PACS."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.e2e.conftest import Site, position_along_normal
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

N_SLICES = 53


def arrived_map(site: Site) -> list[pydicom.Dataset]:
    site.node.wait_for_final_states(1)
    eventually(lambda: len(site.derived_images()) == N_SLICES and site.reports(), 30, "the map's arrival in the PACS")
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
def test_a_philips_series_sent_by_orthanc_comes_back_as_a_map_and_a_report(
    flavour: str, open_site: Callable[..., Site], philips: dict[str, list[Path]], tmp_path: Path, program: Callable
) -> None:
    site = open_site()
    source = pydicom.dcmread(philips[flavour][0], stop_before_pixels=True)

    site.send_from_orthanc(philips[flavour])
    images = arrived_map(site)

    assert_same_geometry(images, philips[flavour])
    assert_a_plausible_map_in_ppb(images)
    assert {image.StudyInstanceUID for image in images} == {source.StudyInstanceUID}
    assert {image.FrameOfReferenceUID for image in images} == {source.FrameOfReferenceUID}
    assert {str(image.PatientID) for image in images} == {str(source.PatientID)}
    (report,) = site.reports()
    assert report.StudyInstanceUID == source.StudyInstanceUID
    saved = tmp_path / "report.dcm"
    report.save_as(saved)
    text = subprocess.run([program("dsrdump"), str(saved)], check=True, capture_output=True, text=True).stdout
    assert "Imaging Measurement Report" in text
    assert "Magnetic Susceptibility" in text


def test_classic_and_enhanced_input_give_the_same_map_voxel_by_voxel(
    open_site: Callable[..., Site], philips: dict[str, list[Path]], program: Callable
) -> None:
    site = open_site()
    storescu = program("storescu")

    site.send_with_dcmtk(storescu, philips["classic"])
    site.node.wait_for_final_states(1)
    classic = np.stack([image.pixel_array for image in arrived_map(site)])
    known = {image.SeriesInstanceUID for image in site.derived_images()}
    site.send_with_dcmtk(storescu, philips["enhanced"])
    site.node.wait_for_final_states(2)
    eventually(lambda: len(site.derived_images()) == 2 * N_SLICES, 30, "the second map's arrival")
    second = [image for image in site.derived_images() if image.SeriesInstanceUID not in known]

    np.testing.assert_array_equal(classic, np.stack([image.pixel_array for image in second]))


def test_a_series_sent_twice_is_mapped_and_delivered_once(
    open_site: Callable[..., Site], philips: dict[str, list[Path]], program: Callable
) -> None:
    site = open_site()
    storescu = program("storescu")

    site.send_with_dcmtk(storescu, philips["enhanced"])
    arrived_map(site)
    site.send_with_dcmtk(storescu, philips["enhanced"])

    (series,) = site.node.wait_for_final_states(1)
    assert series["state"] == "recorded"
    assert [event["event"] for event in site.node.ask("audit")].count("instance.repeated") == 1
    assert len(site.derived_images()) == N_SLICES
