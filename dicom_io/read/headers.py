"""The header of every frame in one object, reduced to what decides its reading: no pixels, no patient."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.uid import HTJ2K, JPEG2000, UID, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from dicom_io.errors import ContradictoryHeader, UnsupportedObject
from dicom_io.instance import attribute, named, number, numbers, quietly, required, text
from dicom_io.read.conclusions import Conclusions
from dicom_io.read.frames import Frames, compared
from dicom_io.read.multiframe import IMAGES, FrameView, frames_of, whole_view
from dicom_io.read.opening import Opened, open_object
from dicom_io.read.protocol import (
    Objection,
    is_distortion_corrected,
    is_intensity_corrected,
    is_weighted_or_projected,
    objections_to,
)
from dicom_io.read.vendors.convention import RADIANS_PER_UNIT, StoredValues, Vendor
from dicom_io.read.vendors.table import vendor_of
from dicom_io.read.wholeness import require_intact
from dicom_io.series import Part

LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless)
JPEG_XL = "1.2.840.10008.1.2.4.112"
LOSSY_OR_LOSSLESS = (JPEG2000, HTJ2K, JPEG_XL)
UID_MAXIMUM = 64
TEXT_MAXIMUM = 64
MATRIX_MAXIMUM = 2048

# Only what a scanner writes: archives of one manufacturer leave creators such as GEIIS in the images of another.
SCANNER_ELEMENTS = {
    "SIEMENS MR HEADER": "Siemens",
    "SIEMENS CSA HEADER": "Siemens",
    "SIEMENS MR SDS 01": "Siemens",
    "SIEMENS MR SDI 02": "Siemens",
    "Philips Imaging DD 001": "Philips",
    "Philips MR Imaging DD 001": "Philips",
    "GEMS_ACQU_01": "GE",
    "GEMS_PARM_01": "GE",
    "GEMS_RELA_01": "GE",
}
SCANNER_GROUPS = {"Siemens": (0x0019, 0x0021, 0x0029), "Philips": (0x2001, 0x2005), "GE": (0x0019, 0x0021, 0x0043)}


@dataclass(frozen=True)
class FrameHeader:
    """One frame.

    `position` is ImagePositionPatient [mm], `orientation` ImageOrientationPatient, `pixel_spacing` PixelSpacing [mm].
    Counts called `declared` are what the protocol says there will be, None where it says nothing. `objections` are
    reasons why this frame cannot become part of a map. `acquired_at` is a time as written, to tell scans apart.
    `slice_location`, `stack_position`, `acquisition_number`, `coil` and `stack` are second witnesses, and so are
    `acquired_matrix`, the points that were measured in plane, `reconstruction_diameter_mm`, and `stated_range`, the
    lowest and highest stored value.
    """

    sop_class_uid: str
    sop_instance_uid: str
    frame_number: int | None
    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str
    vendor: str
    part: Part
    echo_time_ms: float | None
    echo_number: int | None
    position: tuple[float, float, float]
    orientation: tuple[float, float, float, float, float, float]
    pixel_spacing: tuple[float, float]
    rows: int
    columns: int
    spacing_between_slices: float | None
    instance_number: int | None
    temporal_position: int | None
    acquired_at: str
    magnetic_field_strength_t: float | None
    frequency_mhz: float | None
    values: StoredValues
    n_slices_declared: int | None = None
    n_echoes_declared: int | None = None
    n_images_declared: int | None = None
    is_lossy: bool = False
    is_distortion_corrected: bool = False
    is_intensity_corrected: bool = False
    objections: tuple[Objection, ...] = ()
    slice_location: float | None = None
    acquisition_number: int | None = None
    coil: str = ""
    stack: str = ""
    reconstruction_diameter_mm: float | None = None
    acquired_matrix: tuple[int, ...] = ()
    stack_position: int | None = None
    stated_range: tuple[float, ...] = ()

    @classmethod
    def of_fields(cls, *fields: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> "FrameHeader":
        """Return the frame with all these fields; the constructor sets them one by one, at four times the cost."""
        frame = cls.__new__(cls)
        for some in fields:
            frame.__dict__.update(some)
        return frame

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary of numbers, strings and lists."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "FrameHeader":
        """Return the frame that `to_json` wrote."""
        fields = dict(stored)
        fields["part"] = Part(fields["part"])
        fields["values"] = StoredValues(**fields["values"])
        fields["objections"] = tuple(Objection(**item) for item in fields["objections"])
        for name in ("position", "orientation", "pixel_spacing", "acquired_matrix", "stated_range"):
            fields[name] = tuple(fields.get(name, ()))
        return cls(**fields)


def read_frame_headers(source: Path | bytes | Dataset, conclusions: Conclusions | None = None) -> list[FrameHeader]:
    """Read the header of every frame of one object.

    Parameters
    ----------
    source
        A Part 10 file, its bytes, or a parsed dataset; what stands twice shows in the first two only.
    conclusions
        What was concluded from other objects of the same reading, so that equal bytes are converted once.

    Raises
    ------
    NotDicom
        The bytes are no DICOM object.
    UnsupportedObject
        The object is no MR image: a report, raw data, a segmentation.
    MissingAttribute
        Identity, matrix or position is absent.
    ContradictoryHeader
        A number cannot be read, an element stands twice, or is no value of its kind.
    """
    conclusions = conclusions or Conclusions()
    return frame_headers(open_object(source, conclusions.layouts), conclusions)


def frame_headers(opened: Opened, conclusions: Conclusions) -> list[FrameHeader]:
    """Read the header of every frame of an object that was opened; see `read_frame_headers`."""
    with quietly():
        whole = whole_view(opened)
        conclusions.of(_require_image, whole, None)
        vendor = conclusions.of(_vendor, whole, None)
        conclusions.of(_require_own_elements, whole, vendor)
        conclusions.of(_require_one_number_of_bits, whole, vendor)
        lossy = conclusions.of(_is_lossy, whole, vendor)
        groups = compared(frames_of(opened))
        if opened.is_as_stored:
            require_intact(groups)
        found: dict[int, FrameHeader] = {}
        for group in groups:
            for part, frames in group.divided(conclusions.of_all(_part, group, vendor)):
                found.update(zip(frames.places, _headers(frames, conclusions, vendor, part, lossy), strict=True))
        return [found[place] for place in range(len(found))]


def _vendor(view: FrameView, vendor: None) -> Vendor | None:
    return vendor_of(text(view.of_object("Manufacturer")))


def _require_image(view: FrameView, vendor: Vendor | None) -> None:
    sop_class = text(view.of_object("SOPClassUID"))
    if sop_class not in IMAGES:
        name = UID(sop_class).name if sop_class != UID(sop_class).name else "an unknown kind of object"
        raise UnsupportedObject(f"{named('SOPClassUID')} says {name}, not an MR image; send MR images.")
    samples = view.of_object("SamplesPerPixel")
    if samples not in (None, 1) and text(view.of_object("PhotometricInterpretation")).upper().startswith("MONOCHROME"):
        # Were it only ignored, the rest of its series would be read as if nothing were missing.
        raise ContradictoryHeader(
            f"{named('SamplesPerPixel')} is {samples}, but by {named('PhotometricInterpretation')} the image is grey; "
            "ask the sender for intact headers."
        )
    if samples not in (None, 1):
        raise UnsupportedObject(f"{named('SamplesPerPixel')} is not 1: a colour image; send the MR images themselves.")


def _require_own_elements(view: FrameView, vendor: Vendor | None) -> None:
    """Refuse another manufacturer's scanner elements: with a wrong Manufacturer the phase would get a wrong sign."""
    if vendor is None:
        return
    others = {creator: maker for creator, maker in SCANNER_ELEMENTS.items() if maker != vendor.name}
    groups = dict.fromkeys(group for maker in others.values() for group in SCANNER_GROUPS[maker])
    found = {group: view.creators(group) for group in groups}
    for creator, maker in others.items():
        for group in SCANNER_GROUPS[maker]:
            if creator in found[group]:
                raise ContradictoryHeader(
                    f"{named('Manufacturer')} says {vendor.name}, but the private elements of {creator} are those of "
                    f"a {maker} scanner; ask the sender for the original headers."
                )


