"""GE as a sender: classic images whose part stands in the private element (0043,xx2F) only.

Headers follow SIGNA Architect DV27: ImageType ORIGINAL\\PRIMARY\\OTHER for every part, signed 16 bits, no rescaling,
all parts in one series. Phase falls as the field grows and is stored in milliradians; some product versions leave out
a shift in the slice transform, and then every second complex slice has the other sign.
"""

from pydicom import Dataset

from dicom_io.write.scanners.classic import Equipment, classic_header, classic_image, put_pixels
from dicom_io.write.scanners.scan import Place, Scan

ARCHITECT = Equipment(
    "GE MEDICAL SYSTEMS",
    "SIGNA Architect",
    ("27", "LX", "MR Software release:DV27.0_R01_1850.a"),
    "0000000LXBAY6NET",
    "GEHCBAY6",
)
IMAGE_TYPE = {"M": 0, "P": 1, "R": 2, "I": 3}
_MILLIRADIANS = 1000
_LARGEST_VALUE = 12000


def ge_classic(scan: Scan) -> list[Dataset]:
    """Write magnitude, phase, real and imaginary images as one series."""
    return _series(scan, "MPRI", has_alternating_slices=False)


def ge_magnitude_and_phase(scan: Scan) -> list[Dataset]:
    """Write magnitude and phase images as one series."""
    return _series(scan, "MP", has_alternating_slices=False)


def ge_alternating_slices(scan: Scan) -> list[Dataset]:
    """Write magnitude, real and imaginary images as one series whose complex slices alternate in sign."""
    return _series(scan, "MRI", has_alternating_slices=True)


def _series(scan: Scan, parts: str, has_alternating_slices: bool) -> list[Dataset]:
    turned = scan.conjugated(has_alternating_slices)
    n_images = scan.n_slices * scan.n_echoes * len(parts)
    shared = _shared(scan, n_images)
    series = scan.series_uid("GE", parts)
    return [_image(shared, turned, place, series, number) for number, place in enumerate(turned.places(parts), start=1)]


def _shared(scan: Scan, n_images: int) -> Dataset:
    shared = classic_header(scan, ARCHITECT)
    shared.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    shared.ScanOptions = "VB_GEMS"
    shared.ImagesInAcquisition = n_images
    shared.StackID = "1"
    shared.EchoTrainLength = 1
    acquisition = shared.private_block(0x0019, "GEMS_ACQU_01", create=True)
    acquisition.add_new(0x7E, "SS", scan.n_echoes)
    acquisition.add_new(0x9C, "LO", "SWAN")
    acquisition.add_new(0x9E, "LO", "SWAN")
    shared.private_block(0x0021, "GEMS_RELA_01", create=True).add_new(0x4F, "SS", scan.n_slices)
    series = shared.private_block(0x0025, "GEMS_SERS_01", create=True)
    series.add_new(0x07, "SL", n_images)
    series.add_new(0x19, "SL", n_images)
    return shared


def _image(shared: Dataset, scan: Scan, place: Place, series: str, number: int) -> Dataset:
    image = classic_image(shared, scan, place, series, number)
    image.InStackPositionNumber = place.index + 1
    image.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x2F, "SS", IMAGE_TYPE[place.part])
    factor = _MILLIRADIANS if place.part == "P" else _LARGEST_VALUE
    put_pixels(image, scan.values(place) * factor, 16, is_signed=True)
    return image
