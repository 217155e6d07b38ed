"""The one way from a Raw Data object in the inbox to its readouts, wherever those lie."""

from dataclasses import dataclass, replace
from pathlib import Path

from dicom_io.kspace.formats import read_payload
from dicom_io.kspace.raw_data import RawPayload, find_payload
from dicom_io.kspace.scan import RawScan
from node.errors import ArtefactDamaged
from node.kspace_store import KspaceStore


@dataclass(frozen=True)
class HeldRawScan:
    """A raw scan, with where its bytes lie."""

    scan: RawScan
    payload: RawPayload
    path: Path


def read_raw_scan(store: KspaceStore, path: Path, is_verified: bool = False) -> HeldRawScan:
    """Read the scan that a Raw Data object holds or stands for, with what a site stated beside it.

    Parameters
    ----------
    store
        Where raw data are kept.
    path
        The Raw Data object.
    is_verified
        Whether the digest of bytes outside the object is to be checked as well, which reads them all.

    Raises
    ------
    UnknownRawData
        Nobody here can read it.
    MalformedRawData, IncompleteRawData
        Its bytes are damaged or cut.
    ArtefactDamaged
        The raw data are not kept here, or have changed.
    """
    payload = find_payload(path)
    held = path if payload.offset is not None else _outside(store, payload, is_verified)
    scan = read_payload(held, payload)
    return HeldRawScan(replace(scan, header=payload.overrides.applied_to(scan.header)), payload, held)


def _outside(store: KspaceStore, payload: RawPayload, is_verified: bool) -> Path:
    if is_verified:
        return store.verify(payload.format, payload.sha256)
    try:
        path = store.path(payload.format, payload.sha256)
    except ValueError as error:
        raise ArtefactDamaged(
            "The Raw Data object names no raw data that could be kept; send the scan again."
        ) from error
    if not path.is_file():
        raise ArtefactDamaged(
            "The raw data that the Raw Data object stands for are not kept here; send the scan again."
        )
    return path
