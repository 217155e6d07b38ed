"""Small real objects, a provider that keeps what it is sent, and DCMTK's programs."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage, generate_uid

from dicom_io.network.peers import Caller, Peer
from dicom_io.network.storage_commitment import CommitmentHandler
from dicom_io.network.storage_scp import IncomingInstance, Refused, ScpSettings, StorageScp


def write_image(
    path: Path, syntax: str = ExplicitVRLittleEndian, sop_class: str = MRImageStorage, uid: str = ""
) -> Path:
    """Write a small valid image and return its path."""
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = sop_class, uid or generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.Modality, image.PatientName, image.PatientID = "MR", "Phantom^Head", "P1"
    image.Rows, image.Columns, image.SamplesPerPixel = 16, 16, 1
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
    image.PhotometricInterpretation = "MONOCHROME2"
    image.PixelData = np.arange(256, dtype="<u2").tobytes()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = syntax
    image.save_as(path, enforce_file_format=True, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    return path


@dataclass
class Provider:
    """A Storage SCP on loopback, and everything that it was told."""

    allowed: tuple[Caller, ...] = (Caller("SCANNER"),)
    fail_with: Exception | None = None
    status: int = 0xC000
    instances: list[IncomingInstance] = field(default_factory=list)
    failures: list[tuple[str, str, int]] = field(default_factory=list)
    refusals: list[tuple[Refused, str, str]] = field(default_factory=list)
    ended: list[tuple[str, int]] = field(default_factory=list)
    scp: StorageScp | None = None

    def start(self, on_commitment: CommitmentHandler | None = None, **settings: object) -> "Provider":
        given = ScpSettings("NODE", callers=self.allowed, **settings)
        self.scp = StorageScp(
            given,
            on_instance=self._keep,
            on_failure=self._fail,
            on_refusal=lambda *what: self.refusals.append(what),
            on_end=lambda *what: self.ended.append(what),
            on_commitment=on_commitment,
        )
        self.scp.start()
        return self

    def _keep(self, incoming: IncomingInstance) -> None:
        if self.fail_with is not None:
            raise self.fail_with
        self.instances.append(incoming)

    def _fail(self, error: Exception, calling_ae: str, association: int) -> int:
        self.failures.append((type(error).__name__, calling_ae, association))
        return self.status

    @property
    def peer(self) -> Peer:
        assert self.scp is not None
        return Peer("node", "NODE", "127.0.0.1", self.scp.port)


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Return a provider to be started; it is stopped at the end."""
    made = Provider()
    yield made
    if made.scp is not None:
        made.scp.stop(1.0)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Return the path of one small image."""
    return write_image(tmp_path / "image.dcm")


@pytest.fixture
def dcmtk(program: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Return the function that finds a program of DCMTK; pynetdicom installs others of the same names beside Python."""
    beside_python = Path(sys.executable).parent
    kept = [entry for entry in os.environ["PATH"].split(os.pathsep) if Path(entry) != beside_python]
    monkeypatch.setenv("PATH", os.pathsep.join(kept))
    # Without it Nagle's algorithm stalls each object for some 45 ms.
    monkeypatch.setenv("TCP_NODELAY", "1")
    return program
