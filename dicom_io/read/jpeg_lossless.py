"""Decode lossless JPEG (ITU-T T.81 process 14, annex H), for which no freely licensed decoder for Python exists.

Huffman codes can only be found one after another. So the length of the code that would begin at each bit is looked up
for all bits at once, one short loop hops from code to code, and everything else is again done for all pixels at once.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from pydicom.pixels.decoders import JPEGLosslessDecoder, JPEGLosslessSV1Decoder
from pydicom.pixels.decoders.base import DecodeRunner
from pydicom.uid import JPEGLossless, JPEGLosslessSV1

DECODER_DEPENDENCIES = {JPEGLossless: ("numpy",), JPEGLosslessSV1: ("numpy",)}
PLUGIN = "lodestone"

SOF3, DHT, SOS, DRI, EOI = 0xC3, 0xC4, 0xDA, 0xDD, 0xD9
OTHER_FRAMES = {*range(0xC0, 0xD0)} - {SOF3, DHT, 0xC8, 0xCC}
ALONE = {0x01, 0xD8, *range(0xD0, 0xD8)}
MODULO = 0xFFFF
MOST_CATEGORIES = 16


@dataclass
class Scan:
    """What the markers before the entropy-coded bytes say."""

    rows: int = 0
    columns: int = 0
    precision: int = 0
    predictor: int = 1
    point_transform: int = 0
    restart_interval: int = 0
    table: int = 0


def is_available(uid: str) -> bool:
    """Return whether this decoder reads a transfer syntax, as pydicom asks its plugins."""
    return uid in DECODER_DEPENDENCIES


def decode_frame(source: bytes, runner: DecodeRunner) -> bytes:
    """Return the pixels of one frame as little-endian bytes, as pydicom asks its plugins."""
    pixels, precision = decode_lossless_jpeg(source)
    if runner.pixel_representation == 1 and precision < runner.bits_allocated:
        # The stream holds the lowest bits of a negative number; its sign has to be spread again.
        sign = 1 << (precision - 1)
        pixels = ((pixels.astype(np.int32) ^ sign) - sign).astype(np.int16)
    return pixels.astype(f"<u{runner.bits_allocated // 8}").tobytes()


def register() -> None:
    """Tell pydicom of this decoder, once; another one that is installed is not displaced."""
    for decoder in (JPEGLosslessDecoder, JPEGLosslessSV1Decoder):
        if PLUGIN not in decoder.available_plugins:
            decoder.add_plugin(PLUGIN, (__name__, decode_frame.__name__))


def decode_lossless_jpeg(source: bytes) -> tuple[np.ndarray, int]:
    """Return the pixels, uint16 `(row, column)`, of a lossless JPEG stream of one component, and its bits per sample.

    Raises
    ------
    ValueError
        The stream is damaged, of another JPEG process, or in colour.
    """
    scan, tables, start = _markers(source)
    if scan.table not in tables or not scan.rows or not scan.columns or not 2 <= scan.precision <= 16:
        raise ValueError("the stream lacks its size or its Huffman table")
    n_pixels = scan.rows * scan.columns
    n_each = scan.restart_interval or n_pixels
    if n_each % scan.columns:
        raise ValueError("the restart interval is no whole number of rows")
    blocks = []
    for number, segment in enumerate(_segments(source, start)):
        n_codes = min(n_each, n_pixels - number * n_each)
        if n_codes <= 0:
            break
        differences = _differences(segment, tables[scan.table], n_codes).reshape(-1, scan.columns)
        blocks.append(_undo_prediction(differences, scan))
    pixels = np.concatenate(blocks)
    if len(pixels) != scan.rows:
        raise ValueError("the stream ends early")
    return (pixels << scan.point_transform).astype(np.uint16), scan.precision


def _markers(source: bytes) -> tuple[Scan, dict[int, np.ndarray], int]:
    scan, position = Scan(), 0
    tables: dict[int, np.ndarray] = {}
    while position + 4 <= len(source):
        if source[position] != 0xFF:
            raise ValueError("a marker is missing")
        marker = source[position + 1]
        if marker in ALONE or marker == 0xFF:
            position += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(source[position + 2 : position + 4])
        body = source[position + 4 : position + 2 + length]
        if marker in OTHER_FRAMES:
            raise ValueError("the stream is of another JPEG process")
        if marker == SOF3:
            scan.precision, scan.rows = body[0], int.from_bytes(body[1:3])
            scan.columns = int.from_bytes(body[3:5])
            if body[5] != 1:
                raise ValueError("the stream is in colour")
        elif marker == DHT:
            _read_tables(body, tables)
        elif marker == DRI:
            scan.restart_interval = int.from_bytes(body[:2])
        position += 2 + length
        if marker == SOS:
            scan.table, scan.predictor, scan.point_transform = body[2] >> 4, body[3], body[5] & 0xF
            return scan, tables, position
    raise ValueError("the stream holds no scan")


def _read_tables(body: bytes, tables: dict[int, np.ndarray]) -> None:
    """Add each table as an array over the next 16 bits: 32 × bits of the code + category, 0 where there is no code."""
    while len(body) >= 17:
        lengths, values = body[1:17], body[17:]
        lookup = np.zeros(1 << 16, dtype=np.uint16)
        code, taken = 0, 0
        for bits, count in enumerate(lengths, start=1):
            for category in values[taken : taken + count]:
                if category > MOST_CATEGORIES or (code + 1) << (16 - bits) > 1 << 16:
                    raise ValueError("the Huffman table is damaged")
                lookup[code << (16 - bits) : (code + 1) << (16 - bits)] = 32 * bits + category
                code += 1
            taken += count
            code <<= 1
        tables[body[0] & 0xF] = lookup
        body = values[taken:]


def _segments(source: bytes, start: int) -> list[bytes]:
    """Return the entropy-coded bytes between restart markers, without their stuffing."""
    segments, begin, position = [], start, start
    while True:
        position = source.find(b"\xff", position)
        marker = source[position + 1] if 0 <= position < len(source) - 1 else EOI
        if position >= 0 and marker in (0x00, 0xFF):
            position += 1 if marker == 0xFF else 2
            continue
        end = position if position >= 0 else len(source)
        segments.append(source[begin:end].replace(b"\xff\x00", b"\xff"))
        if marker not in range(0xD0, 0xD8):
            return segments
        begin = position = position + 2


def _differences(segment: bytes, lookup: np.ndarray, n_codes: int) -> np.ndarray:
    n_bits = 8 * len(segment)
    raw = np.frombuffer(segment + bytes(8), dtype=np.uint8).astype(np.uint32)
    three = (raw[:-2] << 16) | (raw[1:-1] << 8) | raw[2:]
    next_16 = (three[:, None] >> np.arange(8, 0, -1, dtype=np.uint32)) & MODULO
    codes = lookup[next_16.ravel()]
    category = codes & 31
    steps = np.where(codes, (codes >> 5) + np.where(category == MOST_CATEGORIES, 0, category), 0)
    step_at = steps.astype(np.uint8).tobytes()
    places, place = [0] * n_codes, 0
    for index in range(n_codes):
        if place >= n_bits:
            raise ValueError("the stream ends early")
        places[index] = place
        place += step_at[place]
    at = np.array(places)
    if place > n_bits or not steps[at].all():
        raise ValueError("the stream ends early or holds no code")
    return _values(raw, at + (codes[at] >> 5), category[at].astype(np.int64))


def _values(raw: np.ndarray, at: np.ndarray, category: np.ndarray) -> np.ndarray:
    """Return the signed differences whose bits begin at `at` (T.81 table H.2 and F.2.2.1)."""
    byte = at >> 3
    three = (raw[byte] << 16 | raw[byte + 1] << 8 | raw[byte + 2]).astype(np.int64)
    bits = (three >> (24 - (at & 7) - np.minimum(category, 15))) & ((1 << np.minimum(category, 15)) - 1)
    half = np.where(category > 0, 1 << np.maximum(category - 1, 0), 0)
    values = np.where(bits >= half, bits, bits - (1 << category) + 1)
    return np.where(category == MOST_CATEGORIES, 1 << 15, values)


def _undo_prediction(differences: np.ndarray, scan: Scan) -> np.ndarray:
    """Return the samples: the first row is predicted from the left, the first column from above (T.81 H.1.2.1)."""
    samples = differences.astype(np.int64)
    samples[0, 0] += 1 << (scan.precision - scan.point_transform - 1)
    samples[0] = np.cumsum(samples[0]) & MODULO
    samples[:, 0] = np.cumsum(samples[:, 0]) & MODULO
    if scan.predictor == 1:
        samples[1:] = np.cumsum(samples[1:], axis=1) & MODULO
        return samples
    if scan.predictor not in range(2, 8):
        raise ValueError("the predictor is unknown")
    for above, row in pairwise(samples):
        _predict_row(row, above, scan.predictor)
    return samples


def _predict_row(row: np.ndarray, above: np.ndarray, predictor: int) -> None:
    """Add the prediction to a row in place: T.81 table H.1, with Ra left, Rb above, Rc above left."""
    up, corner = above[1:], above[:-1]
    if predictor == 2:
        row[1:] += up
    elif predictor == 3:
        row[1:] += corner
    elif predictor in (4, 5):
        row[1:] += up - corner if predictor == 4 else (up - corner) >> 1
        row[:] = np.cumsum(row)
    else:
        left, found = int(row[0]), []
        for difference, b, c in zip(row[1:].tolist(), up.tolist(), corner.tolist(), strict=True):
            left = (difference + (b + ((left - c) >> 1) if predictor == 6 else (left + b) >> 1)) & MODULO
            found.append(left)
        row[1:] = found
    row &= MODULO
