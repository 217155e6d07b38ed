"""Every lossless transfer syntax gives the same arrays: what others encoded is read back to the last bit.

DCMTK encodes the uncompressed ones, RLE, JPEG lossless and JPEG-LS; OpenJPEG JPEG 2000; OpenJPH, which shares no code
with the decoder, high-throughput JPEG 2000.
"""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.pixels import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicom_io import errors
from dicom_io.network.contexts import LOSSLESS, UNCOMPRESSED
from dicom_io.read.jpeg_lossless import decode_lossless_jpeg
from dicom_io.read.pixels import decode
from dicom_io.read.reader import read_echo_series
from tests.dicom_io.read import scanner_files as scanner

SCAN = scanner.Scan(shape=(2, 90, 20), echo_times_ms=(4.0, 9.0))
TABLES = ("none", "basic", "extended")
DCMTK = [
    (("dcmconv", "+ti"), ImplicitVRLittleEndian),
    (("dcmconv", "+tb"), ExplicitVRBigEndian),
    (("dcmconv", "+td"), DeflatedExplicitVRLittleEndian),
    (("dcmcrle",), RLELossless),
    (("dcmcjpls",), JPEGLSLossless),
    (("dcmcjpls", "+fs", "1"), JPEGLSLossless),
    (("dcmcjpeg", "+e1"), JPEGLosslessSV1),
    (("dcmcjpeg", "+e1", "+fs", "1", "-ot"), JPEGLosslessSV1),
    *((("dcmcjpeg", "+el", "+sv", str(predictor)), JPEGLossless) for predictor in range(1, 8)),
]


def dcmtk(program: Callable[[str], str], command: tuple[str, ...], paths: list[Path], folder: Path) -> list[Path]:
    """Return copies of the files that a program of DCMTK has encoded."""
    folder.mkdir()
    name, *options = command
    for path in paths:
        subprocess.run([program(name), *options, path, folder / path.name], check=True, capture_output=True)
    return [folder / path.name for path in paths]


@pytest.mark.parametrize(("command", "syntax"), DCMTK, ids=[" ".join(entry[0]) for entry in DCMTK])
@pytest.mark.parametrize(
    ("manufacturer", "encode", "parts"),
    [("SIEMENS", scanner.as_siemens, "MP"), ("GE MEDICAL SYSTEMS", scanner.as_ge, "RI")],
    ids=["12 bits", "signed 16 bits"],
)
def test_what_dcmtk_encoded_is_read_as_it_was(
    tmp_path: Path,
    program: Callable[[str], str],
    command: tuple[str, ...],
    syntax: str,
    manufacturer: str,
    encode: scanner.Encode,
    parts: str,
) -> None:
    plain = scanner.save(scanner.classic(SCAN, manufacturer, parts, encode)[::3], tmp_path / "plain")
    for original, copy in zip(plain, dcmtk(program, command, plain, tmp_path / "packed"), strict=True):
        assert pydicom.dcmread(copy, stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax
        assert np.array_equal(decode(copy), decode(original))


def test_a_series_in_lossless_jpeg_becomes_the_same_acquisition(tmp_path: Path, program: Callable[[str], str]) -> None:
    plain = scanner.save(scanner.classic(SCAN, "SIEMENS", "MP", scanner.as_siemens), tmp_path / "plain")
    found = read_echo_series(dcmtk(program, ("dcmcjpeg", "+e1"), plain, tmp_path / "packed"))
    expected = read_echo_series(plain)
    assert np.array_equal(found.phase, expected.phase)
    assert np.array_equal(found.magnitude, expected.magnitude)


def packed_frames(syntax: UID) -> tuple[Dataset, list[bytes]]:
    """Return an object of several frames, and each of its frames as the compression makes it."""
    dataset = scanner.enhanced_siemens(scanner.Scan(shape=(3, 40, 36)), "PHASE", 1, "1.1")
    dataset.compress(syntax, generate_instance_uid=False)
    return dataset, list(generate_frames(dataset.PixelData, number_of_frames=3))


# A frame in RLE, or one that an extended table points to, is one fragment (PS3.5 A.4.2 and A.4).
ENCAPSULATED = [(syntax, 1, table) for syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless) for table in TABLES]
ENCAPSULATED += [(syntax, 3, table) for syntax in (JPEGLSLossless, JPEG2000Lossless) for table in TABLES[:2]]


