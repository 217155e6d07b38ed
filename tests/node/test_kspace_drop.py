"""A dropped file is taken when it is whole and its sidecar is there; a mistake is named beside it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dicom_io.kspace.mrd_file import write_file
from node import kspace_drop
from node.app import build_services_from_file
from node.kspace_drop import REFUSED, TAKEN, DropFolder
from node.services import Services
from tests.dicom_io.kspace.raw_scans import raw_scan
from tests.node.running import all_series
from tests.waiting import eventually

SIDECAR = '[identity]\nPatientID = "SITE-1"\nStudyInstanceUID = "2.25.99"\n'


@pytest.fixture
def dropped(
    node_toml: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Services, Path]]:
    monkeypatch.setattr(kspace_drop, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(kspace_drop, "SETTLE_S", 0.3)
    built = build_services_from_file(node_toml(more='[kspace]\ndrop_folder = "drop"\n'))
    assert built.settings.drop_folder == tmp_path / "site" / "drop"
    folder = DropFolder(built, built.settings.drop_folder)
    folder.start()
    yield built, built.settings.drop_folder
    folder.stop()
    built.close()


def test_a_file_with_its_sidecar_enters_the_study_that_the_sidecar_names(dropped: tuple[Services, Path]) -> None:
    services, folder = dropped
    write_file(folder / "scan.h5", raw_scan())
    (folder / "scan.toml").write_text(SIDECAR)
    (one,) = eventually(lambda: all_series(services), 20, "the file in the record")
    assert one.study_instance_uid == "2.25.99"
    eventually((folder / TAKEN / "scan.toml").exists, 10, "the sidecar among what was taken")
    assert (folder / TAKEN / "scan.h5").exists()
    assert not (folder / "scan.h5").exists()


def test_a_file_without_its_sidecar_waits_for_it(dropped: tuple[Services, Path]) -> None:
    services, folder = dropped
    write_file(folder / "alone.h5", raw_scan())
    write_file(folder / "other.h5", raw_scan(seed=3))
    (folder / "other.json").write_text("{}")
    eventually(lambda: all_series(services), 20, "the other file in the record")
    eventually((folder / TAKEN / "other.h5").exists, 10, "the other file among what was taken")
    assert (folder / "alone.h5").exists()
    assert len(all_series(services)) == 1


def test_a_mistake_is_told_beside_the_file(dropped: tuple[Services, Path]) -> None:
    services, folder = dropped
    write_file(folder / "scan.h5", raw_scan())
    (folder / "scan.toml").write_text("echo_time = 5")
    why = folder / REFUSED / "scan.h5.txt"
    eventually(why.exists, 20, "the reason of the refusal")
    assert eventually(why.read_text, 5, "its text").startswith("MalformedRawData: The sidecar holds the unknown key")
    assert (folder / REFUSED / "scan.h5").exists()
    assert all_series(services) == []
