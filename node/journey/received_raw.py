"""received, for k-space: can what came be read, and is it whole? Raw data of others are kept and left alone."""

from collections.abc import Sequence
from pathlib import Path

from db.instances import Instance
from dicom_io.errors import DicomError, MalformedRawData, UnknownRawData
from dicom_io.network.part10 import is_uid
from dicom_io.read.attributes import attribute_values, read_header
from node.completeness import Decision, Verdict
from node.errors import ArtefactDamaged
from node.raw_scans import read_raw_scan
from node.services import Services

WHOLE = "complete: the raw data end with the message that closes them"


def raw_error(services: Services, path: Path) -> DicomError | None:
    """Return why a Raw Data object cannot become a map, or None where its k-space was read whole."""
    try:
        read_raw_scan(services.kspace, path)
    except DicomError as error:
        return error
    except ArtefactDamaged as error:
        return MalformedRawData(str(error))
    return None


def decide_raw(rows: Sequence[Instance]) -> Decision | None:
    """Decide at once about a series of raw data; None where nobody can read it and time must tell that it is whole."""
    if any(row.refusal_class == UnknownRawData.__name__ for row in rows):
        return None
    for row in rows:
        if row.refusal_class is not None:
            return Decision(Verdict.REFUSE, row.sentence or "", row.refusal_class)
    return Decision(Verdict.BEGIN, WHOLE)


def creator_of(path: Path) -> str | None:
    """Return the Creator-Version UID (0008,9123) of a Raw Data object, or None where it states none."""
    found = [str(value) for value in attribute_values(read_header(path), "CreatorVersionUID")]
    return found[0] if found and is_uid(found[0]) else None
