"""Raw Data Storage (PS3.3 A.37): the standard's envelope for k-space, whose content only its creator can read.

The Creator-Version UID says who that is. Lodestone reads what it wrote itself: an MRD stream in a private element, or
the SHA-256 of a file that the node keeps beside its inbox, since one element holds less than 4 GiB. Decoders are listed
in one table; raw data of everybody else are kept as they are.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import RawDataStorage

from dicom_io.errors import MalformedRawData, NotDicom, UnknownRawData
from dicom_io.instance import PARSING_FAILURES, open_instance, quietly, text
from dicom_io.kspace.overrides import Overrides, parse_overrides
from dicom_io.kspace.scan import RawHeader
from dicom_io.write.derived import UNICODE, set_verbatim
from dicom_io.write.identity import derived_uid

RAW_DATA_STORAGE = str(RawDataStorage)
CREATOR_VERSION_UID = derived_uid("Lodestone", "raw data", "MRD payload", "1")
PRIVATE_CREATOR = "LODESTONE RAW DATA 1"
LARGEST_INSIDE = (1 << 32) - 2
_GROUP = 0x0099
_FORMAT, _SHA256, _BYTES, _OVERRIDES, _CONTENT = 0x1001, 0x1002, 0x1003, 0x1004, 0x1010
_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "SeriesNumber",
    "InstanceNumber",
)
_OPTIONAL = (
    "StudyDescription",
    "SeriesDate",
    "SeriesTime",
    "ProtocolName",
    "SeriesDescription",
    "BodyPartExamined",
    "InstitutionName",
    "StationName",
    "DeviceSerialNumber",
    "PatientWeight",
)


class PayloadFormat(StrEnum):
    """What the bytes of a payload are."""

    MRD_STREAM = "MRD stream"
    ISMRMRD_FILE = "ISMRMRD HDF5"
    TWIX = "Siemens twix"


@dataclass(frozen=True)
class RawPayload:
    """Where k-space lies: `n_bytes` at `offset` in the object itself, or without an offset in a file known by digest.

    `sha256` is over the payload's bytes. `overrides` are what a site stated beside it.
    """

    format: PayloadFormat
    sha256: str
    n_bytes: int
    offset: int | None = None
    overrides: Overrides = field(default_factory=Overrides)


def raw_data_object(
    payload: RawPayload, header: RawHeader | None, received_at: datetime, content: bytes | None = None
) -> Dataset:
    """Make the Raw Data object that stands for a scan in the record, or carries it with `content`.

    Identifiers follow from the payload's digest, so that the same scan sent twice is recognised. Without a header, or
    without a study in it, the object belongs to a study of its own.

    Parameters
    ----------
    payload
        What it stands for.
    header
        What the raw data state; None where nothing could be read.
    received_at
        When they came.
    content
        The payload's bytes, where the object is to hold them.

    Raises
    ------
    MalformedRawData
        The content is larger than an element may be.
    """
    stated, key = {} if header is None else header.identity, (payload.sha256, payload.overrides.as_text())
    identity = {**stated, **payload.overrides.identity}
    made = Dataset()
    made.SpecificCharacterSet = UNICODE
    made.SOPClassUID = RAW_DATA_STORAGE
    made.SOPInstanceUID = raw_instance_uid(payload)
    _describe_identity(made, identity, key)
    _describe_scanner(made, header)
    made.Modality = "MR"
    made.CreatorVersionUID = CREATOR_VERSION_UID
    made.ContentDate, made.ContentTime = f"{received_at:%Y%m%d}", f"{received_at:%H%M%S}"
    made.AcquisitionContextSequence = []
    made.InstanceNumber = 1
    block = made.private_block(_GROUP, PRIVATE_CREATOR, create=True)
    block.add_new(_FORMAT & 0xFF, "LO", payload.format.value)
    block.add_new(_SHA256 & 0xFF, "LO", payload.sha256)
    block.add_new(_BYTES & 0xFF, "LO", str(payload.n_bytes))
    if payload.overrides.as_text():
        block.add_new(_OVERRIDES & 0xFF, "UT", payload.overrides.as_text())
    if content is not None:
        if len(content) > LARGEST_INSIDE:
            raise MalformedRawData("The raw data are larger than 4 GiB, more than one DICOM element holds.")
        block.add_new(_CONTENT & 0xFF, "OB", content + b"\0" * (len(content) % 2))
    return made


def raw_instance_uid(payload: RawPayload) -> str:
    """Return the SOPInstanceUID of the object that stands for a payload, and for what was stated beside it."""
    return derived_uid("raw data", payload.sha256, payload.overrides.as_text())


def find_payload(path: Path) -> RawPayload:
    """Return where the k-space of a Raw Data object lies, by the decoder of its creator.

    Raises
    ------
    UnknownRawData
        No decoder is registered for the creator's version; the object is kept.
    MalformedRawData
        The object is ours, and damaged.
    """
    header = open_instance(path, ["CreatorVersionUID", "Manufacturer", "SOPClassUID"])
    creator = text(header.get("CreatorVersionUID"))
    decode = DECODERS.get(creator)
    if decode is None:
        raise UnknownRawData(
            f"The raw data are of creator version {creator or 'unknown'}, for which Lodestone has no decoder; they are "
            "kept as they came."
        )
    return decode(path)


def _find_own(path: Path) -> RawPayload:
    try:
        with quietly(), path.open("rb") as file:
            content = _Content(file)
            dataset = read_partial(file, content.is_reached)
            block = dataset.private_block(_GROUP, PRIVATE_CREATOR)
            form, sha256, n_bytes = (str(block[number & 0xFF].value) for number in (_FORMAT, _SHA256, _BYTES))
            overrides = (
                parse_overrides(json.loads(str(block[_OVERRIDES & 0xFF].value)))
                if (_OVERRIDES & 0xFF) in block
                else Overrides()
            )
            payload = RawPayload(PayloadFormat(form), sha256, int(n_bytes), content.offset, overrides)
    except (*PARSING_FAILURES, NotDicom, MalformedRawData) as failure:
        raise MalformedRawData("The Raw Data object of Lodestone's own kind is damaged; send it again.") from failure
    if payload.offset is not None:
        _check_inside(path, payload)
    return payload


class _Content:
    """Stops pydicom where the content begins, and notes where that is: gigabytes are not to be read into memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.offset: int | None = None

    def is_reached(self, tag: BaseTag, vr: str | None, length: int) -> bool:
        """Say whether this element is the content; the file's position is where its value begins."""
        # The creator's block is always our first: the object was written by ourselves.
        if tag.group == _GROUP and tag.elem == _CONTENT:
            self.offset = self._file.tell()
        return self.offset is not None


