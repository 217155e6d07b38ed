"""Write a susceptibility map as classic MR images that every viewer shows in the same units.

The stored value is the susceptibility in ppb: slope 1, intercept 0, one window for all slices. Viewers differ in
whether they window stored or rescaled values, and several ignore or round small slopes; with slope 1 all agree.
"""

from collections.abc import Mapping
from enum import StrEnum

import numpy as np
from pydicom import Dataset
from pydicom.uid import MRImageStorage
from pydicom.valuerep import format_number_as_ds

from dicom_io.codes import (
    MAGNETIC_SUSCEPTIBILITY,
    PARTS_PER_BILLION,
    PARTS_PER_MILLION,
    QUANTITY,
    SOURCE_IMAGE,
    SUSCEPTIBILITY_MAPPING,
    code_item,
)
from dicom_io.errors import InvalidObject
from dicom_io.series import SourceFrame, SourceSeries
from dicom_io.write.derived import copy_attribute, copy_identity, describe_making, find_element, set_verbatim
from dicom_io.write.identity import (
    CLASSICAL_SERIES_OFFSET,
    SUSCEPTIBILITY_SERIES_OFFSET,
    array_digest,
    derived_uid,
    series_number,
)
from dicom_io.write.provenance import RESEARCH_SENTENCE, RunDescription, derivation_description, plain_text

WINDOW_CENTER_PPB = 0
WINDOW_WIDTH_PPB = 400
LARGEST_PPB = 32767
_LONG_TEXT = 10240  # VR LT, PS3.5 6.2


class MapRole(StrEnum):
    """Which map of a run a series holds: its only one, or one of a recipe with a network.

    `LEARNED` is the network's; `CLASSICAL` stands in its place because a check failed; `TWIN` is the classical map that
    is kept beside the network's.
    """

    ONLY = ""
    LEARNED = "learned"
    CLASSICAL = "classical"
    TWIN = "classical twin"

    @property
    def maker(self) -> str:
        """Return "learned" or "classical", or nothing where there is no choice."""
        return self.value.split()[0] if self.value else ""


# What a classic image calls an attribute, and what an enhanced one does (PS3.3 C.8.3.1, C.8.13).
_ACQUISITION: Mapping[str, str] = {
    "RepetitionTime": "RepetitionTime",
    "FlipAngle": "FlipAngle",
    "NumberOfAverages": "NumberOfAverages",
    "PixelBandwidth": "PixelBandwidth",
    "ImagingFrequency": "TransmitterFrequency",
    "ImagedNucleus": "ResonantNucleus",
    "SequenceName": "PulseSequenceName",
    "ProtocolName": "ProtocolName",
    "ReceiveCoilName": "ReceiveCoilName",
    "AcquisitionDate": "AcquisitionDate",
    "AcquisitionTime": "AcquisitionTime",
    "AcquisitionDateTime": "AcquisitionDateTime",
}
_SCANNING_SEQUENCE = {"GRADIENT": "GR", "SPIN": "SE", "BOTH": ["SE", "GR"]}


def to_stored_ppb(susceptibility_ppb: np.ndarray) -> tuple[np.ndarray, int]:
    """Round a map to the int16 values that are stored, and count the voxels that had to be clipped.

    Parameters
    ----------
    susceptibility_ppb
        Any shape [ppb].

    Raises
    ------
    InvalidObject
        There is NaN or infinity: a map with holes is not to be sent.
    """
    if not np.isfinite(susceptibility_ppb).all():
        message = "The susceptibility map contains NaN or infinity and is not written; see the run's quality figures."
        raise InvalidObject(message)
    rounded = np.rint(susceptibility_ppb)
    clipped = int(np.count_nonzero(np.abs(rounded) > LARGEST_PPB))
    return np.clip(rounded, -LARGEST_PPB, LARGEST_PPB).astype("<i2"), clipped


