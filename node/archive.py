"""A small archive for the demonstration: it keeps what it is sent, and lists it in one index file."""

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dicom_io.network.contexts import COMPANION_CLASSES, IMAGE_CLASSES, RESULT_CLASSES, sop_class_name, storage_contexts
from dicom_io.network.part10 import read_summary
from dicom_io.network.peers import Caller
from dicom_io.network.storage_scp import IncomingInstance, ScpSettings, StorageScp
from node.inbox import Inbox
from node.listener import status_of

INDEX = "index.json"


class EmbeddedArchive:
    """A Storage and Verification SCP whose objects lie in `folder`, listed in `folder/index.json`.

    It is no PACS: no query, no retrieval, no storage commitment. The demonstration and the tests use it as the place
    where results arrive.
    """

    def __init__(
        self,
        folder: Path,
        ae_title: str = "ARCHIVE",
        callers: Sequence[str] = ("LODESTONE",),
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.folder = folder
        self._objects = Inbox(folder / "objects")
        self._lock = threading.Lock()
        self._index: dict[str, dict[str, Any]] = _read_index(folder / INDEX)
        self._scp = StorageScp(
            ScpSettings(
                ae_title=ae_title,
                host=host,
                port=port,
                callers=tuple(Caller(title) for title in callers),
                contexts=tuple(storage_contexts(IMAGE_CLASSES + RESULT_CLASSES + COMPANION_CLASSES)),
            ),
            on_instance=self._keep,
            on_failure=lambda error, calling_ae, association: status_of(error),
            on_refusal=_ignore,
            on_end=_ignore,
        )

    @property
    def port(self) -> int:
        """The port that is bound."""
        return self._scp.port

    def start(self) -> int:
        """Begin to listen and return the port.

        Raises
        ------
        OSError
            Host and port cannot be bound.
        """
        return self._scp.start()

    def stop(self) -> None:
        """Take no new association and let the open ones end."""
        self._scp.stop()

    def objects(self) -> list[dict[str, Any]]:
        """Return the index: for each object its UIDs, what it is, and its `file`, in order of arrival."""
        with self._lock:
            return [dict(entry) for entry in self._index.values()]

    def _keep(self, incoming: IncomingInstance) -> None:
        stored = self._objects.store(
            incoming.dataset,
            SOPClassUID=incoming.SOPClassUID,
            SOPInstanceUID=incoming.SOPInstanceUID,
            TransferSyntaxUID=incoming.TransferSyntaxUID,
            calling_ae=incoming.calling_ae,
        )
        path = self._objects.path(stored.name)
        entry = {
            **asdict(read_summary(path)),
            "object_type": sop_class_name(stored.SOPClassUID),
            "file": str(path.relative_to(self.folder)),
            "sha256": stored.sha256,
            "sent_by": incoming.calling_ae,
        }
        with self._lock:
            # Sent again, an object replaces its former self, as in most archives.
            replaced = self._index.pop(stored.SOPInstanceUID, None)
            self._index[stored.SOPInstanceUID] = entry
            _write_index(self.folder / INDEX, self._index)
        if replaced is not None:
            (self.folder / replaced["file"]).unlink(missing_ok=True)


def _ignore(*what: object) -> None:
    """Take no notice: an archive for a demonstration keeps no audit."""


def _read_index(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    entries = json.loads(path.read_text(encoding="utf-8"))
    return {entry["SOPInstanceUID"]: entry for entry in entries}


def _write_index(path: Path, index: dict[str, dict[str, Any]]) -> None:
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(list(index.values()), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
