"""Philips as a sender: classic images and one enhanced object, every image scaled on its own.

Headers follow Ingenia Elition X 5.7.1: phase in milliradians by slope 1.53455 and intercept −3142, whatever RescaleType
says ("mrad" in classic images, "US" in enhanced ones); other parts by a slope of the frame, and by the private scale
slope (2005,xx0E), which alone makes frames comparable: the true value is
(stored × slope + intercept) / (slope × scale slope).
"""

import numpy as np
from pydicom import Dataset
from pydicom.valuerep import format_number_as_ds

from dicom_io.write.scanners.classic import Equipment, classic_header, classic_image, header, put_pixels, rescale
from dicom_io.write.scanners.enhanced import describe_dimensions, describe_enhanced, frame_groups, item, shared_groups
from dicom_io.write.scanners.scan import Place, Scan

INGENIA = Equipment("Philips", "Ingenia Elition X", ("5.7.1", "5.7.1.1"), "45053", "")
KIND = {"M": "M_FFE", "P": "PHASE MAP", "R": "R_FFE", "I": "I_FFE"}
TYPE_INDEX = {"M": 0, "R": 1, "I": 2, "P": 3}
UNITS = {"mrad": "milliradian", "1": "no units"}
IMAGING_001 = "Philips Imaging DD 001"
MR_001, MR_005 = "Philips MR Imaging DD 001", "Philips MR Imaging DD 005"
DIMENSIONS = (
    ("StackID", "FrameContentSequence"),
    ("InStackPositionNumber", "FrameContentSequence"),
    ("EffectiveEchoTime", "MREchoSequence"),
)
_BITS = 12
_PHASE_SLOPE, _PHASE_INTERCEPT = 1.53455433455433, -3142.0
_LARGEST_VALUE = 6e6
_SLOPE, _SCALE_SLOPE = 1.29157509157509, 0.00023798899201210588
_MIDDLE = 2048


def philips_classic(scan: Scan) -> list[Dataset]:
    """Write magnitude and phase as one series of classic images."""
    return _classic(scan, "MP")


def philips_classic_complex(scan: Scan) -> list[Dataset]:
    """Write magnitude, phase, real and imaginary as one series of classic images."""
    return _classic(scan, "MPRI")


def philips_real_and_imaginary(scan: Scan) -> list[Dataset]:
    """Write real and imaginary images alone, as one series of classic images."""
    return _classic(scan, "RI")


def philips_enhanced(scan: Scan) -> list[Dataset]:
    """Write magnitude and phase as the frames of one enhanced object."""
    return [_enhanced(scan, "MP")]


def philips_enhanced_complex(scan: Scan) -> list[Dataset]:
    """Write magnitude, phase, real and imaginary as the frames of one enhanced object."""
    return [_enhanced(scan, "MPRI")]


def _classic(scan: Scan, parts: str) -> list[Dataset]:
    shared = classic_header(scan, INGENIA)
    shared.ScanOptions = "FC"
    shared.NumberOfTemporalPositions = shared.TemporalPositionIdentifier = 1
    shared.LossyImageCompression = "00"
    _declare(shared, scan)
    series = scan.series_uid("Philips", parts)
    # Ingenia sends all magnitude images before the first phase image; the echoes of a slice follow each other.
    places = [place for part in parts for place in scan.places(part)]
    return [_image(shared, scan, place, series, number) for number, place in enumerate(places, start=1)]


def _declare(dataset: Dataset, scan: Scan) -> None:
    block = dataset.private_block(0x2001, IMAGING_001, create=True)
    block.add_new(0x14, "SL", scan.n_echoes)
    block.add_new(0x18, "SL", scan.n_slices)


def _image(shared: Dataset, scan: Scan, place: Place, series: str, number: int) -> Dataset:
    image = classic_image(shared, scan, place, series, number)
    image.ImageType = ["ORIGINAL", "PRIMARY", KIND[place.part], place.part, "FFE"]
    unit = "mrad" if place.part == "P" else "normalized"
    slope, intercept = rescale(image, *_rescaling(place), unit)
    image.RealWorldValueMappingSequence = [_mapping(place, slope, intercept)]
    scale_slope = _describe_scale(image, scan, place)
    private = image.private_block(0x2005, MR_005)
    private.add_new(0x09, "DS", str(image.RescaleIntercept))
    private.add_new(0x0A, "DS", str(image.RescaleSlope))
    private.add_new(0x0B, "LO", unit)
    put_pixels(image, _stored(scan, place, (slope, intercept), scale_slope), _BITS, is_signed=False)
    return image


def _rescaling(place: Place) -> tuple[float, float]:
    """Return slope and intercept of a frame: phase has the same everywhere, the other parts each their own."""
    if place.part == "P":
        return _PHASE_SLOPE, _PHASE_INTERCEPT
    slope = _SLOPE * (1 + 0.05 * ((place.index + TYPE_INDEX[place.part]) % 3))
    return slope, 0.0 if place.part == "M" else -_MIDDLE * slope


