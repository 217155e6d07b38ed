"""Run-length encoded frames (PS3.5 annex G), decoded one by one from where they lie in a file.

pydicom decodes them; what is saved is its parsing of the object, which was read before, and an array of all frames.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydicom.pixels import get_decoder
from pydicom.uid import RLELossless

from dicom_io.errors import TruncatedPixelData
from dicom_io.instance import PARSING_FAILURES, named, quietly
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
            has_one_each = self._has_one_fragment_each(stream)
        return self._decoded(path) if has_one_each else None

    def _has_one_fragment_each(self, stream: BinaryIO) -> bool:
        starts: list[int] = []
        at = self.offset
        while (header := os.pread(stream.fileno(), IMPLICIT_HEADER.size, at)) != SEQUENCE_END:
            if len(header) < IMPLICIT_HEADER.size or not header.startswith(ITEM_START) or len(starts) > self.shape[0]:
                return False
            starts.append(at)
            at += IMPLICIT_HEADER.size + int.from_bytes(header[4:], "little")
        if len(starts) != self.shape[0] + 1:
            return False
        table = os.pread(stream.fileno(), starts[1] - self.offset, self.offset)[IMPLICIT_HEADER.size :]
        expected = np.array([start - starts[1] for start in starts[1:]], dtype="<u4")
        return not table or table == expected.tobytes()

    def _decoded(self, path: Path) -> Iterator[np.ndarray]:
        with path.open("rb", buffering=0) as stream:
            stream.seek(self.offset)
            yield from self._decoded_from(stream)

    def _decoded_from(self, stream: BinaryIO) -> Iterator[np.ndarray]:
        n_frames, rows, columns = self.shape
        frames = get_decoder(RLELossless).iter_array(
            stream,
            raw=True,
            rows=rows,
            columns=columns,
            number_of_frames=n_frames,
            samples_per_pixel=1,
            photometric_interpretation=self.photometric,
            bits_allocated=8 * self.dtype.itemsize,
            bits_stored=self.bits_stored,
            pixel_representation=int(self.dtype.kind == "i"),
        )
        for _ in range(n_frames):
            try:
                with quietly():
                    frame, _ = next(frames)
            except (StopIteration, *PARSING_FAILURES) as failure:
                raise TruncatedPixelData(
                    f"{named('PixelData')} cannot be decoded as {RLELossless.name}; {RESEND}."
                ) from failure
            yield frame