def _require_one_number_of_bits(view: FrameView, vendor: Vendor | None) -> None:
    """Refuse a High Bit that is not one less than Bits Stored (PS3.5 8.1.1): the upper bits would be cut off."""
    stored, highest = (number(view.of_object(keyword), keyword) for keyword in ("BitsStored", "HighBit"))
    if stored is not None and highest is not None and highest != stored - 1:
        raise ContradictoryHeader(
            f"{named('BitsStored')} is {stored:g} but {named('HighBit')} is {highest:g}, not one less; "
            "ask the sender for intact headers."
        )


def _headers(
    frames: Frames, conclusions: Conclusions, vendor: Vendor | None, part: Part, lossy: bool
) -> Iterator[FrameHeader]:
    """Yield the headers of frames whose pixels are one part."""
    alike = conclusions.of_all(_fields_alike, frames, vendor, part)
    own = [conclusions.of_all(rule, frames, vendor, part) for rule in OWN_FIELDS.values()]
    objections = [conclusions.of_all(rule, frames, vendor, part) for rule in (_objections, _own_objection)]
    common: dict[str, Any] = {"is_lossy": lossy, "part": part}
    for view, fields, general, special, *values in zip(frames.views, alike, *objections, *own, strict=True):
        common["frame_number"] = view.frame_number
        common["objections"] = general + special
        yield FrameHeader.of_fields(common, fields, zip(OWN_FIELDS, values, strict=True))


