"""The summary says in words how far a map may be used, and what each figure means."""

from typing import Any

from node.summary_words import Level, failed_checks, figures, passed_checks, verdict
from pipeline.maps import Quality
from pipeline.method import LEARNED_MAP_USED, Finding

WEIGHTS = {"lodestone_net": "9" * 64}
NOISY = "The field is noisy (16.2 ppb); small structures cannot be measured."
PASSED = Finding("noise", "The map explains the field as far as its noise allows.", {}, is_warning=False)
IS_USED = Finding("source", "The susceptibility is the network's.", {LEARNED_MAP_USED: 1.0}, is_warning=False)
FAILED = Finding("envelope", "Voxels of 4.0 mm are larger than any in the training.")
FELL_BACK = Finding("source", "The susceptibility is the classical map.", {LEARNED_MAP_USED: 0.0})


def quality(*findings: Finding, warnings: tuple[str, ...] = (), **numbers: float) -> dict[str, Any]:
    known = dict(numbers)
    for finding in findings:
        known.update(finding.figures)
    said = (*warnings, *(finding.sentence for finding in findings if finding.is_warning))
    return Quality(known, said, findings, WEIGHTS if findings else {}).as_dict()


def test_a_run_without_warnings_is_good() -> None:
    assert verdict(quality()).level == Level.GOOD
    assert verdict(quality(PASSED, IS_USED)).level == Level.GOOD


def test_a_warning_leaves_the_map_usable_and_is_said() -> None:
    judged = verdict(quality(PASSED, IS_USED, warnings=(NOISY,)))
    assert judged.level == Level.WARNINGS
    assert judged.reasons == (NOISY,)


def test_a_failed_check_says_that_the_classical_map_is_shown_and_why() -> None:
    judged = verdict(quality(FAILED, FELL_BACK, warnings=(NOISY,)))
    assert judged.level == Level.FAILED
    assert "classical map" in judged.headline
    assert judged.reasons == (FAILED.sentence, NOISY)


def test_a_failed_check_without_anything_in_its_place_forbids_the_values() -> None:
    judged = verdict(quality(FAILED, IS_USED))
    assert judged.level == Level.FAILED
    assert "do not use" in judged.headline


def test_checks_are_told_apart_by_their_outcome() -> None:
    known = quality(PASSED, FAILED, FELL_BACK)
    assert failed_checks(known) == (FAILED.sentence,)
    assert passed_checks(known) == (PASSED.sentence,)


def test_every_figure_is_printed_with_its_unit_and_the_known_ones_are_explained() -> None:
    known = quality(IS_USED, mask_volume_ml=1312.4, unwrapping_residual_fraction=0.034, ringing_mm=1.25, odd=3.0)
    printed = {one.name: one for one in figures(known)}
    assert printed["Volume of the brain mask"].value == "1312 ml"
    assert printed["Echoes that disagree"].value == "3.4% of the brain"
    assert printed["Echoes that disagree"].meaning
    assert printed["Ringing"].value == "1.25 mm"
    assert printed["Odd"].value == "3"
    assert len(printed) == 4
