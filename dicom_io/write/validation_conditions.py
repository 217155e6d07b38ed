"""Check what the standard requires of an object only under a condition (types 1C and 2C), where ours meet it.

The bundled tables state no conditions, so the ones that decide how a value is read or shown are written out here.
"""

from collections.abc import Iterator

import numpy as np
from pydicom import DataElement, Dataset
from pydicom.charset import convert_encodings
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage, ParametricMapStorage
from pydicom.valuerep import PersonName

from dicom_io.instance import quietly

_CODE_VALUES = ("CodeValue", "LongCodeValue", "URNCodeValue")
_RESCALE = ("RescaleSlope", "RescaleIntercept", "RescaleType")
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_BYTES_PER_FLOAT = {"FloatPixelData": 4, "DoubleFloatPixelData": 8}
_IMAGES = (MRImageStorage, EnhancedMRImageStorage, ParametricMapStorage)
# PS3.5 6.1.2.2: the only VRs whose text SpecificCharacterSet speaks for.
_CHARACTER_SET_VRS = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
_SHAPE = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")


def conditional_problems(dataset: Dataset) -> Iterator[str]:
    """Tell which conditions of the standard an object meets without what they require.

    Parameters
    ----------
    dataset
        Any object of ours.
    """
    encodings = _encodings(dataset)
    for place, sequence, item in _items(dataset, "", ""):
        problems = [*_of_item(item), *_of_text(item, encodings)]
        if sequence.endswith("CodeSequence"):
            problems += _of_code(item)
        elif sequence == "RealWorldValueMappingSequence":
            problems += _of_mapping(item)
        yield from (f"{place}{problem}" for problem in problems)
    if dataset.SOPClassUID in _IMAGES:
        yield from _of_image(dataset)
    if dataset.SOPClassUID == EnhancedMRImageStorage:
        yield from _of_enhanced_mr(dataset)


def _items(dataset: Dataset, place: str, sequence: str) -> Iterator[tuple[str, str, Dataset]]:
    yield place, sequence, dataset
    for element in dataset:
        if element.VR == "SQ":
            for number, item in enumerate(element.value, start=1):
                yield from _items(item, f"{place}{element.keyword}[{number}].", element.keyword)


def _of_item(item: Dataset) -> Iterator[str]:
    present = [keyword for keyword in _RESCALE if keyword in item]
    if present and len(present) < len(_RESCALE):
        # PS3.3 C.11.1, C.7.6.16.2.9: all three or none.
        yield f"has {' and '.join(present)} without the rest of the rescaling"
    if ("WindowCenter" in item) != ("WindowWidth" in item):
        yield "has only one of WindowCenter and WindowWidth"
    elif "WindowWidth" in item:
        yield from _of_window(item)


def _of_window(item: Dataset) -> Iterator[str]:
    if item["WindowCenter"].VM != item["WindowWidth"].VM:
        yield "has a different number of WindowCenter and WindowWidth"
    widths = item.WindowWidth if item["WindowWidth"].VM > 1 else [item.WindowWidth]
    # PS3.3 C.11.2.1.2.1 and C.11.2.1.3.2.
    is_linear = item.get("VOILUTFunction", "LINEAR") == "LINEAR"
    if any(float(width) < 1 if is_linear else float(width) <= 0 for width in widths):
        yield "has a WindowWidth that its VOILUTFunction does not allow"


def _of_code(item: Dataset) -> Iterator[str]:
    """Check a coded concept (PS3.3 table 8.8-1)."""
    if sum(keyword in item for keyword in _CODE_VALUES) != 1:
        yield "has not exactly one of CodeValue, LongCodeValue and URNCodeValue"
    elif "URNCodeValue" not in item and not item.get("CodingSchemeDesignator"):
        yield "has a code without CodingSchemeDesignator"


def _of_mapping(item: Dataset) -> Iterator[str]:
    """Check a real world value mapping (PS3.3 C.7.6.16.2.11)."""
    ends = ("RealWorldValueFirstValueMapped", "RealWorldValueLastValueMapped")
    doubles = ("DoubleFloatRealWorldValueFirstValueMapped", "DoubleFloatRealWorldValueLastValueMapped")
    if not all(keyword in item for keyword in ends) and not all(keyword in item for keyword in doubles):
        yield "names no range of values mapped"
    is_linear = "RealWorldValueSlope" in item and "RealWorldValueIntercept" in item
    if not is_linear and "RealWorldValueLUTData" not in item:
        yield "has neither slope and intercept nor a table"


