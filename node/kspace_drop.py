"""The drop folder: raw data files that a person or a script puts there enter the record, with the sidecar beside them.

A file is taken when it has stopped growing and its sidecar is there; without a sidecar after the quiet time of
[completeness], in a study of its own. Then it is moved to `taken`, or to `refused` with a text that says why.
"""

import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

import db.errors
from dicom_io.errors import DicomError
from dicom_io.kspace.formats import SUFFIXES, format_of
from dicom_io.kspace.overrides import Overrides, read_sidecar, sidecar_of
from node.errors import Transient
from node.kspace_intake import admit
from node.log import place_of
from node.services import Services

log = structlog.get_logger()

LOOK_EVERY_S = 1.0
SETTLE_S = 2.0
TAKEN, REFUSED = "taken", "refused"
CALLING = "drop folder"


@dataclass(frozen=True)
class _Seen:
    """How large a file and its sidecar were, and since when they have not changed."""

    fingerprint: tuple[object, ...]
    since: float


class DropFolder:
    """Looks into a folder every second until stopped."""

    def __init__(self, services: Services, folder: Path) -> None:
        self._services, self._folder = services, folder
        self._seen: dict[Path, _Seen] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kspace-drop", daemon=True)

    def start(self) -> None:
        """Make the folder where it is missing, and begin to look."""
        for folder in (self._folder, self._folder / TAKEN, self._folder / REFUSED):
            folder.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        log.info("kspace_drop.started")

    def stop(self) -> None:
        """End after the present look."""
        self._stop.set()
        self._thread.join()

    def look(self) -> None:
        """Take every file that has arrived whole."""
        files = [path for path in sorted(self._folder.iterdir()) if path.suffix.lower() in SUFFIXES and path.is_file()]
        self._seen = {path: seen for path, seen in self._seen.items() if path in files}
        for path in files:
            if self._has_settled(path):
                self._take(path)

    def _has_settled(self, path: Path) -> bool:
        beside = sidecar_of(path)
        fingerprint = tuple((one.stat().st_size, one.stat().st_mtime_ns) for one in (path, beside) if one is not None)
        now, known = time.monotonic(), self._seen.get(path)
        if known is None or known.fingerprint != fingerprint:
            self._seen[path] = _Seen(fingerprint, now)
            return False
        needed_s = SETTLE_S if beside is not None else self._services.settings.completeness.quiet_time_s
        return now - known.since >= needed_s

    def _take(self, path: Path) -> None:
        beside = sidecar_of(path)
        try:
            form = format_of(path)
            overrides = Overrides() if beside is None else read_sidecar(beside)
            kept = self._services.kspace.copy(path, form)
            admission = admit(self._services, kept, CALLING, overrides)
        except DicomError as error:
            log.warning("kspace_drop.refused", error_class=type(error).__name__)
            refused = self._move(path, beside, REFUSED)
            refused.with_name(refused.name + ".txt").write_text(f"{type(error).__name__}: {error}\n", encoding="utf-8")
            return
        except (Transient, db.errors.Transient, OSError) as error:
            # The file stays where it is, and is tried again after it has been still once more.
            log.error("kspace_drop.failed", error_class=type(error).__name__, where=place_of(error))
            self._seen[path] = replace(self._seen[path], since=time.monotonic())
            return
        log.info("kspace_drop.taken", series_key=admission.series_key)
        self._move(path, beside, TAKEN)

    def _move(self, path: Path, beside: Path | None, name: str) -> Path:
        """Move a file with its sidecar, under another name where that one is taken, and return where it lies."""
        number, target = 1, self._folder / name / path.name
        while target.exists():
            number += 1
            target = self._folder / name / f"{path.stem}-{number}{path.suffix}"
        path.rename(target)
        if beside is not None:
            beside.rename(target.with_name(target.stem + beside.suffix))
        return target

    def _run(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            try:
                self.look()
            except OSError as error:
                log.error("kspace_drop.failed", error_class=type(error).__name__, where=place_of(error))
