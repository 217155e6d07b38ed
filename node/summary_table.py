"""The table of regions in the printed summary: right and left side by side, as the picture shows them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from reportlab.lib import colors
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import Table, TableStyle

from dicom_io.codes import LEFT, RIGHT, region
from node.summary_fonts import BOLD, REGULAR
from pipeline.regions.measurements import RegionMeasurement

PPB_PER_PPM = 1000.0
_SIDE_WORDS = re.compile(r"(?i)(?<![^\W_])(left|right|lh|rh|l|r)(?![^\W_])")
_SIDE_PADDING = (2, 4)
_LINE, _SHADE = colors.HexColor("#b8c0c8"), colors.HexColor("#eef1f4")
_ABSENT = "–"
_COLUMNS_IN_FULL_SIZE = 3
_SHARES = {"mean ± SD": 2.1, "90 % ±": 1.2, "classical": 1.4}
_SIDES = {RIGHT.value: "right", LEFT.value: "left"}


@dataclass(frozen=True)
class Pair:
    """One row: a region's name without its side, and what was measured on either side; `whole` has no side."""

    name: str
    right: RegionMeasurement | None = None
    left: RegionMeasurement | None = None
    whole: RegionMeasurement | None = None


def pairs(measured: Sequence[RegionMeasurement]) -> list[Pair]:
    """Bring the sides of each region together, in the order in which the regions were given."""
    rows: dict[str, Pair] = {}
    for one in measured:
        laterality = region(one.name).laterality
        side = "whole" if laterality is None else _SIDES[laterality.value]
        name = one.name if side == "whole" else _without_side(one.name)
        key = f"{side == 'whole'} {name.lower()}"
        row = rows.get(key, Pair(name))
        if getattr(row, side) is not None:
            # Two labels of one name are two rows: neither value may hide the other.
            key, row = f"{key} {one.label}", Pair(name)
        rows[key] = Pair(**{**vars(row), side: one})
    return list(rows.values())


def region_tables(measured: Sequence[RegionMeasurement], width: float, font_size: float) -> list[Table]:
    """Return the tables of a run: regions that have a side first, then those that have none.

    Parameters
    ----------
    measured
        The regions [ppm]; columns of a learned map appear where any region has their values.
    width
        Of the page's text [point].
    font_size
        Of the letters [point].
    """
    rows, columns = pairs(measured), _columns(measured)
    if len(columns) > _COLUMNS_IN_FULL_SIZE:
        font_size = min(font_size, 7.0)
    sided, whole = [row for row in rows if row.whole is None], [row for row in rows if row.whole is not None]
    tables = []
    if sided:
        tables.append(_sided_table(sided, columns, width, font_size))
    if whole:
        tables.append(_whole_table(whole, columns, width, font_size))
    return tables


def _without_side(name: str) -> str:
    bare = re.sub(r"[\s_(),.\-]+", " ", _SIDE_WORDS.sub(" ", name)).strip()
    return bare or name


def _columns(measured: Sequence[RegionMeasurement]) -> tuple[str, ...]:
    wanted = ["mean ± SD"]
    if any(one.half_width is not None for one in measured):
        wanted.append("90 % ±")
    if any(one.classical_mean is not None for one in measured):
        wanted += ["classical", "diff."]
    return (*wanted, "ml")


def _cells(one: RegionMeasurement | None, columns: Sequence[str]) -> list[str]:
    if one is None:
        return [_ABSENT, *("" for _ in columns[1:])]
    mean = PPB_PER_PPM * one.mean
    classical = None if one.classical_mean is None else PPB_PER_PPM * one.classical_mean
    known = {
        "mean ± SD": f"{_number(mean)} ± {PPB_PER_PPM * one.sd:.1f}",
        "90 % ±": "" if one.half_width is None else f"{PPB_PER_PPM * one.half_width:.1f}",
        "classical": "" if classical is None else _number(classical),
        "diff.": "" if classical is None else _number(mean - classical, "+"),
        "ml": f"{one.volume_ml:.0f}" if one.volume_ml >= 100 else f"{one.volume_ml:.2f}",
    }
    return [known[column] for column in columns]


