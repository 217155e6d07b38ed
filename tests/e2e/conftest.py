"""Fixtures of the end-to-end tests: a node at a site with a real Orthanc as its PACS, and what arrives there."""

import contextlib
import io
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import Comprehensive3DSRStorage, MRImageStorage, SegmentationStorage

from tests.e2e.browser import running_browser
from tests.e2e.node_process import Node, serving, write_site
from tests.e2e.ohif import running_ohif
from tests.e2e.orthanc import DICOMWEB, WEB_VIEWER, Orthanc, running_orthanc
from tests.e2e.viewer import Viewer
from tests.e2e.viewer_objects import Shown, shown_objects

Send = Callable[[list[Path]], None]


@dataclass(frozen=True)
class Site:
    """One hospital: a node and its PACS, which is also the sender where a test wants it to be."""

    node: Node
    pacs: Orthanc

    def derived_images(self) -> list[pydicom.Dataset]:
        """Return the susceptibility images that the PACS holds, ordered along the slice normal."""
        found = [self.dataset(one) for one in self.pacs.instances(MRImageStorage)]
        derived = [one for one in found if list(one.ImageType[:1]) == ["DERIVED"] and "QSM" in one.ImageType]
        return sorted(derived, key=lambda one: position_along_normal(one.ImagePositionPatient, one))

    def reports(self) -> list[pydicom.Dataset]:
        """Return the structured reports that the PACS holds."""
        return [self.dataset(one) for one in self.pacs.instances(Comprehensive3DSRStorage)]

    def segmentations(self) -> list[pydicom.Dataset]:
        """Return the segmentations that the PACS holds."""
        return [self.dataset(one) for one in self.pacs.instances(SegmentationStorage)]

    def dataset(self, instance: str) -> pydicom.Dataset:
        """Return one object of the PACS."""
        return pydicom.dcmread(io.BytesIO(self.pacs.file(instance)))

    def send_from_orthanc(self, paths: list[Path]) -> None:
        """Let Orthanc send the files to the node."""
        self.pacs.send(self.pacs.upload(paths), "LODESTONE")

    def send_with_dcmtk(self, storescu: str, paths: list[Path], calling_ae: str = "SCANNER") -> None:
        """Let DCMTK send the files to the node on one association."""
        files = [str(path) for path in paths]
        subprocess.run(
            [storescu, "-R", "-aet", calling_ae, "-aec", "LODESTONE", "127.0.0.1", str(self.node.port), *files],
            check=True,
            capture_output=True,
            env={**os.environ, "TCP_NODELAY": "1"},
            timeout=120,
        )


def position_along_normal(position: list[float], image: pydicom.Dataset) -> float:
    """Return where a slice lies along the normal of its ImageOrientationPatient [mm]."""
    orientation = np.asarray(image.ImageOrientationPatient, float)
    return float(np.dot(np.cross(orientation[:3], orientation[3:]), np.asarray(position, float)))


@pytest.fixture(scope="session")
def philips(data_dir: Path) -> dict[str, list[Path]]:
    """Return the Philips two-echo head as its classic and its enhanced files."""
    folder = data_dir / "philips_ingenia_571_2echo_gre"
    return {
        "classic": sorted((folder / "classic").glob("*.dcm")),
        "enhanced": sorted((folder / "enhanced").glob("*phMag.dcm")),
    }


@contextlib.contextmanager
def running_site(folder: Path, program: Callable[[str], str], extra: dict[str, str] | None = None) -> Iterator[Site]:
    """Open a site: Orthanc and a serving node that deliver to one another; `extra` replaces text in node.toml."""
    with running_orthanc(folder / "pacs", program("Orthanc"), "ORTHANC") as pacs:
        archive = f"ORTHANC@127.0.0.1:{pacs.dicom_port}"
        node = write_site(folder / "site", archive, ["SCANNER", "ORTHANC"], extra)
        pacs.put_modality("LODESTONE", "LODESTONE", node.port)
        with serving(node):
            yield Site(node, pacs)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder for what the browser showed: LODESTONE_SCREENSHOTS, or one of pytest's own."""
    named = os.environ.get("LODESTONE_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Return the map that the viewers are shown, with known values at known places and pixels that are not square."""
    return shown_objects(tmp_path_factory.mktemp("shown"), (1.25, 1.0))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], str], shown: Shown) -> Iterator[Orthanc]:
    """Open an Orthanc with DICOMweb and its web viewer that holds the scanner's series and all objects made of it."""
    folder = tmp_path_factory.mktemp("archive")
    objects = folder / "objects"
    objects.mkdir()
    with running_orthanc(folder / "pacs", program("Orthanc"), "ARCHIVE", [DICOMWEB, WEB_VIEWER]) as orthanc:
        orthanc.upload(shown.write(objects))
        yield orthanc


@pytest.fixture(scope="module")
def viewer(
    tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], str], archive: Orthanc
) -> Iterator[Viewer]:
    """Open OHIF on the archive in a browser."""
    profile = tmp_path_factory.mktemp("browser")
    with running_ohif(archive) as url, running_browser(program, profile) as driver:
        yield Viewer(driver, url)
