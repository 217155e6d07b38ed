"""What every object made from a source series shares: patient, study, frame of reference, equipment and times."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone

from pydicom import DataElement, Dataset
from pydicom.charset import python_encoding
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_io.codes import coding_schemes
from dicom_io.series import SourceSeries
from dicom_io.write.copied_values import copied_element
from dicom_io.write.provenance import MANUFACTURER, RunDescription, contributing_equipment, plain_text

# PS3.3 C.7.1.1, C.7.1.3, C.7.2.1 and C.7.2.2. Type 2 attributes are written empty where the source has none.
_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
_OPTIONAL = (
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "TypeOfPatientID",
    "OtherPatientIDsSequence",
    "PatientBirthTime",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "StudyDescription",
    "IssuerOfAccessionNumberSequence",
    "ProcedureCodeSequence",
    "RequestAttributesSequence",
    "TimezoneOffsetFromUTC",
    "InstitutionName",
)
UNICODE = "ISO_IR 192"
_SEXES = ("M", "F", "O", "")


def find_element(template: Dataset, keyword: str) -> DataElement | None:
    """Find an attribute with a value at the top of a header or in its functional groups, shared ones first."""
    for level in _levels(template):
        if keyword in level and not level[keyword].is_empty:
            return level[keyword]
    return None


def _levels(template: Dataset) -> Iterator[Dataset]:
    yield template
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for groups in list(template.get(keyword) or [])[:1]:
            for macro in groups:
                if macro.VR == "SQ" and not macro.tag.is_private:
                    yield from list(macro.value)[:1]


def copy_attribute(target: Dataset, template: Dataset, keyword: str, required: bool = False) -> None:
    """Copy one attribute without private content; where it is absent or unusable, leave it out or write it empty."""
    element = find_element(template, keyword)
    copied = None if element is None else copied_element(element)
    if copied is not None:
        target[keyword] = copied
    elif required:
        tag = tag_for_keyword(keyword)
        target[keyword] = DataElement(tag, dictionary_VR(tag), None)


def _copy_character_set(target: Dataset, template: Dataset) -> None:
    """Name the character set of the copied texts; a misspelt one, which scanners write too, becomes Unicode.

    What was read under a name such as `UTF-8` is text by now, and is written in the set that holds every letter.
    """
    element = find_element(template, "SpecificCharacterSet")
    if element is None:
        return
    terms = list(element.value) if element.VM > 1 else [element.value]
    if all(term in python_encoding for term in terms):
        target.SpecificCharacterSet = terms
    else:
        target.SpecificCharacterSet = UNICODE


def set_verbatim(target: Dataset, keyword: str, value: str) -> None:
    """Write a source's identifier as it is: scanners exist whose UIDs have components with leading zeros."""
    tag = tag_for_keyword(keyword)
    target[keyword] = DataElement(tag, dictionary_VR(tag), value, validation_mode=IGNORE)


def copy_identity(target: Dataset, source: SourceSeries) -> None:
    """Write the source's patient, study, character set and frame of reference into a derived object."""
    template = source.template
    _copy_character_set(target, template)
    for keyword in _TYPE_2:
        copy_attribute(target, template, keyword, required=True)
    if target.PatientSex not in _SEXES:
        target.PatientSex = ""
    for keyword in _OPTIONAL:
        copy_attribute(target, template, keyword)
    set_verbatim(target, "StudyInstanceUID", template.StudyInstanceUID)
    set_verbatim(target, "FrameOfReferenceUID", source.geometry.frame_of_reference_uid)
    copy_attribute(target, template, "PositionReferenceIndicator", required=True)
    # Type 2C: written empty where a resampling workstation has lost it (PS3.3 C.7.3.1).
    copy_attribute(target, template, "PatientPosition", required=True)
    copy_attribute(target, template, "BodyPartExamined")
    if "BodyPartExamined" not in target:
        # Without it Laterality would be required (type 2C), and a head has none.
        target.BodyPartExamined = "BRAIN"


def without_identity(objects: Sequence[Dataset]) -> list[Dataset]:
    """Copy objects, sharing their pixels, with the patient and the study blanked.

    Highdicom checks these values and puts a patient's name into its warnings; `copy_identity` writes them instead.
    """
    blanked = []
    for original in objects:
        copied = Dataset()
        copied.update(original)
        copied.file_meta = getattr(original, "file_meta", None) or _file_meta()
        for keyword in _TYPE_2:
            copied[keyword] = DataElement(tag_for_keyword(keyword), dictionary_VR(keyword), None)
        for keyword in ("SpecificCharacterSet", *_OPTIONAL):
            copied.pop(tag_for_keyword(keyword), None)
        blanked.append(copied)
    return blanked


def _file_meta() -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return meta


def describe_making(target: Dataset, source: SourceSeries, run: RunDescription, description: str) -> None:
    """Write times, equipment and the series' name, which carries the research flag to where every viewer shows it."""
    moment = local_time(run.performed_at, source.template)
    date, time = f"{moment:%Y%m%d}", f"{moment:%H%M%S}"
    target.InstanceCreationDate = target.SeriesDate = target.ContentDate = date
    target.InstanceCreationTime = target.SeriesTime = target.ContentTime = time
    suffix = " - RESEARCH USE ONLY" if run.research_use_only else ""
    software = f" Lodestone {run.software_version}{suffix}"
    # The software and its research flag stay whole, however long the name of a further map is.
    room = max(0, 63 - len(description) - len(software))
    further = f" {plain_text(run.map_by, 64)[:room]}".rstrip()
    target.SeriesDescription = plain_text(f"{description}{further}{software}", 64)
    target.Manufacturer = MANUFACTURER
    target.ManufacturerModelName = MANUFACTURER
    target.DeviceSerialNumber = plain_text(run.node_ae_title, 64)
    target.SoftwareVersions = plain_text(run.software_version, 64)
    target.ContributingEquipmentSequence = contributing_equipment(source, run)
    target.CodingSchemeIdentificationSequence = coding_schemes()


def local_time(moment: datetime, template: Dataset) -> datetime:
    """Express a moment in the source's time zone where the source states one.

    TimezoneOffsetFromUTC speaks for every date and time of an object, copied ones too (PS3.3 C.12.1.1.8), so it is
    never added to an object whose scanner did not state it.
    """
    stated = str(template.get("TimezoneOffsetFromUTC") or "")
    if moment.tzinfo is None or len(stated) != 5 or not stated[1:].isdigit() or stated[0] not in "+-":
        return moment
    minutes = int(stated[1:3]) * 60 + int(stated[3:5])
    return moment.astimezone(timezone(timedelta(minutes=minutes if stated[0] == "+" else -minutes)))
