"""What compressed frames say about their own size, asked before a decoder makes room for it.

A stream of a few bytes may claim a matrix of 65535 × 65535, and a header a million frames. Neither gets any memory.
"""

from pydicom.encaps import generate_frames, parse_basic_offsets, parse_fragments

from dicom_io.errors import ContradictoryHeader, TruncatedPixelData
from dicom_io.instance import PARSING_FAILURES, named

JPEG_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
JPEG_2000 = b"\xff\x4f\xff\x51"
JPEG = b"\xff\xd8"
RESEND = "ask the sender to send the object again"


def require_plausible(pixel_data: bytes, shape: tuple[int, int, int]) -> None:
    """Refuse encapsulated pixel data that cannot hold `(frame, row, column)` pixels.

    Raises
    ------
    TruncatedPixelData
        There are fewer fragments than frames, or no fragments can be found.
    ContradictoryHeader
        A compressed frame is larger than Rows and Columns say.
    """
    n_frames, rows, columns = shape
    try:
        offsets = parse_basic_offsets(pixel_data)
        start = 8 + 4 * len(offsets)
        n_fragments, _ = parse_fragments(pixel_data[start:])
        frames = generate_frames(pixel_data, number_of_frames=n_frames) if n_fragments >= n_frames else ()
        sizes = {_size(frame) for frame in frames} - {None, (rows, columns)}
    except PARSING_FAILURES as failure:
        raise TruncatedPixelData(f"{named('PixelData')} holds no readable fragments; {RESEND}.") from failure
    if n_fragments < n_frames:
        raise TruncatedPixelData(
            f"{named('PixelData')} holds {n_fragments} compressed fragments where {n_frames} frames are due; {RESEND}."
        )
    for found in sizes:
        if found is not None:
            raise ContradictoryHeader(
                f"A compressed frame is {found[0]} × {found[1]} where {named('Rows')} and {named('Columns')} say "
                f"{rows} × {columns}; {RESEND}."
            )


def _size(frame: bytes) -> tuple[int, int] | None:
    """Return rows and columns as the stream states them, or None where it states none (RLE does not)."""
    at = frame.find(JPEG_2000, 0, 4096)
    if at >= 0:
        right, bottom, left, top = (int.from_bytes(frame[at + 8 + 4 * i : at + 12 + 4 * i]) for i in range(4))
        return bottom - top, right - left
    position = 2 if frame.startswith(JPEG) else len(frame)
    while position + 9 <= len(frame) and frame[position] == 0xFF:
        if frame[position + 1] in JPEG_FRAMES:
            return int.from_bytes(frame[position + 5 : position + 7]), int.from_bytes(
                frame[position + 7 : position + 9]
            )
        position += 1 if frame[position + 1] == 0xFF else 2 + int.from_bytes(frame[position + 2 : position + 4])
    return None