@pytest.mark.parametrize(("syntax", "fragments", "table"), ENCAPSULATED)
def test_frames_are_found_with_and_without_offset_tables_and_in_fragments(
    tmp_path: Path, syntax: UID, fragments: int, table: str
) -> None:
    dataset, frames = packed_frames(syntax)
    if table == "extended":
        dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended(
            frames
        )
    else:
        dataset.PixelData = encapsulate(frames, fragments_per_frame=fragments, has_bot=table == "basic")
    (plain,) = scanner.save([scanner.enhanced_siemens(scanner.Scan(shape=(3, 40, 36)), "PHASE", 1, "1.1")], tmp_path)
    (packed,) = scanner.save([dataset], tmp_path / "packed")
    assert np.array_equal(decode(packed), decode(plain))


# The marker segment CAP, which only codestreams of ISO/IEC 15444-15 have.
HIGH_THROUGHPUT = b"\xff\x50"
OPENJPH = [
    (HTJ2KLossless, ("-prog_order", "LRCP")),
    (HTJ2KLossless, ("-num_decomps", "1", "-block_size", "{32,32}")),
    (HTJ2KLosslessRPCL, ("-prog_order", "RPCL")),
]


def openjph(program: str, frame: np.ndarray, bits: int, options: tuple[str, ...], folder: Path) -> bytes:
    """Return a frame as OpenJPH encodes it, reversibly."""
    folder.mkdir(exist_ok=True)
    raw, packed = folder / "frame.raw", folder / "frame.j2c"
    # Version 0.9 takes samples below zero for large ones. Values moved up by half the range make the same codestream
    # but for one bit of Ssiz, since the encoder moves what has no sign down again (ISO/IEC 15444-1 A.5.1 and G.1).
    is_signed = frame.dtype.kind == "i"
    (frame.astype(np.int32) + (2 ** (bits - 1) if is_signed else 0)).astype("<u2").tofile(raw)
    size = f"{{{frame.shape[1]},{frame.shape[0]}}}"
    described = ["-dims", size, "-num_comps", "1", "-signed", "false", "-bit_depth", str(bits), "-downsamp", "{1,1}"]
    command = [program, "-i", str(raw), "-o", str(packed), "-reversible", "true", *described, *options]
    subprocess.run(command, check=True, capture_output=True)
    stream = bytearray(packed.read_bytes())
    stream[stream.index(b"\xff\x51") + 40] |= 0x80 * is_signed
    return bytes(stream)


@pytest.mark.parametrize(("syntax", "options"), OPENJPH, ids=[" ".join(options) for _, options in OPENJPH])
@pytest.mark.parametrize(
    ("manufacturer", "encode", "part"),
    [("SIEMENS", scanner.as_siemens, "P"), ("GE MEDICAL SYSTEMS", scanner.as_ge, "I")],
    ids=["12 bits", "signed 16 bits"],
)
def test_what_openjph_encoded_is_read_as_it_was(
    tmp_path: Path,
    program: Callable[[str], str],
    syntax: UID,
    options: tuple[str, ...],
    manufacturer: str,
    encode: scanner.Encode,
    part: str,
) -> None:
    (original,) = scanner.save(scanner.classic(SCAN, manufacturer, part, encode)[:1], tmp_path / "plain")
    dataset, (stored,) = pydicom.dcmread(original), decode(original)
    stream = openjph(program("ojph_compress"), stored, dataset.BitsStored, options, tmp_path / "stream")
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    (packed,) = scanner.save([dataset], tmp_path / "packed")
    assert HIGH_THROUGHPUT in stream[:80]
    assert np.array_equal(decode(packed)[0], stored)


