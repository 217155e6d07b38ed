"""What independent programs say of written objects, and which of their warnings are listed with a reason."""

import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from node.object_kinds import COMPANION_KINDS, ObjectKind

LISTED = Path(__file__).resolve().parents[2] / "deploy" / "validator_warnings.md"
ANY = "any"
# One word of the list for every kind that is a series of MR images.
GROUPS = {"images": (ObjectKind.SUSCEPTIBILITY, ObjectKind.CLASSICAL, *COMPANION_KINDS)}
_TABLE_ROW = re.compile(r"^\|(?P<cells>.+)\|$")
_WARNING = re.compile(r"^Warning - <(?P<path>[^>]*)> - (?P<message>.*)$")
_ITEM = re.compile(r"(\([0-9a-f]{4},[0-9a-f]{4}\))?(\[\d+\])?")
_VALUE = re.compile(r" = <(?P<value>.*?)>")
_BETWEEN_OBJECTS = re.compile(r"^Warning - (?P<message>.*?) - Element=<(?P<attribute>\w+)>")


@dataclass(frozen=True)
class Complaint:
    """One warning: the attribute with the sequence that holds it, what is said of it, and the value that is quoted."""

    attribute: str
    message: str
    value: str = ANY
    kind: str = ""


@dataclass(frozen=True)
class Row:
    """One row of the list: the complaint, which kinds of object may cause it, and why it stands."""

    attribute: str
    message: str
    value: str
    kinds: frozenset[str]
    reason: str

    def covers(self, complaint: Complaint) -> bool:
        """Say whether this row lists the complaint."""
        return (
            self.attribute in (ANY, complaint.attribute)
            and self.message == complaint.message
            and self.value in (ANY, complaint.value)
            and (complaint.kind in self.kinds or ANY in self.kinds)
        )


@dataclass(frozen=True)
class Verdict:
    """What dciodvfy says of one object: what it takes it for, and its errors and warnings."""

    iod: str
    errors: tuple[str, ...]
    warnings: tuple[Complaint, ...]


def judge(dciodvfy: str, path: Path, kind: str) -> Verdict:
    """Ask dciodvfy for everything it has to say of an object."""
    said = _said([dciodvfy, "-new", str(path)])
    names = [line for line in said if not line.startswith(("Error", "Warning"))]
    warnings = tuple(complaint(line, kind) for line in said if line.startswith("Warning"))
    return Verdict(" ".join(names), tuple(line for line in said if line.startswith("Error")), warnings)


def judge_together(dcentvfy: str, paths: Sequence[Path]) -> Verdict:
    """Ask dcentvfy whether patient, study, series and frame of reference are the same in all objects."""
    said = _said([dcentvfy, *map(str, paths)])
    found = {match.group("message", "attribute") for line in said if (match := _BETWEEN_OBJECTS.match(line))}
    unread = [line for line in said if not _BETWEEN_OBJECTS.match(line)]
    warnings = tuple(Complaint(attribute, message) for message, attribute in sorted(found))
    return Verdict("", tuple(unread), warnings)


def complaint(line: str, kind: str = "") -> Complaint:
    """Reduce a warning of dciodvfy to what does not depend on the position of an item."""
    match = _WARNING.match(line)
    assert match, f"dciodvfy said something new: {line}"
    names = [_ITEM.sub("", part) for part in match["path"].split("/") if part]
    quoted = _VALUE.search(match["message"])
    message = _VALUE.sub("", match["message"])
    return Complaint("/".join(names[-2:]), message, quoted["value"] if quoted else ANY, kind)


def unlisted(complaints: Iterable[Complaint], rows: Sequence[Row]) -> set[Complaint]:
    """Return the complaints that no row covers."""
    return {found for found in complaints if not any(row.covers(found) for row in rows)}


def listed_rows(n_cells: int) -> list[Row]:
    """Read the rows of every table with `n_cells` columns in the list of warnings."""
    rows = []
    for line in LISTED.read_text(encoding="utf-8").splitlines():
        match = _TABLE_ROW.match(line)
        cells = [cell.strip().strip("`") for cell in match["cells"].split(" | ")] if match else []
        if len(cells) == n_cells and not set(line) <= set("|- ") and cells[0] != "Attribute":
            value, kinds = (cells[2], cells[3]) if n_cells == 5 else (ANY, ANY)
            named = kinds.replace(",", " ").split()
            every = {kind for word in named for kind in GROUPS.get(word, (word,))}
            rows.append(Row(cells[0], cells[1], value, frozenset(every), cells[-1]))
    return rows


def _said(command: Sequence[str]) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120, check=False)
    return [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
