"""The kit is whole, valid and the same every day; its page tells an installer what to read where."""

import subprocess
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pydicom
import pytest

from dicom_io.errors import InvalidObject, PeerRefused
from dicom_io.network.send_result import SendResult
from dicom_io.write.part10 import to_bytes
from node.commissioning import KindOutcome, Kit, KitFile, deliver, expectations, make_kit, write_objects
from node.commissioning_page import commissioning_page

DAY = date(2026, 11, 21)
PEER = "PACS (ORTHANC at 127.0.0.1:4242)"


@pytest.fixture(scope="module")
def kit() -> Kit:
    return make_kit("20261121", DAY, "LODESTONE")


@pytest.fixture
def words(program: Callable[[str], str], tmp_path: Path) -> Callable[[bytes], list[str]]:
    """Return the function that reads a PDF's pages as text with an independent program."""
    pdftotext = program("pdftotext")

    def read(content: bytes) -> list[str]:
        path = tmp_path / "page.pdf"
        path.write_bytes(content)
        command = [pdftotext, "-layout", str(path), "-"]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split("\f")[:-1]

    return read


class AnsweringPeer:
    """A destination that answers as it is told, one kind of answer for each file name's beginning."""

    def __init__(self, refused: dict[str, SendResult | None]) -> None:
        self._refused = refused

    def store(self, paths: Sequence[Path], on_status: Callable[[SendResult], None]) -> None:
        for path in paths:
            answer = next((one for name, one in self._refused.items() if path.name.startswith(name)), True)
            if answer is None:
                raise PeerRefused("The peer stopped answering.")
            status = 0 if answer is True else answer.status
            meaning = "stored" if answer is True else answer.meaning
            on_status(SendResult(path, "2.25.1", status, meaning))
        if self._refused:
            raise PeerRefused("The peer stored fewer than all.")


def files(*names: str) -> list[KitFile]:
    return [KitFile(name.split("-")[0], Path(name), "2.25.1") for name in names]


def answer(status: int | None, meaning: str) -> SendResult:
    return SendResult(Path("any"), "2.25.1", status, meaning)


def test_it_is_made_twice_as_equal_bytes(kit: Kit) -> None:
    again = make_kit("20261121", DAY, "LODESTONE")
    for kind, objects in kit.objects.items():
        assert [to_bytes(one) for one in objects] == [to_bytes(one) for one in again.objects[kind]], kind


def test_every_object_is_of_the_same_artificial_patient_and_study(kit: Kit) -> None:
    everything = [one for objects in kit.objects.values() for one in objects]
    assert {str(one.PatientID) for one in everything} == {"LODESTONE-QA"}
    assert {str(one.StudyInstanceUID) for one in everything} == {kit.study_uid}
    assert len({str(one.SOPInstanceUID) for one in everything}) == len(everything)


def test_the_report_holds_the_values_of_the_squares(kit: Kit) -> None:
    (report,) = kit.objects["report"]
    text = str(report)
    for value in ("-200", "100", "200"):
        assert f"Numeric Value                       DS: '{value}" in text
    (regions,) = kit.objects["segmentation"]
    assert [segment.SegmentLabel for segment in regions.SegmentSequence][1:] == [
        "right anterior square",
        "left anterior square",
        "right posterior square",
        "left posterior square",
    ]


def test_what_must_be_read_is_what_the_files_hold(kit: Kit, tmp_path: Path) -> None:
    written = write_objects(tmp_path, "susceptibility", kit.images)
    for file in written:
        pixels = pydicom.dcmread(file.path).pixel_array
        for one in expectations():
            (top, bottom), (left, right) = one["rows"], one["columns"]
            assert np.unique(pixels[top : bottom + 1, left : right + 1]).tolist() == [one["value_ppb"]]


def test_a_refused_kind_is_told_and_the_others_are_counted() -> None:
    peer = AnsweringPeer({"parametric": answer(0x0122, "SOP class not supported")})
    found = deliver(files("source-1", "source-2", "parametric_map-1", "report-1"), peer, lambda _: None)
    assert [(one.kind, one.n_accepted, one.is_accepted) for one in found] == [
        ("source", 2, True),
        ("parametric_map", 0, False),
        ("report", 1, True),
    ]
    assert found[1].sentences == ["SOP class not supported (0x0122)"]


def test_a_warning_counts_as_taken_and_is_told() -> None:
    peer = AnsweringPeer({"source": answer(0xB000, "stored with a warning")})
    (found,) = deliver(files("source-1", "source-2"), peer, lambda _: None)
    assert found.is_accepted
    assert found.sentences == ["stored with a warning (0xB000)"]


def test_what_was_not_asked_any_more_says_why() -> None:
    found = deliver(files("source-1", "report-1", "summary-1"), AnsweringPeer({"report": None}), lambda _: None)
    assert [one.is_accepted for one in found] == [True, False, False]
    assert found[2].sentences == ["The peer stopped answering."]


def test_the_page_says_what_must_be_read_where_on_one_sheet(kit: Kit, words: Callable[[bytes], list[str]]) -> None:
    taken = [KindOutcome("source", 12, 12), KindOutcome("parametric_map", 1, 0, ["SOP class not supported (0x0122)"])]
    taken.append(KindOutcome("segmentation", 1, 1))
    pages = words(commissioning_page(kit, taken, PEER))
    assert len(pages) == 1
    lines = [" ".join(line.split()) for line in pages[0].splitlines()]
    for row in ("right, front (anterior) −200 ppb", "left, front (anterior) 0 ppb", "left, back (posterior) +200 ppb"):
        assert any(row in line for line in lines)
    text = " ".join(lines)
    for expected in ("LODESTONE-QA", "2026-11-21", PEER, "level 0 and width 400", "series 70000", "0 of 1 (SOP class"):
        assert expected in text
    assert "Segmentation:" in text
    assert "Parametric Map:" not in text


def test_a_page_with_every_kind_and_long_answers_is_still_one_sheet(
    kit: Kit, words: Callable[[bytes], list[str]]
) -> None:
    refusals = ["the peer takes no such object in this transfer syntax or none at all", "out of resources (0xA700)"]
    taken = [KindOutcome(kind, len(objects), len(objects), refusals) for kind, objects in kit.objects.items()]
    assert len(words(commissioning_page(kit, taken, "P" * 60))) == 1


def test_the_page_is_the_same_bytes_and_becomes_a_valid_object(kit: Kit) -> None:
    content = commissioning_page(kit, [], "")
    assert content == commissioning_page(kit, [], "")
    page = kit.page(content)
    assert page.StudyInstanceUID == kit.study_uid
    assert page.SeriesDescription.startswith("QA instructions")
    with pytest.raises(InvalidObject):
        kit.page(b"no pages")


def test_the_validators_find_no_error_in_any_object_nor_between_them(
    kit: Kit, program: Callable[[str], str], tmp_path: Path
) -> None:
    objects = {**kit.objects, "summary": [kit.page(commissioning_page(kit, [], ""))]}
    written = [file for kind, made in objects.items() for file in write_objects(tmp_path, kind, made)]
    firsts = {file.kind: file.path for file in reversed(written)}
    commands = [[program("dciodvfy"), "-new", str(path)] for path in firsts.values()]
    commands.append([program("dcentvfy"), *(str(file.path) for file in written)])
    for command in commands:
        judged = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        said = judged.stdout + judged.stderr
        assert not [line for line in said.splitlines() if line.startswith("Error")], command[1:3]
        assert judged.returncode == 0
