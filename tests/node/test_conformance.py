"""The conformance statement says what the code does, and is kept as a file that cannot fall behind."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.uid import UID
from typer.testing import CliRunner

from dicom_io.network import contexts
from node.cli import app
from node.conformance import statement
from node.conformance_attributes import Case, attribute_rows
from node.conformance_content import content_rows
from node.conformance_examples import MAKERS, OTHER_NAMES, example_objects
from node.conformance_sources import another_run, another_source, example_run, example_source
from node.object_kinds import ObjectKind
from node.settings import Settings

FILE = Path(__file__).resolve().parents[2] / "deploy" / "conformance_statement.md"
# PS3.2 Annex N.
CHAPTERS = (
    "1 Overview",
    "2 Table of contents",
    "3 Introduction",
    "4 Implementation model",
    "5 Service and interoperability description",
    "6 Configuration",
    "7 Network and media communication details",
    "8 Security",
    "Annex A.A Information object definitions",
    "Annex A.B Structured report content",
    "Annex A.C Security details",
    "Annex A.D Mapping of attributes",
    "Annex A.E Code sets",
)


@pytest.fixture(scope="module")
def text() -> str:
    return statement()


def test_the_file_says_what_the_code_does(text: str) -> None:
    assert FILE.read_text(encoding="utf-8") == text, "run `lodestone conformance --out deploy/conformance_statement.md`"


def test_the_statement_is_the_same_whenever_it_is_written(text: str) -> None:
    assert statement() == text


def test_it_has_the_chapters_of_the_standard_in_their_order(text: str) -> None:
    assert tuple(re.findall(r"^## (.+)$", text, re.MULTILINE)) == CHAPTERS


def test_a_class_that_is_no_longer_accepted_changes_the_statement(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    removed = contexts.COMPANION_CLASSES[-1]
    monkeypatch.setattr(contexts, "COMPANION_CLASSES", contexts.COMPANION_CLASSES[:-1])
    assert _cells(statement(), UID(removed).name) != _cells(text, UID(removed).name)


def test_every_kind_of_object_is_described(text: str) -> None:
    assert set(MAKERS) == set(ObjectKind)
    for kind in ObjectKind:
        assert f"`{kind}`" in text


def test_every_class_that_is_made_is_one_that_results_may_be_sent_as() -> None:
    made = {str(objects[0].SOPClassUID) for objects in example_objects(example_source(), example_run()).values()}
    assert made <= set(contexts.RESULT_CLASSES)


def test_every_setting_of_every_section_is_listed(text: str) -> None:
    for name, info in Settings.model_fields.items():
        fields = getattr(info.default, "model_fields_set", None)
        heading = f"`[{name}]`" if fields is not None else f"`[[{name}]]`"
        assert heading in text


def test_no_table_has_a_row_of_another_length(text: str) -> None:
    widths: list[int] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            widths = []
            continue
        widths.append(line.count(" | "))
        assert widths[0] == widths[-1], line


def test_what_is_copied_fixed_and_computed_is_told_apart() -> None:
    first, second = example_source(), another_source()
    kind = ObjectKind.SUSCEPTIBILITY
    made = example_objects(first, example_run())[kind]
    again = example_objects(second, another_run(), OTHER_NAMES)[kind]
    rows = {row.path: row for row in attribute_rows([Case(first.template, made), Case(second.template, again)])}
    assert (rows["PatientName",].presence, rows["PatientName",].origin) == ("ALWAYS", "COPY")
    assert (rows["PatientBirthDate",].presence, rows["PatientBirthDate",].origin) == ("VNAP", "COPY")
    assert (rows["IssuerOfPatientID",].presence, rows["IssuerOfPatientID",].origin) == ("ANAP", "COPY")
    assert (rows["EchoTime",].presence, rows["EchoTime",].origin) == ("EMPTY", "")
    assert (rows["RescaleSlope",].origin, rows["RescaleSlope",].value) == ("FIXED", "1")
    assert rows["SOPInstanceUID",].origin == rows["PixelData",].origin == "AUTO"


def test_the_objects_of_a_header_with_every_attribute_differ_in_every_identifier_from_those_of_another() -> None:
    first = example_objects(example_source(), example_run())
    second = example_objects(another_source(), another_run(), OTHER_NAMES)
    uids = [{str(one.SOPInstanceUID) for objects in made.values() for one in objects} for made in (first, second)]
    assert not uids[0] & uids[1]
    assert len(uids[0]) == sum(map(len, first.values()))


def test_content_items_of_one_name_are_one_row_with_their_number() -> None:
    report = example_objects(example_source(), example_run())[ObjectKind.REPORT][0]
    rows = {(row.level, row.name): row for row in content_rows([report])}
    groups = rows[2, '(125007, DCM, "Measurement Group")']
    assert int(groups.count) >= 4
    assert rows[3, '(126396, DCM, "Magnetic Susceptibility")'].values == '([ppb], UCUM, "parts per billion")'


@pytest.fixture
def command() -> Callable[..., str]:
    def run(*words: str) -> str:
        result = CliRunner().invoke(app, ["conformance", *words])
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_the_command_prints_the_statement_or_writes_it(command: Callable[..., str], text: str, tmp_path: Path) -> None:
    assert command() == text
    target = tmp_path / "statement.md"
    command("--out", str(target))
    assert target.read_text(encoding="utf-8") == text


def _cells(text: str, name: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"| {name} |")]
