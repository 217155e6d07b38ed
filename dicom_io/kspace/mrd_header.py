"""The XML header of an ISMRMRD scan, read leniently: what is stated is taken, what is absent stays absent.

Whether the header suffices for a reconstruction is decided where it is reconstructed, so that a scan with a poor header
is kept, and described, and refused by name.
"""

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping

from dicom_io.errors import MalformedRawData
from dicom_io.kspace.scan import CARTESIAN, EPI, MULTIBAND, Limit, RawHeader, Space

NAMESPACE = "http://www.ismrm.org/ISMRMRD"
# ISMRMRD's words for DICOM's attributes: section, element, keyword.
IDENTITY = (
    ("subjectInformation", "patientName", "PatientName"),
    ("subjectInformation", "patientWeight_kg", "PatientWeight"),
    ("subjectInformation", "patientHeight_m", "PatientSize"),
    ("subjectInformation", "patientID", "PatientID"),
    ("subjectInformation", "patientBirthdate", "PatientBirthDate"),
    ("subjectInformation", "patientGender", "PatientSex"),
    ("studyInformation", "studyDate", "StudyDate"),
    ("studyInformation", "studyTime", "StudyTime"),
    ("studyInformation", "studyID", "StudyID"),
    ("studyInformation", "accessionNumber", "AccessionNumber"),
    ("studyInformation", "referringPhysicianName", "ReferringPhysicianName"),
    ("studyInformation", "studyDescription", "StudyDescription"),
    ("studyInformation", "studyInstanceUID", "StudyInstanceUID"),
    ("studyInformation", "bodyPartExamined", "BodyPartExamined"),
    ("measurementInformation", "measurementID", "AcquisitionUID"),
    ("measurementInformation", "seriesDate", "SeriesDate"),
    ("measurementInformation", "seriesTime", "SeriesTime"),
    ("measurementInformation", "initialSeriesNumber", "SeriesNumber"),
    ("measurementInformation", "protocolName", "ProtocolName"),
    ("measurementInformation", "sequenceName", "SequenceName"),
    ("measurementInformation", "seriesDescription", "SeriesDescription"),
    ("measurementInformation", "seriesInstanceUIDRoot", "SeriesInstanceUID"),
    ("measurementInformation", "frameOfReferenceUID", "FrameOfReferenceUID"),
    ("acquisitionSystemInformation", "institutionName", "InstitutionName"),
    ("acquisitionSystemInformation", "stationName", "StationName"),
    ("acquisitionSystemInformation", "deviceSerialNumber", "DeviceSerialNumber"),
)
_DATES = ("PatientBirthDate", "StudyDate", "SeriesDate")
_TIMES = ("StudyTime", "SeriesTime")
_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")
_TIME = re.compile(r"(\d{2}):?(\d{2}):?(\d{2})(\.\d{1,6})?")


def read_header(xml: bytes | str) -> RawHeader:
    """Read an ISMRMRD header.

    Raises
    ------
    MalformedRawData
        The text is no XML, declares a document type, or is another document.
    """
    text = xml.decode("utf-8", "replace") if isinstance(xml, bytes) else xml
    text = text.strip("\0 \r\n\t﻿")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise MalformedRawData("The raw data's XML header declares a document type; ISMRMRD headers have none.")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as failure:
        raise MalformedRawData("The raw data's header is not XML; send an ISMRMRD header first.") from failure
    if _name(root) != "ismrmrdHeader":
        raise MalformedRawData("The raw data's XML header is no ismrmrdHeader; send an ISMRMRD header first.")
    encoding = _child(root, "encoding")
    encoded = _space(_child(encoding, "encodedSpace"))
    sequence = _child(root, "sequenceParameters")
    return RawHeader(
        field_strength_t=_field_strength(root),
        echo_times_s=tuple(value / 1000 for value in _numbers(sequence, "TE")),
        encoded=encoded,
        recon=_space(_child(encoding, "reconSpace"), encoded),
        limits=_limits(_child(encoding, "encodingLimits")),
        acceleration=_acceleration(encoding),
        calibration_mode=_text(_child(encoding, "parallelImaging"), "calibrationMode"),
        trajectory=(_text(encoding, "trajectory") or CARTESIAN).lower(),
        identity=_identity(root),
        vendor=_text(_child(root, "acquisitionSystemInformation"), "systemVendor"),
        model=_text(_child(root, "acquisitionSystemInformation"), "systemModel"),
        repetition_times_s=tuple(value / 1000 for value in _numbers(sequence, "TR")),
        flip_angles_deg=tuple(_numbers(sequence, "flipAngle_deg")),
        echo_spacing_s=next((value / 1000 for value in _numbers(sequence, "echo_spacing")), None),
        patient_position=_text(_child(root, "measurementInformation"), "patientPosition") or "HFS",
        parameters=_parameters(_child(encoding, "trajectoryDescription"))
        | _parameters(_child(root, "userParameters"))
        | _multiband(encoding),
        xml=text,
    )


