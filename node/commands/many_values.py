"""A command whose options take several values in a row, as people write them: `--echo-times-s 0.004 0.008 0.012`."""

import re
from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand

NUMBERS = frozenset({"--echo-times-s", "--b0-direction"})
FILES = frozenset({"--phase", "--magnitude", "--unwrapped-phase", "--in"})
_NUMBER = re.compile(r"[0-9.,eE+-]+")


class ManyValues(TyperCommand):
    """Repeats the option in front of every further value before the ordinary parser sees the words."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words after the command's name."""
        return super().parse_args(ctx, spread(args))


def spread(args: Iterable[str]) -> list[str]:
    """Return the words with `--x 1 2,3` written as `--x 1 --x 2 --x 3`."""
    spread_words: list[str] = []
    option, has_value = "", True
    for word in args:
        name, equals, value = word.partition("=")
        if name not in NUMBERS | FILES and option and _belongs(option, word):
            spread_words += _repeated(option, word)
            has_value = True
            continue
        # An option without any value stays as it is, so that the ordinary parser complains about it.
        spread_words += [] if has_value else [option]
        option, has_value = "", True
        if name not in NUMBERS | FILES:
            spread_words.append(word)
        elif equals:
            option = name
            spread_words += _repeated(option, value)
        else:
            option, has_value = name, False
    return spread_words if has_value else [*spread_words, option]


def _belongs(option: str, word: str) -> bool:
    return bool(_NUMBER.fullmatch(word)) if option in NUMBERS else not word.startswith("-")


def _repeated(option: str, word: str) -> list[str]:
    # A file name may hold a comma; a list of numbers is split at every one.
    pieces = [part for part in word.split(",") if part] if option in NUMBERS else [word]
    return [piece for part in pieces for piece in (option, part)]
