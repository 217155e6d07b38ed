"""What an object asks for is bounded by what it is."""

import tracemalloc
from pathlib import Path

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_io import errors
from dicom_io.instance import open_instance
from dicom_io.read.reader import read_source
from tests.dicom_io.read import scanner_files as scanner

SCAN = scanner.Scan()
MEBIBYTE = 1 << 20


def deflated(tmp_path: Path, n_bytes: int) -> Path:
    dataset = scanner.classic(SCAN, "SIEMENS", "P", scanner.as_siemens)[0]
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.PixelData = bytes(n_bytes)
    (path,) = scanner.save([dataset], tmp_path)
    return path


def test_a_deflated_object_that_grows_beyond_any_image_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    path = deflated(tmp_path, 200 * MEBIBYTE)
    assert path.stat().st_size < MEBIBYTE
    tracemalloc.start()
    for source in (path, path.read_bytes()):
        with pytest.raises(errors.NotDicom, match="cannot be read as DICOM"):
            open_instance(source)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * MEBIBYTE


def test_a_deflated_object_of_a_large_image_is_read(tmp_path: Path) -> None:
    assert open_instance(deflated(tmp_path, 32 * MEBIBYTE)).EchoTime == 4.0


def test_images_that_lost_their_own_scale_cannot_be_compared(tmp_path: Path) -> None:
    objects = scanner.classic(SCAN, "Philips", "RI", scanner.as_philips)
    for dataset in objects[1:]:
        dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", 0.004)
    with pytest.raises(errors.MissingAttribute, match=r"0000\.dcm: the manufacturer's own scale"):
        read_source(scanner.save(objects, tmp_path))
