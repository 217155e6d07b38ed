"""Which reader reads which format of raw data, and how a file's format is recognised by its first bytes."""

import struct
from pathlib import Path

from dicom_io.errors import MalformedRawData
from dicom_io.kspace.mrd_file import read_file
from dicom_io.kspace.mrd_messages import Kind
from dicom_io.kspace.mrd_stream import read_stream
from dicom_io.kspace.raw_data import PayloadFormat, RawPayload
from dicom_io.kspace.scan import RawScan
from dicom_io.kspace.twix import read_twix

HDF5 = b"\x89HDF\r\n\x1a\n"
SUFFIXES = {".h5": PayloadFormat.ISMRMRD_FILE, ".mrd": PayloadFormat.MRD_STREAM, ".dat": PayloadFormat.TWIX}
_FIRST_KINDS = (Kind.CONFIG_FILE, Kind.CONFIG_TEXT, Kind.HEADER)


def format_of(path: Path) -> PayloadFormat:
    """Return what a file is; `.mrd` is used for streams and for HDF5 files, so that its first bytes decide.

    Raises
    ------
    MalformedRawData
        It is none that can be read.
    """
    with path.open("rb") as file:
        start = file.read(8)
    if start == HDF5:
        return PayloadFormat.ISMRMRD_FILE
    if path.suffix.lower() == ".dat":
        return PayloadFormat.TWIX
    if len(start) >= 2 and struct.unpack("<H", start[:2])[0] in _FIRST_KINDS:
        return PayloadFormat.MRD_STREAM
    raise MalformedRawData(
        "The file is no raw data that can be read; ISMRMRD HDF5 (.h5), MRD streams (.mrd) and Siemens twix (.dat) can."
    )


def read_payload(path: Path, payload: RawPayload) -> RawScan:
    """Read a scan from the file that holds it, a Raw Data object or the payload itself.

    Raises
    ------
    MalformedRawData, IncompleteRawData
        The bytes are not what the format says.
    """
    if payload.offset is not None:
        return read_stream(path, payload.offset, payload.n_bytes)
    return read_raw_file(path, payload.format)


def read_raw_file(path: Path, form: PayloadFormat) -> RawScan:
    """Read a file of raw data of a known format."""
    if form is PayloadFormat.ISMRMRD_FILE:
        return read_file(path)
    return read_twix(path) if form is PayloadFormat.TWIX else read_stream(path)