def header_xml(header: RawHeader) -> str:
    """Write a header as ISMRMRD's XML schema has it; the text that was read is not looked at."""
    root = ElementTree.Element("ismrmrdHeader", xmlns=NAMESPACE)
    for section in ("subjectInformation", "studyInformation"):
        _write_identity(root, section, header.identity)
    measurement = _write_identity(root, "measurementInformation", header.identity, always=True)
    assert measurement is not None
    position = ElementTree.Element("patientPosition")
    position.text = header.patient_position
    dated = ("measurementID", "seriesDate", "seriesTime")
    measurement.insert(sum(_name(child) in dated for child in measurement), position)
    _write_system(root, header)
    conditions = ElementTree.SubElement(root, "experimentalConditions")
    _write(conditions, "H1resonanceFrequency_Hz", round(header.field_strength_t * 42.577478518e6))
    _write_encoding(ElementTree.SubElement(root, "encoding"), header)
    _write_sequence(ElementTree.SubElement(root, "sequenceParameters"), header)
    if header.parameters:
        _write_parameters(ElementTree.SubElement(root, "userParameters"), header.parameters)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode")


def _field_strength(root: ElementTree.Element) -> float:
    stated = _numbers(_child(root, "acquisitionSystemInformation"), "systemFieldStrength_T")
    if stated:
        return stated[0]
    frequency = _numbers(_child(root, "experimentalConditions"), "H1resonanceFrequency_Hz")
    return frequency[0] / 42.577478518e6 if frequency else math.nan


def _space(element: ElementTree.Element | None, default: Space | None = None) -> Space:
    matrix, view = _child(element, "matrixSize"), _child(element, "fieldOfView_mm")
    if default is not None and (matrix is None or view is None):
        return default
    sizes = [_numbers(matrix, axis) for axis in "zyx"]
    lengths = [_numbers(view, axis) for axis in "zyx"]
    nz, ny, nx = (int(size[0]) if size and math.isfinite(size[0]) else 0 for size in sizes)
    fz, fy, fx = (length[0] if length else 0.0 for length in lengths)
    return Space((nz, ny, nx), (fz, fy, fx))


def _limits(element: ElementTree.Element | None) -> dict[str, Limit]:
    found = {}
    for child in element if element is not None else ():
        ends = [_numbers(child, name) for name in ("minimum", "maximum", "center")]
        if all(ends) and all(math.isfinite(end[0]) for end in ends):
            found[_name(child)] = Limit(*(int(end[0]) for end in ends))
    return found


def _acceleration(encoding: ElementTree.Element | None) -> tuple[int, int]:
    factors = _child(_child(encoding, "parallelImaging"), "accelerationFactor")
    first, second = (_numbers(factors, f"kspace_encoding_step_{number}") for number in (1, 2))
    return (max(1, int(first[0])) if first else 1, max(1, int(second[0])) if second else 1)


def _multiband(encoding: ElementTree.Element | None) -> dict[str, float | str]:
    factors = _numbers(_child(_child(encoding, "parallelImaging"), "multiband"), "multiband_factor")
    return {MULTIBAND: factors[0]} if factors and factors[0] > 1 else {}


def _identity(root: ElementTree.Element) -> dict[str, str]:
    found = {}
    for section, element, keyword in IDENTITY:
        text = _text(_child(root, section), element)
        if keyword in _DATES:
            text = "".join(match.groups()) if (match := _DATE.match(text)) else ""
        elif keyword in _TIMES:
            text = "".join(part or "" for part in match.groups()) if (match := _TIME.match(text)) else ""
        if text:
            found[keyword] = text
    return found


def _parameters(element: ElementTree.Element | None) -> dict[str, float | str]:
    found: dict[str, float | str] = {}
    for child in element if element is not None else ():
        name, value = _text(child, "name"), _text(child, "value")
        if name and _name(child) in ("userParameterLong", "userParameterDouble"):
            numbers = _numbers(child, "value")
            found |= {name: numbers[0]} if numbers else {}
        elif name and _name(child) == "userParameterString":
            found[name] = value
    return found


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _children(element: ElementTree.Element | None, name: str) -> Iterator[ElementTree.Element]:
    yield from (child for child in (element if element is not None else ()) if _name(child) == name)


