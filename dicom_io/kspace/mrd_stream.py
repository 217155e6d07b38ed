"""Read a file that holds an MRD stream, without reading its samples into memory."""

import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from dicom_io.errors import IncompleteRawData, MalformedRawData
from dicom_io.kspace.directions import as_images_lie
from dicom_io.kspace.mrd_header import read_header
from dicom_io.kspace.mrd_messages import Kind, Message, MessageWalker
from dicom_io.kspace.readout_heads import READOUT_HEAD
from dicom_io.kspace.scan import RawHeader, RawScan
from dicom_io.kspace.trajectory import with_true_trajectory

_COMPLEX_BYTES = 8


class MappedSamples(Sequence[np.ndarray]):
    """The samples of every readout as views of a mapped file."""

    def __init__(self, content: memoryview, offsets: np.ndarray, heads: np.ndarray) -> None:
        self._content = content
        self._offsets = offsets
        self._shapes = np.stack([heads["active_channels"], heads["number_of_samples"]], axis=1).astype(int)

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        n_coils, n_samples = self._shapes[index]
        flat = np.frombuffer(self._content, "<c8", int(n_coils * n_samples), int(self._offsets[index]))
        return flat.reshape(n_coils, n_samples)


def read_stream(path: Path, offset: int = 0, n_bytes: int | None = None) -> RawScan:
    """Read an MRD stream that was kept in a file, or in a part of one; samples stay on the disk until asked for.

    Raises
    ------
    MalformedRawData
        It holds no header, no readouts, or bytes that are no message.
    IncompleteRawData
        It ends before its close message.
    """
    content = _mapped(path)[offset : None if n_bytes is None else offset + n_bytes]
    walker = MessageWalker()
    messages = list(walker.feed(content))
    _refuse_incomplete(messages, walker)
    headers = [message for message in messages if message.kind is Kind.HEADER]
    readouts = [message for message in messages if message.kind is Kind.ACQUISITION]
    if not headers:
        raise MalformedRawData("The MRD stream holds no header; send one before the readouts.")
    if not readouts:
        held = "images, which belong to the DICOM door," if _has(messages, Kind.IMAGE) else "a header"
        raise MalformedRawData(f"The MRD stream holds {held} and no readouts; nothing can be reconstructed.")
    heads = np.frombuffer(b"".join(message.head for message in readouts), READOUT_HEAD)
    n_waveforms = sum(message.kind is Kind.WAVEFORM for message in messages)
    notes = (f"{n_waveforms} waveform messages were kept and not used.",) if n_waveforms else ()
    samples = MappedSamples(content, _offsets(readouts, heads), heads)
    header = with_true_trajectory(read_header(headers[-1].text), _places(content, readouts, heads))
    return as_images_lie(RawScan(header, heads, samples, notes))


def first_header(path: Path) -> RawHeader | None:
    """Return the header of a stream that may be cut or damaged; None where it did not come so far.

    Raises
    ------
    MalformedRawData
        What came is no stream, or its header no header.
    """
    for message in MessageWalker().feed(_mapped(path)):
        if message.kind is Kind.HEADER:
            return read_header(message.text)
    return None


def _mapped(path: Path) -> memoryview:
    with path.open("rb") as file:
        try:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except ValueError as failure:
            raise MalformedRawData("The raw data are empty.") from failure


def _refuse_incomplete(messages: list[Message], walker: MessageWalker) -> None:
    if _has(messages, Kind.CLOSE):
        return
    n_readouts = sum(message.kind is Kind.ACQUISITION for message in messages)
    where = "between two messages" if walker.is_between_messages else "inside a message"
    raise IncompleteRawData(
        f"The MRD stream ends {where} after {n_readouts} readouts, without a close message; what came is kept. Send "
        "the scan again."
    )


def _has(messages: list[Message], kind: Kind) -> bool:
    return any(message.kind is kind for message in messages)


def _places(content: memoryview, readouts: list[Message], heads: np.ndarray) -> Iterator[np.ndarray]:
    """Yield where the samples of each readout lie in k-space, `(sample, axis)`, as far as the scanner sent that."""
    for message, head in zip(readouts, heads, strict=True):
        shape = int(head["number_of_samples"]), int(head["trajectory_dimensions"])
        if shape[0] and shape[1]:
            start = message.offset + READOUT_HEAD.itemsize
            yield np.frombuffer(content, "<f4", shape[0] * shape[1], start).reshape(shape)


def _offsets(readouts: list[Message], heads: np.ndarray) -> np.ndarray:
    """Return where each readout's samples begin: behind its head and its trajectory."""
    starts = np.array([message.offset for message in readouts], np.int64) + READOUT_HEAD.itemsize
    return starts + 4 * heads["number_of_samples"].astype(np.int64) * heads["trajectory_dimensions"]