def susceptibility_series(
    susceptibility_ppb: np.ndarray, source: SourceSeries, run: RunDescription, role: MapRole = MapRole.ONLY
) -> list[Dataset]:
    """Write a map as one MR Image Storage object per slice, in the source's geometry.

    Equal map, source and run give equal UIDs and equal bytes. PS3.3 A.4; the real world value mapping is that of
    C.7.6.16.2.11.

    Parameters
    ----------
    susceptibility_ppb
        `(z, y, x)` [ppb], paramagnetic positive, 0 outside the mask.
    source
        What the map was made of; its template gives patient, study and scanner.
    run
        What made the map.
    role
        Which of the run's maps it is; the series' name says so.

    Raises
    ------
    InvalidObject
        The shape is not the source's, or values are not finite.
    """
    if susceptibility_ppb.shape != source.geometry.shape:
        message = f"The map has shape {susceptibility_ppb.shape} but the source series {source.geometry.shape}."
        raise InvalidObject(message)
    stored, clipped = to_stored_ppb(susceptibility_ppb)
    shared = _shared_by_all_slices(source, run, role, clipped)
    role_parts = (role.value,) if role else ()
    uid_parts = ("susceptibility", *role_parts, shared.StudyInstanceUID, *run.identity, array_digest(stored))
    shared.SeriesInstanceUID = derived_uid(*uid_parts)
    return [_slice(shared, stored, index, source, uid_parts) for index in range(len(stored))]


def _shared_by_all_slices(source: SourceSeries, run: RunDescription, role: MapRole, clipped: int) -> Dataset:
    image = Dataset()
    image.SOPClassUID = MRImageStorage
    copy_identity(image, source)
    describe_making(image, source, run, " ".join(filter(None, ("QSM", role.maker, "[ppb]"))))
    image.Modality = "MR"
    offset = CLASSICAL_SERIES_OFFSET if role == MapRole.TWIN else SUSCEPTIBILITY_SERIES_OFFSET
    image.SeriesNumber = series_number(source.template.get("SeriesNumber"), offset)
    image.ImageType = ["DERIVED", "PRIMARY", "OTHER", "QSM", *([role.maker.upper()] if role else [])]
    image.DerivationDescription = derivation_description(source, run, clipped)
    image.DerivationCodeSequence = [code_item(SUSCEPTIBILITY_MAPPING)]
    image.BurnedInAnnotation = "NO"
    image.RecognizableVisualFeatures = "NO"
    image.LossyImageCompression = "00"
    comments = " ".join(filter(None, (RESEARCH_SENTENCE if run.research_use_only else "", run.map_sentence)))
    if comments:
        image.ImageComments = plain_text(comments, _LONG_TEXT)
    _describe_acquisition(image, source)
    _describe_pixels(image, source)
    return image


def _describe_acquisition(image: Dataset, source: SourceSeries) -> None:
    template = source.template
    for keyword, enhanced_keyword in _ACQUISITION.items():
        copy_attribute(image, template, keyword)
        if keyword not in image and enhanced_keyword != keyword:
            _copy_renamed(image, template, keyword, enhanced_keyword)
    for keyword in ("MRAcquisitionType", "ScanOptions", "AcquisitionNumber", "EchoTrainLength", "RepetitionTime"):
        copy_attribute(image, template, keyword, required=True)
    # A map is made of all echoes, so it has no echo time of its own; the derivation text lists them.
    image.EchoTime = None
    image.MagneticFieldStrength = format_number_as_ds(source.magnetic_field_strength_t)
    copy_attribute(image, template, "ScanningSequence")
    if "ScanningSequence" not in image:
        image.ScanningSequence = _SCANNING_SEQUENCE.get(str(template.get("EchoPulseSequence")), "RM")
    # Type 2C. United Imaging uMR 770 R002 calls its 3D gradient echo with preparation GR and IR at once.
    if "IR" in image.ScanningSequence:
        copy_attribute(image, template, "InversionTime", required=True)
    copy_attribute(image, template, "SequenceVariant")
    if "SequenceVariant" not in image:
        image.SequenceVariant = "SP" if template.get("Spoiling", "NONE") != "NONE" else "NONE"


def _copy_renamed(image: Dataset, template: Dataset, keyword: str, enhanced_keyword: str) -> None:
    element = find_element(template, enhanced_keyword)
    if element is None:
        return
    value = element.value[0] if element.VM > 1 else element.value
    text = format_number_as_ds(float(value)) if element.VR == "FD" else str(value)[:16]
    setattr(image, keyword, text)


