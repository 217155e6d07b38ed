"""The first rule whose conditions all hold decides, or all such rules; a series that no rule wants hears the reason."""

from pathlib import Path

import pytest
from pydicom import Dataset

from dicom_io.instance import open_instance
from dicom_io.read.attributes import attribute_values
from dicom_io.read.headers import read_frame_headers
from node.errors import IgnoredByRule, InvalidSettings, NoRuleMatches
from node.routing import choose, holds, in_words, judge, own_choice
from node.rule_settings import Condition, Rule
from node.series_attributes import values_in
from node.settings import load_settings, parse_settings
from tests.node import scans

ATTRIBUTES = {
    "Manufacturer": ["Philips Medical Systems"],
    "EchoTime": [2.3, 4.6],
    "ImageType": ["ORIGINAL", "PRIMARY", "M_FFE"],
    "MagneticFieldStrength": [3.0],
    "SeriesNumber": ["301"],
    "PatientAge": ["018M"],
}


def values_of(keyword: str) -> list[str | float]:
    return ATTRIBUTES.get(keyword, [])


@pytest.mark.parametrize(
    ("keyword", "condition", "expected"),
    [
        ("Manufacturer", {"equals": "Philips Medical Systems"}, True),
        ("Manufacturer", {"equals": "Philips"}, False),
        ("Manufacturer", {"matches": "^Philips"}, True),
        ("Manufacturer", {"matches": "^philips"}, False),
        ("ImageType", {"equals": "M_FFE"}, True),
        ("ImageType", {"one_of": ["P_FFE", "M_FFE"]}, True),
        ("ImageType", {"one_of": ["P_FFE"]}, False),
        ("EchoTime", {"equals": 4.6}, True),
        ("EchoTime", {"equals": "4.6"}, True),
        ("EchoTime", {"at_least": 4.0}, True),
        ("EchoTime", {"at_least": 5.0}, False),
        ("EchoTime", {"at_least": 3.0, "at_most": 4.0}, False),
        ("EchoTime", {"at_least": 2.0, "at_most": 3.0}, True),
        ("MagneticFieldStrength", {"equals": 3}, True),
        ("SeriesNumber", {"equals": 301}, True),
        ("SeriesNumber", {"at_most": 300}, False),
        ("Manufacturer", {"at_least": 1.0}, False),
        ("ProtocolName", {"exists": False}, True),
        ("ProtocolName", {"exists": True}, False),
        ("ProtocolName", {"equals": "qsm"}, False),
        ("Manufacturer", {"exists": True, "matches": "Philips"}, True),
        ("EchoTime", {"above": 4.6}, False),
        ("EchoTime", {"above": 4.5}, True),
        ("EchoTime", {"below": 2.3}, False),
        ("EchoTime", {"below": 4.0, "every": True}, False),
        ("EchoTime", {"below": 5.0, "every": True}, True),
        ("ProtocolName", {"below": 5.0, "every": True}, False),
        ("EchoTime", {"count_at_least": 2}, True),
        ("EchoTime", {"count_at_least": 3}, False),
        ("EchoTime", {"count_at_most": 1}, False),
        ("ImageType", {"none_of": ["DERIVED", "SECONDARY"]}, True),
        ("ImageType", {"none_of": ["DERIVED", "PRIMARY"]}, False),
        ("ProtocolName", {"none_of": ["localizer"]}, True),
        ("PatientAge", {"below": 2}, True),
        ("PatientAge", {"at_least": 1.5, "at_most": 1.5}, True),
        ("Manufacturer", {"at_most": 1e9}, False),
    ],
)
def test_a_condition_holds_if_one_of_the_values_fits(keyword: str, condition: dict, expected: bool) -> None:
    assert holds(Condition(**condition), values_of(keyword)) is expected


