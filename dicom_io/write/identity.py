"""Who and what a derived object is: identifiers that depend on content only, so that a retry makes the same object."""

import hashlib

import numpy as np

SUSCEPTIBILITY_SERIES_OFFSET = 10_000
SEGMENTATION_SERIES_OFFSET = 20_000
REPORT_SERIES_OFFSET = 30_000
PLANAR_REPORT_SERIES_OFFSET = 31_000
SUMMARY_SERIES_OFFSET = 32_000
PRESENTATION_SERIES_OFFSET = 33_000
KEY_OBJECT_SERIES_OFFSET = 34_000
CLASSICAL_SERIES_OFFSET = 40_000
COMPANION_SERIES_OFFSET = 41_000
PARAMETRIC_MAP_SERIES_OFFSET = 50_000
COMMISSIONING_SERIES_OFFSET = 60_000


def derived_uid(*parts: str) -> str:
    """Derive a UID under 2.25 from the SHA-256 of `parts`; equal parts give an equal UID on every machine.

    The 128 bits are marked as a version 8 UUID, as PS3.5 B.2 wants a valid UUID behind 2.25 (RFC 9562 section 5.8).
    Each part is preceded by its length, so that no two lists of parts share one text.
    """
    text = "".join(f"{len(part)}:{part}" for part in parts)
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
    number = number & ~(0xF << 76) | (8 << 76)
    number = number & ~(0x3 << 62) | (2 << 62)
    return f"2.25.{number}"


def array_digest(array: np.ndarray) -> str:
    """Return the SHA-256 of an array's shape, type and values, whatever its memory layout."""
    plain = np.ascontiguousarray(array)
    header = f"{plain.dtype.str}{plain.shape}".encode()
    return hashlib.sha256(header + plain.tobytes()).hexdigest()


def series_number(source_number: object, offset: int) -> int:
    """Number a derived series by a fixed offset from its source, 0 where the source has no number.

    IS allows 2³¹ − 1; a source number that would leave no room is taken as 0 (PS3.5 6.2).
    """
    try:
        number = int(str(source_number))
    except ValueError:
        number = 0
    return offset + (number if 0 <= number < 2**30 else 0)
