"""The store of raw data: k-space as it came, byte for byte, under the SHA-256 of its bytes.

What is still arriving lies in a folder of its own and is flushed to the disk as it comes, so that a power cut loses the
last moments and not the scan. What arrived before a crash is found again there at the next start.
"""

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from dicom_io.kspace.raw_data import PayloadFormat
from node.errors import ArtefactDamaged, DiskFull

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PART, _RECORDED = ".part", ".recorded"
_SUFFIX = {PayloadFormat.MRD_STREAM: ".mrd", PayloadFormat.ISMRMRD_FILE: ".h5", PayloadFormat.TWIX: ".dat"}
_FLUSH_BYTES = 32 << 20
_LOOK_BYTES = 64 << 20
_COPY_BYTES = 4 << 20


@dataclass(frozen=True)
class KeptPayload:
    """Raw data on the disk, flushed and under their final name."""

    format: PayloadFormat
    sha256: str
    n_bytes: int
    path: Path


class KspaceStore:
    """Keeps raw data in `folder`; a file under a final name is whole as far as it came."""

    def __init__(self, folder: Path, free_space_watermark_mb: float = 0.0) -> None:
        self.folder = folder
        self.arriving = folder / "arriving"
        self.arriving.mkdir(parents=True, exist_ok=True)
        self._watermark_bytes = int(free_space_watermark_mb * 1e6)

    def receive(self, form: PayloadFormat, keeps_cut: bool = True) -> "ArrivingPayload":
        """Begin a file that grows as bytes come; with `keeps_cut` what came before an error is found at the next start.

        Raises
        ------
        DiskFull
            Free space is below the watermark.
        """
        self.require_space()
        return ArrivingPayload(self, form, self.arriving / f"{secrets.token_hex(16)}{_SUFFIX[form]}{_PART}", keeps_cut)

    def copy(self, source: Path, form: PayloadFormat) -> KeptPayload:
        """Keep a copy of a file.

        Raises
        ------
        DiskFull
            It does not fit.
        OSError
            It cannot be read, or the disk failed.
        """
        self.require_space(source.stat().st_size)
        with source.open("rb") as file, self.receive(form, keeps_cut=False) as arriving:
            while piece := file.read(_COPY_BYTES):
                arriving.write(memoryview(piece))
            return arriving.finish()

    def require_space(self, n_bytes: int = 0) -> None:
        """Refuse unless `n_bytes` can be written and free space then still exceeds the watermark.

        Raises
        ------
        DiskFull
            It would not.
        """
        free = shutil.disk_usage(self.folder).free
        if free - n_bytes < self._watermark_bytes:
            raise DiskFull(
                f"Only {free / 1e6:.0f} MB are free for raw data, the watermark is {self._watermark_bytes / 1e6:.0f} "
                "MB; free some space and send the scan again."
            )

    def path(self, form: PayloadFormat, sha256: str) -> Path:
        """Return where raw data of that digest lie.

        Raises
        ------
        ValueError
            `sha256` is none in hexadecimal.
        """
        if not _DIGEST.fullmatch(sha256):
            raise ValueError("This is no SHA-256 in hexadecimal.")
        return self.folder / sha256[:2] / f"{sha256}{_SUFFIX[form]}"

    def verify(self, form: PayloadFormat, sha256: str) -> Path:
        """Return the path of raw data after checking that they still have their digest.

        Raises
        ------
        ArtefactDamaged
            The file is gone or has changed.
        """
        path = self.path(form, sha256)
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError as error:
            raise ArtefactDamaged(
                f"The raw data {sha256[:12]} are not kept on this node; send the scan to it again."
            ) from error
        if found != sha256:
            raise ArtefactDamaged(f"The raw data {sha256[:12]} have changed since they came; check the disk.")
        return path

    def kept(self) -> Iterator[KeptPayload]:
        """Yield everything that is kept."""
        forms = {suffix: form for form, suffix in _SUFFIX.items()}
        for path in sorted(self.folder.glob("??/*")):
            if _DIGEST.fullmatch(path.stem) and path.suffix in forms:
                yield KeptPayload(forms[path.suffix], path.stem, path.stat().st_size, path)

    def note_recorded(self, kept: KeptPayload) -> None:
        """Remember that raw data are in the record."""
        kept.path.with_suffix(_RECORDED).touch()

    def unrecorded(self) -> list[KeptPayload]:
        """Return what was kept when the process was killed before it could record it."""
        return [kept for kept in self.kept() if not kept.path.with_suffix(_RECORDED).exists()]

    def adopt_unfinished(self) -> list[KeptPayload]:
        """Keep what a killed process was receiving, as far as it came. Call it only while nobody receives."""
        adopted = []
        for path in sorted(self.arriving.glob(f"*{_PART}")):
            form = next((form for form, suffix in _SUFFIX.items() if path.name.endswith(suffix + _PART)), None)
            n_bytes = path.stat().st_size
            if form is None or n_bytes == 0:
                path.unlink()
                continue
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            adopted.append(self._keep(path, form, sha256, n_bytes))
        return adopted

    def _keep(self, path: Path, form: PayloadFormat, sha256: str, n_bytes: int) -> KeptPayload:
        final = self.path(form, sha256)
        final.parent.mkdir(exist_ok=True)
        path.replace(final)
        for folder in (final.parent, self.folder):
            _flush_folder(folder)
        return KeptPayload(form, sha256, n_bytes, final)


class ArrivingPayload:
    """A file of raw data that is being received, until `finish` gives it its final name."""

    def __init__(self, store: KspaceStore, form: PayloadFormat, path: Path, keeps_cut: bool) -> None:
        self.n_bytes = 0
        self._keeps_cut = keeps_cut
        self._store, self._form, self._path = store, form, path
        self._digest = hashlib.sha256()
        self._file = path.open("xb", buffering=0)
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="kspace-flush")
        self._flushing: Future[None] | None = None
        self._next_flush, self._next_look = _FLUSH_BYTES, _LOOK_BYTES
        _flush_folder(store.arriving)

    def write(self, piece: memoryview) -> None:
        """Append bytes; they are flushed to the disk soon afterwards, while more arrive.

        Raises
        ------
        DiskFull
            Free space has fallen below the watermark.
        OSError
            The disk failed.
        """
        left = piece
        while left:
            left = left[self._file.write(left) :]
        self._digest.update(piece)
        self.n_bytes += len(piece)
        if self.n_bytes >= self._next_flush:
            self._flush_soon()
        if self.n_bytes >= self._next_look:
            self._next_look = self.n_bytes + _LOOK_BYTES
            self._store.require_space()

    def finish(self) -> KeptPayload:
        """Flush everything, give the file its final name, and return it; from then on it survives a power cut."""
        self._disk.shutdown()
        if self._flushing is not None:
            self._flushing.result()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._store._keep(self._path, self._form, self._digest.hexdigest(), self.n_bytes)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; an unfinished one stays where an error cut it off, so that its bytes are not lost."""
        self._disk.shutdown()
        self._file.close()
        if error is None or self.n_bytes == 0 or not self._keeps_cut:
            self._path.unlink(missing_ok=True)

    def _flush_soon(self) -> None:
        """Let another thread flush what has come; one flush at a time, so that a slow disk slows the sender."""
        if self._flushing is not None:
            self._flushing.result()
        self._flushing = self._disk.submit(os.fdatasync, self._file.fileno())
        self._next_flush = self.n_bytes + _FLUSH_BYTES


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