def test_the_first_rule_that_fits_decides() -> None:
    rules = [
        Rule(name="1.5 T", when={"MagneticFieldStrength": Condition(at_most=2.0)}),
        Rule(name="3 T", when={"MagneticFieldStrength": Condition(at_least=2.5)}, recipe="v_sharp_tv"),
        Rule(name="all"),
    ]
    (chosen,) = choose(rules, values_of)
    assert (chosen.rule, chosen.recipe) == ("3 T", "v_sharp_tv")
    assert [choice.rule for choice in choose(rules[2:], values_of)] == ["all"]


def test_all_rules_together_send_one_map_everywhere_as_soon_as_the_most_urgent_asks() -> None:
    rules = [
        Rule(name="ward", destinations=("PACS",)),
        Rule(name="stroke", destinations=("STROKE", "PACS"), priority="urgent"),
        Rule(name="7 T", destinations=("RESEARCH",), when={"MagneticFieldStrength": Condition(at_least=6)}),
    ]
    (first,), (together,) = choose(rules, values_of), choose(rules, values_of, "all")
    assert (first.rule, first.destinations, first.priority) == ("ward", ("PACS",), "routine")
    assert (together.rule, together.destinations) == ("ward + stroke", ("PACS", "STROKE"))
    assert together.priority == "urgent"


def test_rules_with_other_recipes_ask_for_a_map_each_when_all_are_asked() -> None:
    rules = [
        Rule(name="ward", destinations=("PACS",)),
        Rule(name="study", recipe="v_sharp_tv", destinations=("RESEARCH",), priority="urgent"),
        Rule(name="modern", encoding="as_source"),
        Rule(name="twin", recipe="v_sharp_tv", destinations=("PACS",)),
    ]
    assert [choice.rule for choice in choose(rules, values_of)] == ["ward"]
    ward, study, modern = choose(rules, values_of, "all")
    assert (ward.rules, ward.destinations, ward.priority) == (("ward",), ("PACS",), "routine")
    assert (study.rules, study.destinations, study.priority) == (("study", "twin"), ("RESEARCH", "PACS"), "urgent")
    assert [one.map_by for one in (ward, study, modern)] == ["default", "v_sharp_tv", "default as_source"]


def test_a_further_map_is_told_from_the_first_and_from_one_that_nobody_asks_for() -> None:
    choices = choose([Rule(name="one"), Rule(name="other", recipe="v_sharp_tv")], values_of, "all")
    assert own_choice(choices, None).rule == "one"
    assert own_choice(choices, "v_sharp_tv").rule == "other"
    for gone in ("default", "learned"):
        with pytest.raises(NoRuleMatches, match=f"'{gone}' any more"):
            own_choice(choices, gone)


@pytest.mark.parametrize("match", ["first", "all"])
def test_a_series_that_a_rule_ignores_is_not_mapped(match: str) -> None:
    rules = [Rule(name="not these", ignore=True, when={"EchoTime": Condition(exists=True)}), Rule(name="rest")]
    with pytest.raises(IgnoredByRule, match="'not these'"):
        choose(rules, values_of, match)
    assert [choice.rule for choice in choose(rules, lambda keyword: [], match)] == ["rest"]


def test_every_condition_of_a_rule_must_hold() -> None:
    when = {"Manufacturer": Condition(matches="Philips"), "MagneticFieldStrength": Condition(equals=7)}
    with pytest.raises(NoRuleMatches, match="'7 T' asks for another MagneticFieldStrength"):
        choose([Rule(name="7 T", when=when)], values_of)


def test_without_rules_nothing_is_mapped() -> None:
    with pytest.raises(NoRuleMatches, match="holds no"):
        choose([], values_of)