@pytest.mark.parametrize("has_table", [True, False], ids=["offset table", "no offset table"])
def test_a_series_in_high_throughput_jpeg_2000_becomes_the_same_acquisition(
    tmp_path: Path, program: Callable[[str], str], has_table: bool
) -> None:
    objects = [
        scanner.enhanced_siemens(SCAN, component, echo, f"1.{number}{echo}")
        for number, component in enumerate(("MAGNITUDE", "PHASE"), start=1)
        for echo in range(2)
    ]
    plain = scanner.save(objects, tmp_path / "plain")
    expected = read_echo_series(plain)
    for dataset, path in zip(objects, plain, strict=True):
        frames = [
            openjph(program("ojph_compress"), frame, dataset.BitsStored, (), tmp_path / "streams")
            for frame in decode(path)
        ]
        dataset.PixelData = encapsulate(frames, has_bot=has_table)
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = HTJ2KLosslessRPCL
    found = read_echo_series(scanner.save(objects, tmp_path / "packed"))
    assert np.array_equal(found.phase, expected.phase)
    assert np.array_equal(found.magnitude, expected.magnitude)


def test_every_lossless_syntax_that_the_node_accepts_is_read_back_here() -> None:
    tested = {syntax for _, syntax in DCMTK} | {syntax for syntax, *_ in (*ENCAPSULATED, *OPENJPH)}
    assert {ExplicitVRLittleEndian, *tested} == {*UNCOMPRESSED, *LOSSLESS}
    assert all(get_decoder(UID(syntax)).is_available for syntax in (*UNCOMPRESSED, *LOSSLESS))


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, HTJ2KLossless, JPEGLSLossless, JPEGLosslessSV1])
def test_damaged_compressed_pixels_are_a_named_refusal(tmp_path: Path, syntax: UID) -> None:
    dataset, frames = packed_frames(JPEG2000Lossless)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame[:60] + bytes(40) for frame in frames])
    (path,) = scanner.save([dataset], tmp_path)
    with pytest.raises(errors.TruncatedPixelData, match="cannot be decoded"):
        decode(path)


def test_fewer_fragments_than_frames_get_no_memory(tmp_path: Path) -> None:
    dataset, _ = packed_frames(RLELossless)
    dataset.NumberOfFrames = 1_000_000
    (path,) = scanner.save([dataset], tmp_path)
    with pytest.raises(errors.TruncatedPixelData, match="3 compressed fragments where 1000000 frames are due"):
        decode(path)


@pytest.mark.parametrize(("syntax", "marker"), [(JPEG2000Lossless, b"\xff\x51"), (JPEGLSLossless, b"\xff\xf7")])
def test_a_frame_that_claims_another_matrix_gets_no_memory(tmp_path: Path, syntax: UID, marker: bytes) -> None:
    dataset, frames = packed_frames(syntax)
    at = frames[1].index(marker) + (6 if syntax == JPEG2000Lossless else 5)
    width = 4 if syntax == JPEG2000Lossless else 2
    frames[1] = frames[1][:at] + (60000).to_bytes(width) + frames[1][at + width :]
    dataset.PixelData = encapsulate(frames)
    (path,) = scanner.save([dataset], tmp_path)
    with pytest.raises(errors.ContradictoryHeader, match="60000"):
        decode(path)


def lossless_jpeg(tmp_path: Path, program: Callable[[str], str]) -> bytes:
    plain = scanner.save(scanner.classic(SCAN, "SIEMENS", "P", scanner.as_siemens)[:1], tmp_path / "plain")
    (path,) = dcmtk(program, ("dcmcjpeg", "+e1"), plain, tmp_path / "packed")
    return next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))


def test_a_lossless_jpeg_stream_cut_anywhere_is_an_error(tmp_path: Path, program: Callable[[str], str]) -> None:
    stream = lossless_jpeg(tmp_path, program).rstrip(b"\0")
    whole, precision = decode_lossless_jpeg(stream)
    assert whole.shape == SCAN.shape[1:]
    assert precision in (12, 16)
    for cut in range(0, len(stream) - 8, 97):
        with pytest.raises((ValueError, IndexError)):
            decode_lossless_jpeg(stream[:cut])


def test_a_lossless_jpeg_stream_of_another_process_is_an_error(tmp_path: Path, program: Callable[[str], str]) -> None:
    stream = lossless_jpeg(tmp_path, program)
    for wrong in (b"\xff\xc0", b"\xff\xc1", b"\xff\xcb"):
        with pytest.raises(ValueError, match="another JPEG process"):
            decode_lossless_jpeg(stream.replace(b"\xff\xc3", wrong, 1))
