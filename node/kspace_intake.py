"""How raw data enter the record: as one Raw Data object that stands for them, in a series of its own."""

from dataclasses import dataclass

import structlog
from pynetdicom.dsutils import encode

from db import instances
from db.base import now
from dicom_io.errors import DicomError
from dicom_io.kspace.formats import read_raw_file
from dicom_io.kspace.mrd_stream import first_header
from dicom_io.kspace.overrides import Overrides
from dicom_io.kspace.raw_data import (
    RAW_DATA_STORAGE,
    PayloadFormat,
    RawPayload,
    raw_data_object,
    raw_instance_uid,
)
from dicom_io.kspace.scan import RawHeader
from node.journey import received
from node.kspace_store import KeptPayload
from node.services import Services

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
log = structlog.get_logger()


@dataclass(frozen=True)
class Admission:
    """The series that raw data became, and why they cannot become a map, where they cannot."""

    series_key: str
    is_new: bool
    problem: str = ""


def admit(services: Services, kept: KeptPayload, calling: str, overrides: Overrides | None = None) -> Admission:
    """Record raw data whose bytes are safe; when this returns, the record is committed. May run twice.

    Parameters
    ----------
    services
        The node.
    kept
        The raw data.
    calling
        Who sent them, for the record.
    overrides
        What a sidecar states.

    Raises
    ------
    RecordBusy
        The database stayed locked.
    DiskFull
        There is no room for the object that stands for them.
    """
    payload = RawPayload(kept.format, kept.sha256, kept.n_bytes, None, overrides or Overrides())
    with services.database.read() as session:
        known = instances.with_uid(session, raw_instance_uid(payload))
        held = Admission(known[0].series_key, False, known[0].sentence or "") if known else None
    if held is None:
        held = _record(services, kept, payload, calling)
    services.kspace.note_recorded(kept)
    log.info("kspace.received", series_key=held.series_key, bytes=kept.n_bytes, calling_ae=calling)
    return held


def admit_forgotten(services: Services) -> int:
    """Record what a killed node had received and not recorded, cut or whole, and return how many scans that were."""
    services.kspace.adopt_unfinished()
    forgotten = services.kspace.unrecorded()
    for kept in forgotten:
        admit(services, kept, "recovered")
    return len(forgotten)


def _record(services: Services, kept: KeptPayload, payload: RawPayload, calling: str) -> Admission:
    made = raw_data_object(payload, _header_of(kept), now())
    content = encode(made, is_implicit_vr=False, is_little_endian=True)
    assert content is not None
    stored = services.inbox.store(
        content,
        SOPClassUID=RAW_DATA_STORAGE,
        SOPInstanceUID=str(made.SOPInstanceUID),
        TransferSyntaxUID=EXPLICIT_VR_LITTLE_ENDIAN,
    )
    receipt = received.receive(services, stored, calling)
    received.association_ended(services, calling, [receipt.series_key])
    with services.database.read() as session:
        row = instances.with_uid(session, stored.SOPInstanceUID)[0]
        return Admission(receipt.series_key, True, row.sentence or "")


def _header_of(kept: KeptPayload) -> RawHeader | None:
    """Return what raw data state, however far they came; None where not even that can be read."""
    try:
        if kept.format is PayloadFormat.MRD_STREAM:
            return first_header(kept.path)
        return read_raw_file(kept.path, kept.format).header
    except DicomError:
        return None
