"""What the images of any map share, classic or enhanced: name, derivation, window, grid and the way back to the source.

Viewers differ in whether they window stored or rescaled values, and several ignore or round small slopes. So every map
is stored as whole numbers of its unit: slope 1, intercept 0, one window for all slices.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.valuerep import format_number_as_ds

from dicom_io.codes import BRAIN, HEAD, SOURCE_IMAGE, code_item
from dicom_io.errors import InvalidObject
from dicom_io.geometry import Geometry
from dicom_io.series import SourceFrame, SourceSeries
from dicom_io.write.derived import copy_attribute, copy_identity, describe_making, find_element, set_verbatim
from dicom_io.write.identity import series_number
from dicom_io.write.provenance import RESEARCH_SENTENCE, RunDescription, plain_text
from dicom_io.write.real_world_values import LARGEST_STORED, ValueMapping, signed_mapping

_LONG_TEXT = 10240  # VR LT, PS3.5 6.2

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
_REGIONS: Mapping[str, Code] = {"BRAIN": BRAIN, "HEAD": HEAD}
_SCANNING_SEQUENCE = {"GRADIENT": "GR", "SPIN": "SE", "BOTH": ["SE", "GR"]}


@dataclass(frozen=True, kw_only=True)
class MapDescription:
    """How one map is named, numbered, explained and shown.

    `identity` leads every UID. `title` begins SeriesDescription. `contrast` are the values of ImageType from the fourth
    on. `window` is centre and width in stored values; `mappings` say what a stored value means, from `lowest` to
    `highest`. `derivation` and `derivation_code` tell how the map was made. `shows_face` is true where the values reach
    beyond the brain, so that the patient's face could be rendered.
    """

    identity: tuple[str, ...]
    title: str
    contrast: tuple[str, ...]
    series_offset: int
    derivation: str
    derivation_code: Code
    window: tuple[int, int]
    window_explanation: str
    mappings: tuple[ValueMapping, ...]
    lowest: int = -LARGEST_STORED
    highest: int = LARGEST_STORED
    shows_face: bool = False


def to_stored(
    values: np.ndarray, name: str, lowest: int = -LARGEST_STORED, highest: int = LARGEST_STORED
) -> tuple[np.ndarray, int]:
    """Round a map to the int16 values that are stored, and count the voxels that had to be clipped.

    Parameters
    ----------
    values
        Any shape, in the unit that is stored.
    name
        What the sentence of a refusal calls the map.
    lowest, highest
        What fits.

    Raises
    ------
    InvalidObject
        There is NaN or infinity: a map with holes is not to be sent.
    """
    require_finite(values, name)
    rounded = np.rint(values)
    clipped = int(np.count_nonzero((rounded < lowest) | (rounded > highest)))
    return np.clip(rounded, lowest, highest).astype("<i2"), clipped


def require_finite(values: np.ndarray, name: str) -> None:
    """Refuse a map with NaN or infinity.

    Raises
    ------
    InvalidObject
        There is one.
    """
    if not np.isfinite(values).all():
        message = f"The {name} contains NaN or infinity and is not written; see the run's quality figures."
        raise InvalidObject(message)


def require_shape(values: np.ndarray, source: SourceSeries, name: str = "map") -> None:
    """Refuse a map that is not on the grid of its source.

    Raises
    ------
    InvalidObject
        The shapes differ.
    """
    if values.shape != source.geometry.shape:
        message = f"The {name} has shape {values.shape} but the source series {source.geometry.shape}."
        raise InvalidObject(message)


def describe_map(image: Dataset, source: SourceSeries, run: RunDescription, shown: MapDescription) -> None:
    """Write patient, study, equipment, name and derivation of a map, as both kinds of MR image have them."""
    copy_identity(image, source)
    describe_making(image, source, run, shown.title)
    # Type 2C of an MR image whose scanner codes no patient orientation (PS3.3 C.7.3.1).
    copy_attribute(image, source.template, "PatientPosition", required=True)
    image.Modality = "MR"
    image.SeriesNumber = series_number(source.template.get("SeriesNumber"), shown.series_offset)
    image.BurnedInAnnotation = "NO"
    image.RecognizableVisualFeatures = "YES" if shown.shows_face else "NO"
    _describe_losses(image, source.template)
    comments = " ".join(filter(None, (RESEARCH_SENTENCE if run.research_use_only else "", run.map_sentence)))
    if comments:
        image.ImageComments = plain_text(comments, _LONG_TEXT)


def _describe_losses(image: Dataset, template: Dataset) -> None:
    """State that a source had been compressed with loss: what is derived from it stays lossy (PS3.3 C.7.6.1.1.5)."""
    is_lossy = template.get("LossyImageCompression") == "01"
    image.LossyImageCompression = "01" if is_lossy else "00"
    if is_lossy:
        for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            copy_attribute(image, template, keyword)


def describe_pixels(image: Dataset, geometry: Geometry) -> None:
    """Write the form of signed 16-bit pixels (PS3.3 C.7.6.3)."""
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows, image.Columns = geometry.shape[1:]
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit = 15
    image.PixelRepresentation = 1


def describe_spacing(target: Dataset, source: SourceSeries) -> None:
    """Write size and distance of the voxels; the slice thickness is the scanner's own where it states one."""
    target.PixelSpacing = [format_number_as_ds(float(number)) for number in source.geometry.pixel_spacing]
    copy_attribute(target, source.template, "SliceThickness")
    spacing = format_number_as_ds(round(source.geometry.voxel_size_mm[0], 4))
    # Type 2; a resampling workstation may write 0, which no slice has.
    if not target.get("SliceThickness"):
        target.SliceThickness = spacing
    target.SpacingBetweenSlices = spacing


