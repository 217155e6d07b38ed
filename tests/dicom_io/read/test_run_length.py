"""Run-length encoded frames are taken one by one where there is one fragment for each, and are what pydicom reads."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import RLELossless
from rle import decode_pixel_data

from dicom_io.errors import TruncatedPixelData
from dicom_io.read.conclusions import Conclusions
from dicom_io.read.opening import open_object
from dicom_io.read.pixels import decode, pixels_in_file
from dicom_io.read.reader import read_echo_series
from dicom_io.read.run_length import RunLengthPixels
from node.reading_study.subjects import encoded, simulated_subjects


@pytest.fixture(scope="module")
def packed() -> list[Dataset]:
    subject = next(subject for subject in simulated_subjects() if subject.name == "siemens_enhanced")
    objects = [pydicom.dcmread(pydicom.filebase.DicomBytesIO(encoded(item))) for item in subject.objects]
    for item in objects:
        item.compress(RLELossless, generate_instance_uid=False)
    return objects


def saved(objects: list[Dataset], folder: Path) -> list[Path]:
    paths = [folder / f"{number}.dcm" for number in range(len(objects))]
    for path, item in zip(paths, objects, strict=True):
        path.write_bytes(encoded(item))
    return paths


def with_pixels(original: Dataset, pixel_data: bytes) -> Dataset:
    changed = pydicom.dcmread(pydicom.filebase.DicomBytesIO(encoded(original)))
    changed.PixelData = pixel_data
    return changed


def fragments(item: Dataset) -> list[bytes]:
    return list(generate_frames(item.PixelData, number_of_frames=item.NumberOfFrames))


def pixels_of(path: Path) -> RunLengthPixels:
    conclusions = Conclusions()
    found = pixels_in_file(open_object(path, conclusions.layouts), conclusions)
    assert isinstance(found, RunLengthPixels)
    return found


@pytest.mark.parametrize("has_table", [True, False])
def test_frames_are_those_of_the_whole_object(tmp_path: Path, packed: list[Dataset], has_table: bool) -> None:
    pixel_data = encapsulate(fragments(packed[0]), has_bot=has_table)
    (path,) = saved([with_pixels(packed[0], pixel_data)], tmp_path)
    frames = pixels_of(path).frames(path)
    assert frames is not None
    assert np.array_equal(np.stack(list(frames)), decode(path))


def test_frames_of_several_fragments_or_with_another_table_are_left_to_the_decoder(
    tmp_path: Path, packed: list[Dataset]
) -> None:
    several = encapsulate(fragments(packed[0]), fragments_per_frame=2, has_bot=True)
    table_of_another = bytearray(encapsulate(fragments(packed[0]), has_bot=True))
    table_of_another[12:16] = (2).to_bytes(4, "little")
    for pixel_data in (several, bytes(table_of_another), several[:-4]):
        (path,) = saved([with_pixels(packed[0], pixel_data)], tmp_path)
        assert pixels_of(path).frames(path) is None


def test_bits_above_the_stored_ones_follow_them(tmp_path: Path, packed: list[Dataset]) -> None:
    stored = decode(saved(packed[:1], tmp_path)[0])
    assert packed[0].BitsStored == 12
    changed = with_pixels(packed[0], packed[0].PixelData)
    changed.decompress(generate_instance_uid=False)
    changed.PixelData = (stored | 0xF000).tobytes()
    changed.compress(RLELossless, generate_instance_uid=False)
    (path,) = saved([changed], tmp_path)
    frames = pixels_of(path).frames(path)
    assert frames is not None
    assert np.array_equal(np.stack(list(frames)), stored)


def test_a_frame_that_only_pydicoms_own_decoder_takes_is_read_with_it(tmp_path: Path, packed: list[Dataset]) -> None:
    stored = decode(saved(packed[:1], tmp_path)[0])
    frames = fragments(packed[0])
    # The third of fifteen offsets, though there are two segments.
    frames[1] = frames[1][:12] + b"\x05\0\0\0" + frames[1][16:]
    with pytest.raises(ValueError, match="Invalid segment offset"):
        decode_pixel_data(frames[1], version=2, rows=packed[0].Rows, columns=packed[0].Columns, bits_allocated=16)
    (path,) = saved([with_pixels(packed[0], encapsulate(frames))], tmp_path)
    found = pixels_of(path).frames(path)
    assert found is not None
    assert np.array_equal(np.stack(list(found)), stored)


def test_a_damaged_frame_is_refused_by_name(tmp_path: Path, packed: list[Dataset]) -> None:
    whole = read_echo_series(saved(packed, tmp_path))
    assert whole.magnitude.any()
    frames = fragments(packed[0])
    frames[1] = frames[1][: len(frames[1]) // 4 * 2]
    paths = saved([with_pixels(packed[0], encapsulate(frames)), *packed[1:]], tmp_path)
    with pytest.raises(TruncatedPixelData, match=r"^0\.dcm: .*cannot be decoded as RLE Lossless"):
        read_echo_series(paths)


def test_a_segment_longer_than_its_frame_which_makes_the_decoder_panic_is_refused(
    tmp_path: Path, packed: list[Dataset]
) -> None:
    item = packed[0]
    # One literal run of two bytes more than the frame has pixels, for the first of two segments.
    n_pixels = item.Rows * item.Columns + 2
    run = b"".join(bytes([127, *range(128)]) for _ in range(n_pixels // 128)) + bytes([n_pixels % 128 - 1])
    run += bytes(n_pixels % 128)
    offsets = (2, 64, 64 + len(run), *[0] * 13)
    fragment = b"".join(number.to_bytes(4, "little") for number in offsets) + run + run
    with pytest.raises(BaseException, match="out of bounds"):
        decode_pixel_data(fragment, version=2, rows=item.Rows, columns=item.Columns, bits_allocated=16)
    damaged = with_pixels(item, encapsulate([fragment, *fragments(item)[1:]], has_bot=True))
    (path,) = saved([damaged], tmp_path)
    frames = pixels_of(path).frames(path)
    assert frames is not None
    with pytest.raises(TruncatedPixelData, match="cannot be decoded"):
        next(frames)
    with pytest.raises(TruncatedPixelData, match="cannot be decoded"):
        decode(path)
