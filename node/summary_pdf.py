"""Write one or two pages that a radiologist wants to read: whose map, how good, what it shows, how it was made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from reportlab.lib import colors
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    Image,
    KeepTogether,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

from dicom_io.series import SourceSeries
from dicom_io.write.derived import local_time
from dicom_io.write.provenance import RESEARCH_SENTENCE, RunDescription
from node.summary_fonts import BOLD, REGULAR, printable, printable_name, register_fonts
from node.summary_planes import (
    DIFFERENCE_WINDOW_PPB,
    TALLEST_ROW_MM,
    WINDOW_PPB,
    Planes,
    Row,
    brightest,
    draw_planes,
    upright_planes,
)
from node.summary_table import PPB_PER_PPM, region_tables
from node.summary_words import Level, figures, passed_checks, verdict, what_was_done
from pipeline.maps import CLASSICAL_SUSCEPTIBILITY, LEARNED
from pipeline.regions.measurements import RegionMeasurement

TITLE = "Quantitative susceptibility mapping: summary"
_MARGIN = 15 * mm
_FOOT = 14 * mm
_TALLEST_TWIN_MM = 44.0
_WIDTH = A4[0] - 2 * _MARGIN
_INK, _SOFT = colors.HexColor("#14181c"), colors.HexColor("#5a646e")
_LEVEL_COLOURS = {
    Level.GOOD: (colors.HexColor("#e3f2e6"), colors.HexColor("#1b6b2f")),
    Level.WARNINGS: (colors.HexColor("#fff3d6"), colors.HexColor("#8a5a00")),
    Level.FAILED: (colors.HexColor("#fbe1df"), colors.HexColor("#a01c13")),
}
_LONG_NAME = 30
_LOST_NAME = "Part of the name is in a script that cannot be printed here; the viewer shows all of it."
# Tried in turn until the pages come out as many: letters [point], regions shown, pages. One sheet is best.
_FITTINGS = ((8.0, None, 1), (7.2, None, 1), (8.0, None, 2), (7.0, None, 2), (6.2, None, 2), (6.2, 80, 2))


@dataclass(frozen=True)
class _Content:
    """Everything that is printed."""

    planes: Planes
    quality: Mapping[str, Any]
    measured: Sequence[RegionMeasurement]
    source: SourceSeries
    run: RunDescription

    @property
    def has_regions(self) -> bool:
        return any(one.label for one in self.measured)


def summary_pdf(
    arrays: Mapping[str, np.ndarray],
    quality: Mapping[str, Any],
    measured: Sequence[RegionMeasurement],
    source: SourceSeries,
    run: RunDescription,
    magnitude: np.ndarray | None = None,
    labels: np.ndarray | None = None,
) -> bytes:
    """Return the summary of a run as a PDF of one or two A4 pages; equal input gives equal bytes.

    The fonts for scripts beyond Latin, Greek and Cyrillic are the machine's own; where it has none for a patient's
    name, the page says so and shows the name's other groups and the ID.

    Parameters
    ----------
    arrays
        `susceptibility` [ppm] and `mask` `(z, y, x)`, and the classical map beside a network's where there is one.
    quality
        What `Quality.as_dict` gives.
    measured
        Values of the regions; label 0 is the brain as a whole.
    source
        What the map was made of: patient, study and acquisition.
    run
        What made the map.
    magnitude
        `(z, y, x)`, or `(echo, z, y, x)` of which the root mean square is shown; None where it is not at hand.
    labels
        `(z, y, x)`, 0 outside every region; the pictures go through them.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    register_fonts()
    if quality.get("susceptibility_source") != LEARNED:
        # A classical map in the network's place would be compared with itself.
        measured = [replace(one, classical_mean=None) for one in measured]
    content = _Content(_planes(arrays, quality, source, magnitude, labels), quality, measured, source, run)
    pictures = _pictures(content)
    for font_size, most_regions, most_pages in _FITTINGS:
        pdf, n_pages = _build(content, pictures, font_size, most_regions, most_pages)
        if n_pages == most_pages:
            break
    return pdf


