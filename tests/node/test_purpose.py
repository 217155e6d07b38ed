"""What never was to become a map is ignored on purpose; what should have become one stays refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from db import audit, series
from db.series import State
from dicom_io.errors import IncompleteSeries, MixedSeries, NoPhaseInProtocol, PhaseMissing, UnsupportedObject
from dicom_io.read.headers import FrameHeader, read_frame_headers
from dicom_io.series import Part
from node import engine
from node.app import build_services_from_file
from node.errors import IgnoredByRule, NoRuleMatches
from node.journey import assembled
from node.journey.received import receive
from node.purpose import is_scout, why_ignored
from node.series_attributes import priority_by_rules, reason_to_ignore
from tests.node import scans

URGENT_RULE = """
[[rules]]
name = "two echoes"
priority = "urgent"
[rules.when]
EchoTime = { count_at_least = 2 }
"""
NOT_THESE = """
[[rules]]
name = "not these"
ignore = true
[rules.when]
Modality = { equals = "MR" }
"""
RULES = "[[rules]]"


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[FrameHeader]:
    paths = scans.write(tmp_path_factory.mktemp("scan"), scans.instances())
    return [frame for path in paths for frame in read_frame_headers(path)]


def scout_of(frames: list[FrameHeader]) -> list[FrameHeader]:
    magnitude = [frame for frame in frames if frame.part is Part.MAGNITUDE][:6]
    turned = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
    return [*magnitude[:3], *(replace(frame, orientation=turned) for frame in magnitude[3:])]


@pytest.mark.parametrize("kind", [UnsupportedObject, NoPhaseInProtocol, IgnoredByRule, NoRuleMatches])
def test_a_series_that_never_could_become_a_map_is_ignored_with_the_reason(kind: type[Exception]) -> None:
    reason = why_ignored(kind("So says its header."), [], [], has_rules=True)
    assert reason.startswith("Ignored on purpose, because ")
    assert reason.endswith("So says its header.")


@pytest.mark.parametrize("kind", [PhaseMissing, IncompleteSeries, MixedSeries])
def test_a_series_with_a_mistake_stays_refused(kind: type[Exception], frames: list[FrameHeader]) -> None:
    assert why_ignored(kind("Echo 2 lacks slice 3."), frames, ["ORIGINAL", "PRIMARY", "M"], has_rules=True) == ""


def test_without_any_rule_the_site_is_at_fault_not_the_series() -> None:
    assert why_ignored(NoRuleMatches("No rule."), [], [], has_rules=False) == ""


def test_a_scout_is_known_by_its_directions_or_by_its_own_word(frames: list[FrameHeader]) -> None:
    magnitude = [frame for frame in frames if frame.part is Part.MAGNITUDE]
    assert is_scout(scout_of(frames), [])
    assert is_scout(magnitude, ["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert not is_scout(magnitude, ["ORIGINAL", "PRIMARY", "M"])
    assert not is_scout(frames, ["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert "scout" in why_ignored(MixedSeries("Orientations differ."), scout_of(frames), [], has_rules=True)


def test_two_whole_acquisitions_in_two_directions_are_no_scout(frames: list[FrameHeader]) -> None:
    magnitude = [frame for frame in frames if frame.part is Part.MAGNITUDE]
    turned = [replace(frame, orientation=(0.0, 1.0, 0.0, 0.0, 0.0, -1.0)) for frame in magnitude]
    assert not is_scout([*magnitude, *turned], [])


def test_a_rule_that_ignores_ends_the_series_as_ignored_and_the_record_says_so(node_toml, tmp_path: Path) -> None:
    path = node_toml(port=0, archive_port=1)
    path.write_text(path.read_text().replace(RULES, NOT_THESE + RULES, 1))
    services = build_services_from_file(path)
    for image in scans.instances()[:3]:
        key = receive(services, scans.store(services, image), "SCANNER").series_key
    with pytest.raises(IgnoredByRule) as refusal:
        assembled.step(key, services)
    reason = reason_to_ignore(services, key, refusal.value)
    assert "'not these'" in reason
    with services.database.begin() as session:
        current = series.get(session, key)
        series.change_state(session, current, State.IGNORED, {}, reason, "IgnoredByRule")
        assert audit.list_events(session, key)[-1].event == "series.ignored"
    services.close()


def test_the_engine_takes_an_urgent_series_first(node_toml, tmp_path: Path) -> None:
    path = node_toml(port=0, archive_port=1)
    routine = build_services_from_file(path)
    for image in scans.instances()[:64]:
        key = receive(routine, scans.store(routine, image), "SCANNER").series_key
    path.write_text(path.read_text().replace(RULES, URGENT_RULE + RULES, 1))
    urgent = build_services_from_file(path)
    found = []
    for services in (routine, urgent):
        with services.database.read() as session:
            priority_of = priority_by_rules(services.settings, services.inbox)
            found.append(priority_of(session, series.get(session, key)))
        services.close()
    assert found == [engine.ROUTINE, engine.URGENT]
    assert engine.URGENT < engine.ROUTINE


@pytest.mark.parametrize(
    ("image_type", "is_ignored"),
    [
        (["ORIGINAL", "PRIMARY", "M", "SWI", "NORM"], True),
        (["DERIVED", "PRIMARY", "MNIP", "SWI"], True),
        (["DERIVED", "PRIMARY", "R2_STAR MAP"], True),
        (["ORIGINAL", "PRIMARY", "OTHER"], False),
    ],
)
def test_what_the_scanner_made_of_other_images_is_ignored_and_what_lost_its_name_is_not(
    image_type: list[str], is_ignored: bool, frames: list[FrameHeader]
) -> None:
    nameless = [replace(frame, part=Part.UNKNOWN) for frame in frames]
    magnitude = [frame for frame in frames if frame.part is Part.MAGNITUDE]
    refusal = PhaseMissing("Only magnitude.")
    assert why_ignored(refusal, nameless, image_type, has_rules=True).startswith("Ignored on purpose") is is_ignored
    assert why_ignored(refusal, magnitude, image_type, has_rules=True) == ""