def _check_inside(path: Path, payload: RawPayload) -> None:
    """Check that the content is what its digest says."""
    if payload.format is not PayloadFormat.MRD_STREAM:
        raise MalformedRawData("The Raw Data object holds something other than an MRD stream; send it again.")
    digest, left = hashlib.sha256(), payload.n_bytes
    with path.open("rb") as file:
        file.seek(payload.offset or 0)
        while left > 0 and (piece := file.read(min(left, 1 << 20))):
            digest.update(piece)
            left -= len(piece)
    if left or digest.hexdigest() != payload.sha256:
        raise MalformedRawData("The k-space in the Raw Data object is not what its digest says; send it again.")


PRIVATE_ELEMENTS: Mapping[Tag, tuple[str, str]] = {
    Tag(_GROUP, _FORMAT): ("LO", f"what the payload is: {', '.join(PayloadFormat)}"),
    Tag(_GROUP, _SHA256): ("LO", "SHA-256 of the payload's bytes, hexadecimal"),
    Tag(_GROUP, _BYTES): ("LO", "their number"),
    Tag(_GROUP, _OVERRIDES): ("UT", "what a site stated beside the raw data, as JSON; absent where it stated nothing"),
    Tag(_GROUP, _CONTENT): (
        "OB",
        "the MRD stream, padded to even length; absent where the node keeps a file",
    ),
}
"""Value representation and meaning of every private element, for the conformance statement."""
# Who can read what: Creator-Version UID (0008,9123) → decoder.
DECODERS: Mapping[str, Callable[[Path], RawPayload]] = {CREATOR_VERSION_UID: _find_own}


def _describe_identity(made: Dataset, identity: Mapping[str, str], key: tuple[str, str]) -> None:
    for keyword in _TYPE_2:
        set_verbatim(made, keyword, identity.get(keyword, "") if keyword != "InstanceNumber" else "1")
    for keyword in _OPTIONAL:
        if identity.get(keyword):
            made[keyword] = DataElement(Tag(tag_for_keyword(keyword) or 0), dictionary_VR(keyword), identity[keyword])
    if made.PatientSex not in ("M", "F", "O", ""):
        made.PatientSex = ""
    study = identity.get("StudyInstanceUID") or derived_uid("raw data study", *key)
    set_verbatim(made, "StudyInstanceUID", study)
    made.SeriesInstanceUID = derived_uid("raw data series", *key)
    set_verbatim(made, "FrameOfReferenceUID", identity.get("FrameOfReferenceUID") or derived_uid("raw frame", study))
    made.PositionReferenceIndicator = ""


def _describe_scanner(made: Dataset, header: RawHeader | None) -> None:
    made.Manufacturer = "" if header is None else header.vendor[:64]
    if header is None:
        return
    if header.model:
        made.ManufacturerModelName = header.model[:64]
    made.PatientPosition = header.patient_position[:16]
