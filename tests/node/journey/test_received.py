"""Nothing that arrives is lost or counted twice, and the work begins when the last image is there."""

from datetime import timedelta

import pytest
from pydicom.uid import EnhancedSRStorage

from db import audit, instances, series
from db.base import now
from db.errors import StateConflict
from db.instances import Standing
from db.series import State
from node.journey import received
from node.journey.received import Outcome
from node.services import Services
from tests.node import scans


def receive(services: Services, images: list) -> list[received.Receipt]:
    return [received.receive(services, scans.store(services, image), "SCANNER") for image in images]


def let_time_pass(services: Services, seconds: float) -> None:
    """Move every series' clock back, as if `seconds` had passed."""
    with services.database.begin() as session:
        for one in series.list_series(session):
            one.last_received_at = one.last_received_at - timedelta(seconds=seconds)
            if one.association_ended_at is not None:
                one.association_ended_at = one.association_ended_at - timedelta(seconds=seconds)


def known(services: Services) -> dict[str, series.Series]:
    with services.database.read() as session:
        return {one.key: one for one in series.list_series(session)}


def examine_all(services: Services) -> None:
    for key in known(services):
        received.step(key, services)


def test_a_received_instance_is_recorded_with_its_digest_and_sender(services: Services) -> None:
    (receipt,) = receive(services, scans.instances()[:1])
    assert receipt.outcome is Outcome.KEPT
    with services.database.read() as session:
        (row,) = instances.of_series(session, [receipt.series_key])
        assert services.inbox.verify(row.inbox_name, row.sha256).exists()
        assert row.calling_ae == "SCANNER"
        assert len(row.frames) == 1
        events = [event.event for event in audit.list_events(session, receipt.series_key)]
    assert events == ["series.received", "instance.received"]


def test_no_patient_enters_the_record(services: Services) -> None:
    (receipt,) = receive(services, scans.instances()[:1])
    with services.database.read() as session:
        (row,) = instances.of_series(session, [receipt.series_key])
        written = str(row.frames) + str(series.get(session, receipt.series_key).as_dict())
        written += str([event.as_dict() for event in audit.list_events(session)])
    assert "Phantom" not in written
    assert "LODESTONE-PHANTOM" not in written


def test_all_images_of_a_series_share_one_row(services: Services) -> None:
    receipts = receive(services, scans.instances()[:6])
    assert len({receipt.series_key for receipt in receipts}) == 1
    assert known(services)[receipts[0].series_key].n_instances == 6


def test_the_same_instance_again_is_recognised_and_its_second_copy_not_kept(services: Services) -> None:
    image = scans.instances()[0]
    first, second = receive(services, [image, image])
    assert (first.outcome, second.outcome) == (Outcome.KEPT, Outcome.REPEATED)
    assert second.series_key == first.series_key
    assert len(list(services.inbox.names())) == 1
    held = known(services)[first.series_key]
    assert (held.n_instances, held.revision) == (1, 1)
    with services.database.read() as session:
        assert audit.list_events(session)[-1].event == "instance.repeated"


def test_the_same_uid_with_other_bytes_is_kept_aside_and_reported(services: Services) -> None:
    image = scans.instances()[0]
    receive(services, [image])
    image.WindowCenter = "77"
    other, again = receive(services, [image, image])
    assert (other.outcome, again.outcome) == (Outcome.CONFLICTING, Outcome.REPEATED)
    with services.database.read() as session:
        (aside,) = instances.of_series(session, [other.series_key], Standing.CONFLICTING)
        assert services.inbox.verify(aside.inbox_name, aside.sha256).exists()
        assert len(instances.of_series(session, [other.series_key])) == 1
        assert "instance.conflicting" in [event.event for event in audit.list_events(session)]
    assert known(services)[other.series_key].n_instances == 1


def test_a_complete_series_is_enqueued_once_and_in_the_same_transaction(services: Services) -> None:
    receipts = receive(services, scans.instances())
    key = receipts[0].series_key
    for _ in range(3):
        received.step(key, services)
    held = known(services)[key]
    assert held.completeness == "complete by count: 2 echoes × 16 slices × magnitude and phase"
    assert held.workflow_id == f"map-{key}-r1"
    assert services.jobs.status(held.workflow_id) == "ENQUEUED"
    with services.database.read() as session:
        events = [event.event for event in audit.list_events(session, key)]
    assert events.count("series.enqueued") == 1


def test_a_job_whose_transaction_fails_never_exists(services: Services) -> None:
    (receipt,) = receive(services, scans.instances()[:1])

    def enqueue_and_fail() -> None:
        with services.database.begin() as session:
            services.jobs.enqueue_mapping(session, series.get(session, receipt.series_key))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        enqueue_and_fail()
    assert services.jobs.status(f"map-{receipt.series_key}-r1") is None


