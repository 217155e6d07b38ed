"""The commissioning kit in a real PACS: Orthanc gives back the stated numbers at the stated places of the patient."""

import io
import json
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import EncapsulatedPDFStorage, MRImageStorage

from tests.e2e.node_process import lodestone, write_site
from tests.e2e.orthanc import DICOMWEB, Orthanc, running_orthanc

pytestmark = pytest.mark.e2e


WEB_PEER = """
[[peers]]
name = "WEB"
protocol = "dicomweb"
url = "{url}"
"""


@dataclass(frozen=True)
class Commissioned:
    """What the command said, and the PACS that holds the kit; `over_the_web` is another kit's, sent by STOW-RS."""

    story: dict[str, Any]
    over_the_web: dict[str, Any]
    pacs: Orthanc

    def images(self) -> list[tuple[str, dict[str, Any]]]:
        """Return Orthanc's identifiers and attributes of the map's images, by InstanceNumber."""
        known = self.of_the_study(MRImageStorage, self.story)
        wanted = [item for item in known if item[1]["SeriesInstanceUID"] == self.story["series_instance_uid"]]
        return sorted(wanted, key=lambda item: int(item[1]["InstanceNumber"]))

    def of_the_study(self, sop_class_uid: str, story: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """Return Orthanc's identifiers and attributes of the instances of a kit's study."""
        found = [
            (one, self.pacs.call(f"/instances/{one}/simplified-tags")) for one in self.pacs.instances(sop_class_uid)
        ]
        return [item for item in found if item[1]["StudyInstanceUID"] == story["study_instance_uid"]]

    def get(self, path: str) -> bytes:
        """GET `path` from Orthanc as bytes."""
        with urllib.request.urlopen(f"{self.pacs.url}{path}", timeout=60) as answer:
            return answer.read()


@pytest.fixture(scope="module")
def commissioned(tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], str]) -> Iterator[Commissioned]:
    """Make a site whose settings name the PACS twice; send a kit by C-STORE and another one over the web."""
    folder = tmp_path_factory.mktemp("commissioning")
    with running_orthanc(folder / "pacs", program("Orthanc"), "ORTHANC", [DICOMWEB]) as pacs:
        node = write_site(folder / "site", f"ORTHANC@127.0.0.1:{pacs.dicom_port}", ["SCANNER"])
        node.toml.write_text(node.toml.read_text() + WEB_PEER.format(url=pacs.dicomweb_url))

        def told(peer: str, *more: str) -> dict[str, Any]:
            words = ("commission", "--to", peer, "-c", str(node.toml), "--out", str(folder / peer), *more)
            return json.loads(lodestone(*words, "--day", "2026-11-21", "--json").stdout)

        yield Commissioned(told("ORTHANC"), told("WEB", "--seed", "web"), pacs)


def inside(values: np.ndarray, square: dict[str, Any]) -> np.ndarray:
    (top, bottom), (left, right) = square["rows"], square["columns"]
    return values[top : bottom + 1, left : right + 1]


def test_every_kind_was_taken_of_one_patient_in_one_study(commissioned: Commissioned) -> None:
    assert commissioned.story["is_accepted"]
    assert all(one["is_accepted"] for one in commissioned.story["objects"])
    assert len(commissioned.images()) == 12
    assert len(commissioned.of_the_study(MRImageStorage, commissioned.story)) == 24
    assert len(commissioned.pacs.call("/patients")) == 1


def test_orthanc_reads_every_square_s_number_in_every_slice(commissioned: Commissioned) -> None:
    for one, _ in commissioned.images():
        values = np.load(io.BytesIO(commissioned.get(f"/instances/{one}/numpy"))).squeeze()
        for square in commissioned.story["must_read"]:
            assert np.unique(inside(values, square)).tolist() == [square["value_ppb"]]


def test_orthanc_shows_zero_as_middle_grey_in_every_slice(commissioned: Commissioned) -> None:
    for one, _ in commissioned.images():
        grey = np.asarray(Image.open(io.BytesIO(commissioned.get(f"/instances/{one}/rendered"))).convert("L"))
        shown = [int(np.median(inside(grey, square))) for square in commissioned.story["must_read"]]
        assert shown == pytest.approx([0, 128, 192, 255], abs=2)


def test_squares_lie_at_their_stated_place_of_the_patient(commissioned: Commissioned) -> None:
    for _, tags in commissioned.images():
        position, orientation, spacing = (
            np.array([float(number) for number in tags[keyword].split("\\")])
            for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
        )
        for square in commissioned.story["must_read"]:
            row, column = np.mean(square["rows"]), np.mean(square["columns"])
            place = position + orientation[:3] * spacing[1] * column + orientation[3:] * spacing[0] * row
            np.testing.assert_allclose(place[:2], square["centre_x_y_mm"], atol=1e-6)
            assert (place[0] > 0) == (square["side"] == "left")
    heights = [float(tags["ImagePositionPatient"].split("\\")[2]) for _, tags in commissioned.images()]
    assert heights == sorted(heights)


def test_the_instructions_lie_beside_the_images_and_are_those_on_the_disk(commissioned: Commissioned) -> None:
    ((one, _),) = commissioned.of_the_study(EncapsulatedPDFStorage, commissioned.story)
    page = pydicom.dcmread(io.BytesIO(commissioned.pacs.file(one)))
    assert page.StudyInstanceUID == commissioned.story["study_instance_uid"]
    content = page.EncapsulatedDocument[: page.EncapsulatedDocumentLength]
    assert content == Path(commissioned.story["page"]).read_bytes()
    assert commissioned.get(f"/instances/{one}/pdf").rstrip(b"\0") == content.rstrip(b"\0")


def test_over_the_web_the_same_kinds_arrive_in_a_study_of_their_own(commissioned: Commissioned) -> None:
    story = commissioned.over_the_web
    assert story["is_accepted"]
    assert [one["n_accepted"] for one in story["objects"]] == [12, 12, 1, 1, 1, 1, 1, 1]
    assert story["study_instance_uid"] != commissioned.story["study_instance_uid"]
    assert len(commissioned.of_the_study(MRImageStorage, story)) == 24
