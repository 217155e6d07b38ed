"""The printed page of the commissioning kit: what an installer must see in the site's viewer."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image as Picture
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    Image,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

from dicom_io.write.commissioning import (
    BLOCK_PPB,
    N_END_SLICES,
    PATIENT_ID,
    PIXEL_MM,
    SHAPE,
    SQUARES,
    Square,
    known_map_ppb,
)
from dicom_io.write.mr_image import WINDOW_CENTER_PPB, WINDOW_WIDTH_PPB
from node.commissioning import PAGE_TITLE, SOURCE, KindOutcome, Kit
from node.object_kinds import ObjectKind
from node.summary_fonts import BOLD, REGULAR, register_fonts

_MARGIN = 14 * mm
_WIDTH = A4[0] - 2 * _MARGIN
_INK, _SOFT, _LINE = colors.HexColor("#14181c"), colors.HexColor("#5a646e"), colors.HexColor("#b8c0c8")
_PICTURE = 82 * mm
_DOTS_PER_INCH = 200
_MARK = "#ff8c00"
_BOX = "☐"
_SHOWN_SLICE = SHAPE[0] - 1

_OTHER_CHECKS = {
    ObjectKind.PARAMETRIC_MAP: ("Parametric Map", "lies on the squares and reads −0.2, 0, +0.1 and +0.2 ppm."),
    ObjectKind.SEGMENTATION: (
        "Segmentation",
        "four coloured regions cover the squares, named by their sides; “Brain” is the block.",
    ),
    ObjectKind.REPORT: ("Report", "lists the four squares with the means of the table above and a deviation of 0."),
    ObjectKind.PLANAR_REPORT: ("Outlines", "the second report draws an outline around each square with its mean."),
    ObjectKind.PRESENTATION: ("Presentation", "applying it changes nothing: it asks for the window the images have."),
}
_WRONG = (
    (
        "−0.2, 0, +0.1, +0.2",
        "The viewer shows ppm, from the real world value mapping. Right; note down the unit.",
    ),
    (
        "65336 for −200, or 0",
        "Signed pixels are read as unsigned, or negative ones are cut off. Every value of veins and calcium is wrong.",
    ),
    (
        "199, 101, or uneven squares",
        "Somewhere the images were compressed with loss or made 8 bits. Turn it off for this node's series.",
    ),
    (
        "All black, white, or one grey",
        "The stored window is ignored or replaced. Set level 0 and width 400; look for a fixed preset of MR series.",
    ),
    (
        "Other brightness in each slice",
        "The viewer windows each slice by itself. Turn automatic windowing off for MR series of this node.",
    ),
    (
        "A multiple or other numbers",
        "A slope or offset was added; the node writes slope 1, intercept 0. Look for a coercion rule in the archive.",
    ),
    (
        "Letters mirrored or turned",
        "The viewer or the archive turns images. Left and right cannot be trusted; do not use it like this.",
    ),
    (
        "The pyramid points to F",
        "Slices are sorted by something else than their position. Reformations and volumes cannot be trusted.",
    ),
    (
        "A hundred times as much",
        "OHIF 3.13 shows every Parametric Map so. The images and reports of this node are right there.",
    ),
    (
        "Nothing where it is 0",
        "OHIF 3.13 leaves the number of a report empty where it is zero: square 2, and every standard deviation here.",
    ),
    (
        "No unit, or HU",
        "The viewer knows no unit for MR values. The number is in ppb; tell the readers.",
    ),
)


def commissioning_page(kit: Kit, outcomes: Sequence[KindOutcome], peer: str) -> bytes:
    """Return the page as a PDF; equal arguments give equal bytes.

    Parameters
    ----------
    kit
        What was made.
    outcomes
        What the peer said to each kind; empty where nothing was sent.
    peer
        Where it was sent to, in words; empty where nothing was.
    """
    register_fonts()
    stream = BytesIO()
    # Else the file carries the time of its making, and names a font that is not embedded.
    document = BaseDocTemplate(
        stream, pagesize=A4, title=PAGE_TITLE, author="Lodestone", invariant=1, initialFontName=REGULAR
    )
    text = Frame(_MARGIN, 10 * mm, _WIDTH, A4[1] - 20 * mm, 0, 0, 0, 0)
    document.addPageTemplates(PageTemplate(frames=[text]))
    document.build(
        [
            *_head(kit, peer),
            _picture_and_values(),
            *_checks(outcomes),
            *_wrong_numbers(),
            *_what_was_taken(outcomes),
            *_signature(),
        ],
    )
    return stream.getvalue()


def _style(size: float, colour: colors.Color = _INK, font: str = REGULAR, **more: Any) -> ParagraphStyle:
    return ParagraphStyle("plain", fontName=font, fontSize=size, leading=1.25 * size, textColor=colour, **more)


def _heading(text: str) -> Paragraph:
    return Paragraph(escape(text), _style(9, font=BOLD, spaceBefore=2.2 * mm, spaceAfter=1 * mm))


def _grid(rows: list[list[Any]], widths: Sequence[float], *more: tuple, size: float = 7.5) -> Table:
    style = [
        ("FONT", (0, 0), (-1, -1), REGULAR, size, 1.25 * size),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("TOPPADDING", (0, 0), (-1, -1), 1.2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.2),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 4),
    ]
    return Table(rows, list(widths), style=TableStyle([*style, *more]), hAlign="LEFT")


def _head(kit: Kit, peer: str) -> list[Flowable]:
    number = kit.images[0].SeriesNumber
    sent = f"sent to {peer}" if peer else "not sent"
    facts = (
        f"Artificial patient “QA, Lodestone”, ID {PATIENT_ID}, study of {kit.day:%Y-%m-%d}, {sent}. "
        f"Open series {number}, “{kit.images[0].SeriesDescription}”: {SHAPE[0]} images. "
        "Use the viewer's region or probe tool, not the brightness."
    )
    return [Paragraph(PAGE_TITLE, _style(14, font=BOLD, spaceAfter=1 * mm)), Paragraph(escape(facts), _style(8, _SOFT))]


def _picture_and_values() -> Flowable:
    rows = [["", "Where in the patient", "Must read", "Seen"]]
    rows += [[str(square.number), _place(square), f"{_signed(square.value_ppb)} ppb", _BOX] for square in SQUARES]
    rows.append(["", "block between the squares", f"{_signed(BLOCK_PPB)} ppb", _BOX])
    edge = (SQUARES[0].rows[1] - SQUARES[0].rows[0] + 1) * PIXEL_MM
    value_column = (2, 1), (2, -1)
    table = _grid(
        rows,
        (8 * mm, 47 * mm, 26 * mm, 14 * mm),
        ("FONT", (0, 0), (-1, 0), BOLD, 8),
        ("FONT", *value_column, BOLD, 10),
        ("LINEBELOW", (0, 0), (-1, 0), 0.6, colors.black),
        ("LINEBELOW", (0, 1), (-1, -1), 0.3, _LINE),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ("BOTTOMPADDING", (0, 1), (-1, -1), 4),
        ("TOPPADDING", (0, 1), (-1, -1), 3),
        size=8.5,
    )
    words = (
        f"The picture is slice {_SHOWN_SLICE + 1:02d}, nearest the head, as it must look when opened: level "
        f"{WINDOW_CENTER_PPB}, width {WINDOW_WIDTH_PPB}. Orange marks are not in the images. Every square reads the "
        f"same in all {SHAPE[0]} slices, with a standard deviation of 0, and measures {edge:.0f} × {edge:.0f} mm."
    )
    beside = [table, Spacer(0, 2 * mm), Paragraph(escape(words), _style(7.5, _SOFT))]
    return _grid(
        [[_picture(), beside]], (_PICTURE + 4 * mm, _WIDTH - _PICTURE - 4 * mm), ("TOPPADDING", (0, 0), (-1, -1), 6)
    )


def _place(square: Square) -> str:
    front = {"anterior": "front", "posterior": "back"}[square.end]
    return f"{square.side}, {front} ({square.end})"


def _signed(value: int) -> str:
    return "0" if value == 0 else f"{value:+d}".replace("-", "−")


def _picture() -> Flowable:
    """Draw the expected view: what a viewer must show, with marks for the reader of the page."""
    inches = _PICTURE / (25.4 * mm)
    figure = Figure(figsize=(inches, inches), dpi=_DOTS_PER_INCH, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    low, high = WINDOW_CENTER_PPB - WINDOW_WIDTH_PPB / 2, WINDOW_CENTER_PPB + WINDOW_WIDTH_PPB / 2
    axes.imshow(known_map_ppb()[_SHOWN_SLICE], cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    axes.set_axis_off()
    for square in SQUARES:
        row, column = sum(square.rows) / 2, sum(square.columns) / 2
        axes.text(column, row, str(square.number), color=_MARK, fontsize=13, ha="center", va="center", weight="bold")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    stream = BytesIO()
    Picture.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).save(stream, format="PNG")
    return Image(stream, width=_PICTURE, height=_PICTURE)


def _checks(outcomes: Sequence[KindOutcome]) -> list[Flowable]:
    last = SQUARES[-1]
    x, y = last.centre_mm
    checks = [
        ("Value", "each square reads exactly the number of the table, not one more or less."),
        ("Side", "the drawn R and L are upright, and the viewer's own letters R and L stand on the same sides."),
        ("Front and back", "the drawn A is at the top of an axial view, P at the bottom."),
        (
            "Head and feet",
            f"the drawn number goes from 01 to {SHAPE[0]}, F on the first {N_END_SLICES} and H on the last "
            f"{N_END_SLICES}; in a coronal view through 3 and 4 the white pyramid points to the viewer's own letter H.",
        ),
        ("Window", "it opens with level 0 and width 400, the same in every slice; square 2 is middle grey."),
        ("Unit", "the viewer shows ppb beside the number, or the readers know that it is ppb."),
        (
            "Position",
            f"where coordinates are shown, the centre of square {last.number} is {x:.0f} mm left, {y:.0f} mm back.",
        ),
    ]
    taken = {outcome.kind for outcome in outcomes if outcome.is_accepted}
    checks += [check for kind, check in _OTHER_CHECKS.items() if kind in taken]
    rows = [[_BOX, Paragraph(f"<b>{escape(name)}</b>: {escape(text)}", _style(7.8))] for name, text in checks]
    return [_heading("Tick what you have seen"), _grid(rows, (6 * mm, _WIDTH - 6 * mm), size=8.5)]


def _wrong_numbers() -> list[Flowable]:
    rows = [
        [Paragraph(f"<b>{escape(seen)}</b>", _style(7.3)), Paragraph(escape(means), _style(7.3))]
        for seen, means in _WRONG
    ]
    return [_heading("Where it reads something else"), _grid(rows, (44 * mm, _WIDTH - 44 * mm))]


def _what_was_taken(outcomes: Sequence[KindOutcome]) -> list[Flowable]:
    if not outcomes:
        return []
    said = []
    for outcome in outcomes:
        name = "magnitude" if outcome.kind == SOURCE else outcome.kind.replace("_", " ")
        counted = f"{outcome.n_accepted} of {outcome.n_objects}"
        said.append(f"<b>{name}</b> {counted}{''.join(f' ({escape(one)})' for one in outcome.sentences)}")
    return [_heading("What the archive took"), Paragraph(" · ".join(said), _style(7.3))]


def _signature() -> list[Flowable]:
    fields = ("Viewer and version", "Date", "Name", "Signature")
    line = _grid([list(fields)], [_WIDTH / len(fields)] * len(fields), ("LINEABOVE", (0, 0), (-1, 0), 0.5, _SOFT))
    return [Spacer(0, 9 * mm), line]
