"""Two made-up acquisitions, as unlike as can be: what differs between their objects is copied or computed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from highdicom._standard_utils import get_iod_module_map, get_module_attribute_map
from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.uid import MRImageStorage

from dicom_io.codes import code_item, private_code
from dicom_io.geometry import Geometry
from dicom_io.series import SourceFrame, SourceSeries
from dicom_io.write.provenance import RunDescription
from dicom_io.write.scanner import Examination, scanner_series

_OBLIQUE = Geometry(
    row_direction=(1.0, 0.0, 0.0),
    column_direction=(0.0, 0.96, 0.28),
    first_position=(-21.5, -20.25, -10.0),
    slice_step=(0.0, -0.56, 1.92),
    pixel_spacing=(1.0, 1.5),
    shape=(4, 32, 30),
    frame_of_reference_uid="2.25.99",
)
_SAGITTAL = Geometry(
    row_direction=(0.0, 1.0, 0.0),
    column_direction=(0.0, 0.0, -1.0),
    first_position=(12.0, -30.0, 40.0),
    slice_step=(-1.2, 0.0, 0.0),
    pixel_spacing=(0.9, 0.9),
    shape=(5, 40, 36),
    frame_of_reference_uid="2.25.98",
)
# What the simulated scanner states, stated otherwise.
_OTHER_HEADER = {
    "SpecificCharacterSet": "ISO_IR 192",
    "Manufacturer": "Another manufacturer",
    "ManufacturerModelName": "Another model",
    "DeviceSerialNumber": "12345",
    "SoftwareVersions": "7",
    "PatientBirthDate": "19700102",
    "PatientSex": "F",
    "ReferringPhysicianName": "Physician^Referring",
    "StudyID": "2",
    "StudyDescription": "Another study",
    "PositionReferenceIndicator": "NASION",
    "PatientPosition": "HFP",
    "BodyPartExamined": "HEAD",
    "ScanningSequence": ["SE", "GR"],
    "SequenceVariant": "SS",
    "ScanOptions": "FC",
    "MRAcquisitionType": "2D",
    "AcquisitionNumber": 3,
    "ImagedNucleus": "31P",
}
_BY_VR = {"AS": "042Y", "DA": "19710203", "TM": "040506", "DT": "20260203040506", "DS": "1.5", "IS": "6"}
_BY_VR |= {"UI": "2.25.7", "PN": "PERSON^ANOTHER"}
_WORDS = ("AE", "CS", "SH", "LO", "ST", "LT", "UT")


def example_run() -> RunDescription:
    """Return a run of a recipe with a network, since its objects hold everything that others hold."""
    return RunDescription(
        software_version="0.1.0",
        code_revision="source-0123456789ab",
        recipe_name="learned",
        recipe_digest="a" * 64,
        method_sentence="Phase unwrapping by romeo (Dymerska 2021, doi:10.1002/mrm.28563).",
        reference="whole brain mean",
        input_digest="b" * 64,
        device_uid="2.25.1234",
        node_ae_title="LODESTONE",
        performed_at=datetime(2026, 1, 1, 13, 30, 5, tzinfo=UTC),
        weights=(("lodestone_net", "c" * 64),),
        map_sentence="This map is that of the network lodestone_net.",
    )


def another_run() -> RunDescription:
    """Return a run of a recipe without a network at a site that does not mark its objects as for research."""
    return replace(
        example_run(),
        software_version="9.9.9",
        code_revision="source-ba9876543210",
        recipe_name="default",
        recipe_digest="d" * 64,
        method_sentence="Dipole inversion by tkd (Shmueli 2009, doi:10.1002/mrm.22135).",
        reference="cerebrospinal fluid mean",
        input_digest="e" * 64,
        device_uid="2.25.4321",
        node_ae_title="ANOTHER",
        performed_at=datetime(2027, 2, 3, 4, 5, 6, tzinfo=UTC),
        research_use_only=False,
        weights=(),
        map_sentence="",
    )


def example_source() -> SourceSeries:
    """Return a small acquisition of the simulated scanner with few optional attributes, oblique to the patient."""
    return _source(_OBLIQUE, (0.004, 0.010, 0.016), 3.0, Examination(seed="example"))


def another_source() -> SourceSeries:
    """Return an acquisition whose header holds a value in every attribute of a classic MR image's modules."""
    examination = Examination(
        seed="another",
        patient_name="Another^Name",
        patient_id="ANOTHER-ID",
        accession_number="ANOTHER",
        protocol_name="another_protocol",
        started_at=datetime(2025, 5, 6, 7, 8, 9, tzinfo=UTC),
        series_number=8,
        repetition_time_ms=33.0,
        flip_angle_deg=11.0,
    )
    source = _source(_SAGITTAL, (0.005, 0.011), 7.0, examination)
    header = source.template
    for keyword, value in _OTHER_HEADER.items():
        setattr(header, keyword, value)
    for module in get_iod_module_map()["mr-image"]:
        _fill(header, get_module_attribute_map().get(module["key"], ()), [])
    header.TimezoneOffsetFromUTC = "-0330"
    return source


def _source(
    geometry: Geometry, echo_times_s: tuple[float, ...], field_t: float, examination: Examination
) -> SourceSeries:
    shape = (len(echo_times_s), *geometry.shape)
    images = scanner_series(np.ones(shape), np.zeros(shape), echo_times_s, geometry, field_t, examination)
    template = images[0]
    del template.PixelData
    places = [[float(number) for number in image.ImagePositionPatient] for image in images]
    by_slice = [
        tuple(
            SourceFrame(MRImageStorage, str(image.SOPInstanceUID))
            for image, place in zip(images, places, strict=True)
            if np.allclose(place, geometry.position(index))
        )
        for index in range(geometry.shape[0])
    ]
    return SourceSeries(
        geometry=geometry,
        echo_times_s=echo_times_s,
        magnetic_field_strength_t=field_t,
        vendor="simulated",
        template=template,
        frames=tuple(by_slice),
        phase_scaling="slope 2 and intercept -4096, +/-4096 being +/-pi",
        is_enhanced=False,
    )


def _fill(target: Dataset, attributes: Sequence[Mapping[str, Any]], path: list[str]) -> None:
    """Give every attribute of a module below `path` a value; inside items only what each item must have."""
    for attribute in attributes:
        keyword = attribute["keyword"]
        tag = tag_for_keyword(keyword)
        # Repeating groups (overlays) have no tag of their own.
        if attribute["path"] != path or tag is None or tag in target or (path and attribute["type"] not in ("1", "2")):
            continue
        representation = dictionary_VR(tag)
        if representation == "SQ":
            item = Dataset()
            _fill(item, attributes, [*path, keyword])
            target[tag] = DataElement(tag, "SQ", [_as_code(item, keyword) if "CodeMeaning" in item else item])
        elif representation in _BY_VR:
            target[tag] = DataElement(tag, representation, _BY_VR[representation])
        elif representation in _WORDS:
            target[tag] = DataElement(tag, representation, f"X{keyword}".upper()[:16])


def _as_code(item: Dataset, keyword: str) -> Dataset:
    """Complete an item of a code sequence, whose value and scheme are of type 1C."""
    item.update(code_item(private_code(f"An example of {keyword}"[:60])))
    return item