def _encodings(dataset: Dataset) -> list[str]:
    """Return the encodings that the object's character set stands for.

    Scanners exist that write Latin letters without naming a character set; what is copied from them is passed on as
    the same bytes, which is what pydicom's encoding for "none stated" does.
    """
    stated = dataset.get("SpecificCharacterSet") or ""
    try:
        with quietly():
            return convert_encodings([stated] if isinstance(stated, str) else list(stated))
    except LookupError:
        return convert_encodings("")


def _of_text(item: Dataset, encodings: list[str]) -> Iterator[str]:
    for element in item:
        if element.VR in _CHARACTER_SET_VRS and not _can_be_written(element, encodings):
            yield f"{element.keyword} has characters that SpecificCharacterSet does not hold"


def _can_be_written(element: DataElement, encodings: list[str]) -> bool:
    if element.is_empty:
        return True
    values = element.value if element.VM > 1 else [element.value]
    # A name keeps the bytes it was read from, and is written as those.
    texts = [str(value) for value in values if not (isinstance(value, PersonName) and value.original_string)]
    letters = {letter for text in texts for letter in text if not letter.isascii()}
    return all(any(_holds(encoding, letter) for encoding in encodings) for letter in letters)


def _holds(encoding: str, letter: str) -> bool:
    try:
        letter.encode(encoding)
    except UnicodeError:
        return False
    return True


def _of_image(dataset: Dataset) -> Iterator[str]:
    is_mr = dataset.SOPClassUID in (MRImageStorage, EnhancedMRImageStorage)
    # PS3.3 C.7.3.1, type 2C.
    if is_mr and "PatientPosition" not in dataset and "PatientOrientationCodeSequence" not in dataset:
        yield "PatientPosition is absent"
    held = [keyword for keyword in _PIXELS if keyword in dataset]
    if len(held) != 1:
        yield f"has {len(held)} kinds of pixel data where one is needed"
        return
    if dataset.get("PhotometricInterpretation") != "MONOCHROME2":
        yield "PhotometricInterpretation is not MONOCHROME2, in which greater values are brighter"
    if dataset.SOPClassUID == ParametricMapStorage:
        yield from (f"{keyword} is absent" for keyword in _SHAPE if keyword not in dataset)
    if held[0] in _BYTES_PER_FLOAT:
        yield from _of_floats(dataset, held[0])
    elif dataset.get("HighBit") != dataset.get("BitsStored", 0) - 1:
        yield "HighBit is not one less than BitsStored"


def _of_floats(dataset: Dataset, keyword: str) -> Iterator[str]:
    width = _BYTES_PER_FLOAT[keyword]
    if dataset.get("BitsAllocated") != 8 * width:
        yield f"BitsAllocated is not {8 * width}, as {keyword} needs"
    yield from (f"{absent} has no meaning for {keyword}" for absent in ("BitsStored", "HighBit") if absent in dataset)
    n_bytes = width * int(dataset.get("Rows", 0)) * int(dataset.get("Columns", 0))
    n_bytes *= int(dataset.get("NumberOfFrames") or 1)
    if len(dataset[keyword].value) != n_bytes:
        yield f"{keyword} has {len(dataset[keyword].value)} bytes where Rows, Columns and frames need {n_bytes}"
    elif not np.isfinite(np.frombuffer(dataset[keyword].value, f"<f{width}")).all():
        yield f"{keyword} has NaN or infinity"


def _of_enhanced_mr(dataset: Dataset) -> Iterator[str]:
    """Check the Enhanced MR Image module (PS3.3 C.8.13.1) and what it has in common with every frame."""
    required = (
        "AcquisitionContrast",
        "ApplicableSafetyStandardAgency",
        "BurnedInAnnotation",
        "ComplexImageComponent",
        "ContentQualification",
        "LossyImageCompression",
        "PresentationLUTShape",
    )
    yield from (f"{keyword} is absent" for keyword in required if not dataset.get(keyword))
    if len(dataset.get("ImageType") or []) != 4:
        yield "ImageType has not exactly four values"
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or []
    has_sources = any(
        item.get("SourceImageSequence") for frame in frames for item in frame.get("DerivationImageSequence") or []
    )
    if has_sources and not dataset.get("SourceImageEvidenceSequence"):
        yield "SourceImageEvidenceSequence is absent, though frames name their sources"
    for groups in dataset.get("SharedFunctionalGroupsSequence") or []:
        for frame_type in groups.get("MRImageFrameTypeSequence") or []:
            if frame_type.get("FrameType") != dataset.get("ImageType"):
                yield "ImageType differs from the FrameType of all frames"
