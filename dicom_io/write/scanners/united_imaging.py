"""United Imaging as a sender: classic images that name their part in ComplexImageComponent and in ImageType.

Headers follow uMR 770 R002: frequency in hertz, EchoNumbers empty, EchoTrainLength that counts something else, 16 bits.
No real phase series was at hand: sign and scale of the phase (±4096 is ±π, growing with the field) are an assumption.
"""

import math

from pydicom import Dataset
from pydicom.valuerep import format_number_as_ds

from dicom_io.write.scanners.classic import (
    Equipment,
    classic_header,
    classic_image,
    later_series,
    put_pixels,
    rescale,
)
from dicom_io.write.scanners.scan import Place, Scan

UMR_770 = Equipment("UIH", "uMR 770", ("R002",), "120015", "UIHMR")
PARTS = "MP"
_LARGEST_MAGNITUDE = 4000
_PI = 4096
_HERTZ_PER_MEGAHERTZ = 1e6


def united_imaging_classic(scan: Scan) -> list[Dataset]:
    """Write magnitude and phase as two series."""
    shared = classic_header(scan, UMR_770, character_set="ISO_IR 192")
    shared.SequenceName = "gre_fsp"
    shared.ImagingFrequency = format_number_as_ds(float(round(scan.frequency_mhz * _HERTZ_PER_MEGAHERTZ)))
    shared.EchoTrainLength = 160
    shared.NumberOfSlices = scan.n_slices
    shared.BurnedInAnnotation = "NO"
    shared.LossyImageCompression = "00"
    shared.private_block(0x0065, "Image Private Header", create=True).add_new(0x02, "LO", "TRA")
    counts = dict.fromkeys(PARTS, 0)
    images = []
    for place in scan.places(PARTS):
        counts[place.part] += 1
        images.append(_image(shared, scan, place, counts[place.part]))
    return images


def _image(shared: Dataset, scan: Scan, place: Place, number: int) -> Dataset:
    image = classic_image(shared, scan, place, scan.series_uid("United Imaging", place.part), number)
    later_series(image, scan, PARTS.index(place.part))
    image.ImageType = ["ORIGINAL", "PRIMARY", place.part, "UCA", "IF"]
    image.ComplexImageComponent = place.component
    image.EchoNumbers = None
    values = scan.values(place) * _LARGEST_MAGNITUDE
    if place.part == "P":
        slope, intercept = rescale(image, 2 * _PI / (2**16 - 1), -_PI)
        values = (scan.values(place) / math.pi * _PI - intercept) / slope
    put_pixels(image, values, 16, is_signed=False)
    return image
