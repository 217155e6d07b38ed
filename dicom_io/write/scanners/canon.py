"""Canon as a sender: classic images that name their part by a word of ImageType.

Headers follow Galan 3T V6.1 (CANON_MEC, signed 16 bits, private creator CANON_MEC_MR3). No real phase series was at
hand: sign and scale of the phase (the whole stored range spans ±π, growing with the field) are an assumption.
"""

import math

import numpy as np
from pydicom import Dataset

from dicom_io.write.scanners.classic import Equipment, classic_header, classic_image, put_pixels, rescale
from dicom_io.write.scanners.scan import Place, Scan

GALAN = Equipment("CANON_MEC", "Galan 3T", ("V6.1SP3002*",), "9143", "Galan 3T")
WORDS = {"M": "MAGNITUDE", "P": "PHASE", "R": "REAL", "I": "IMAGINE"}
_LARGEST_VALUE = 16000


def canon_classic(scan: Scan) -> list[Dataset]:
    """Write magnitude and phase as one series."""
    return _series(scan, "MP")


def canon_real_and_imaginary(scan: Scan) -> list[Dataset]:
    """Write real and imaginary images as one series; Canon's word for the latter is IMAGINE."""
    return _series(scan, "RI")


def _series(scan: Scan, parts: str) -> list[Dataset]:
    shared = classic_header(scan, GALAN)
    shared.SequenceName = "FE3D"
    shared.NumberOfTemporalPositions = 1
    shared.StackID = "1"
    shared.TemporalPositionIndex = 1
    shared.private_block(0x700D, "CANON_MEC_MR3", create=True).add_new(0x0C, "CS", "Y")
    series = scan.series_uid("Canon", parts)
    return [_image(shared, scan, place, series, number) for number, place in enumerate(scan.places(parts), start=1)]


def _image(shared: Dataset, scan: Scan, place: Place, series: str, number: int) -> Dataset:
    image = classic_image(shared, scan, place, series, number)
    image.ImageType = ["ORIGINAL", "PRIMARY", WORDS[place.part]]
    image.InStackPositionNumber = place.index + 1
    put_pixels(image, _stored(image, scan, place), 16, is_signed=True)
    return image


def _stored(image: Dataset, scan: Scan, place: Place) -> np.ndarray:
    if place.part != "P":
        rescale(image, 1, 0)
        return scan.values(place) * _LARGEST_VALUE
    slope, intercept = rescale(image, 2 * math.pi / (2**16 - 1), 0)
    return (scan.values(place) - intercept) / slope
