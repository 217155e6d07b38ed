"""A table of an evaluation: what a comparison found, in cells that print, save and travel as JSON alike."""

import csv
import io
import math
from dataclasses import dataclass

from pipeline.errors import UnusableInput

_UNKNOWN = "–"


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; not numbers where nothing is known."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return _UNKNOWN
        if math.isnan(self.low):
            return shown(self.value)
        return f"{shown(self.value)} [{shown(self.low)}, {shown(self.high)}]"


Cell = object
"""A text, a number, an `Estimate`, or None where there is nothing."""


@dataclass(frozen=True)
class EvaluationTable:
    """What one comparison found.

    Attributes
    ----------
    title
        One line.
    columns
        Headings, with units in square brackets.
    rows
        Cells of each row, as many as headings.
    notes
        Sentences that belong below it: how many samples, what a threshold was, what is missing.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise UnusableInput(
                    f"A row of '{self.title}' has {len(row)} cells below {len(self.columns)} headings: {row}."
                )

    def texts(self) -> list[list[str]]:
        """Return the cells as a person reads them."""
        return [[shown(cell) for cell in row] for row in self.rows]

    def text(self) -> str:
        """Return the table in aligned plain text, the first column to the left, the others to the right."""
        cells = [list(self.columns), *self.texts()]
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.columns))]
        lines = [
            "  ".join(
                cell.rjust(width) if column else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        return "\n".join([self.title, *lines, *self.notes]) + "\n"

    def csv(self) -> str:
        """Return the table as comma-separated values; an estimate takes three columns."""
        written = io.StringIO()
        writer = csv.writer(written, lineterminator="\n")
        spread = [any(isinstance(row[index], Estimate) for row in self.rows) for index in range(len(self.columns))]
        heading: list[str] = []
        for name, is_wide in zip(self.columns, spread, strict=True):
            heading += [name, f"{name} low", f"{name} high"] if is_wide else [name]
        writer.writerow(heading)
        for row in self.rows:
            writer.writerow([part for cell, is_wide in zip(row, spread, strict=True) for part in _parts(cell, is_wide)])
        return written.getvalue()

    def document(self) -> dict[str, object]:
        """Return plain values for JSON; what is not a finite number is None."""
        return {
            "title": self.title,
            "columns": list(self.columns),
            "rows": [[_plain(cell) for cell in row] for row in self.rows],
            "notes": list(self.notes),
        }


def shown(cell: Cell) -> str:
    """Return a cell as a person reads it: numbers in the digits that matter, a dash where there is none."""
    if cell is None:
        return _UNKNOWN
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if not isinstance(cell, float):
        return str(cell)
    if math.isnan(cell):
        return _UNKNOWN
    size = abs(cell)
    if size >= 1000 or math.isinf(cell):
        return f"{cell:.0f}"
    return f"{cell:.1f}" if size >= 10 else f"{cell:.2f}" if size >= 1 else f"{cell:.3f}"


def _parts(cell: Cell, is_wide: bool) -> list[Cell]:
    if isinstance(cell, Estimate):
        return [cell.value, cell.low, cell.high]
    return [cell, "", ""] if is_wide else [cell]


def _plain(cell: Cell) -> object:
    if isinstance(cell, Estimate):
        return {"value": _plain(cell.value), "low": _plain(cell.low), "high": _plain(cell.high)}
    if isinstance(cell, float) and not math.isfinite(cell):
        return None
    return cell if isinstance(cell, bool | int | float | str) or cell is None else str(cell)
