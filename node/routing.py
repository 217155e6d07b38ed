"""Which recipes, how soon, which peers? What the rules say of a series' attributes, and why, in words.

Pure: the attributes come in as a function from a keyword, or a path of keywords, to values. Of several values one that
fits is enough: an image type has several words, a multi-echo series several echo times.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from node.errors import IgnoredByRule, NoRuleMatches
from node.rule_settings import CLASSIC, Condition, Match, Priority, Rule

Value = str | float
Values = Sequence[Value]
ValuesOf = Callable[[str], Values]

URGENT: Priority = "urgent"
ROUTINE: Priority = "routine"
# PS3.5 6.2: an age is three digits and a unit; compared in years.
_AGE = re.compile(r"(\d{3})([DWMY])")
_PER_YEAR = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}


@dataclass(frozen=True)
class Choice:
    """One map that is to be made of a series: the names of the rules that ask for it, and what they say together.

    `scan` counts from 1 where the series holds several: repetitions, averages, slabs.
    """

    rules: tuple[str, ...]
    recipe: str
    encoding: str
    priority: Priority
    destinations: tuple[str, ...]
    scan: int = 1

    @property
    def rule(self) -> str:
        """Return the names of the rules as one text."""
        return " + ".join(self.rules)

    @property
    def map_by(self) -> str:
        """Return what tells this map from others of a series: recipe, unusual encoding, number of a later scan."""
        encoding = "" if self.encoding == CLASSIC else f" {self.encoding}"
        return f"{self.recipe}{encoding}" + (f" scan {self.scan}" if self.scan > 1 else "")


@dataclass(frozen=True)
class Answer:
    """Whether one condition holds for the values that an attribute has."""

    path: str
    wanted: str
    values: tuple[Value, ...]
    holds: bool


@dataclass(frozen=True)
class Judgement:
    """What one rule says of a series, condition by condition."""

    rule: Rule
    answers: tuple[Answer, ...]

    @property
    def wants(self) -> bool:
        """Say whether every condition holds."""
        return all(answer.holds for answer in self.answers)


def judge(rules: Sequence[Rule], values_of: ValuesOf) -> list[Judgement]:
    """Return what every rule says of a series, in the order of the rules."""
    return [
        Judgement(
            rule,
            tuple(
                Answer(path, in_words(condition), tuple(values_of(path)), holds(condition, values_of(path)))
                for path, condition in rule.when.items()
            ),
        )
        for rule in rules
    ]


def choose(rules: Sequence[Rule], values_of: ValuesOf, match: Match = "first") -> tuple[Choice, ...]:
    """Return which maps a series is to become: that of the first rule that wants it, or those of all such rules.

    Rules that name the same recipe and encoding ask for one map together. The map of the first rule stands first.

    Raises
    ------
    NoRuleMatches
        No rule wants it; the sentence names, for each rule, the first condition that does not hold.
    IgnoredByRule
        A rule that decides says that it is not to be mapped.
    """
    judgements = judge(rules, values_of)
    wanting = [judgement.rule for judgement in judgements if judgement.wants]
    if not wanting:
        reasons = [
            f"rule {one.rule.name!r} asks for another {next(a.path for a in one.answers if not a.holds)}"
            for one in judgements
        ]
        why = "; ".join(reasons) or "node.toml holds no [[rules]]"
        raise NoRuleMatches(f"No rule wants this series: {why}. Add a rule to node.toml if it should be mapped.")
    deciding = wanting[:1] if match == "first" else wanting
    for rule in deciding:
        if rule.ignore:
            raise IgnoredByRule(f"Rule {rule.name!r} says that this series is not to be mapped.")
    alike: dict[tuple[str, str], list[Rule]] = {}
    for rule in deciding:
        alike.setdefault((rule.recipe, rule.encoding), []).append(rule)
    return tuple(_together(group) for group in alike.values())


def of_every_scan(choices: Sequence[Choice], n_scans: int) -> list[Choice]:
    """Return the same choices for each scan of a series, those of the first scan first."""
    return [replace(choice, scan=scan) for scan in range(1, n_scans + 1) for choice in choices]


def own_choice(choices: Sequence[Choice], map_by: str | None) -> Choice:
    """Return the choice that concerns a series itself, or one of its further maps by what tells that from others.

    Raises
    ------
    NoRuleMatches
        No rule asks for that further map any more.
    """
    if map_by is None:
        return choices[0]
    for choice in choices[1:]:
        if choice.map_by == map_by:
            return choice
    raise NoRuleMatches(f"No rule asks for a further map of this series by recipe {map_by!r} any more.")


def _together(rules: Sequence[Rule]) -> Choice:
    return Choice(
        rules=tuple(rule.name for rule in rules),
        recipe=rules[0].recipe,
        encoding=rules[0].encoding,
        priority=URGENT if any(rule.priority == URGENT for rule in rules) else ROUTINE,
        destinations=tuple(dict.fromkeys(name for rule in rules for name in rule.destinations)),
    )


def holds(condition: Condition, values: Values) -> bool:
    """Tell whether the values of an attribute fulfil everything that a condition asks for."""
    if condition.exists is not None and condition.exists != bool(values):
        return False
    if condition.count_at_least is not None and len(values) < condition.count_at_least:
        return False
    if condition.count_at_most is not None and len(values) > condition.count_at_most:
        return False
    if condition.none_of is not None and any(_equal(value, one) for value in values for one in condition.none_of):
        return False
    tests = _tests(condition)
    if not tests:
        return True
    fitting = [all(test(value) for test in tests) for value in values]
    return bool(fitting) and all(fitting) if condition.every else any(fitting)


def _tests(condition: Condition) -> list[Callable[[Value], bool]]:
    """Return what one value must pass."""
    tests: list[Callable[[Value], bool]] = []
    if condition.equals is not None:
        wanted = condition.equals
        tests.append(lambda value: _equal(value, wanted))
    if condition.one_of is not None:
        several = condition.one_of
        tests.append(lambda value: any(_equal(value, one) for one in several))
    if condition.matches is not None:
        pattern = re.compile(condition.matches)
        tests.append(lambda value: pattern.search(_text(value)) is not None)
    limits: tuple[tuple[float | None, Callable[[float, float], bool]], ...] = (
        (condition.at_least, lambda number, limit: number >= limit),
        (condition.at_most, lambda number, limit: number <= limit),
        (condition.above, lambda number, limit: number > limit),
        (condition.below, lambda number, limit: number < limit),
    )
    tests += [_limit(limit, compare) for limit, compare in limits if limit is not None]
    return tests


def _limit(limit: float, compare: Callable[[float, float], bool]) -> Callable[[Value], bool]:
    def passes(value: Value) -> bool:
        number = _number(value)
        return number is not None and compare(number, limit)

    return passes


def in_words(condition: Condition) -> str:
    """Return what a condition asks for, as the end of "it must be …"."""
    phrases = []
    if condition.exists is not None:
        phrases.append("there" if condition.exists else "absent")
    if condition.count_at_least is not None:
        phrases.append(f"at least {condition.count_at_least} values")
    if condition.count_at_most is not None:
        phrases.append(f"at most {condition.count_at_most} values")
    if condition.none_of is not None:
        phrases.append(f"none of {_listed(condition.none_of)}")
    if condition.equals is not None:
        phrases.append(_listed([condition.equals]))
    if condition.one_of is not None:
        phrases.append(f"one of {_listed(condition.one_of)}")
    if condition.matches is not None:
        phrases.append(f"like the regular expression {condition.matches!r}")
    limits = (
        ("at least", condition.at_least),
        ("at most", condition.at_most),
        ("above", condition.above),
        ("below", condition.below),
    )
    phrases += [f"{word} {limit:g}" for word, limit in limits if limit is not None]
    return " and ".join(phrases) + (", every value of it" if condition.every else "")


def _listed(wanted: Sequence[bool | int | float | str]) -> str:
    return ", ".join(f"{one:g}" if isinstance(one, float) else repr(one) for one in wanted)


def _equal(value: Value, wanted: bool | int | float | str) -> bool:
    if isinstance(wanted, str):
        return _text(value) == wanted.strip()
    number = _number(value)
    return number is not None and number == float(wanted)


def _text(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else value.strip()


def _number(value: Value) -> float | None:
    age = _AGE.fullmatch(value.strip()) if isinstance(value, str) else None
    if age:
        return int(age[1]) / _PER_YEAR[age[2]]
    try:
        return float(value)
    except ValueError:
        return None