def _planes(
    arrays: Mapping[str, np.ndarray],
    quality: Mapping[str, Any],
    source: SourceSeries,
    magnitude: np.ndarray | None,
    labels: np.ndarray | None,
) -> Planes:
    volumes = {"map": PPB_PER_PPM * arrays["susceptibility"].astype(np.float64)}
    if CLASSICAL_SUSCEPTIBILITY in arrays and quality.get("susceptibility_source") == LEARNED:
        volumes["classical"] = PPB_PER_PPM * arrays[CLASSICAL_SUSCEPTIBILITY].astype(np.float64)
        volumes["difference"] = volumes["map"] - volumes["classical"]
    if magnitude is not None:
        volumes["magnitude"] = _root_mean_square(magnitude)
    return upright_planes(volumes, arrays["mask"].astype(bool), labels, source.geometry.affine_lps)


def _root_mean_square(magnitude: np.ndarray) -> np.ndarray:
    """Bring the echoes together one by one: all of them at once in double precision are gigabytes."""
    if magnitude.ndim == 3:
        return magnitude
    return np.sqrt(sum(echo.astype(np.float64) ** 2 for echo in magnitude) / len(magnitude))


def _pictures(content: _Content) -> dict[str, Flowable]:
    """Draw once what every attempt at fitting the pages shows."""
    planes, window = content.planes, (-WINDOW_PPB, WINDOW_PPB)
    rows = [Row("map", "susceptibility", window, "ppb")]
    if "magnitude" in planes.volumes:
        limits = (0.0, brightest(planes.volumes["magnitude"], planes.mask))
        rows.append(Row("magnitude", "magnitude", limits, has_regions=True))
    drawn = {"map": _picture(planes, tuple(rows))}
    if "difference" in planes.volumes:
        other = (-DIFFERENCE_WINDOW_PPB, DIFFERENCE_WINDOW_PPB)
        twins = (Row("classical", "classical", window, "ppb"), Row("difference", "network − classical", other, "ppb"))
        drawn["difference"] = _picture(planes, twins, _TALLEST_TWIN_MM)
    return drawn


def _picture(planes: Planes, rows: tuple[Row, ...], tallest_row_mm: float = TALLEST_ROW_MM) -> Flowable:
    drawn = draw_planes(planes, rows, _WIDTH / mm, tallest_row_mm)
    stream = BytesIO()
    drawn.save(stream, format="PNG")
    return Image(stream, width=_WIDTH, height=_WIDTH * drawn.height / drawn.width)


def _build(
    content: _Content, pictures: Mapping[str, Flowable], font_size: float, most_regions: int | None, n_pages: int
) -> tuple[bytes, int]:
    """Lay the pages out; return them and how many they became."""
    stream = BytesIO()
    # Else the file carries the time of its making, and names a font that is not embedded.
    document = BaseDocTemplate(
        stream, pagesize=A4, title=TITLE, author="Lodestone", invariant=1, initialFontName=REGULAR
    )
    text = Frame(_MARGIN, _FOOT + 4 * mm, _WIDTH, A4[1] - _FOOT - 16 * mm, 0, 0, 0, 0)
    counted = []

    def foot(canvas: Canvas, _: BaseDocTemplate) -> None:
        counted.append(canvas.getPageNumber())
        _draw_foot(canvas, content, n_pages)

    document.addPageTemplates(PageTemplate(frames=[text], onPage=foot))
    document.build(_story(content, pictures, font_size, most_regions))
    return stream.getvalue(), len(counted)


def _story(
    content: _Content, pictures: Mapping[str, Flowable], font_size: float, most_regions: int | None
) -> list[Flowable]:
    return [
        *_head(content),
        *_verdict_box(content),
        Spacer(0, 2.5 * mm),
        pictures["map"],
        Spacer(0, 1 * mm),
        Paragraph(_picture_words(content), _style(7, _SOFT)),
        *_regions(content, font_size, most_regions),
        *_difference(pictures, content),
        *_quality(content, font_size),
        *_making(content, font_size),
    ]


def _style(size: float, colour: colors.Color = _INK, font: str = REGULAR, **more: Any) -> ParagraphStyle:
    return ParagraphStyle("plain", fontName=font, fontSize=size, leading=1.28 * size, textColor=colour, **more)


def _heading(text: str) -> Paragraph:
    return Paragraph(text, _style(9.5, font=BOLD, spaceBefore=3 * mm, spaceAfter=1.2 * mm, keepWithNext=1))


