import hashlib
import os
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from dicom_io.errors import NotDicom
from dicom_io.network.part10 import read_envelope
from node.errors import ArtefactDamaged, DiskFull
from node.inbox import Inbox, StoredInstance
from tests.dicom_io.network.conftest import write_image


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "inbox")


def encoded(path: Path) -> bytes:
    return path.read_bytes()[read_envelope(path).dataset_offset :]


def store(inbox: Inbox, dataset: bytes, uid: str = "1.2.3", calling_ae: str = "SCANNER") -> StoredInstance:
    return inbox.store(
        dataset,
        SOPClassUID=MRImageStorage,
        SOPInstanceUID=uid,
        TransferSyntaxUID=ExplicitVRLittleEndian,
        calling_ae=calling_ae,
    )


def test_the_stored_file_reads_as_the_object_that_was_sent(inbox: Inbox, tmp_path: Path) -> None:
    image = write_image(tmp_path / "image.dcm")
    stored = store(inbox, encoded(image))
    assert pydicom.dcmread(inbox.path(stored.name)) == pydicom.dcmread(image)
    assert inbox.path(stored.name).read_bytes().endswith(encoded(image))


def test_digests_are_over_exactly_the_file_and_exactly_the_dataset(inbox: Inbox) -> None:
    stored = store(inbox, b"dataset")
    content = inbox.path(stored.name).read_bytes()
    assert stored.sha256 == hashlib.sha256(content).hexdigest()
    assert stored.dataset_sha256 == hashlib.sha256(b"dataset").hexdigest()
    assert stored.size == len(content)


def test_the_same_dataset_from_another_sender_has_the_same_dataset_digest(inbox: Inbox) -> None:
    first, second = store(inbox, b"dataset", calling_ae="A"), store(inbox, b"dataset", calling_ae="OTHER")
    assert first.dataset_sha256 == second.dataset_sha256
    assert first.name != second.name


@pytest.mark.parametrize("uid", ["../../../../tmp/evil", "1.2/../3", "", "/etc/passwd", "1.2.3\x00"])
def test_no_path_is_ever_built_from_a_received_uid(inbox: Inbox, uid: str) -> None:
    with pytest.raises(NotDicom):
        store(inbox, b"dataset", uid)
    assert list(inbox.names()) == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a" * 31, "A" * 32, "a" * 32 + "\n", "g" * 32])
def test_a_name_that_the_inbox_did_not_make_leads_nowhere(inbox: Inbox, name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        inbox.path(name)


def test_everything_is_flushed_before_the_final_name_exists_and_the_name_after_it(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    flush, rename = os.fsync, Path.rename

    def noted_flush(descriptor: int) -> None:
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        events.append("folder" if target.is_dir() else "file")
        flush(descriptor)

    def noted_rename(path: Path, target: Path) -> Path:
        events.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noted_flush)
    monkeypatch.setattr(Path, "rename", noted_rename)
    store(inbox, b"dataset")
    assert events == ["file", "rename", "folder"]


def test_a_disk_that_fails_while_flushing_leaves_no_file(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="Input/output"):
        store(inbox, b"dataset")
    assert [path for path in inbox.folder.rglob("*") if path.is_file()] == []


def test_below_the_watermark_nothing_is_accepted(tmp_path: Path) -> None:
    full = Inbox(tmp_path / "inbox", free_space_watermark_mb=1e9)
    with pytest.raises(DiskFull, match="watermark"):
        store(full, b"dataset")
    assert list(full.names()) == []


def test_a_changed_or_missing_file_is_damage(inbox: Inbox) -> None:
    stored = store(inbox, b"dataset")
    assert inbox.verify(stored.name, stored.sha256) == inbox.path(stored.name)
    with inbox.path(stored.name).open("ab") as file:
        file.write(b"!")
    with pytest.raises(ArtefactDamaged, match="changed"):
        inbox.verify(stored.name, stored.sha256)
    inbox.discard(stored.name)
    with pytest.raises(ArtefactDamaged, match="missing"):
        inbox.verify(stored.name, stored.sha256)


def test_what_a_killed_process_left_half_written_is_removed_and_whole_files_stay(inbox: Inbox) -> None:
    kept = store(inbox, b"dataset")
    (inbox.folder / "ab" / ("ab" * 16 + ".part")).write_bytes(b"half")
    assert inbox.remove_unfinished() == 1
    assert list(inbox.names()) == [kept.name]
    assert inbox.remove_unfinished() == 0