def orientation(geometry: Geometry) -> list[str]:
    """Return ImageOrientationPatient as it is written."""
    return [format_number_as_ds(float(number)) for number in (*geometry.row_direction, *geometry.column_direction)]


def position(geometry: Geometry, index: int) -> list[str]:
    """Return ImagePositionPatient of a slice as it is written."""
    return [format_number_as_ds(number) for number in geometry.position(index)]


def describe_identity_rescale(target: Dataset) -> None:
    """State that the stored value is the value (PS3.3 C.7.6.16.2.9; MR has no other term than US)."""
    target.RescaleIntercept, target.RescaleSlope, target.RescaleType = "0", "1", "US"


def describe_window(target: Dataset, shown: MapDescription) -> None:
    """Write the one window of all slices."""
    center, width = shown.window
    target.WindowCenter, target.WindowWidth = str(center), str(width)
    target.WindowCenterWidthExplanation = shown.window_explanation


def real_world_values(shown: MapDescription) -> list[Dataset]:
    """Return what a stored value means, one item per unit."""
    return [signed_mapping(mapping, shown.lowest, shown.highest) for mapping in shown.mappings]


def frame_anatomy(made: Dataset, source: SourceSeries) -> Dataset:
    """Write what is seen in every frame (PS3.3 C.7.6.16.2.8): the brain, unless the scanner names another region.

    Parameters
    ----------
    made
        The object, with its BodyPartExamined.
    source
        What it was made of.
    """
    anatomy = Dataset()
    anatomy.FrameLaterality = "U"
    region = code_item(_REGIONS.get(made.BodyPartExamined, BRAIN))
    stated = find_element(source.template, "AnatomicRegionSequence")
    if made.BodyPartExamined not in _REGIONS and stated is not None:
        for keyword in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning"):
            copy_attribute(region, stated.value[0], keyword)
    anatomy.AnatomicRegionSequence = [region]
    return anatomy


def describe_acquisition(image: Dataset, source: SourceSeries) -> None:
    """Write how the source was acquired, in the words of a classic image (PS3.3 C.8.3.1)."""
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


def source_images(frames: tuple[SourceFrame, ...]) -> list[Dataset]:
    """Reference every object a slice was made of, with the numbers of its frames (PS3.3 table 10-3)."""
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


def source_frames(frames: tuple[SourceFrame, ...]) -> list[Dataset]:
    """Reference every frame a slice was made of by an item of its own, as readers of multi-frame objects expect."""
    return [item for frame in frames for item in source_images((frame,))]
