"""The same head sent over DICOM by every manufacturer's scanner: received, put together, mapped, archived, and right.

The head is oblique and its voxels have three different edges. Whatever the sender, the map is that of the images before
any scanner rounded them, and paramagnetic nuclei are positive.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset

from db import artefacts, series
from db.series import ENDS, JOURNEY, Series, State
from dicom_io.write.scanner import Examination
from dicom_io.write.scanners.scan import Scan
from dicom_io.write.scanners.table import FLAVOURS
from node.app import build_services_from_file
from node.archive import EmbeddedArchive
from node.convert import acquisition_from_artefact, to_ppb
from node.demo import geometry_of
from node.journey import assembled, received
from node.services import Services
from pipeline.recipe import builtin_recipe_text, parse_recipe
from pipeline.run import run
from pipeline.simulation.phantom import adult_head
from pipeline.simulation.scanner import Protocol, SimulatedScan, acquire
from tests.node import scans
from tests.node.conftest import NODE_TOML
from tests.node.running import FEW_KINDS, all_series, listening, send_to_node, working
from tests.waiting import eventually, free_port

pytestmark = [pytest.mark.e2e, pytest.mark.golden]
RECIPE = "v_sharp_tv"
OBLIQUE = Protocol(
    shape=(24, 40, 32),
    voxel_size_mm=(5.6, 5.1, 5.3),
    echo_times_s=(0.004, 0.012),
    rotation_deg=(18.0, -9.0, 5.0),
    finest_mm=2.5,
    snr=80.0,
)
NUCLEI = ("caudate nucleus", "putamen", "globus pallidus externus", "globus pallidus internus", "dentate nucleus")
# How many series each sends.
SENT = {
    "siemens_classic": 2,
    "siemens_xa_classic": 4,
    "siemens_enhanced": 2,
    "ge_alternating_slices": 1,
    "philips_classic": 1,
    "philips_enhanced": 1,
    "united_imaging_classic": 2,
    "canon_classic": 1,
}


@cache
def head() -> SimulatedScan:
    """Return the simulated examination and the truth behind it."""
    return acquire(adult_head(), OBLIQUE)


def images_by(flavour: str) -> list[Dataset]:
    """Return the head's images as a scanner sends them, in an examination of its own."""
    found = head().acquisition
    taken = Scan(
        magnitude=found.magnitude.numpy(),
        phase=found.phase.numpy(),
        echo_times_s=OBLIQUE.echo_times_s,
        geometry=geometry_of(head()),
        magnetic_field_strength_t=OBLIQUE.b0_tesla,
        examination=Examination(seed=flavour),
    )
    return FLAVOURS[flavour](taken)


@dataclass(frozen=True)
class Mapped:
    """A susceptibility map [ppb] and the voxels that it covers."""

    susceptibility: np.ndarray
    mask: np.ndarray

    def of(self, nucleus: str) -> float:
        """Return the mean of a nucleus, left and right."""
        numbers = [number for number, name in head().label_names.items() if nucleus in name]
        return float(self.susceptibility[np.isin(head().labels.numpy(), numbers)].mean())


def mapped(acquisition) -> Mapped:
    maps, _ = run(acquisition, parse_recipe(builtin_recipe_text(RECIPE)))
    return Mapped(to_ppb(maps.susceptibility.numpy()), maps.mask.numpy())


@cache
def mapped_truth() -> Mapped:
    """Return the map of the images as they were before any scanner rounded them."""
    return mapped(head().acquisition)


def require_right(found: Mapped) -> None:
    expected = mapped_truth()
    assert (found.mask != expected.mask).mean() < 1e-3
    off = (found.susceptibility - expected.susceptibility)[found.mask & expected.mask]
    assert np.sqrt((off**2).mean()) < 3.0
    for nucleus in NUCLEI:
        assert found.of(nucleus) == pytest.approx(expected.of(nucleus), abs=2.0)
        assert found.of(nucleus) > 15.0


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Return the collaborators of one node whose listener runs, and on which nobody works."""
    path = tmp_path_factory.mktemp("site") / "node.toml"
    text = NODE_TOML.format(port=free_port(), archive_port=4242, quiet_time_s=60.0)
    path.write_text(
        text.replace('recipe = "default"', f'recipe = "{RECIPE}"').replace("settle_s = 0.5", "settle_s = 0")
    )
    services = build_services_from_file(path)
    with listening(services):
        yield services
    services.close()


def arrived(services: Services, study: str) -> list[Series]:
    with services.database.read() as session:
        return series.in_study(session, study, (*JOURNEY, *ENDS))


def enqueued(services: Services, study: str) -> Series | None:
    """Look at what waits as the sweep does, and return the series whose work may begin."""
    for waiting in arrived(services, study):
        received.step(waiting.key, services)
    return next((one for one in arrived(services, study) if one.enqueued_at is not None), None)


@pytest.mark.parametrize("flavour", SENT)
def test_what_a_scanner_sends_becomes_one_acquisition_and_the_right_map(
    flavour: str, node: Services, tmp_path: Path
) -> None:
    images = images_by(flavour)
    send_to_node(node, scans.write(tmp_path, images))
    study = str(images[0].StudyInstanceUID)
    leader = eventually(lambda: enqueued(node, study), 60, "everything that the scanner sends")
    assembled.step(leader.key, node)
    rows = arrived(node, study)
    assert sorted(one.state for one in rows) == [State.ASSEMBLED] + [State.JOINED] * (SENT[flavour] - 1)
    with node.database.read() as session:
        digest = artefacts.digest_of(session, leader.key, 1, assembled.ACQUISITION)
    artefact = node.workspace.get(digest)
    require_right(mapped(acquisition_from_artefact(artefact.arrays, artefact.metadata, "cpu")))


def test_a_series_for_every_echo_comes_back_from_the_archive_as_one_right_map(node_toml, tmp_path: Path) -> None:
    archive = EmbeddedArchive(tmp_path / "archive")
    archive.start()
    path = node_toml(port=free_port(), archive_port=archive.port, more=FEW_KINDS)
    path.write_text(path.read_text().replace('recipe = "default"', f'recipe = "{RECIPE}"'))
    services = build_services_from_file(path)
    sent = images_by("siemens_xa_classic")
    with listening(services), working(path):
        send_to_node(services, scans.write(tmp_path / "scanner", sent))
        ends = sorted([State.RECORDED, *[State.JOINED] * 3])
        eventually(lambda: sorted(one.state for one in all_series(services)) == ends, 90, "the end of all four series")
    held = [pydicom.dcmread(archive.folder / entry["file"]) for entry in archive.objects()]
    maps = sorted((one for one in held if one.Modality == "MR"), key=lambda one: one.InstanceNumber)
    values = np.stack([one.pixel_array for one in maps]).astype(float)
    # Inside the brain a value of less than half a ppb is stored as 0, as everything outside it is.
    is_tiny = np.abs(mapped_truth().susceptibility) < 3.0
    require_right(Mapped(values, np.where(is_tiny, mapped_truth().mask, values != 0)))
    geometry = geometry_of(head())
    for index, image in enumerate(maps):
        np.testing.assert_allclose(np.array(image.ImagePositionPatient, float), geometry.position(index), atol=1e-3)
    archive.stop()
    services.close()
