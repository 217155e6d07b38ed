"""A scanner's performed procedure steps are read as they were sent, and what cannot be read is refused by status."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage
from pynetdicom.dsutils import encode

from dicom_io.errors import DicomError
from dicom_io.network import mpps
from dicom_io.network.mpps import ListedSeries, PerformedStep, StepState
from dicom_io.network.peers import Caller
from dicom_io.network.storage_scp import ScpSettings, StorageScp
from tests.dicom_io.network.step_sender import (
    STEP_UID,
    STUDY_UID,
    SYNTAXES,
    StepSender,
    begun,
    ended,
    speaking_of_steps,
)


class Room:
    """A provider of performed procedure steps that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[PerformedStep, str]] = []
        self.errors: list[Exception] = []
        self.status = mpps.RECORDED
        self.scp = StorageScp(
            ScpSettings("NODE", callers=(Caller("SCANNER"),), reporters=(Caller("ARCHIVE"),)),
            on_instance=lambda incoming: None,
            on_failure=lambda error, calling_ae, association: self.errors.append(error) or 0xC000,
            on_refusal=lambda what, calling_ae, reason: None,
            on_end=lambda calling_ae, association: None,
            on_step=self._hear,
        )
        self.port = self.scp.start()

    def _hear(self, said: PerformedStep, calling_ae: str) -> int:
        self.heard.append((said, calling_ae))
        return self.status


@pytest.fixture(scope="module")
def started() -> Iterator[Room]:
    room = Room()
    yield room
    room.scp.stop(1.0)


@pytest.fixture
def room(started: Room) -> Room:
    started.heard.clear()
    started.errors.clear()
    started.status = mpps.RECORDED
    return started


@pytest.fixture
def scanner(room: Room) -> Iterator[StepSender]:
    with speaking_of_steps(room.port) as sender:
        yield sender


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_step_is_heard_from_its_beginning_to_its_end(room: Room, syntax: str) -> None:
    with speaking_of_steps(room.port, syntax=syntax) as scanner:
        assert scanner.create(begun()) == mpps.RECORDED
        assert scanner.change(ended({"1.2": ["1.2.1", "1.2.2"], "1.3": ["1.3.1"]})) == mpps.RECORDED
    (first, caller), (last, _) = room.heard
    assert (first.is_new, first.state, first.listed, caller) == (True, StepState.IN_PROGRESS, (), "SCANNER")
    assert (first.sop_instance_uid, first.study_instance_uids) == (STEP_UID, (STUDY_UID,))
    assert (last.is_new, last.state) == (False, StepState.COMPLETED)
    assert last.listed == (
        ListedSeries("1.2", MRImageStorage, ("1.2.1", "1.2.2")),
        ListedSeries("1.3", MRImageStorage, ("1.3.1",)),
    )


def test_what_a_series_lists_is_kept_apart_by_the_kind_of_object(room: Room, scanner: StepSender) -> None:
    step = ended({"1.2": ["1.2.1"]})
    other = ended({"1.2": ["1.2.9"]}, sop_class=EnhancedMRImageStorage).PerformedSeriesSequence[0]
    step.PerformedSeriesSequence[0].ReferencedNonImageCompositeSOPInstanceSequence = other.ReferencedImageSequence
    scanner.change(step)
    assert room.heard[0][0].listed == (
        ListedSeries("1.2", MRImageStorage, ("1.2.1",)),
        ListedSeries("1.2", EnhancedMRImageStorage, ("1.2.9",)),
    )


def test_a_change_that_lists_nothing_says_so(room: Room, scanner: StepSender) -> None:
    step = Dataset()
    step.PerformedProcedureStepDescription = "head"
    assert scanner.change(step) == mpps.RECORDED
    assert (room.heard[0][0].state, room.heard[0][0].listed) == (None, None)


def test_equal_messages_have_equal_digests_and_others_have_not(room: Room, scanner: StepSender) -> None:
    for study_uid in (STUDY_UID, STUDY_UID, "2.25.43"):
        scanner.create(begun(study_uid))
    first, second, third = (said.sha256 for said, _ in room.heard)
    assert first == second != third


def without(keyword: str) -> Dataset:
    step = begun()
    del step[keyword]
    return step


def with_value(keyword: str, value: object) -> Dataset:
    step = begun()
    setattr(step, keyword, value)
    return step


