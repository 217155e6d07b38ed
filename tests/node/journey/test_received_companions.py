"""What one scan sends as several series becomes one acquisition, in whatever order they come; two scans stay two."""

from datetime import timedelta

import pytest
from pydicom import Dataset

from db import series
from db.series import Series, State
from dicom_io.write.scanners.scan import Scan
from dicom_io.write.scanners.table import FLAVOURS
from node.journey import received
from node.journey.assembled import inputs_of
from node.services import Services
from tests.node import scans

SEVERAL = {"siemens_classic": 2, "siemens_xa_classic": 4, "siemens_enhanced": 2, "united_imaging_classic": 2}


def taken() -> Scan:
    found = scans.scan()
    return Scan(
        magnitude=found.magnitude,
        phase=found.phase,
        echo_times_s=scans.ECHO_TIMES_S,
        geometry=found.geometry,
        magnetic_field_strength_t=scans.B0_TESLA,
    )


def by_series(images: list[Dataset]) -> list[list[Dataset]]:
    found: dict[str, list[Dataset]] = {}
    for image in images:
        found.setdefault(str(image.SeriesInstanceUID), []).append(image)
    return list(found.values())


def arrive(services: Services, images: list[Dataset]) -> None:
    """Let a series arrive over an association of its own, and the sweep look at everything afterwards."""
    receipts = [received.receive(services, scans.store(services, image), "SCANNER") for image in images]
    received.association_ended(services, "SCANNER", [receipt.series_key for receipt in receipts])
    sweep(services)


def sweep(services: Services, seconds: float = 0.0) -> None:
    with services.database.begin() as session:
        for one in series.list_series(session):
            one.last_received_at -= timedelta(seconds=seconds)
            if one.association_ended_at is not None:
                one.association_ended_at -= timedelta(seconds=seconds)
        keys = [one.key for one in series.waiting(session)]
    for key in keys:
        received.step(key, services)


def known(services: Services) -> list[Series]:
    with services.database.read() as session:
        return series.list_series(session)


def inputs(services: Services, leader: Series) -> set[str]:
    with services.database.read() as session:
        return {row.sop_instance_uid for row in inputs_of(session, leader)}


def uids(*groups: list[Dataset]) -> set[str]:
    return {str(image.SOPInstanceUID) for group in groups for image in group}


@pytest.mark.parametrize("is_backwards", [False, True], ids=["in order", "backwards"])
@pytest.mark.parametrize("flavour", SEVERAL)
def test_the_series_of_one_scan_are_mapped_together(services: Services, flavour: str, is_backwards: bool) -> None:
    images = FLAVOURS[flavour](taken())
    groups = by_series(images)
    assert len(groups) == SEVERAL[flavour]
    for group in groups[::-1] if is_backwards else groups:
        arrive(services, group)
    sweep(services, 10.0)
    rows = known(services)
    (leader,) = [one for one in rows if one.state != State.JOINED]
    assert len(rows) == SEVERAL[flavour]
    assert leader.enqueued_at is not None, leader.completeness
    assert leader.series_instance_uid == groups[0][0].SeriesInstanceUID
    assert inputs(services, leader) == uids(images)


def repeated(number: int) -> tuple[list[Dataset], list[Dataset]]:
    """Return the halves of a scan of one examination that was repeated with the same protocol, a minute later each."""
    halves = scans.split(scans.instances(f"repeated {number}"))
    for half in halves:
        for image in half:
            image.StudyInstanceUID = "2.25.1"
            image.AcquisitionTime = f"1200{number:02d}"
    return halves


def test_a_repeated_scan_is_paired_with_its_own_phase_whichever_comes_first(services: Services) -> None:
    (magnitude_1, phase_1), (magnitude_2, phase_2) = repeated(1), repeated(2)
    for half in (magnitude_2, phase_1, magnitude_1, phase_2):
        arrive(services, half)
    leaders = [one for one in known(services) if one.state != State.JOINED]
    found = [inputs(services, leader) for leader in leaders]
    assert sorted(found, key=min) == sorted((uids(magnitude_1, phase_1), uids(magnitude_2, phase_2)), key=min)


def test_a_half_taken_at_another_time_is_joined_only_when_no_other_comes(services: Services) -> None:
    (_, phase), (magnitude, _) = repeated(1), repeated(2)
    arrive(services, magnitude)
    arrive(services, phase)
    assert [one.state for one in known(services)] == [State.RECEIVED] * 2
    sweep(services, 10.0)
    assert sorted(one.state for one in known(services)) == [State.JOINED, State.RECEIVED]


def test_halves_of_different_examinations_are_kept_apart(services: Services) -> None:
    arrive(services, scans.split(scans.instances("one"))[0])
    arrive(services, scans.split(scans.instances("two"))[1])
    sweep(services, 10.0)
    assert [one.state for one in known(services)] == [State.RECEIVED] * 2


@pytest.mark.parametrize(
    ("lost", "sentence"), [("an echo", "echo 2 has no phase"), ("a slice", "phase of every echo lacks slice 16")]
)
def test_halves_of_which_one_lacks_echoes_or_slices_wait_together_for_what_is_named(
    services: Services, lost: str, sentence: str
) -> None:
    magnitude, phase = scans.split(scans.instances())
    if lost == "an echo":
        phase = [image for image in phase if float(image.EchoTime) < 17]
    else:
        phase = [image for image in phase if float(image.ImagePositionPatient[2]) < 13]
    arrive(services, magnitude)
    arrive(services, phase)
    sweep(services, 10.0)
    (leader,) = [one for one in known(services) if one.state != State.JOINED]
    assert leader.state == State.RECEIVED
    assert leader.enqueued_at is None
    assert sentence in leader.completeness


def test_an_echo_that_comes_after_its_scan_was_refused_opens_it_again(services: Services) -> None:
    groups = by_series(FLAVOURS["siemens_xa_classic"](taken()))
    for group in groups[:3]:
        arrive(services, group)
    with services.database.begin() as session:
        for one in series.waiting(session):
            series.change_state(session, one, State.REFUSED, {}, "Echo 2 lacks its phase.", "IncompleteSeries")
    arrive(services, groups[3])
    sweep(services, 10.0)
    (leader,) = [one for one in known(services) if one.state != State.JOINED]
    assert leader.revision == 2
    assert inputs(services, leader) == uids(*groups)