def _describe_scale(dataset: Dataset, scan: Scan, place: Place) -> float:
    """Write range, scale slope and type into the private blocks, which have fixed numbers; return the scale slope."""
    scale_slope = 1000 / _PHASE_SLOPE if place.part == "P" else _scale_slope(place)
    dataset.add_new(0x20050010, "LO", MR_001)
    dataset.add_new(0x20050014, "LO", MR_005)
    block = dataset.private_block(0x2005, MR_001)
    zero = {"M": 0.0, "P": 2047.5}.get(place.part, float(_MIDDLE))
    lowest, highest = _true_range(scan, place)
    block.add_new(0x0B, "FL", highest)
    block.add_new(0x0C, "FL", lowest)
    block.add_new(0x0D, "FL", zero)
    block.add_new(0x0E, "FL", float(np.float32(scale_slope)))
    block.add_new(0x11, "CS", place.part)
    return float(np.float32(scale_slope))


def _scale_slope(place: Place) -> float:
    return _SCALE_SLOPE * (1 + 0.1 * ((7 * place.index + 3 * place.echo + TYPE_INDEX[place.part]) % 5))


def _true_range(scan: Scan, place: Place) -> tuple[float, float]:
    if place.part == "P":
        return -np.pi, np.pi
    values = scan.values(place) * _largest_value(place)
    return float(values.min()), float(values.max())


def _largest_value(place: Place) -> float:
    # Half of the stored range is for negative values, which a magnitude does not have.
    return 2 * _LARGEST_VALUE if place.part == "M" else _LARGEST_VALUE


def _stored(scan: Scan, place: Place, rescaling: tuple[float, float], scale_slope: float) -> np.ndarray:
    slope, intercept = rescaling
    values = scan.values(place)
    if place.part == "P":
        return (1000 * values - intercept) / slope
    return (values * _largest_value(place) * slope * scale_slope - intercept) / slope


def _mapping(place: Place, slope: float, intercept: float) -> Dataset:
    unit = "mrad" if place.part == "P" else "1"
    code = item(CodeValue=unit, CodingSchemeDesignator="UCUM", CodeMeaning=UNITS[unit])
    return item(
        LUTExplanation=f"Real World Value Mapping for {'mrad' if unit == 'mrad' else 'normalized'}",
        LUTLabel="Philips",
        MeasurementUnitsCodeSequence=[code],
        RealWorldValueFirstValueMapped=0,
        RealWorldValueLastValueMapped=4095,
        RealWorldValueIntercept=intercept,
        RealWorldValueSlope=slope,
    )


def _enhanced(scan: Scan, parts: str) -> Dataset:
    places = list(scan.places(parts))
    image = header(scan, INGENIA)
    identity = (scan.series_uid("Philips enhanced", parts),)
    describe_enhanced(image, places, identity, ["ORIGINAL", "PRIMARY", "T1", "MIXED"], "MIXED")
    image.PulseSequenceName = "T1FFE"
    _declare(image, scan)
    image.SharedFunctionalGroupsSequence = [shared_groups(scan)]
    groups, stored = [], []
    for place in places:
        described, frame = _frame(scan, place)
        groups.append(described)
        stored.append(frame)
    image.PerFrameFunctionalGroupsSequence = groups
    describe_dimensions(image, DIMENSIONS)
    _describe_type_dimension(image)
    put_pixels(image, np.stack(stored), _BITS, is_signed=False)
    return image


def _frame(scan: Scan, place: Place) -> tuple[Dataset, np.ndarray]:
    indices = (1, place.index + 1, TYPE_INDEX[place.part], place.echo + 1)
    groups = frame_groups(scan, place, ["ORIGINAL", "PRIMARY", "T1", place.part], indices)
    transformation = item()
    slope, intercept = rescale(transformation, *_rescaling(place), "US")
    groups.PixelValueTransformationSequence = [transformation]
    groups.RealWorldValueMappingSequence = [_mapping(place, slope, intercept)]
    classic = item(
        ImageType=["ORIGINAL", "PRIMARY", KIND[place.part], place.part, "FFE"],
        EchoTime=format_number_as_ds(scan.echo_time_ms(place.echo)),
        EchoNumbers=place.echo + 1,
    )
    scale_slope = _describe_scale(classic, scan, place)
    groups.add_new(0x20050014, "LO", MR_005)
    groups.private_block(0x2005, MR_005).add_new(0x0F, "SQ", [classic])
    return groups, _stored(scan, place, (slope, intercept), scale_slope)


def _describe_type_dimension(image: Dataset) -> None:
    """Put Philips' private dimension, the image type, before the echo time (PS3.3 C.7.6.17)."""
    dimensions = list(image.DimensionIndexSequence)
    private = item(
        DimensionOrganizationUID=dimensions[0].DimensionOrganizationUID,
        DimensionIndexPointer=0x20051011,
        FunctionalGroupPointer=0x2005140F,
        DimensionIndexPrivateCreator=MR_001,
        FunctionalGroupPrivateCreator=MR_005,
    )
    image.DimensionIndexSequence = [*dimensions[:2], private, *dimensions[2:]]