def _head(content: _Content) -> list[Flowable]:
    """Print whose map it is: every page repeats the ID in its foot."""
    template = content.source.template
    name = printable_name(template.get("PatientName"))
    shown = name.markup or "(no name that can be printed)"
    born, sex = _date(template.get("PatientBirthDate")), _text(template.get("PatientSex"))
    birth = f"{born or 'not stated'}{f', sex {sex}' if sex else ''}"
    study = ", ".join(filter(None, (_date(template.get("StudyDate")), _text(template.get("StudyDescription")))))
    right = [("ID", _text(template.get("PatientID"))), ("Born", birth)]
    right += [("Study", study), ("Accession", _text(template.get("AccessionNumber")))]
    lines = "<br/>".join(f"<b>{heading}</b> {text or 'not stated'}" for heading, text in right)
    moment = local_time(content.run.performed_at, template)
    left = [Paragraph(shown, _style(14 if len(shown) <= _LONG_NAME else 11, font=BOLD))]
    left += [] if name.is_whole else [Paragraph(_LOST_NAME, _style(7, _SOFT))]
    made = f"Quantitative susceptibility map{_whose(content)}, computed {moment:%Y-%m-%d %H:%M %Z}".rstrip()
    left.append(Paragraph(escape(made), _style(9, _SOFT)))
    if content.run.research_use_only:
        left.append(Paragraph(RESEARCH_SENTENCE.upper(), _style(8, _LEVEL_COLOURS[Level.FAILED][1], BOLD)))
    table = Table([[left, Paragraph(lines, _style(8.5))]], [0.62 * _WIDTH, 0.38 * _WIDTH])
    table.setStyle(TableStyle([*_PLAIN_TABLE, ("VALIGN", (0, 0), (-1, -1), "TOP")]))
    return [table, Spacer(0, 1 * mm)]


def _whose(content: _Content) -> str:
    """Say whose map it is where there was a choice."""
    if not content.run.weights:
        return ""
    named = ", ".join(name for name, _ in content.run.weights)
    is_learned = content.quality.get("susceptibility_source") == LEARNED
    return f" of the network {named}" if is_learned else " (classical)"


_PLAIN_TABLE = [
    ("FONT", (0, 0), (-1, -1), REGULAR),
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), 0),
]


def _verdict_box(content: _Content) -> list[Flowable]:
    judged = verdict(content.quality)
    ground, ink = _LEVEL_COLOURS[judged.level]
    lines = [Paragraph(escape(judged.headline), _style(10.5, ink, BOLD))]
    lines += [Paragraph(f"• {_text(reason)}", _style(8.5)) for reason in judged.reasons]
    box = Table([[lines]], [_WIDTH])
    box.setStyle(
        TableStyle([_PLAIN_TABLE[0], ("BACKGROUND", (0, 0), (-1, -1), ground), ("LINEBEFORE", (0, 0), (0, -1), 3, ink)])
    )
    return [box]


def _picture_words(content: _Content) -> str:
    through = "through the most regions" if content.has_regions else "through the brain's centre"
    words = f"Slices {through}; R right, L left, A front, P back, H head, F feet. White is paramagnetic (iron)."
    if "magnitude" in content.planes.volumes:
        words += " Orange on the magnitude: outline of the brain mask."
        words += " Blue: outlines of the regions." if content.has_regions else ""
    return escape(words)


def _regions(content: _Content, font_size: float, most_regions: int | None) -> list[Flowable]:
    # The heading must not keep the table whole, or many regions would leave half a page empty.
    heading = Paragraph("Regions", _style(9.5, font=BOLD, spaceBefore=3 * mm, spaceAfter=1.2 * mm))
    story: list[Flowable] = [CondPageBreak(35 * mm), heading]
    shown = content.measured[:most_regions]
    for table in region_tables(shown, _WIDTH, font_size):
        story += [table, Spacer(0, 1.5 * mm)]
    said = ["Mean and standard deviation of the susceptibility [ppb]; volume inside the brain mask [ml]."]
    if any(one.half_width is not None for one in shown):
        said.append("90 % ±: half the width of the interval that holds the mean in 9 of 10 cases.")
    if not content.has_regions:
        said = ["No label map was given to this run, so only the brain as a whole was measured."]
    if len(shown) < len(content.measured):
        rest = len(content.measured) - len(shown)
        said.append(f"{rest} further regions stand in the structured report of this run.")
    return [*story, Paragraph(escape(" ".join(said)), _style(7, _SOFT))]