def _number(value: float, sign: str = "") -> str:
    # Adding zero turns a rounded -0.0 into 0.0; the true minus sign is as wide as a digit.
    return f"{round(value, 1) + 0.0:{sign}.1f}".replace("-", "−")


def _sided_table(rows: Sequence[Pair], columns: Sequence[str], width: float, font_size: float) -> Table:
    count = len(columns)
    top = ["Region", "Right", *[""] * (count - 1), "Left", *[""] * (count - 1)]
    widths = _widths(columns, 2, width)
    room = widths[0] - sum(_SIDE_PADDING)
    body = [
        [_short(row.name, room, font_size), *_cells(row.right, columns), *_cells(row.left, columns)] for row in rows
    ]
    style = [
        ("ALIGN", (1, 0), (-1, 0), "CENTER"),
        ("SPAN", (1, 0), (count, 0)),
        ("SPAN", (count + 1, 0), (2 * count, 0)),
        ("LINEAFTER", (0, 0), (0, -1), 0.4, _LINE),
        ("LINEAFTER", (count, 0), (count, -1), 0.4, _LINE),
    ]
    content = [top, ["", *columns, *columns], *body]
    return _table(content, widths, style, font_size, n_head_rows=2)


def _whole_table(rows: Sequence[Pair], columns: Sequence[str], width: float, font_size: float) -> Table:
    widths = _widths(columns, 2, width)[: 1 + len(columns)]
    room = widths[0] - sum(_SIDE_PADDING)
    body = [[_short(row.name, room, font_size), *_cells(row.whole, columns)] for row in rows]
    content = [["Without a side", *columns], *body]
    return _table(content, widths, [("LINEAFTER", (0, 0), (0, -1), 0.4, _LINE)], font_size, n_head_rows=1)


def _widths(columns: Sequence[str], n_sides: int, width: float) -> list[float]:
    """Give the name what the numbers leave; a mean with its spread needs twice the room of a number."""
    shares = [_SHARES.get(column, 1.15) for column in columns]
    name = (46 if len(columns) <= _COLUMNS_IN_FULL_SIZE else 35) * mm
    unit = (width - name) / (n_sides * sum(shares))
    return [name, *([share * unit for share in shares] * n_sides)]


def _table(
    content: list[list[str]], widths: list[float], style: list[tuple], font_size: float, n_head_rows: int
) -> Table:
    padding = 0.19 * font_size
    shared = [
        ("FONT", (0, 0), (-1, -1), REGULAR, font_size, 1.15 * font_size),
        ("FONT", (0, 0), (-1, n_head_rows - 1), BOLD, font_size, 1.15 * font_size),
        ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
        ("TOPPADDING", (0, 0), (-1, -1), padding),
        ("BOTTOMPADDING", (0, 0), (-1, -1), padding),
        ("LEFTPADDING", (0, 0), (-1, -1), _SIDE_PADDING[0]),
        ("RIGHTPADDING", (0, 0), (-1, -1), _SIDE_PADDING[1]),
        ("LINEBELOW", (0, n_head_rows - 1), (-1, n_head_rows - 1), 0.6, colors.black),
        ("ROWBACKGROUNDS", (0, n_head_rows), (-1, -1), (colors.white, _SHADE)),
    ]
    return Table(content, widths, repeatRows=n_head_rows, style=TableStyle([*shared, *style]), hAlign="LEFT")


def _short(name: str, width: float, font_size: float) -> str:
    """Cut a name to the width of its column [point]; names of some atlases are sentences."""
    shown = named = name[:1].upper() + name[1:]
    while len(shown) > 1 and stringWidth(shown, REGULAR, font_size) > width:
        named = named[:-1]
        shown = named.rstrip() + "…"
    return shown