def with_study(value: str | None) -> Dataset:
    step = begun()
    step.ScheduledStepAttributesSequence[0].StudyInstanceUID = value
    return step


@pytest.mark.parametrize(
    ("step", "status"),
    [
        (without("PerformedProcedureStepStatus"), mpps.MISSING_ATTRIBUTE),
        (with_value("PerformedProcedureStepStatus", ""), mpps.MISSING_VALUE),
        (with_value("PerformedProcedureStepStatus", "COMPLETED"), mpps.INVALID_VALUE),
        (with_value("PerformedProcedureStepStatus", "PAUSED"), mpps.INVALID_VALUE),
        (without("ScheduledStepAttributesSequence"), mpps.MISSING_ATTRIBUTE),
        (with_value("ScheduledStepAttributesSequence", []), mpps.MISSING_ATTRIBUTE),
        (with_study(None), mpps.MISSING_VALUE),
        (with_value("PerformedSeriesSequence", [Dataset()]), mpps.MISSING_ATTRIBUTE),
    ],
)
def test_a_malformed_step_is_refused_with_the_status_of_the_standard(
    room: Room, scanner: StepSender, step: Dataset, status: int
) -> None:
    assert scanner.create(step) == status
    assert not room.heard
    assert "Phantom" not in str(room.errors[0])


def test_a_study_that_is_named_by_no_uid_is_refused(room: Room, scanner: StepSender) -> None:
    encoded = encode(begun(), is_implicit_vr=False, is_little_endian=True).replace(b"2.25.42", b"2.25.4x")
    assert scanner.create_from(encoded) == mpps.INVALID_VALUE
    assert not room.heard


def test_a_listed_image_without_its_uid_is_refused(room: Room, scanner: StepSender) -> None:
    step = ended({"1.2": ["1.2.1", "1.2.2"]})
    del step.PerformedSeriesSequence[0].ReferencedImageSequence[1].ReferencedSOPInstanceUID
    assert scanner.change(step) == mpps.MISSING_ATTRIBUTE
    assert not room.heard


def test_a_step_without_a_uid_of_its_own_is_refused(room: Room, scanner: StepSender) -> None:
    assert scanner.create(begun(), uid=None) == mpps.INVALID_INSTANCE
    assert not room.heard


def test_a_step_that_has_ended_is_refused_with_the_error_id_of_the_standard(room: Room, scanner: StepSender) -> None:
    room.status = mpps.NO_LONGER_UPDATED
    answer = scanner.answer_to_change(ended({"1.2": ["1.2.1"]}))
    assert (answer.Status, answer.ErrorID) == (mpps.PROCESSING_FAILURE, 0xA710)


def test_a_message_beyond_all_measure_is_refused_before_it_is_decoded(
    room: Room, scanner: StepSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mpps, "LARGEST_STEP_BYTES", 1000)
    assert scanner.change(ended({"1.2": [f"1.2.{number}" for number in range(100)]})) == mpps.RESOURCE_LIMITATION
    assert not room.heard


def test_a_peer_that_may_only_report_speaks_of_no_steps(room: Room) -> None:
    with speaking_of_steps(room.port, calling="ARCHIVE") as archive:
        assert archive.create(begun()) == mpps.NOT_AUTHORISED
        assert archive.change(ended({"1.2": ["1.2.1"]})) == mpps.NOT_AUTHORISED
    assert not room.heard


def test_a_stranger_speaks_of_no_steps(room: Room) -> None:
    with pytest.raises(ConnectionRefusedError), speaking_of_steps(room.port, calling="STRANGER"):
        pass


NESTED = b"\x40\x00\x40\x03SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 5000


@pytest.mark.parametrize("encoded", [b"", b"\x08", NESTED, b"\x40\x00\x52\x02CS\xff\xff", b"\xff" * 300])
def test_damaged_bytes_are_refused_and_the_association_goes_on(room: Room, scanner: StepSender, encoded: bytes) -> None:
    assert scanner.create_from(encoded) not in (None, mpps.RECORDED)
    assert not room.heard
    assert scanner.create(begun()) == mpps.RECORDED


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(encoded=st.binary(min_size=1, max_size=200))
def test_noise_never_ends_a_step(room: Room, scanner: StepSender, encoded: bytes) -> None:
    scanner.change_from(encoded)
    assert all(said.state is None for said, _ in room.heard)
    assert all(isinstance(error, DicomError) for error in room.errors)