def _describe_pixels(image: Dataset, source: SourceSeries) -> None:
    geometry = source.geometry
    image.ImageOrientationPatient = [
        format_number_as_ds(float(number)) for number in (*geometry.row_direction, *geometry.column_direction)
    ]
    image.PixelSpacing = [format_number_as_ds(float(number)) for number in geometry.pixel_spacing]
    copy_attribute(image, source.template, "SliceThickness")
    spacing = format_number_as_ds(round(geometry.voxel_size_mm[0], 4))
    if "SliceThickness" not in image:
        image.SliceThickness = spacing
    image.SpacingBetweenSlices = spacing
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows, image.Columns = geometry.shape[1:]
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit = 15
    image.PixelRepresentation = 1
    image.RescaleIntercept, image.RescaleSlope, image.RescaleType = "0", "1", "US"
    image.WindowCenter, image.WindowWidth = str(WINDOW_CENTER_PPB), str(WINDOW_WIDTH_PPB)
    image.WindowCenterWidthExplanation = "-200 to 200 ppb"
    image.RealWorldValueMappingSequence = [_real_world_ppm(), _real_world_ppb()]


def _real_world_ppm() -> Dataset:
    return _real_world_values(0.001, "QSM ppm", "Magnetic susceptibility in ppm", code_item(PARTS_PER_MILLION))


def _real_world_ppb() -> Dataset:
    return _real_world_values(1.0, "QSM ppb", "Magnetic susceptibility in ppb", code_item(PARTS_PER_BILLION))


def _real_world_values(slope: float, label: str, explanation: str, units: Dataset) -> Dataset:
    item = Dataset()
    item.LUTExplanation = explanation
    item.LUTLabel = label
    item.MeasurementUnitsCodeSequence = [units]
    # The VR follows PixelRepresentation of the enclosing image (PS3.5 A), which this item cannot see.
    item.add_new("RealWorldValueFirstValueMapped", "SS", -LARGEST_PPB)
    item.add_new("RealWorldValueLastValueMapped", "SS", LARGEST_PPB)
    item.RealWorldValueIntercept = 0.0
    item.RealWorldValueSlope = slope
    quantity = Dataset()
    quantity.ValueType = "CODE"
    quantity.ConceptNameCodeSequence = [code_item(QUANTITY)]
    quantity.ConceptCodeSequence = [code_item(MAGNETIC_SUSCEPTIBILITY)]
    item.QuantityDefinitionSequence = [quantity]
    return item


def _slice(
    shared: Dataset, stored: np.ndarray, index: int, source: SourceSeries, uid_parts: tuple[str, ...]
) -> Dataset:
    image = Dataset()
    image.update(shared)
    geometry = source.geometry
    position = geometry.position(index)
    image.SOPInstanceUID = derived_uid(*uid_parts, str(index))
    image.InstanceNumber = index + 1
    image.ImagePositionPatient = [format_number_as_ds(number) for number in position]
    image.SliceLocation = format_number_as_ds(round(float(np.dot(geometry.normal, position)), 6))
    image.SourceImageSequence = _source_images(source.frames[index])
    image.PixelData = stored[index].tobytes()
    image["PixelData"].VR = "OW"
    return image


def _source_images(frames: tuple[SourceFrame, ...]) -> list[Dataset]:
    numbers_by_instance: dict[tuple[str, str], list[int]] = {}
    for frame in frames:
        numbers = numbers_by_instance.setdefault((frame.SOPClassUID, frame.SOPInstanceUID), [])
        if frame.frame_number is not None:
            numbers.append(frame.frame_number)
    items = []
    for (sop_class_uid, sop_instance_uid), numbers in numbers_by_instance.items():
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class_uid
        set_verbatim(item, "ReferencedSOPInstanceUID", sop_instance_uid)
        if numbers:
            item.ReferencedFrameNumber = numbers
        item.PurposeOfReferenceCodeSequence = [code_item(SOURCE_IMAGE)]
        items.append(item)
    return items
