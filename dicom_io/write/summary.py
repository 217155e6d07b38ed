"""Write a PDF for people as a DICOM object beside the images that it speaks of."""

import hashlib
from collections.abc import Sequence
from io import BytesIO

from pydicom import Dataset, dcmread
from pydicom.uid import EncapsulatedPDFStorage

from dicom_io.codes import IMAGING_MEASUREMENT_REPORT, code_item
from dicom_io.errors import InvalidObject
from dicom_io.series import SourceSeries
from dicom_io.write.derived import copy_attribute, copy_identity, describe_making, set_verbatim
from dicom_io.write.identity import SUMMARY_SERIES_OFFSET, derived_uid, series_number
from dicom_io.write.provenance import RunDescription, plain_text

DESCRIPTION = "QSM summary"
_FIRST_BYTES, _LAST_BYTES = b"%PDF-", b"%%EOF"
_LONGEST_END = 1024  # A reader looks for the end mark there (ISO 32000-1 annex H.3).
# A document is in no frame of reference and shows no body part at a position.
_OF_IMAGES = ("FrameOfReferenceUID", "PositionReferenceIndicator", "PatientPosition", "BodyPartExamined")


def encapsulated_pdf(
    content: bytes,
    title: str,
    images: Sequence[Dataset],
    source: SourceSeries,
    run: RunDescription,
    description: str = DESCRIPTION,
) -> Dataset:
    """Write a PDF as an Encapsulated PDF object of the source's patient and study (PS3.3 A.45.1, C.24.2).

    Equal content, source and run give an equal object. The patient's name is taken to stand on the pages.

    Parameters
    ----------
    content
        A whole PDF file.
    title
        The document's title; it is spelled in ASCII.
    images
        The images that the document was made from and speaks of; may be none.
    source
        What the map was made of.
    run
        What made the map.
    description
        The first words of the series' name.

    Raises
    ------
    InvalidObject
        The content is no complete PDF file.
    """
    if not content.startswith(_FIRST_BYTES) or _LAST_BYTES not in content[-_LONGEST_END:]:
        message = "The summary is no complete PDF file and is not written; make it again."
        raise InvalidObject(message)
    made = Dataset()
    made.SOPClassUID = EncapsulatedPDFStorage
    copy_identity(made, source)
    describe_making(made, source, run, description)
    for keyword in _OF_IMAGES:
        made.pop(keyword, None)
    digest = hashlib.sha256(content).hexdigest()
    uid_parts = ("summary", str(made.StudyInstanceUID), *run.identity, digest)
    made.SOPInstanceUID = derived_uid(*uid_parts, "instance")
    made.SeriesInstanceUID = derived_uid(*uid_parts, "series")
    made.SeriesNumber = series_number(source.template.get("SeriesNumber"), SUMMARY_SERIES_OFFSET)
    made.InstanceNumber = 1
    made.Modality = "DOC"
    # The pages are drawn by a program on a workstation (SC Equipment, PS3.3 C.8.6.1).
    made.ConversionType = "WSD"
    _encapsulate(made, content, title, images, source)
    return made


def pages_of(content: bytes) -> bytes:
    """Return the PDF inside the bytes of an Encapsulated PDF object, without the byte that makes its length even."""
    read = dcmread(BytesIO(content))
    pages: bytes = read.EncapsulatedDocument
    return pages[: read.EncapsulatedDocumentLength]


def _encapsulate(made: Dataset, content: bytes, title: str, images: Sequence[Dataset], source: SourceSeries) -> None:
    copy_attribute(made, source.template, "AcquisitionDateTime", required=True)
    made.BurnedInAnnotation = "YES"
    made.RecognizableVisualFeatures = "NO"
    if images:
        made.SourceInstanceSequence = [_reference(image) for image in images]
    made.DocumentTitle = plain_text(title, 1024)
    made.ConceptNameCodeSequence = [code_item(IMAGING_MEASUREMENT_REPORT)]
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocumentLength = len(content)
    # A value has an even number of bytes; the length above says where the file ends (PS3.3 C.24.2.3).
    made.EncapsulatedDocument = content + b"\x00" * (len(content) % 2)


def _reference(image: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = image.SOPClassUID
    set_verbatim(item, "ReferencedSOPInstanceUID", image.SOPInstanceUID)
    return item
