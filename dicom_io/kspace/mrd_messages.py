"""The MRD stream, message by message: how long each one is, where its head lies, and how one is written.

A message is an identifier (two bytes) and what that identifier is followed by; nothing says where the next one begins,
so that a reader must know them all. Numbers are little endian.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from dicom_io.errors import MalformedRawData
from dicom_io.kspace.directions import as_stated
from dicom_io.kspace.mrd_header import header_xml
from dicom_io.kspace.readout_heads import READOUT_HEAD
from dicom_io.kspace.scan import RawScan


class Kind(IntEnum):
    """The identifiers of messages."""

    CONFIG_FILE = 1
    CONFIG_TEXT = 2
    HEADER = 3
    CLOSE = 4
    TEXT = 5
    ACQUISITION = 1008
    IMAGE = 1022
    WAVEFORM = 1026


CONFIG_FILE_BYTES = 1024
IMAGE_HEAD_BYTES = 198
WAVEFORM_HEAD_BYTES = 40
MOST_TEXT_BYTES = 16 << 20
MOST_MESSAGE_BYTES = 512 << 20
_IDENTIFIER = struct.Struct("<H")
_LENGTH = struct.Struct("<I")
_LONG_LENGTH = struct.Struct("<Q")
_BYTES_OF_IMAGE_TYPE = {1: 2, 2: 2, 3: 4, 4: 4, 5: 4, 6: 8, 7: 8, 8: 16}
# Where the head of an acquisition states samples, active channels and trajectory dimensions.
_SAMPLES, _CHANNELS, _DIMENSIONS = (
    READOUT_HEAD.fields[name][1]  # type: ignore[index]
    for name in ("number_of_samples", "active_channels", "trajectory_dimensions")
)
# Behind each identifier: how many bytes must be known before the message's length is.
_HEAD_BYTES = {
    Kind.CONFIG_FILE: 0,
    Kind.CONFIG_TEXT: _LENGTH.size,
    Kind.HEADER: _LENGTH.size,
    Kind.CLOSE: 0,
    Kind.TEXT: _LENGTH.size,
    Kind.ACQUISITION: READOUT_HEAD.itemsize,
    Kind.IMAGE: IMAGE_HEAD_BYTES + _LONG_LENGTH.size,
    Kind.WAVEFORM: WAVEFORM_HEAD_BYTES,
}
_TEXTS = (Kind.CONFIG_FILE, Kind.CONFIG_TEXT, Kind.HEADER, Kind.TEXT)


@dataclass(frozen=True)
class Message:
    """One complete message: its identifier, where its head begins in the stream, and the head's bytes.

    `text` is what configurations, headers and texts hold; `n_bytes` is how many bytes follow the head.
    """

    kind: Kind
    offset: int
    head: bytes
    n_bytes: int
    text: bytes = b""


class MessageWalker:
    """Finds the messages in a stream that comes in pieces; of a readout it keeps the head and lets the samples pass."""

    def __init__(self) -> None:
        self.offset = 0
        self._rest = b""
        self._current: Message | None = None
        self._remaining = 0
        self._text = bytearray()

    @property
    def is_between_messages(self) -> bool:
        """Say whether the stream so far ends with the end of a message."""
        return self._current is None and not self._rest

    def feed(self, piece: memoryview) -> Iterator[Message]:
        """Yield every message that ends in `piece`, the next bytes of the stream.

        Raises
        ------
        MalformedRawData
            An identifier is unknown, or a message is longer than any may be.
        """
        at, end = 0, len(piece)
        while True:
            if self._current is not None:
                at = self._pass(piece, at)
                if self._remaining:
                    return
                yield self._finished()
            if at >= end and not self._rest:
                return
            read = self._read_head(piece, at)
            if read is None:
                return
            at = read

    def _pass(self, piece: memoryview, at: int) -> int:
        assert self._current is not None
        taken = min(self._remaining, len(piece) - at)
        if self._current.kind in _TEXTS:
            self._text += piece[at : at + taken]
        self._remaining -= taken
        self.offset += taken
        return at + taken

    def _finished(self) -> Message:
        message, self._current = self._current, None
        assert message is not None
        if message.kind in _TEXTS:
            text, self._text = bytes(self._text), bytearray()
            return Message(message.kind, message.offset, message.head, message.n_bytes, text)
        return message

    def _read_head(self, piece: memoryview, at: int) -> int | None:
        """Begin the next message and return where its payload starts in `piece`; None where its head is cut."""
        # A head is short: where one is split between pieces its two parts are joined.
        head = self._rest + bytes(piece[at : at + 400 - len(self._rest)])
        kind, n_head = _kind_of(head, self.offset)
        if kind is None or len(head) < 2 + n_head:
            self._rest = head
            return None
        used = 2 + n_head - len(self._rest)
        self._rest = b""
        n_bytes = _payload_bytes(kind, head[2 : 2 + n_head])
        if n_bytes > (MOST_TEXT_BYTES if kind in _TEXTS else MOST_MESSAGE_BYTES):
            raise MalformedRawData(
                f"The MRD message at byte {self.offset} claims {n_bytes} bytes, more than any may have; the stream is "
                "damaged."
            )
        self._current = Message(kind, self.offset + 2, head[2 : 2 + n_head], n_bytes)
        self._remaining = n_bytes
        self.offset += 2 + n_head
        return at + used


def _kind_of(head: bytes, offset: int) -> tuple[Kind | None, int]:
    if len(head) < 2:
        return None, 0
    number = head[0] | head[1] << 8
    try:
        kind = Kind(number)
    except ValueError as failure:
        raise MalformedRawData(
            f"The stream holds no known MRD message at byte {offset} (identifier {number}); the rest cannot be read."
        ) from failure
    return kind, _HEAD_BYTES[kind]


def _payload_bytes(kind: Kind, head: bytes) -> int:
    if kind is Kind.ACQUISITION:
        samples, channels, dimensions = (_short(head, offset) for offset in (_SAMPLES, _CHANNELS, _DIMENSIONS))
        return samples * (8 * channels + 4 * dimensions)
    if kind in (Kind.CONFIG_TEXT, Kind.HEADER, Kind.TEXT):
        return int(_LENGTH.unpack(head)[0])
    if kind is Kind.CONFIG_FILE:
        return CONFIG_FILE_BYTES
    if kind is Kind.WAVEFORM:
        # Behind version (2 bytes, padded to 8), flags (8) and three numbers of 4 bytes.
        return 4 * _short(head, 28) * _short(head, 30)
    if kind is Kind.IMAGE:
        x, y, z = (_short(head, 16 + 2 * axis) for axis in range(3))
        per_voxel = _BYTES_OF_IMAGE_TYPE.get(_short(head, 2), 0)
        attributes = int(_LONG_LENGTH.unpack(head[IMAGE_HEAD_BYTES:])[0])
        return attributes + x * y * z * _short(head, 34) * per_voxel
    return 0


def _short(head: bytes, offset: int) -> int:
    return head[offset] | head[offset + 1] << 8


def stream_of(scan: RawScan, config: str = "", is_closed: bool = True) -> Iterator[bytes]:
    """Yield the messages by which a scanner would send a scan: configuration, header, readouts, close."""
    if config:
        yield config_message(config)
    yield text_message(Kind.HEADER, scan.header.xml or header_xml(scan.header))
    for head, samples in zip(as_stated(scan).heads, scan.samples, strict=True):
        yield acquisition_message(head, samples)
    if is_closed:
        yield close_message()


def acquisition_message(head: np.void, samples: np.ndarray) -> bytes:
    """Return one readout; `samples` is complex64 `(coil, sample)`, without a trajectory."""
    written = np.array(head, READOUT_HEAD)
    written["active_channels"], written["number_of_samples"] = samples.shape
    written["trajectory_dimensions"] = 0
    return _IDENTIFIER.pack(Kind.ACQUISITION) + written.tobytes() + np.ascontiguousarray(samples, "<c8").tobytes()


def config_message(name: str) -> bytes:
    """Return the message that names a configuration."""
    return _IDENTIFIER.pack(Kind.CONFIG_FILE) + name.encode()[: CONFIG_FILE_BYTES - 1].ljust(CONFIG_FILE_BYTES, b"\0")


def text_message(kind: Kind, text: str) -> bytes:
    """Return a message that is a text: a configuration, a header, or a sentence for the peer."""
    encoded = text.encode()
    return _IDENTIFIER.pack(kind) + _LENGTH.pack(len(encoded)) + encoded


def close_message() -> bytes:
    """Return the message after which nothing comes."""
    return _IDENTIFIER.pack(Kind.CLOSE)
