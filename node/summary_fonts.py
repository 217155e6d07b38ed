"""Fonts of the printed pages: one that is always there, and the scripts that this machine can print beside it."""

import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from xml.sax.saxutils import escape

import matplotlib
from pydicom.valuerep import PersonName
from reportlab import rl_config
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFError, TTFont

REGULAR, BOLD = "LodestoneSans", "LodestoneSans-Bold"
_FILES = {REGULAR: "DejaVuSans.ttf", BOLD: "DejaVuSans-Bold.ttf"}
# Chinese, Japanese and Korean come with the system, where they come at all; the first that has the glyph is taken.
_FURTHER_FILES = (
    Path("/usr/share/fonts/opentype/ipafont-gothic/ipag.ttf"),
    Path("/usr/share/fonts/truetype/fonts-japanese-gothic.ttf"),
    Path("/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf"),
    Path("/usr/share/fonts/truetype/nanum/NanumGothic.ttf"),
    Path("/usr/share/fonts/truetype/wqy/wqy-microhei.ttc"),
)
# Letters of these directions change their shape and order with their neighbours; set one by one they spell nothing.
_RIGHT_TO_LEFT = ("R", "AL", "AN")
_COMBINING = ("Mn", "Mc")


@dataclass(frozen=True)
class Printable:
    """A text as markup that names a font where the usual one lacks a letter; `is_whole` is false where one is lost."""

    markup: str
    is_whole: bool = True


def register_fonts() -> None:
    """Make the fonts known to the page writer; may be called again."""
    # Pictures would otherwise be spelled out in letters, in Python, for printers of the last century.
    rl_config.useA85 = 0
    _faces()


def printable(text: str) -> Printable:
    """Return a text with a font for each letter; a text with a letter that no font has comes back empty."""
    runs: list[tuple[str, str]] = []
    for character in unicodedata.normalize("NFC", text):
        if unicodedata.category(character) in ("Cc", "Cf"):
            continue
        font = _font_of(character)
        if font is None:
            return Printable("", is_whole=False)
        if runs and runs[-1][0] == font:
            runs[-1] = (font, runs[-1][1] + character)
        else:
            runs.append((font, character))
    return Printable("".join(_marked(font, letters) for font, letters in runs))


def printable_name(name: PersonName | None) -> Printable:
    """Return every component group of a patient's name that can be printed, the alphabetic one first (PS3.5 6.2.1)."""
    if name is None:
        return Printable("")
    groups = [group for group in (name.alphabetic, name.ideographic, name.phonetic) if group.strip(" ^")]
    printed = [printable(_in_reading_order(group)) for group in groups]
    markup = " &nbsp; ".join(one.markup for one in printed if one.is_whole)
    return Printable(markup, all(one.is_whole for one in printed))


def _in_reading_order(group: str) -> str:
    """Write `family^given^middle^prefix^suffix` as "family, given middle"."""
    family, *others = (part.strip() for part in group.split("^"))
    rest = " ".join(part for part in others if part)
    return ", ".join(part for part in (family, rest) if part)


def _marked(font: str, letters: str) -> str:
    return escape(letters) if font == REGULAR else f'<font name="{font}">{escape(letters)}</font>'


def _font_of(character: str) -> str | None:
    if unicodedata.bidirectional(character) in _RIGHT_TO_LEFT or unicodedata.category(character) in _COMBINING:
        return None
    return next((name for name, glyphs in _faces() if ord(character) in glyphs), None)


@cache
def _faces() -> tuple[tuple[str, frozenset[int]], ...]:
    """Register every font that is there; return name and letters of those that any text may use."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    made = {name: TTFont(name, folder / file) for name, file in _FILES.items()}
    for file in _FURTHER_FILES:
        if file.is_file():
            try:
                made[file.stem] = TTFont(file.stem, file)
            except TTFError:
                # A font in a form that the page writer cannot embed is as good as none.
                continue
    for font in made.values():
        pdfmetrics.registerFont(font)
    pdfmetrics.registerFontFamily(REGULAR, normal=REGULAR, bold=BOLD, italic=REGULAR, boldItalic=BOLD)
    return tuple((name, frozenset(font.face.charToGlyph)) for name, font in made.items() if name != BOLD)
