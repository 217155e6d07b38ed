"""A scanner's performed procedure steps, sent by a real one over the network, decide when a series is complete."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage

from db import audit, performed_steps, series
from db.series import Series, State
from dicom_io.network import mpps
from node.app import build_services_from_file
from node.journey import received
from node.services import Services
from tests.dicom_io.network.step_sender import STEP_UID, StepSender, begun, ended, speaking_of_steps
from tests.node import scans
from tests.node.journey.test_received import examine_all, known, let_time_pass, receive
from tests.node.running import listening

Room = tuple[Services, StepSender]


@pytest.fixture
def site(node_toml: Callable[..., Path]) -> Iterator[Services]:
    built = build_services_from_file(node_toml(port=0, more='[[allow]]\nae_title = "OTHER"\n'))
    yield built
    built.close()


@pytest.fixture
def port(site: Services) -> Iterator[int]:
    with listening(site) as listener:
        yield listener.port


@pytest.fixture
def scanner(port: int) -> Iterator[StepSender]:
    with speaking_of_steps(port, "LODESTONE") as sender:
        yield sender


def undeclared(images: list[Dataset]) -> list[Dataset]:
    for image in images:
        if "ImagesInAcquisition" in image:
            del image.ImagesInAcquisition
    return images


def listed(*images: Dataset) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for image in images:
        found.setdefault(str(image.SeriesInstanceUID), []).append(str(image.SOPInstanceUID))
    return found


def events(services: Services, subject: str = "") -> list[str]:
    with services.database.read() as session:
        assert audit.verify(session).is_intact
        return [row.event for row in audit.list_events(session, subject)]


def only(services: Services) -> Series:
    (one,) = known(services).values()
    return one


def test_a_series_is_mapped_the_moment_its_last_listed_image_has_come(site: Services, scanner: StepSender) -> None:
    images = undeclared(scans.instances())
    receive(site, images[:-4])
    scanner.create(begun(images[0].StudyInstanceUID))
    assert scanner.change(ended(listed(*images))) == mpps.RECORDED
    examine_all(site)
    assert only(site).enqueued_at is None
    assert "lists 64 instances, of which 4 have not come" in only(site).completeness
    receive(site, images[-4:])
    examine_all(site)
    assert only(site).enqueued_at is not None
    assert only(site).completeness.startswith("complete as announced: all 64 instances")


def test_what_is_listed_and_never_comes_is_named_and_when_it_comes_the_series_begins_anew(
    site: Services, scanner: StepSender
) -> None:
    images = undeclared(scans.instances())
    # Without its last slice the grid looks full.
    last = max(float(image.ImagePositionPatient[2]) for image in images)
    late = [image for image in images if float(image.ImagePositionPatient[2]) == last]
    receive(site, [image for image in images if image not in late])
    scanner.create(begun(images[0].StudyInstanceUID))
    scanner.change(ended(listed(*images)))
    let_time_pass(site, 61)
    examine_all(site)
    refused = only(site)
    assert (refused.state, refused.refusal_class) == (State.REFUSED, "IncompleteSeries")
    assert min(str(image.SOPInstanceUID) for image in late) in refused.sentence
    receive(site, late)
    assert (only(site).state, only(site).revision) == (State.RECEIVED, 2)
    examine_all(site)
    assert only(site).workflow_id == f"map-{refused.key}-r2"


def test_a_discontinued_series_is_refused_and_can_be_mapped_by_a_person_s_word(
    site: Services, scanner: StepSender
) -> None:
    images = undeclared(scans.instances())
    receive(site, images)
    scanner.create(begun(images[0].StudyInstanceUID))
    scanner.change(ended(listed(*images), "DISCONTINUED"))
    examine_all(site)
    refused = only(site)
    assert (refused.state, refused.refusal_class) == (State.REFUSED, "AcquisitionDiscontinued")
    received.retry(site, refused.key)
    assert only(site).enqueued_at is not None


def test_a_discontinued_step_without_a_list_concerns_the_series_of_its_study(
    site: Services, scanner: StepSender
) -> None:
    images = undeclared(scans.instances())
    receive(site, images)
    scanner.create(begun(images[0].StudyInstanceUID))
    scanner.change(ended({}, "DISCONTINUED"))
    let_time_pass(site, 61)
    examine_all(site)
    assert only(site).refusal_class == "AcquisitionDiscontinued"


def test_a_step_in_progress_outlasts_the_association_but_not_the_quiet_time(
    site: Services, scanner: StepSender
) -> None:
    images = undeclared(scans.instances())
    key = receive(site, images)[0].series_key
    scanner.create(begun(images[0].StudyInstanceUID))
    received.association_ended(site, "SCANNER", [key])
    let_time_pass(site, 5)
    examine_all(site)
    assert only(site).enqueued_at is None
    let_time_pass(site, 61)
    examine_all(site)
    assert only(site).enqueued_at is not None


def test_two_halves_are_complete_when_both_are_and_alone_when_the_step_lists_no_other(
    site: Services, scanner: StepSender
) -> None:
    magnitude, phase = scans.split(scans.instances())
    scanner.create(begun(magnitude[0].StudyInstanceUID))
    scanner.change(ended(listed(*magnitude, *phase)))
    receive(site, magnitude + phase[:-1])
    let_time_pass(site, 5)
    examine_all(site)
    assert not any(one.enqueued_at for one in known(site).values())
    receive(site, phase[-1:])
    examine_all(site)
    examine_all(site)
    assert sorted(one.state for one in known(site).values()) == [State.JOINED, State.RECEIVED]
    assert any(one.enqueued_at for one in known(site).values())


def test_magnitude_alone_is_not_waited_with_when_the_step_lists_nothing_else(
    site: Services, scanner: StepSender
) -> None:
    magnitude, _ = scans.split(scans.instances())
    receive(site, magnitude)
    scanner.create(begun(magnitude[0].StudyInstanceUID))
    scanner.change(ended(listed(*magnitude)))
    examine_all(site)
    assert only(site).enqueued_at is not None
    assert only(site).completeness.endswith("but no phase images")


def test_a_list_of_another_kind_of_object_says_nothing_of_the_images(site: Services, scanner: StepSender) -> None:
    images = undeclared(scans.instances())
    receive(site, images)
    scanner.create(begun(images[0].StudyInstanceUID))
    scanner.change(ended({str(images[0].SeriesInstanceUID): ["1.2.99"]}, sop_class=EnhancedMRImageStorage))
    let_time_pass(site, 61)
    examine_all(site)
    assert only(site).enqueued_at is not None


def test_a_map_that_was_made_without_a_listed_image_says_so_in_the_list(site: Services, scanner: StepSender) -> None:
    images = scans.instances()
    key = receive(site, images)[0].series_key
    examine_all(site)
    with site.database.begin() as session:
        for state in series.JOURNEY[1:]:
            series.change_state(session, series.get(session, key), state)
    scanner.create(begun(images[0].StudyInstanceUID))
    scanner.change(ended({str(images[0].SeriesInstanceUID): [str(images[0].SOPInstanceUID), "1.2.99"]}))
    expected = "The scanner's procedure step lists one image, which has not come: this map was made without."
    assert only(site).sentence == expected


def test_what_the_step_lists_beyond_a_series_that_has_begun_is_in_its_record(
    site: Services, scanner: StepSender
) -> None:
    images = scans.instances()
    key = receive(site, images)[0].series_key
    examine_all(site)
    scanner.create(begun(images[0].StudyInstanceUID))
    scanner.change(ended({str(images[0].SeriesInstanceUID): [str(images[0].SOPInstanceUID), "1.2.99"]}))
    assert events(site, key)[-1] == "series.contradicted"


def test_a_repeated_message_is_acknowledged_and_changes_nothing(site: Services, scanner: StepSender) -> None:
    last = ended({"1.2": ["1.2.1"]})
    assert [scanner.create(begun()), scanner.create(begun())] == [mpps.RECORDED] * 2
    assert [scanner.change(last), scanner.change(last)] == [mpps.RECORDED] * 2
    assert scanner.create(begun()) == mpps.RECORDED
    with site.database.read() as session:
        step = performed_steps.find(session, STEP_UID)
        assert step is not None
        assert step.state == "COMPLETED"
        assert len(performed_steps.listed_by(session, [STEP_UID])) == 1
    words = [event.removeprefix("performed_step.") for event in events(site) if event.startswith("performed_step.")]
    assert words == ["begun", "repeated", "completed", "repeated", "repeated"]


def test_another_step_under_a_known_uid_is_a_duplicate(scanner: StepSender) -> None:
    scanner.create(begun())
    assert scanner.create(begun("2.25.43")) == mpps.DUPLICATE_INSTANCE


def test_a_step_that_nobody_created_cannot_be_changed(scanner: StepSender) -> None:
    assert scanner.change(ended({"1.2": ["1.2.1"]})) == mpps.NO_SUCH_INSTANCE


def test_a_step_that_has_ended_is_not_changed_any_more(site: Services, scanner: StepSender) -> None:
    scanner.create(begun())
    scanner.change(ended({"1.2": ["1.2.1"]}))
    answer = scanner.answer_to_change(ended({"1.2": ["1.2.1"]}, "DISCONTINUED"))
    assert (answer.Status, answer.ErrorID) == (mpps.PROCESSING_FAILURE, mpps.NO_LONGER_UPDATED)
    with site.database.read() as session:
        step = performed_steps.find(session, STEP_UID)
        assert step is not None
        assert step.state == "COMPLETED"


def test_a_step_is_completed_only_with_a_list_of_its_series(scanner: StepSender) -> None:
    scanner.create(begun())
    last = ended({})
    del last.PerformedSeriesSequence
    assert scanner.change(last) == mpps.MISSING_ATTRIBUTE


def test_a_step_is_changed_only_by_the_scanner_that_created_it(site: Services, port: int, scanner: StepSender) -> None:
    scanner.create(begun())
    with speaking_of_steps(port, "LODESTONE", calling="OTHER") as other:
        assert other.change(ended({"1.2": ["1.2.1"]})) == mpps.NOT_AUTHORISED
    assert events(site)[-1] == "performed_step.refused"


def test_no_patient_and_no_staff_enter_the_record(site: Services, scanner: StepSender) -> None:
    scanner.create(begun())
    scanner.change(ended({"1.2": ["1.2.1"]}))
    with site.database.read() as session:
        step = performed_steps.find(session, STEP_UID)
        assert step is not None
        written = str(step.as_dict()) + str([event.as_dict() for event in audit.list_events(session)])
    assert not [word for word in ("Phantom", "P1", "Roe", "A1") if word in written]


def test_a_malformed_step_is_refused_and_in_the_audit(site: Services, scanner: StepSender) -> None:
    step = begun()
    step.PerformedProcedureStepStatus = "PAUSED"
    assert scanner.create(step) == mpps.INVALID_VALUE
    with site.database.read() as session:
        (refusal,) = [row.details for row in audit.list_events(session) if row.event == "performed_step.refused"]
    assert (refusal["error_class"], refusal["status"]) == ("MalformedStep", "0x0106")


def test_a_step_that_cannot_be_recorded_is_not_acknowledged(site: Services, scanner: StepSender) -> None:
    with site.database.begin() as session:
        session.connection().exec_driver_sql("ALTER TABLE lodestone_performed_steps RENAME TO elsewhere")
    assert scanner.create(begun()) == mpps.PROCESSING_FAILURE
    with site.database.begin() as session:
        session.connection().exec_driver_sql("ALTER TABLE elsewhere RENAME TO lodestone_performed_steps")
    assert scanner.create(begun()) == mpps.RECORDED
