"""Whether the work begins is decided by counting; the clock decides only where the headers cannot."""

from dicom_io.read.headers import FrameHeader, read_frame_headers
from dicom_io.read.sorting import assess
from dicom_io.series import Part
from node.completeness import Arrival, Verdict, decide, lacking_part
from node.reading_study.subjects import simulated_subjects
from tests.node.scans import instances, split

JUST_NOW = Arrival(seconds_since_last=0.0, association_is_over=False)
SETTLED = Arrival(seconds_since_last=5.0, association_is_over=True)
OPEN_BUT_SILENT = Arrival(seconds_since_last=5.0, association_is_over=False)
QUIET = Arrival(seconds_since_last=100.0, association_is_over=False)


def frames_of(images: list) -> list[FrameHeader]:
    return [frame for image in images for frame in read_frame_headers(image)]


def undeclared(images: list) -> list:
    for image in images:
        del image.ImagesInAcquisition
    return images


def verdict(frames: list[FrameHeader], arrival: Arrival) -> Verdict:
    return decide(assess(frames) if frames else None, arrival, settle_s=3.0, quiet_time_s=60.0).verdict


def test_a_series_that_declares_its_images_begins_the_moment_the_last_has_come() -> None:
    images = instances()
    assert verdict(frames_of(images), JUST_NOW) is Verdict.BEGIN
    assert verdict(frames_of(images[:-1]), JUST_NOW) is Verdict.WAIT
    assert verdict(frames_of(images[:-1]), SETTLED) is Verdict.WAIT


def test_a_pair_complete_by_count_waits_for_a_pause_in_which_the_other_pair_would_come() -> None:
    found = frames_of(subject("philips_classic_complex"))
    pair = [frame for frame in found if frame.part in (Part.MAGNITUDE, Part.PHASE)]
    assert assess(pair).is_certain
    assert verdict(pair, JUST_NOW) is Verdict.WAIT
    assert verdict(found[: len(pair) + 1], OPEN_BUT_SILENT) is Verdict.WAIT
    assert verdict(found, JUST_NOW) is Verdict.BEGIN
    assert verdict(pair, OPEN_BUT_SILENT) is Verdict.BEGIN
    assert verdict(frames_of(subject("philips_enhanced")), JUST_NOW) is Verdict.BEGIN


def subject(flavour: str) -> list:
    return list(next(one for one in simulated_subjects() if one.name == flavour).objects)


def test_without_declared_counts_a_full_grid_waits_for_the_association_to_settle() -> None:
    frames = frames_of(undeclared(instances()))
    assert verdict(frames, JUST_NOW) is Verdict.WAIT
    assert verdict(frames, OPEN_BUT_SILENT) is Verdict.WAIT
    assert verdict(frames, SETTLED) is Verdict.BEGIN


def test_only_the_quiet_time_ends_the_wait_for_a_missing_slice() -> None:
    frames = [frame for frame in frames_of(instances()) if not (frame.position[2] > 13 and frame.echo_time_ms > 17)]
    assert verdict(frames, SETTLED) is Verdict.WAIT
    decision = decide(assess(frames), QUIET, settle_s=3.0, quiet_time_s=60.0)
    assert decision.verdict is Verdict.BEGIN
    assert decision.sentence == "incomplete: echo 2 lacks slice 16"


def test_half_an_acquisition_waits_for_its_other_half() -> None:
    magnitude, phase = (frames_of(half) for half in split(instances()))
    for half, lacking in ((magnitude, Part.PHASE), (phase, Part.MAGNITUDE)):
        assert lacking_part(assess(half)) is lacking
        assert verdict(half, SETTLED) is Verdict.WAIT
        assert verdict(half, QUIET) is Verdict.BEGIN
    assert verdict(magnitude + phase, SETTLED) is Verdict.BEGIN


def test_what_is_no_image_waits_only_for_the_association_to_settle() -> None:
    assert verdict([], JUST_NOW) is Verdict.WAIT
    assert verdict([], SETTLED) is Verdict.BEGIN
    assert verdict([], QUIET) is Verdict.BEGIN
