"""The first rule whose conditions all hold decides; a series that no rule wants is refused with the reason."""

import pytest

from node.errors import NoRuleMatches
from node.routing import choose_rule, holds
from node.settings import Condition, Rule

ATTRIBUTES = {
    "Manufacturer": ["Philips Medical Systems"],
    "EchoTime": [2.3, 4.6],
    "ImageType": ["ORIGINAL", "PRIMARY", "M_FFE"],
    "MagneticFieldStrength": [3.0],
    "SeriesNumber": ["301"],
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
    assert choose_rule(rules, values_of).name == "3 T"
    assert choose_rule(rules[2:], values_of).name == "all"


def test_every_condition_of_a_rule_must_hold() -> None:
    when = {"Manufacturer": Condition(matches="Philips"), "MagneticFieldStrength": Condition(equals=7)}
    with pytest.raises(NoRuleMatches, match="'7 T' asks for another MagneticFieldStrength"):
        choose_rule([Rule(name="7 T", when=when)], values_of)


def test_without_rules_nothing_is_mapped() -> None:
    with pytest.raises(NoRuleMatches, match="holds no"):
        choose_rule([], values_of)
