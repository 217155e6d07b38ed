"""What the scanner lists decides exactly; what it lists and does not send is named after the quiet time."""

import pytest

from dicom_io.read.headers import FrameHeader, read_frame_headers
from dicom_io.read.sorting import assess
from node.completeness import Arrival, Decision, Verdict
from node.completeness_announced import Announced, Announcement, decide_as_announced
from tests.node.scans import instances, split

JUST_NOW = Arrival(seconds_since_last=0.0, association_is_over=False)
SETTLED = Arrival(seconds_since_last=5.0, association_is_over=True)
QUIET = Arrival(seconds_since_last=100.0, association_is_over=False)

OPEN = Announcement(Announced.OPEN)
ALL_HERE = Announcement(Announced.COMPLETED, n_listed=64, is_all_here=True)
MISSING = Announcement(Announced.COMPLETED, n_listed=68, missing=tuple(f"1.2.{number}" for number in range(4)))
DISCONTINUED = Announcement(Announced.DISCONTINUED, n_listed=64, is_all_here=True)


def whole(*, is_declared: bool = False) -> list[FrameHeader]:
    images = instances()
    for image in images:
        if not is_declared:
            del image.ImagesInAcquisition
    return [frame for image in images for frame in read_frame_headers(image)]


def half() -> list[FrameHeader]:
    return [frame for image in split(instances())[0] for frame in read_frame_headers(image)]


def decided(announcement: Announcement | None, frames: list[FrameHeader], arrival: Arrival) -> Decision:
    return decide_as_announced(announcement, assess(frames) if frames else None, arrival, 3.0, 60.0)


def test_the_work_begins_the_moment_the_last_listed_image_is_there() -> None:
    decision = decided(ALL_HERE, whole(), JUST_NOW)
    assert decision.verdict is Verdict.BEGIN
    assert decision.sentence == (
        "complete as announced: all 64 instances that the scanner's procedure step lists, "
        "2 echoes × 16 slices × magnitude and phase"
    )
    assert decided(None, whole(), JUST_NOW).verdict is Verdict.WAIT


def test_a_grid_that_looks_full_waits_for_what_is_listed_beyond_it() -> None:
    # The last slice of every echo and part is missing: nothing in the headers shows that.
    decision = decided(MISSING, whole(), SETTLED)
    assert decision.verdict is Verdict.WAIT
    assert "of which 4 have not come: 1.2.0, 1.2.1, 1.2.2 and 1 more" in decision.sentence
    refused = decided(MISSING, whole(), QUIET)
    assert (refused.verdict, refused.refusal_class) == (Verdict.REFUSE, "IncompleteSeries")
    assert "send them from the scanner" in refused.sentence


def test_counts_in_the_headers_prove_a_series_whole_against_a_longer_list() -> None:
    assert decided(MISSING, whole(is_declared=True), SETTLED).verdict is Verdict.WAIT
    decision = decided(MISSING, whole(is_declared=True), QUIET)
    assert decision.verdict is Verdict.BEGIN
    assert decision.sentence.startswith("complete by count")
    assert "4 have not come" in decision.sentence


def test_what_is_all_that_the_scanner_has_is_not_waited_for_although_slices_lack() -> None:
    frames = [frame for frame in whole() if not (frame.position[2] > 13 and frame.echo_time_ms > 17)]
    decision = decided(ALL_HERE, frames, JUST_NOW)
    assert decision.verdict is Verdict.BEGIN
    assert "and yet incomplete: echo 2 lacks slice 16" in decision.sentence


def test_half_an_acquisition_waits_only_while_another_listed_series_lacks_something() -> None:
    on_its_way = Announcement(Announced.COMPLETED, n_listed=32, is_all_here=False)
    assert decided(on_its_way, half(), SETTLED).verdict is Verdict.WAIT
    assert decided(on_its_way, half(), QUIET).verdict is Verdict.BEGIN
    assert decided(ALL_HERE, half(), JUST_NOW).verdict is Verdict.BEGIN


def test_while_the_step_is_in_progress_the_end_of_an_association_means_little() -> None:
    waiting = decided(OPEN, whole(), SETTLED)
    assert waiting.verdict is Verdict.WAIT
    assert "in progress" in waiting.sentence
    assert decided(OPEN, whole(), QUIET).verdict is Verdict.BEGIN
    assert decided(OPEN, whole(is_declared=True), JUST_NOW).verdict is Verdict.BEGIN


def test_a_discontinued_series_is_refused_by_name() -> None:
    decision = decided(DISCONTINUED, whole(), JUST_NOW)
    assert (decision.verdict, decision.refusal_class) == (Verdict.REFUSE, "AcquisitionDiscontinued")
    assert "lodestone retry" in decision.sentence


def test_a_discontinued_series_that_counts_prove_whole_is_mapped_and_says_so() -> None:
    decision = decided(DISCONTINUED, whole(is_declared=True), JUST_NOW)
    assert decision.verdict is Verdict.BEGIN
    assert "although the scanner discontinued" in decision.sentence


@pytest.mark.parametrize("announcement", [DISCONTINUED, Announcement(Announced.DISCONTINUED)])
def test_what_may_still_come_of_a_discontinued_step_is_waited_for(announcement: Announcement) -> None:
    assert decided(announcement, half(), SETTLED).verdict is Verdict.WAIT
    assert decided(announcement, half(), QUIET).verdict is Verdict.REFUSE


@pytest.mark.parametrize("announcement", [ALL_HERE, MISSING, DISCONTINUED, OPEN, None])
def test_what_is_no_image_is_judged_as_without_steps(announcement: Announcement | None) -> None:
    assert decided(announcement, [], JUST_NOW).verdict is Verdict.WAIT
    assert decided(announcement, [], SETTLED).verdict is Verdict.BEGIN
