"""Run-length encoded frames (PS3.5 annex G), decoded one by one from where they lie in a file.

The decoder is the one that pydicom takes; what is saved is pydicom's parsing of the object, which was read before, what
it prepares for every frame, and an array of all frames.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import RLELossless
from rle import decode_pixel_data

from dicom_io.errors import TruncatedPixelData
from dicom_io.instance import PARSING_FAILURES, SurvivingPanics, named, quietly
from dicom_io.read.cutting import IMPLICIT_HEADER, SEQUENCE_END
from dicom_io.read.encapsulation import RESEND

ITEM_START = b"\xfe\xff\x00\xe0"


@dataclass(frozen=True, slots=True)
class RunLengthPixels:
    """Encapsulated frames whose value begins at `offset`; `shape` is `(frame, row, column)`."""

    offset: int
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    bits_stored: int
    photometric: str

    def frames(self, path: Path) -> Iterator[np.ndarray] | None:
        """Return the frames `(row, column)` in their order, or None where there is not one fragment for each of them.

        Raises
        ------
        TruncatedPixelData
            A frame cannot be decoded.
        """
        with path.open("rb", buffering=0) as stream:
            places = self._one_fragment_each(stream)
        return None if places is None else self._decoded(path, places)

    def _one_fragment_each(self, stream: BinaryIO) -> list[tuple[int, int]] | None:
        """Return where the fragment of each frame begins, and its length."""
        starts: list[int] = []
        at = self.offset
        while (header := os.pread(stream.fileno(), IMPLICIT_HEADER.size, at)) != SEQUENCE_END:
            if len(header) < IMPLICIT_HEADER.size or not header.startswith(ITEM_START) or len(starts) > self.shape[0]:
                return None
            starts.append(at)
            at += IMPLICIT_HEADER.size + int.from_bytes(header[4:], "little")
        if len(starts) != self.shape[0] + 1:
            return None
        table = os.pread(stream.fileno(), starts[1] - self.offset, self.offset)[IMPLICIT_HEADER.size :]
        expected = np.array([start - starts[1] for start in starts[1:]], dtype="<u4")
        if table and table != expected.tobytes():
            return None
        ends = (*starts[2:], at)
        size = IMPLICIT_HEADER.size
        return [(start + size, end - start - size) for start, end in zip(starts[1:], ends, strict=True)]

    def _decoded(self, path: Path, places: Sequence[tuple[int, int]]) -> Iterator[np.ndarray]:
        with path.open("rb", buffering=0) as stream:
            for offset, length in places:
                yield self._frame(os.pread(stream.fileno(), length, offset))

    def _frame(self, fragment: bytes) -> np.ndarray:
        _, rows, columns = self.shape
        bits_allocated = 8 * self.dtype.itemsize
        try:
            with SurvivingPanics():
                # Version 2 returns bytes that can be written to.
                decoded = decode_pixel_data(
                    fragment, version=2, rows=rows, columns=columns, bits_allocated=bits_allocated
                )
            frame = np.frombuffer(decoded, self.dtype).reshape(rows, columns)
        except PARSING_FAILURES:
            return self._frame_of_pydicom(fragment)
        unused = bits_allocated - self.bits_stored
        if unused:
            # The bits above BitsStored follow the stored ones (PS3.5 8.1.1).
            np.left_shift(frame, unused, out=frame)
            np.right_shift(frame, unused, out=frame)
        return frame

    def _frame_of_pydicom(self, fragment: bytes) -> np.ndarray:
        """Decode a frame that the fast decoder gives up, as pydicom would: it has a more patient one."""
        _, rows, columns = self.shape
        try:
            with quietly(), SurvivingPanics():
                frame, _ = get_decoder(RLELossless).as_array(
                    encapsulate([fragment]),
                    raw=True,
                    rows=rows,
                    columns=columns,
                    number_of_frames=1,
                    samples_per_pixel=1,
                    photometric_interpretation=self.photometric,
                    bits_allocated=8 * self.dtype.itemsize,
                    bits_stored=self.bits_stored,
                    pixel_representation=int(self.dtype.kind == "i"),
                )
        except PARSING_FAILURES as failure:
            raise TruncatedPixelData(
                f"{named('PixelData')} cannot be decoded as {RLELossless.name}; {RESEND}."
            ) from failure
        return frame
