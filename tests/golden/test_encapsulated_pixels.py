"""Real compressed objects: one image in seven encapsulations is one array, and what is broken is refused by name."""

from pathlib import Path

import numpy as np
import pytest

from dicom_io import errors
from dicom_io.read.pixels import decode

pytestmark = pytest.mark.golden

ENCAPSULATED = "encapsulation_dicomparser"
SAME_CT = [
    "CT0012.fragmented_no_bot_jpeg_lossless.57.dcm",
    "CT0012.fragmented_no_bot_jpeg_lossless.70.dcm",
    "CT0012.fragmented_no_bot_jpeg_ls.80.dcm",
    "CT0012.not_fragmented_bot_jpeg_ls.80.dcm",
    "CT0012.not_fragmented_no_bot_jpeg_ls.80.dcm",
    "CT0012.not_fragmented_bot_rle.dcm",
]
SAME_MR = ["RLE", "bigendian", "jp2klossless", "jpeg_ls_lossless", "padded"]
BROKEN = [
    (f"{ENCAPSULATED}/CT0012.fragmented_no_bot_jpeg_baseline.51.dcm", errors.UnsupportedTransferSyntax, "Process 2"),
    (f"{ENCAPSULATED}/IM00001.fragmented_no_bot_jpeg_baseline.50.dcm", errors.TruncatedPixelData, "614400 are due"),
    ("malformed_pydicom/MR_truncated.dcm", errors.TruncatedPixelData, "8130 bytes where 8192 are due"),
    ("malformed_pydicom/JPEG2000-embedded-sequence-delimiter.dcm", errors.ContradictoryHeader, "1024 × 256"),
    ("malformed_pydicom/badVR.dcm", errors.ContradictoryHeader, "Number of Frames"),
    ("malformed_pydicom/ExplVR_BigEndNoMeta.dcm", errors.TruncatedPixelData, "holds no Pixel Data"),
    ("malformed_pydicom/rtplan_truncated.dcm", errors.TruncatedPixelData, "holds no Pixel Data"),
    ("malformed_pydicom/zipMR.gz", errors.TruncatedPixelData, "ends before"),
]


@pytest.mark.parametrize("name", SAME_CT)
def test_two_frames_are_the_same_in_every_lossless_encapsulation(data_dir: Path, name: str) -> None:
    expected = decode(data_dir / ENCAPSULATED / "CT0012.not_fragmented_no_bot_rle.dcm")
    assert expected.shape == (2, 512, 512)
    assert np.array_equal(decode(data_dir / ENCAPSULATED / name), expected)


@pytest.mark.parametrize("name", SAME_MR)
def test_one_mr_image_is_the_same_in_every_transfer_syntax(data_dir: Path, name: str) -> None:
    expected = decode(data_dir / "malformed_pydicom/MR_small_implicit.dcm")
    assert np.array_equal(decode(data_dir / f"malformed_pydicom/MR_small_{name}.dcm"), expected)


@pytest.mark.parametrize(("name", "expected", "phrase"), BROKEN, ids=[entry[0] for entry in BROKEN])
def test_pixels_that_cannot_be_had_are_a_named_refusal(
    data_dir: Path, name: str, expected: type[errors.DicomError], phrase: str
) -> None:
    with pytest.raises(errors.DicomError, match=phrase) as refusal:
        decode(data_dir / name)
    assert type(refusal.value) is expected
