"""Which recipe, which peers? The first rule whose conditions all hold for a series' attributes.

Pure: the attributes come in as a function from keyword to values. Of several values one that fits is enough: an image
type has several words, a multi-echo series several echo times.
"""

import re
from collections.abc import Callable, Sequence

from node.errors import NoRuleMatches
from node.settings import Condition, Rule

Values = Sequence[str | float]
ValuesOf = Callable[[str], Values]


def choose_rule(rules: Sequence[Rule], values_of: ValuesOf) -> Rule:
    """Return the first rule that wants the series.

    Raises
    ------
    NoRuleMatches
        No rule does; the sentence names, for each rule, the first condition that does not hold.
    """
    reasons = []
    for rule in rules:
        failed = [keyword for keyword, condition in rule.when.items() if not holds(condition, values_of(keyword))]
        if not failed:
            return rule
        reasons.append(f"rule {rule.name!r} asks for another {failed[0]}")
    why = "; ".join(reasons) or "node.toml holds no [[rules]]"
    raise NoRuleMatches(f"No rule wants this series: {why}. Add a rule to node.toml if it should be mapped.")


def holds(condition: Condition, values: Values) -> bool:
    """Tell whether the values of an attribute fulfil everything that a condition asks for."""
    if condition.exists is not None and condition.exists != bool(values):
        return False
    tests: list[Callable[[str | float], bool]] = []
    if condition.equals is not None:
        wanted = condition.equals
        tests.append(lambda value: _equal(value, wanted))
    if condition.one_of is not None:
        several = condition.one_of
        tests.append(lambda value: any(_equal(value, one) for one in several))
    if condition.matches is not None:
        pattern = re.compile(condition.matches)
        tests.append(lambda value: pattern.search(_text(value)) is not None)
    if condition.at_least is not None:
        least = condition.at_least
        tests.append(lambda value: _number(value) is not None and float(value) >= least)
    if condition.at_most is not None:
        most = condition.at_most
        tests.append(lambda value: _number(value) is not None and float(value) <= most)
    return not tests or any(all(test(value) for test in tests) for value in values)


def _equal(value: str | float, wanted: bool | int | float | str) -> bool:
    if isinstance(wanted, str):
        return _text(value) == wanted.strip()
    number = _number(value)
    return number is not None and number == float(wanted)


def _text(value: str | float) -> str:
    return f"{value:g}" if isinstance(value, float) else value.strip()


def _number(value: str | float) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None