def test_a_judgement_holds_every_condition_with_the_values_it_met() -> None:
    when = {"Manufacturer": Condition(matches="GE"), "EchoTime": Condition(count_at_least=2, below=30)}
    (judgement,) = judge([Rule(name="GE", when=when)], values_of)
    assert not judgement.wants
    assert [(answer.path, answer.holds) for answer in judgement.answers] == [
        ("Manufacturer", False),
        ("EchoTime", True),
    ]
    assert judgement.answers[0].values == ("Philips Medical Systems",)
    assert judgement.answers[1].wanted == "at least 2 values and below 30"


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"equals": 3.0}, "3"),
        ({"equals": "M"}, "'M'"),
        ({"one_of": ["M", 2]}, "one of 'M', 2"),
        ({"none_of": ["M"]}, "none of 'M'"),
        ({"exists": False}, "absent"),
        ({"matches": "^a"}, "like the regular expression '^a'"),
        ({"above": 1, "below": 2.5, "every": True}, "above 1 and below 2.5, every value of it"),
    ],
)
def test_a_condition_is_told_in_words(condition: dict, words: str) -> None:
    assert in_words(Condition(**condition)) == words


IN_A_SEQUENCE = "RequestAttributesSequence.ScheduledProcedureStepDescription"
RULE_BY_SEQUENCE = """
[[rules]]
name = "asked for"
[rules.when]
{key} = {{ matches = "(?i)qsm" }}
"""


@pytest.mark.parametrize("key", [f'"{IN_A_SEQUENCE}"', IN_A_SEQUENCE], ids=["in quotes", "without quotes"])
def test_attributes_within_sequences_are_reached_by_their_path(key: str, tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text(RULE_BY_SEQUENCE.format(key=key))
    rules = load_settings(tmp_path / "node.toml").rules
    images = scans.instances()
    plain = scans.write(tmp_path / "plain", images[:2])
    for image in images:
        steps = [Dataset(), Dataset()]
        steps[1].ScheduledProcedureStepDescription = "Head QSM"
        image.RequestAttributesSequence = steps
    asked = scans.write(tmp_path / "asked", images[:2])
    assert [choice.rule for choice in choose(rules, values_in(held(asked)))] == ["asked for"]
    assert values_in(held(asked))("RequestAttributesSequence") == [2.0]
    with pytest.raises(NoRuleMatches, match=f"another {IN_A_SEQUENCE}"):
        choose(rules, values_in(held(plain)))


def held(paths: list[Path]) -> list:
    return [(path, read_frame_headers(path)) for path in paths]


def test_rules_see_every_part_whatever_the_order_of_the_files(tmp_path: Path) -> None:
    files = held(scans.write(tmp_path, scans.instances()))
    forwards, backwards = values_in(files), values_in(files[::-1])
    assert {"M", "P"} <= set(forwards("ImageType"))
    for path in ("ImageType", "EchoTime", "SOPInstanceUID", "Manufacturer"):
        assert forwards(path) == backwards(path)
    assert forwards("EchoTime") == [1000 * time for time in scans.ECHO_TIMES_S]


def test_a_macro_of_an_enhanced_image_can_be_named(tmp_path: Path) -> None:
    header = open_instance(scans.write(tmp_path, scans.instances()[:1])[0])
    echo, groups = Dataset(), Dataset()
    echo.EffectiveEchoTime = 4.5
    groups.MREchoSequence = [echo]
    header.PerFrameFunctionalGroupsSequence = [groups]
    assert attribute_values(header, "MREchoSequence.EffectiveEchoTime") == [4.5]
    assert attribute_values(header, "EffectiveEchoTime") == [4.5]


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"when": {"EchoTim": {"exists": True}}}, "EchoTim.*did you mean 'EchoTime'"),
        ({"when": {"EchoTime.PatientName": {"exists": True}}}, "EchoTime.*is no sequence"),
        ({"when": {"EchoTime": {"every": True}}}, "needs one of equals"),
        ({"when": {"EchoTime": {"matches": "("}}}, "no regular expression"),
        ({"when": {"EchoTime": {"atleast": 3}}}, "did you mean 'at_least'"),
        ({"priority": "stat"}, "priority"),
        ({"ignore": True}, "would ignore every series"),
        ({"ignore": True, "recipe": "default", "when": {"EchoTime": {"exists": True}}}, "it has no recipe"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(rule: dict, sentence: str) -> None:
    with pytest.raises(InvalidSettings, match=sentence):
        parse_settings({"rules": [{"name": "one", **rule}]})