def test_a_series_that_lacks_a_slice_waits_and_says_so_until_the_quiet_time_is_over(services: Services) -> None:
    receipts = receive(services, scans.instances()[:-1])
    key = receipts[0].series_key
    received.step(key, services)
    assert known(services)[key].completeness == "incomplete: echo 2 phase lacks slice 16"
    assert known(services)[key].enqueued_at is None
    let_time_pass(services, 61)
    received.step(key, services)
    assert known(services)[key].enqueued_at is not None


def test_images_that_can_never_be_mapped_are_not_waited_for(services: Services) -> None:
    magnitude, _ = scans.split(scans.instances())
    for image in magnitude:
        image.ScanningSequence = "SE"
    key = receive(services, magnitude)[0].series_key
    received.association_ended(services, "SCANNER", [key])
    let_time_pass(services, 2)
    received.step(key, services)
    assert known(services)[key].enqueued_at is not None


def test_magnitude_and_phase_series_are_joined_whichever_comes_first(services: Services) -> None:
    magnitude, phase = scans.split(scans.instances())
    (first, *_), (second, *_) = receive(services, phase), receive(services, magnitude)
    received.association_ended(services, "SCANNER", [first.series_key, second.series_key])
    let_time_pass(services, 2)
    examine_all(services)
    held = known(services)
    assert held[first.series_key].state == State.JOINED
    assert held[first.series_key].partner_key == second.series_key
    assert held[second.series_key].state == State.RECEIVED
    examine_all(services)
    assert known(services)[second.series_key].enqueued_at is not None
    assert known(services)[first.series_key].enqueued_at is None


def test_phase_that_comes_after_the_refusal_opens_the_series_again(services: Services) -> None:
    magnitude, phase = scans.split(scans.instances())
    (first, *_) = receive(services, magnitude)
    with services.database.begin() as session:
        refused = series.get(session, first.series_key)
        refused.enqueued_at = now()
        series.change_state(session, refused, State.REFUSED, {}, "Only magnitude arrived.", "PhaseMissing")
    (second, *_) = receive(services, phase)
    received.association_ended(services, "SCANNER", [second.series_key])
    examine_all(services)
    held = known(services)
    assert held[second.series_key].state == State.JOINED
    assert (held[first.series_key].state, held[first.series_key].revision) == (State.RECEIVED, 2)


def test_an_image_that_comes_after_the_work_began_makes_a_new_revision(services: Services) -> None:
    images = scans.instances()
    receipts = receive(services, images[:-1])
    key = receipts[0].series_key
    let_time_pass(services, 61)
    received.step(key, services)
    receive(services, images[-1:])
    held = known(services)[key]
    assert (held.revision, held.state, held.enqueued_at) == (2, State.RECEIVED, None)
    received.step(key, services)
    assert known(services)[key].workflow_id == f"map-{key}-r2"


def test_an_object_that_is_no_image_is_kept_with_the_reason(services: Services) -> None:
    report = scans.instances()[0]
    report.SOPClassUID = EnhancedSRStorage
    (receipt,) = receive(services, [report])
    with services.database.read() as session:
        (row,) = instances.of_series(session, [receipt.series_key])
    assert row.refusal_class == "UnsupportedObject"
    assert row.frames is None
    assert known(services)[receipt.series_key].series_instance_uid == report.SeriesInstanceUID


def test_bytes_without_a_readable_header_are_still_kept(services: Services) -> None:
    stored = services.inbox.store(
        b"\x08\x00\x05\x00CS\xff\xff not DICOM at all",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.4",
        SOPInstanceUID="2.25.5",
        TransferSyntaxUID="1.2.840.10008.1.2.1",
    )
    receipt = received.receive(services, stored, "SCANNER")
    held = known(services)[receipt.series_key]
    assert (held.series_instance_uid, held.n_instances) == (None, 1)
    with services.database.read() as session:
        (row,) = instances.of_series(session, [receipt.series_key])
    assert row.refusal_class is not None


def test_refused_callers_and_object_types_are_in_the_audit(services: Services) -> None:
    received.refuse_association(services, "STRANGER", "not an allowed caller")
    received.refuse_presentation_context(services, "SCANNER", "Encapsulated PDF Storage")
    with services.database.read() as session:
        rows = [(row.event, row.details["calling_ae"]) for row in audit.list_events(session)]
    assert rows == [("association.refused", "STRANGER"), ("presentation_context.refused", "SCANNER")]


def test_only_an_ended_series_can_be_retried(services: Services) -> None:
    (receipt,) = receive(services, scans.instances()[:1])
    with pytest.raises(StateConflict, match="is received"):
        received.retry(services, receipt.series_key)
    with services.database.begin() as session:
        ended = series.get(session, receipt.series_key)
        series.change_state(session, ended, State.FAILED, {}, "The disk was full.", "DiskFull")
    received.retry(services, receipt.series_key)
    held = known(services)[receipt.series_key]
    assert (held.state, held.revision) == (State.RECEIVED, 2)
    assert services.jobs.status(f"map-{receipt.series_key}-r2") == "ENQUEUED"