def _child(element: ElementTree.Element | None, name: str) -> ElementTree.Element | None:
    return next(_children(element, name), None)


def _text(element: ElementTree.Element | None, name: str) -> str:
    found = _child(element, name)
    return (found.text or "").strip() if found is not None else ""


def _numbers(element: ElementTree.Element | None, name: str) -> list[float]:
    values = []
    for child in _children(element, name):
        try:
            values.append(float(child.text or ""))
        except ValueError:
            continue
    return values


def _write(parent: ElementTree.Element, name: str, value: object) -> None:
    ElementTree.SubElement(parent, name).text = f"{value:.9g}" if isinstance(value, float) else str(value)


def _write_identity(
    root: ElementTree.Element, section: str, identity: Mapping[str, str], always: bool = False
) -> ElementTree.Element | None:
    rows = [(name, identity[word], word) for part, name, word in IDENTITY if part == section and identity.get(word)]
    if not rows and not always:
        return None
    parent = ElementTree.SubElement(root, section)
    for name, value, keyword in rows:
        if keyword in _DATES:
            value = f"{value[:4]}-{value[4:6]}-{value[6:8]}"
        elif keyword in _TIMES:
            value = f"{value[:2]}:{value[2:4]}:{value[4:]}"
        _write(parent, name, value)
    return parent


def _write_system(root: ElementTree.Element, header: RawHeader) -> None:
    system = ElementTree.SubElement(root, "acquisitionSystemInformation")
    _write(system, "systemVendor", header.vendor)
    _write(system, "systemModel", header.model)
    _write(system, "systemFieldStrength_T", header.field_strength_t)
    for part, name, keyword in IDENTITY:
        if part == "acquisitionSystemInformation" and header.identity.get(keyword):
            _write(system, name, header.identity[keyword])


def _write_encoding(parent: ElementTree.Element, header: RawHeader) -> None:
    for name, space in (("encodedSpace", header.encoded), ("reconSpace", header.recon)):
        element = ElementTree.SubElement(parent, name)
        matrix = ElementTree.SubElement(element, "matrixSize")
        view = ElementTree.SubElement(element, "fieldOfView_mm")
        for axis, size, length in zip("xyz", space.shape[::-1], space.field_of_view_mm[::-1], strict=True):
            _write(matrix, axis, size)
            _write(view, axis, float(length))
    limits = ElementTree.SubElement(parent, "encodingLimits")
    for name in _LIMITS:
        if name in header.limits:
            element = ElementTree.SubElement(limits, name)
            for end in ("minimum", "maximum", "center"):
                _write(element, end, getattr(header.limits[name], end))
    _write(parent, "trajectory", header.trajectory)
    if header.trajectory == EPI:
        description = ElementTree.SubElement(parent, "trajectoryDescription")
        _write(description, "identifier", "ConventionalEPI")
        _write_parameters(description, header.parameters)
    if header.acceleration != (1, 1) or header.calibration_mode:
        parallel = ElementTree.SubElement(parent, "parallelImaging")
        factors = ElementTree.SubElement(parallel, "accelerationFactor")
        for number, factor in enumerate(header.acceleration, start=1):
            _write(factors, f"kspace_encoding_step_{number}", factor)
        if header.calibration_mode:
            _write(parallel, "calibrationMode", header.calibration_mode)


_LIMITS = (
    "kspace_encoding_step_0",
    "kspace_encoding_step_1",
    "kspace_encoding_step_2",
    "average",
    "slice",
    "contrast",
    "phase",
    "repetition",
    "set",
    "segment",
)


def _write_sequence(parent: ElementTree.Element, header: RawHeader) -> None:
    for name, values in (("TR", header.repetition_times_s), ("TE", header.echo_times_s)):
        for value in values:
            _write(parent, name, float(1000 * value))
    for angle in header.flip_angles_deg:
        _write(parent, "flipAngle_deg", float(angle))
    if header.echo_spacing_s is not None:
        _write(parent, "echo_spacing", float(1000 * header.echo_spacing_s))


def _write_parameters(parent: ElementTree.Element, parameters: Mapping[str, float | str]) -> None:
    kinds = (("userParameterLong", int), ("userParameterDouble", float), ("userParameterString", str))
    for tag, kind in kinds:
        for name, value in parameters.items():
            if type(value) is kind:
                element = ElementTree.SubElement(parent, tag)
                _write(element, "name", name)
                _write(element, "value", value)
