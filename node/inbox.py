"""The inbox: a write-once store of what came in, byte for byte, under names that the node makes."""

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dicom_io.network.part10 import file_header
from node.errors import ArtefactDamaged, DiskFull

_NAME = re.compile(r"[0-9a-f]{32}")
_PART = ".part"
_SHARDS = tuple(f"{number:02x}" for number in range(256))


@dataclass(frozen=True)
class StoredInstance:
    """An instance whose bytes are on disk, flushed and under their final name.

    `sha256` is over the whole file; `dataset_sha256` is over the dataset alone, without the file meta information that
    the node wrote in front of it, so that the same object sent twice is recognised.
    """

    name: str
    sha256: str
    dataset_sha256: str
    size: int
    SOPClassUID: str
    SOPInstanceUID: str
    TransferSyntaxUID: str


class Inbox:
    """Keeps received files in `folder`; a file is complete or it does not exist."""

    def __init__(self, folder: Path, free_space_watermark_mb: float = 0.0) -> None:
        self.folder = folder
        self._watermark_bytes = int(free_space_watermark_mb * 1e6)
        folder.mkdir(parents=True, exist_ok=True)
        for shard in _SHARDS:
            (folder / shard).mkdir(exist_ok=True)
        _flush_folder(folder)

    def store(
        self,
        dataset: bytes,
        *,
        SOPClassUID: str,
        SOPInstanceUID: str,
        TransferSyntaxUID: str,
        calling_ae: str = "",
    ) -> StoredInstance:
        """Write an encoded dataset as a DICOM file and flush it to disk before returning.

        Raises
        ------
        DiskFull
            Free space is below the watermark, or would be afterwards.
        OSError
            The disk failed; nothing is left behind under a final name.
        NotDicom
            One of the UIDs is none.
        """
        header = file_header(SOPClassUID, SOPInstanceUID, TransferSyntaxUID, calling_ae)
        self.require_space(len(header) + len(dataset))
        name = secrets.token_hex(16)
        self._write(name, header, dataset)
        whole = hashlib.sha256(header)
        whole.update(dataset)
        return StoredInstance(
            name=name,
            sha256=whole.hexdigest(),
            dataset_sha256=hashlib.sha256(dataset).hexdigest(),
            size=len(header) + len(dataset),
            SOPClassUID=SOPClassUID,
            SOPInstanceUID=SOPInstanceUID,
            TransferSyntaxUID=TransferSyntaxUID,
        )

    def _write(self, name: str, header: bytes, dataset: bytes) -> None:
        final = self.path(name)
        part = final.with_suffix(_PART)
        is_safe = False
        try:
            with part.open("xb") as file:
                file.write(header)
                file.write(dataset)
                file.flush()
                os.fsync(file.fileno())
            part.rename(final)
            # Without this a power cut may forget the name although the bytes are on the disk.
            _flush_folder(final.parent)
            is_safe = True
        finally:
            if not is_safe:
                part.unlink(missing_ok=True)
                final.unlink(missing_ok=True)

    def require_space(self, n_bytes: int = 0) -> None:
        """Refuse unless `n_bytes` can be written and free space then still exceeds the watermark.

        Raises
        ------
        DiskFull
            It would not; the sender is told "out of resources" and keeps its copy.
        """
        free = shutil.disk_usage(self.folder).free
        if free - n_bytes < self._watermark_bytes:
            raise DiskFull(
                f"Only {free / 1e6:.0f} MB are free for the inbox, the watermark is {self._watermark_bytes / 1e6:.0f} "
                "MB; free some space, senders will try again."
            )

    def path(self, name: str) -> Path:
        """Return where the file of that name lies; names that the inbox did not make are an error.

        Raises
        ------
        ValueError
            The name has another form than those the inbox makes.
        """
        if not _NAME.fullmatch(name):
            raise ValueError("This is no name of a file in the inbox.")
        return self.folder / name[:2] / f"{name}.dcm"

    def verify(self, name: str, sha256: str) -> Path:
        """Return the path of a file after checking that it still has the digest recorded for it.

        Raises
        ------
        ArtefactDamaged
            The file is gone or has changed.
        """
        path = self.path(name)
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError as error:
            raise ArtefactDamaged(f"File {name} is missing from the inbox; ask the sender to send it again.") from error
        if found != sha256:
            raise ArtefactDamaged(f"File {name} in the inbox has changed since it was received; check the disk.")
        return path

    def discard(self, name: str) -> None:
        """Remove a file that no row of the record refers to, such as the second copy of a repeated instance."""
        self.path(name).unlink(missing_ok=True)

    def names(self) -> Iterator[str]:
        """Yield the name of every complete file."""
        for path in sorted(self.folder.glob("??/*.dcm")):
            yield path.stem

    def remove_unfinished(self) -> int:
        """Remove what a killed process left half written, and return how many files that were.

        Nothing of it was ever acknowledged to a sender. Call it only while nobody writes.
        """
        unfinished = list(self.folder.glob(f"??/*{_PART}"))
        for path in unfinished:
            path.unlink()
        return len(unfinished)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
