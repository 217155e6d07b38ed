"""The workspace: content-addressed artefacts between steps; a name is the SHA-256 of the file it names."""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from node.errors import ArtefactDamaged

_DIGEST = re.compile(r"[0-9a-f]{64}")
# One key only: safetensors writes several in no fixed order, and the same content must have the same digest.
_METADATA = "lodestone"


@dataclass(frozen=True)
class Artefact:
    """Named arrays and what is said about them."""

    arrays: dict[str, np.ndarray]
    metadata: dict[str, Any]


class Workspace:
    """Keeps artefacts in `folder`; a file is complete or it does not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary.mkdir(parents=True, exist_ok=True)

    @property
    def temporary(self) -> Path:
        """Return the folder for files that have no digest yet, on the same disk."""
        return self.folder / "temporary"

    def new_temporary(self) -> Path:
        """Return a path that nobody uses."""
        return self.temporary / f"{secrets.token_hex(16)}.safetensors"

    def path(self, digest: str) -> Path:
        """Return where the artefact of that digest lies.

        Raises
        ------
        ValueError
            `digest` is no SHA-256 in hexadecimal.
        """
        if not _DIGEST.fullmatch(digest):
            raise ValueError("This is no SHA-256 in hexadecimal.")
        return self.folder / digest[:2] / f"{digest}.safetensors"

    def put(self, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> str:
        """Store arrays with their metadata and return the digest."""
        path = self.new_temporary()
        try:
            write_artefact(path, arrays, metadata)
            return self.adopt(path)
        finally:
            path.unlink(missing_ok=True)

    def adopt(self, path: Path) -> str:
        """Take over a finished file on the same disk, and return its digest."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        final = self.path(digest)
        final.parent.mkdir(exist_ok=True)
        path.replace(final)
        folder = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return digest

    def verify(self, digest: str) -> Path:
        """Return the path of an artefact after checking that its content still has its digest.

        Raises
        ------
        ArtefactDamaged
            The file is gone or has changed.
        """
        path = self.path(digest)
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError as error:
            raise ArtefactDamaged(f"Artefact {digest[:12]} is missing; run `lodestone retry` on the series.") from error
        if found != digest:
            raise ArtefactDamaged(f"Artefact {digest[:12]} has changed since it was made; check the disk.")
        return path

    def get(self, digest: str) -> Artefact:
        """Return an artefact after checking its digest.

        Raises
        ------
        ArtefactDamaged
            The file is gone or has changed.
        """
        return read_artefact(self.verify(digest))

    def remove_unfinished(self) -> int:
        """Remove what a killed process left half written, and return how many files that were."""
        unfinished = list(self.temporary.glob("*.safetensors"))
        for path in unfinished:
            path.unlink(missing_ok=True)
        return len(unfinished)


def write_artefact(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write arrays and metadata to `path`; the same content gives the same bytes."""
    text = json.dumps(metadata, sort_keys=True, separators=(",", ":"))
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(contiguous, path, metadata={_METADATA: text})


def read_artefact(path: Path) -> Artefact:
    """Read what `write_artefact` wrote.

    Raises
    ------
    ArtefactDamaged
        The file is no artefact.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
            metadata = json.loads((file.metadata() or {}).get(_METADATA, "{}"))
    except SafetensorError as error:
        raise ArtefactDamaged(f"{path.name[:12]} is no artefact of Lodestone.") from error
    return Artefact(arrays, metadata)
