"""One thing that an installation check looked at: what it is, how bad it is, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Level(StrEnum):
    """How bad a finding is; only a problem makes `lodestone check` fail."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, and what to do about it where it is not in order."""

    what: str
    level: Level
    sentence: str
    remedy: str = ""