def _part(view: FrameView, vendor: Vendor | None) -> Part:
    part = vendor.part(view) if vendor else Part.UNKNOWN
    return Part.UNKNOWN if part is Part.MAGNITUDE and is_weighted_or_projected(view) else part


def _objections(view: FrameView, vendor: Vendor | None, part: Part) -> tuple[Objection, ...]:
    return objections_to(view, vendor, part)


def _own_objection(view: FrameView, vendor: Vendor | None, part: Part) -> tuple[Objection, ...]:
    found = vendor.objection(view, part) if vendor else None
    return (Objection(*found),) if found else ()


def _fields_alike(view: FrameView, vendor: Vendor | None, part: Part) -> dict[str, Any]:
    """Return what many frames have in common, which must depend on nothing but the frame's attributes."""
    counts = vendor.declared(view) if vendor else None
    return {
        "sop_class_uid": _uid(view, "SOPClassUID"),
        "study_instance_uid": _uid(view, "StudyInstanceUID"),
        "series_instance_uid": _uid(view, "SeriesInstanceUID"),
        "frame_of_reference_uid": text(view.get("FrameOfReferenceUID")),
        "vendor": vendor.name if vendor else "",
        "orientation": _vector(view, "ImageOrientationPatient", 6),
        "pixel_spacing": _vector(view, "PixelSpacing", 2),
        "rows": _matrix(view, "Rows"),
        "columns": _matrix(view, "Columns"),
        "spacing_between_slices": number(view.get("SpacingBetweenSlices"), "SpacingBetweenSlices"),
        "temporal_position": _integer(view, "TemporalPositionIndex") or _integer(view, "TemporalPositionIdentifier"),
        "magnetic_field_strength_t": number(view.get("MagneticFieldStrength"), "MagneticFieldStrength"),
        "frequency_mhz": _frequency(view),
        "n_slices_declared": counts.slices if counts else None,
        "n_echoes_declared": counts.echoes if counts else None,
        "n_images_declared": counts.images if counts else None,
        "is_distortion_corrected": is_distortion_corrected(view),
        "is_intensity_corrected": is_intensity_corrected(view),
        "acquisition_number": _integer(view, "AcquisitionNumber"),
        "coil": _coil(view),
        "stack": text(view.get("StackID")),
        "reconstruction_diameter_mm": number(view.get("ReconstructionDiameter"), "ReconstructionDiameter"),
        "acquired_matrix": _acquired_matrix(view),
    }


def is_lossy(dataset: Dataset) -> bool:
    """Return whether the pixels were, or may have been, compressed with loss at any time (PS3.3 C.7.6.1.1.5)."""
    meta = getattr(dataset, "file_meta", None)
    syntax = text(attribute(meta, "TransferSyntaxUID")) if meta is not None else ""
    return _names_loss(text(attribute(dataset, "LossyImageCompression")), syntax)


def _is_lossy(view: FrameView, vendor: Vendor | None) -> bool:
    return _names_loss(text(view.of_object("LossyImageCompression")), view.transfer_syntax)


def _names_loss(stated: str, syntax: str) -> bool:
    if stated == "01" or syntax in LOSSY:
        return True
    return syntax in LOSSY_OR_LOSSLESS and stated != "00"


def _uid(view: FrameView, keyword: str) -> str:
    found = str(required(text(view.get(keyword)), keyword, "the object has no identity"))
    return found[:UID_MAXIMUM]


def _vector(view: FrameView, keyword: str, count: int) -> Any:
    return required(numbers(view.get(keyword), keyword, count), keyword, "voxels cannot be placed in the patient")


def _echo_time(view: FrameView) -> float | None:
    echo_time = number(view.get("EffectiveEchoTime"), "EffectiveEchoTime")
    return number(view.get("EchoTime"), "EchoTime") if echo_time is None else echo_time


def _acquired_at(view: FrameView) -> str:
    for keyword in ("FrameAcquisitionDateTime", "AcquisitionDateTime", "AcquisitionTime"):
        found = text(view.get(keyword))
        if found:
            return found
    return ""


