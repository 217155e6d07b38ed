"""Siemens as a sender: VE11 and XA classic images, and XA enhanced objects.

Headers follow Prisma fit VE11C (classic, magnitude and phase as two series, instance numbers that repeat per echo) and
Prisma fit XA30 (enhanced, one object per echo); phase is stored 0…4095 with slope 2 and intercept −4096, ±4096 is ±π.
"""

import struct
from collections.abc import Iterator

import numpy as np
from pydicom import Dataset

from dicom_io.write.scanners.classic import (
    Equipment,
    classic_header,
    classic_image,
    header,
    later_series,
    put_pixels,
    rescale,
)
from dicom_io.write.scanners.enhanced import describe_dimensions, describe_enhanced, frame_groups, item, shared_groups
from dicom_io.write.scanners.scan import Place, Scan

VE11 = Equipment("SIEMENS", "Prisma_fit", ("syngo MR E11",), "67060", "MRC35131")
XA30 = Equipment("Siemens Healthineers", "MAGNETOM Prisma Fit", ("syngo MR XA30",), "67093", "MRC35062")
PARTS = "MP"
DIMENSIONS = (
    ("StackID", "FrameContentSequence"),
    ("InStackPositionNumber", "FrameContentSequence"),
    ("TemporalPositionIndex", "FrameContentSequence"),
)
_BITS = 12
_LARGEST_MAGNITUDE = 4000
_SLOPE, _INTERCEPT = 2, -4096
_CSA_CHECK, _CSA_VERSION = 77, b"SV10\x04\x03\x02\x01"


def siemens_classic(scan: Scan) -> list[Dataset]:
    """Write VE11 images: one series of magnitude and one of phase, each with all echoes."""
    shared = classic_header(scan, VE11)
    shared.SequenceName = f"*fl3d{scan.n_echoes}r"
    shared.EchoTrainLength = 0
    _csa_header(shared, scan)
    return [_classic(shared, scan, place, (place.part,), PARTS.index(place.part)) for place in _parts_apart(scan)]


def siemens_xa_classic(scan: Scan) -> list[Dataset]:
    """Write XA images exported as classic ones: a series for every echo of every part."""
    shared = classic_header(scan, XA30)
    shared.SequenceName = f"*fl3d{scan.n_echoes}r"
    shared.private_block(0x0021, "SIEMENS MR SDS 01", create=True).add_new(0x19, "OB", _protocol(scan))
    images = []
    for place in _parts_apart(scan):
        number = PARTS.index(place.part) * scan.n_echoes + place.echo
        image = _classic(shared, scan, place, ("XA", place.part, str(place.echo)), number)
        block = image.private_block(0x0021, "SIEMENS MR SDI 02", create=True)
        block.add_new(0x75, "CS", ["ORIGINAL", "PRIMARY", place.part, "ND"])
        images.append(image)
    return images


def siemens_enhanced(scan: Scan) -> list[Dataset]:
    """Write XA enhanced objects: one per echo, a frame per slice, magnitude and phase as two series."""
    return [_enhanced(scan, part, echo) for part in PARTS for echo in range(scan.n_echoes)]


def _parts_apart(scan: Scan) -> Iterator[Place]:
    for part in PARTS:
        for echo in range(scan.n_echoes):
            for index in range(scan.n_slices):
                yield Place(part, echo, index)


def _classic(shared: Dataset, scan: Scan, place: Place, series: tuple[str, ...], number: int) -> Dataset:
    image = classic_image(shared, scan, place, scan.series_uid("Siemens", *series), place.index + 1)
    later_series(image, scan, number)
    image.ImageType = ["ORIGINAL", "PRIMARY", place.part, "ND"]
    if place.part == "P":
        rescale(image, _SLOPE, _INTERCEPT, "US")
    put_pixels(image, _stored(scan, place), _BITS, is_signed=False)
    return image


def _stored(scan: Scan, place: Place) -> np.ndarray:
    values = scan.values(place)
    if place.part == "M":
        return values * _LARGEST_MAGNITUDE
    steps = np.rint((values / np.pi * -_INTERCEPT - _INTERCEPT) / _SLOPE)
    # +π is the same angle as −π, and 4096 has no place in twelve bits.
    return np.mod(steps, 2**_BITS)


def _protocol(scan: Scan) -> bytes:
    lines = (
        "### ASCCONV BEGIN ###",
        'tSequenceFileName\t = \t"%SiemensSeq%\\gre"',
        f"lContrasts\t = \t{scan.n_echoes}",
        *(f"alTE[{echo}]\t = \t{round(1e6 * time)}" for echo, time in enumerate(scan.echo_times_s)),
        "### ASCCONV END ###",
    )
    return "\n".join(lines).encode()


def _csa_header(image: Dataset, scan: Scan) -> None:
    """Write the series header in which VE11 keeps the protocol, in its own format "SV10" with a single tag."""
    text = _protocol(scan) + b"\0"
    values = struct.pack("<4i", len(text), len(text), _CSA_CHECK, len(text)) + text + b"\0" * (-len(text) % 4)
    tag = struct.pack("<64si4s3i", b"MrPhoenixProtocol", 1, b"UN\0\0", 0, 1, _CSA_CHECK)
    block = image.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x18, "CS", "MR")
    content = _CSA_VERSION + struct.pack("<2I", 1, _CSA_CHECK) + tag + values
    block.add_new(0x20, "OB", content + b"\0" * (len(content) % 2))
    image.private_block(0x0029, "SIEMENS MEDCOM HEADER2", create=True).add_new(0x60, "LO", "com")


def _enhanced(scan: Scan, part: str, echo: int) -> Dataset:
    image = header(scan, XA30)
    kind = ["ORIGINAL", "PRIMARY", part, "NONE"]
    places = [Place(part, echo, index) for index in range(scan.n_slices)]
    series = scan.series_uid("Siemens enhanced", part)
    describe_enhanced(image, places, (series, str(echo)), kind, places[0].component)
    later_series(image, scan, PARTS.index(part))
    image.InstanceNumber = echo + 1
    image.PulseSequenceName = f"*fl3d{scan.n_echoes}r"
    shared = shared_groups(scan)
    protocol = item()
    protocol.private_block(0x0021, "SIEMENS MR SDS 01", create=True).add_new(0x19, "OB", _protocol(scan))
    shared.private_block(0x0021, "SIEMENS MR SDS 01", create=True).add_new(0xFE, "SQ", [protocol])
    image.SharedFunctionalGroupsSequence = [shared]
    image.PerFrameFunctionalGroupsSequence = [_groups(scan, place, kind) for place in places]
    describe_dimensions(image, DIMENSIONS)
    put_pixels(image, np.stack([_stored(scan, place) for place in places]), _BITS, is_signed=False)
    return image


def _groups(scan: Scan, place: Place, kind: list[str]) -> Dataset:
    groups = frame_groups(scan, place, kind, (1, place.index + 1, 1))
    slope, intercept = (_SLOPE, _INTERCEPT) if place.part == "P" else (1, 0)
    transformation = item()
    rescale(transformation, slope, intercept, "US")
    groups.PixelValueTransformationSequence = [transformation]
    private = item()
    block = private.private_block(0x0021, "SIEMENS MR SDI 02", create=True)
    block.add_new(0x75, "CS", ["ORIGINAL", "PRIMARY", place.part, "ND"])
    groups.private_block(0x0021, "SIEMENS MR SDI 02", create=True).add_new(0xFE, "SQ", [private])
    return groups