def _difference(pictures: Mapping[str, Flowable], content: _Content) -> list[Flowable]:
    if "difference" not in pictures:
        return []
    inside = content.planes.volumes["difference"][content.planes.mask]
    middle = float(np.percentile(np.abs(inside), 50)) if inside.size else 0.0
    words = (
        "The classical map of the same data, and what the network changed. Half of the brain's voxels differ by less "
        f"than {middle:.0f} ppb. Where a finding shows in one map only, do not rely on it."
    )
    heading = _heading("The network's map against the classical one")
    return [KeepTogether([heading, pictures["difference"], Paragraph(escape(words), _style(7, _SOFT))])]


def _quality(content: _Content, font_size: float) -> list[Flowable]:
    rows = [
        [
            Paragraph(_text(one.name), _style(font_size)),
            one.value,
            Paragraph(_text(one.meaning), _style(font_size, _SOFT)),
        ]
        for one in figures(content.quality)
    ]
    story: list[Flowable] = []
    if rows:
        table = Table(rows, [0.30 * _WIDTH, 0.17 * _WIDTH, 0.53 * _WIDTH])
        style = [("FONT", (1, 0), (1, -1), BOLD, font_size), ("VALIGN", (0, 0), (-1, -1), "TOP")]
        style += [("TOPPADDING", (0, 0), (-1, -1), 1), ("BOTTOMPADDING", (0, 0), (-1, -1), 1)]
        table.setStyle(TableStyle([*_PLAIN_TABLE, *style]))
        story += [_heading("Quality in figures"), table]
    passed = passed_checks(content.quality)
    if passed:
        story.append(_heading("Checks that were passed"))
        story += [Paragraph(f"• {_text(sentence)}", _style(font_size)) for sentence in passed]
    return story


def _making(content: _Content, font_size: float) -> list[Flowable]:
    rows = [
        [Paragraph(f"<b>{heading}</b>", _style(font_size)), Paragraph(_text(text), _style(font_size))]
        for heading, text in what_was_done(content.source, content.run)
    ]
    table = Table(rows, [0.14 * _WIDTH, 0.86 * _WIDTH])
    style = [("VALIGN", (0, 0), (-1, -1), "TOP"), ("TOPPADDING", (0, 0), (-1, -1), 1)]
    table.setStyle(TableStyle([*_PLAIN_TABLE, *style, ("BOTTOMPADDING", (0, 0), (-1, -1), 1)]))
    return [_heading("What was done"), table]


def _draw_foot(canvas: Canvas, content: _Content, n_pages: int) -> None:
    """Print the ID on every page, so that a loose sheet still has an owner."""
    template, run = content.source.template, content.run
    warning = RESEARCH_SENTENCE if run.research_use_only else ""
    owner = f"Patient ID {_text(template.get('PatientID')) or 'not stated'}"
    made = f"Lodestone {run.software_version}, run {run.input_digest[:8]}-{run.recipe_digest[:8]}"
    left = Paragraph(f"{owner} &nbsp;·&nbsp; {escape(made)}", _style(7, _SOFT))
    page = f"page {canvas.getPageNumber()} of {n_pages}"
    right = Paragraph(f"{warning} &nbsp; {page}", _style(7, _SOFT, alignment=TA_RIGHT))
    for paragraph, x, width in ((left, _MARGIN, 0.6 * _WIDTH), (right, _MARGIN + 0.6 * _WIDTH, 0.4 * _WIDTH)):
        _, height = paragraph.wrap(width, _FOOT)
        paragraph.drawOn(canvas, x, _FOOT - height)


def _text(value: object) -> str:
    """Return a value as markup in fonts that have its letters; "?" stands for what none has."""
    words = "" if value is None else str(value)
    whole = printable(words)
    return whole.markup if whole.is_whole else "".join(printable(letter).markup or "?" for letter in words)


def _date(value: object) -> str:
    """Write a DICOM date so that no country reads it otherwise."""
    digits = str(value or "")
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}" if len(digits) == 8 and digits.isdigit() else digits
