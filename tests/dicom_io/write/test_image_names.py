"""A patient's name in any script arrives in every image exactly as the scanner wrote it, byte for byte."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.tag import Tag

from dicom_io.series import SourceSeries
from dicom_io.write.companions import Companion, companion_series
from dicom_io.write.enhanced_mr import enhanced_susceptibility
from dicom_io.write.mr_image import susceptibility_series
from dicom_io.write.parametric_map import parametric_map
from dicom_io.write.part10 import to_bytes
from dicom_io.write.provenance import RunDescription
from dicom_io.write.validation import validate
from tests.dicom_io.write.conftest import map_of

PATIENT_NAME, INSTITUTION = Tag("PatientName"), Tag("InstitutionName")
# The first two are those of PS3.5 H.3.1 and H.3.2, the Cyrillic and the Chinese one those of annexes I and J.
SCRIPTS = {
    "Japanese": (
        "\\ISO 2022 IR 87",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        b"\x1b$BEl5~\x1b(B",
    ),
    "Japanese half width": (
        "ISO 2022 IR 13\\ISO 2022 IR 87",
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
        b"\x1b$BEl5~\x1b(J",
    ),
    "Cyrillic": (
        "ISO_IR 144",
        b"\xbb\xee\xda\x63\x65\xdc\xd1\x79\x70\xd3",
        "Люкceмбypг",
        "Поликлиника".encode("iso8859-5"),
    ),
    "diacritics": ("ISO_IR 100", "Äneas^Rüdiger".encode("latin-1"), "Äneas^Rüdiger", "Hôpital".encode("latin-1")),
    "UTF-8": ("ISO_IR 192", "Wang^XiaoDong=王^小東".encode(), "Wang^XiaoDong=王^小東", "北京 Гродно".encode()),
}


def even(encoded: bytes) -> bytes:
    return encoded + b" " * (len(encoded) % 2)


@pytest.fixture(params=SCRIPTS)
def named(request: pytest.FixtureRequest, simulated: SourceSeries) -> tuple[SourceSeries, bytes, str, bytes]:
    """Return a source whose header has these very bytes, without accession number and birth date."""
    character_set, name, readable, institution = SCRIPTS[request.param]
    header = Dataset()
    header.update(simulated.template)
    header.SpecificCharacterSet = character_set.split("\\")
    placeholders = {"N" * len(even(name)): even(name), "I" * len(even(institution)): even(institution)}
    header.PatientName, header.InstitutionName = placeholders
    for keyword in ("AccessionNumber", "PatientBirthDate"):
        delattr(header, keyword)
    content = to_bytes(header)
    for placeholder, encoded in placeholders.items():
        assert content.count(placeholder.encode()) == 1
        content = content.replace(placeholder.encode(), encoded)
    template = pydicom.dcmread(BytesIO(content))
    return replace(simulated, template=template), even(name), readable, even(institution)


def images_of(source: SourceSeries, run: RunDescription) -> dict[str, Dataset]:
    values = map_of(source)
    classic = susceptibility_series(values, source, run)
    made = {
        "classic": classic[0],
        "enhanced": enhanced_susceptibility(values, source, run),
        "parametric map": parametric_map((values / 1000).astype(np.float32), classic, source, run),
    }
    made |= {kind.value: companion_series(kind, np.abs(values), source, run)[0] for kind in Companion}
    return made


def test_name_and_character_set_survive_in_every_image(
    named: tuple[SourceSeries, bytes, str, bytes],
    run_description: RunDescription,
    conformance_errors: Callable[[Dataset], list[str]],
) -> None:
    source, name, readable, institution = named
    for kind, image in images_of(source, run_description).items():
        validate(image)
        assert conformance_errors(image) == [], kind
        read = pydicom.dcmread(BytesIO(to_bytes(image)))
        assert read.get_item(PATIENT_NAME).value == name, kind
        assert read.get_item(INSTITUTION).value == institution, kind
        assert read.SpecificCharacterSet == source.template.SpecificCharacterSet, kind
        assert str(read.PatientName) == readable, kind
        assert read.PatientBirthDate == read.AccessionNumber == "", kind