def _matrix(view: FrameView, keyword: str) -> int:
    size = int(required(number(view.get(keyword), keyword), keyword, "the matrix is unknown"))
    # Room is made for the whole acquisition at once, so a size that no scanner makes must not get that far.
    if not 1 <= size <= MATRIX_MAXIMUM:
        raise ContradictoryHeader(
            f"{named(keyword)} is {size}, which no MR image has; ask the sender for intact headers."
        )
    return size


def _integer(view: FrameView, keyword: str) -> int | None:
    value = view.get(keyword)
    if value is not None and hasattr(value, "__len__") and not isinstance(value, str):
        return None
    found = number(value, keyword)
    return None if found is None else int(found)


def _coil(view: FrameView) -> str:
    # Siemens names the elements that made the image, such as H1 or HEA;HEP, in a private attribute only.
    found = text(view.private("SIEMENS MR HEADER", 0x0051, 0x0F)) or text(view.get("ReceiveCoilName"))
    return found[:TEXT_MAXIMUM]


def _acquired_matrix(view: FrameView) -> tuple[int, ...]:
    """Return the measured points in plane, from AcquisitionMatrix or from its two halves in an enhanced object."""
    points = numbers(view.get("AcquisitionMatrix"), "AcquisitionMatrix")
    if not points:
        keywords = "MRAcquisitionFrequencyEncodingSteps", "MRAcquisitionPhaseEncodingStepsInPlane"
        points = tuple(number(view.get(keyword), keyword) or 0.0 for keyword in keywords)
    return tuple(int(value) for value in points if value > 0)


def _frequency(view: FrameView) -> float | None:
    for keyword in ("TransmitterFrequency", "ImagingFrequency"):
        values = numbers(view.get(keyword), keyword)
        if values and values[0] > 0:
            # United Imaging writes hertz where PS3.3 C.8.3.1 says megahertz.
            return values[0] / 1e6 if values[0] > 1e5 else values[0]
    return None


def _stored_values(view: FrameView, vendor: Vendor | None, part: Part) -> StoredValues:
    return StoredValues(
        slope=number(view.get("RescaleSlope"), "RescaleSlope"),
        intercept=number(view.get("RescaleIntercept"), "RescaleIntercept"),
        units=_units(view),
        bits_stored=int(number(view.of_object("BitsStored"), "BitsStored") or 0),
        is_signed=view.of_object("PixelRepresentation") == 1,
        gain=vendor.gain(view, part) if vendor else 1.0,
    )


def _units(view: FrameView) -> str:
    stated = text(view.get("RescaleType")).lower()
    if stated in RADIANS_PER_UNIT:
        return stated
    mapping = view.item("RealWorldValueMappingSequence")
    codes = attribute(mapping, "MeasurementUnitsCodeSequence") if mapping is not None else None
    unit = text(attribute(codes[0], "CodeValue")).lower() if codes else ""
    if unit in RADIANS_PER_UNIT and _mapping_equals_rescaling(view, mapping):
        return unit
    return "" if stated in ("us", "normalized", "") else stated


def _mapping_equals_rescaling(view: FrameView, mapping: Dataset | None) -> bool:
    slope = number(view.get("RescaleSlope"), "RescaleSlope")
    mapped = number(attribute(mapping, "RealWorldValueSlope"), "RealWorldValueSlope") if mapping is not None else None
    return bool(slope and mapped and abs(mapped / slope - 1) < 1e-3)


# What may be another in each image, asked on its own, so that the rest can be concluded once for many images.
OWN_FIELDS: Mapping[str, Callable[[FrameView, Any, Part], Any]] = {
    "sop_instance_uid": lambda view, vendor, part: _uid(view, "SOPInstanceUID"),
    "echo_time_ms": lambda view, vendor, part: _echo_time(view),
    "echo_number": lambda view, vendor, part: _integer(view, "EchoNumbers"),
    "position": lambda view, vendor, part: _vector(view, "ImagePositionPatient", 3),
    "stack_position": lambda view, vendor, part: _integer(view, "InStackPositionNumber"),
    "values": _stored_values,
    "stated_range": lambda view, vendor, part: vendor.stated_range(view, part) if vendor else (),
    "instance_number": lambda view, vendor, part: _integer(view, "InstanceNumber"),
    "acquired_at": lambda view, vendor, part: _acquired_at(view),
    "slice_location": lambda view, vendor, part: number(view.get("SliceLocation"), "SliceLocation"),
}
