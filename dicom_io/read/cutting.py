"""Cutting items into their elements without parsing: where each value lies, found once for items written alike.

An item whose headers are, byte for byte and at the same places, those of an item before it has its elements at the same
places. Only plain little endian items are cut here; whatever is written otherwise is left to pydicom as a whole.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

from dicom_io.read.elements import FURTHER_ITEMS, TAG_BITS, Cut, Elements, Layouts

ITEM, DELIMITERS = 0xFFFEE000, 0xFFFE
ITEM_END, SEQUENCE_END = b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"
UNDEFINED_LENGTH = 0xFFFFFFFF
DEEPEST = 32
CUTS_MAXIMUM = 4096
IMPLICIT_HEADER = struct.Struct("<HHL")
EXPLICIT_HEADER = struct.Struct("<HH2sH")
LENGTH = struct.Struct("<L")
SHORT = {vr.encode(): str(vr) for vr in EXPLICIT_VR_LENGTH_16}
LONG = {vr.encode(): str(vr) for vr in EXPLICIT_VR_LENGTH_32}


class NotPlain(Exception):
    """The bytes are not written in the plain form that is cut here."""


class Incomplete(NotPlain):
    """An element reaches beyond the bytes at hand."""


@dataclass(slots=True)
class CutItem:
    """An item of a sequence: its elements and those of the first items within it, and where in some bytes it lies."""

    elements: Elements
    within: bytes
    start: int
    end: int

    @property
    def content(self) -> bytes:
        """Return the bytes of the item without its own header and end."""
        return self.within[self.start : self.end]


@dataclass(frozen=True, slots=True)
class _Piece:
    """One value; `is_open` where only a delimiter tells its end."""

    key: int
    vr: str | None
    start: int
    end: int
    is_open: bool = False


class Walk:
    """A way through the elements of items, from header to header."""

    def __init__(self, content: bytes, is_implicit: bool) -> None:
        self.content = content
        self.is_implicit = is_implicit
        self.pieces: list[_Piece] = []

    def note_elements(self, at: int, end: int | None, sequence: int = 0) -> int:
        """Note the elements up to `end`, or up to a delimiter where it is None; return where they end."""
        while at < end if end is not None else not is_item_end(self.content, at):
            tag, vr, start, stop = self.element(at)
            if stop is not None:
                self._require_within(stop, end)
            if sequence or vr != "SQ":
                # A sequence written as unknown bytes is one to pydicom, but could not be looked into here.
                if not sequence and is_sequence(tag):
                    raise NotPlain
                at = self._note_value(sequence << TAG_BITS | tag, vr, start, stop)
            else:
                at = self._note_sequence(tag, start, stop)
        return at

    def _note_value(self, key: int, vr: str | None, start: int, stop: int | None) -> int:
        if stop is not None:
            self.pieces.append(_Piece(key, vr, start, stop))
            return stop
        if vr != "SQ":
            raise NotPlain
        stop = self.past_items(start)
        self.pieces.append(_Piece(key, vr, start, stop, is_open=True))
        return stop + len(SEQUENCE_END)

    def _note_sequence(self, tag: int, start: int, stop: int | None) -> int:
        if start == stop:
            return start
        if stop is None and is_sequence_end(self.content, start):
            return start + len(SEQUENCE_END)
        first, last = item_header(self.content, start)
        if last is not None:
            self._require_within(last, stop)
        rest = self.note_elements(first, last, tag) + (len(ITEM_END) if last is None else 0)
        end = self.past_items(rest) if stop is None else stop
        self._require_within(rest, end)
        if rest < end:
            self.pieces.append(_Piece(tag << TAG_BITS | FURTHER_ITEMS, None, rest, end, is_open=stop is None))
        return end + len(SEQUENCE_END) if stop is None else end

    def past_items(self, at: int, depth: int = 0) -> int:
        """Return where the items of a sequence of undefined length end."""
        if depth > DEEPEST:
            raise NotPlain
        while not is_sequence_end(self.content, at):
            start, stop = item_header(self.content, at)
            at = self._past_elements(start, depth) + len(ITEM_END) if stop is None else stop
        return at

    def _past_elements(self, at: int, depth: int) -> int:
        while not is_item_end(self.content, at):
            _, vr, start, stop = self.element(at)
            if stop is None and vr != "SQ":
                raise NotPlain
            at = self.past_items(start, depth + 1) + len(SEQUENCE_END) if stop is None else stop
        return at

    def element(self, at: int) -> tuple[int, str | None, int, int | None]:
        """Return tag, value representation, and where the value begins and ends: None for an undefined length."""
        if at + IMPLICIT_HEADER.size > len(self.content):
            raise Incomplete
        vr: str | None
        if self.is_implicit:
            group, element, length = IMPLICIT_HEADER.unpack_from(self.content, at)
            start = at + IMPLICIT_HEADER.size
            vr = "SQ" if is_sequence(group << 16 | element) else None
        else:
            group, element, written, length = EXPLICIT_HEADER.unpack_from(self.content, at)
            start = at + EXPLICIT_HEADER.size
            vr = SHORT.get(written)
            if vr is None:
                vr = LONG.get(written)
                start += LENGTH.size
                if vr is None:
                    raise NotPlain
                if start > len(self.content):
                    raise Incomplete
                (length,) = LENGTH.unpack_from(self.content, start - LENGTH.size)
        if group == DELIMITERS:
            raise NotPlain
        return group << 16 | element, vr, start, _end(self.content, start, length)

    @staticmethod
    def _require_within(at: int, end: int | None) -> None:
        if end is not None and at > end:
            raise NotPlain


class Cutter:
    """Cuts the items of sequences, each like one before it where possible."""

    def __init__(self, is_implicit: bool, layouts: Layouts) -> None:
        self.is_implicit = is_implicit
        self._layouts = layouts
        self._cuts = layouts.cuts.setdefault(is_implicit, {})

    def items(self, sequence: bytes) -> list[CutItem]:
        """Return the items of a sequence's value, cut.

        Raises
        ------
        NotPlain
            A length reaches too far, an element comes twice, or bytes are no element.
        """
        found, at = [], 0
        while at < len(sequence):
            item, at = self.item(sequence, at)
            found.append(item)
        return found

    def item(self, content: bytes, at: int) -> tuple[CutItem, int]:
        """Return the item that begins at a place, and where the next one begins.

        Raises
        ------
        Incomplete
            It reaches beyond the bytes at hand.
        NotPlain
            As for `items`.
        """
        start, end = item_header(content, at)
        if end is not None:
            elements, _ = self._known(content, start, end - start) or self._learned(content, start, end)
            return CutItem(elements, content, start, end), end
        for size in self._cuts:
            if content.startswith(ITEM_END, start + size):
                found = self._known(content, start, size)
                if found:
                    break
        else:
            found = self._learned(content, start, None)
        elements, end = found
        return CutItem(elements, content, start, end), end + len(ITEM_END)

    def _known(self, content: bytes, start: int, size: int) -> tuple[Elements, int] | None:
        for cut in self._cuts.get(size, ()):
            fields = cut.form.unpack_from(content, start)
            if fields[0::2] == cut.headers and (not cut.open_fields or self._ends_where_cut(cut, fields)):
                return Elements(cut.layout, fields[1::2]), start + size
        return None

    def _ends_where_cut(self, cut: Cut, fields: Sequence[bytes]) -> bool:
        """Return whether the sequences within that have no stated length end where those before did."""
        for place in cut.open_fields:
            value = fields[place]
            if value not in cut.seen:
                try:
                    end = Walk(value + SEQUENCE_END, self.is_implicit).past_items(0)
                except NotPlain:
                    return False
                if end != len(value):
                    return False
                cut.seen.add(value)
        return True

    def _learned(self, content: bytes, start: int, end: int | None) -> tuple[Elements, int]:
        walk = Walk(content, self.is_implicit)
        stop = walk.note_elements(start, end)
        pieces = walk.pieces
        keys = tuple([piece.key for piece in pieces])
        if len(set(keys)) < len(keys):
            raise NotPlain
        sizes, reached = [], start
        for piece in pieces:
            sizes += [piece.start - reached, piece.end - piece.start]
            reached = piece.end
        # What follows the last value is a header without a value, such as that of an empty sequence.
        form = struct.Struct("<" + "".join(f"{size}s" for size in (*sizes, stop - reached, 0)))
        fields = form.unpack_from(content, start)
        layout = self._layouts.of((*keys, 0), (*[piece.vr for piece in pieces], None))
        open_fields = tuple(2 * number + 1 for number, piece in enumerate(pieces) if piece.is_open)
        if sum(map(len, self._cuts.values())) > CUTS_MAXIMUM:
            self._cuts.clear()
        seen = {fields[place] for place in open_fields}
        self._cuts.setdefault(stop - start, []).append(Cut(form, fields[0::2], layout, open_fields, seen))
        return Elements(layout, fields[1::2]), stop


def item_header(content: bytes, at: int) -> tuple[int, int | None]:
    """Return where the content of an item begins and ends: None for an undefined length.

    Raises
    ------
    NotPlain
        There is no item.
    """
    if at + IMPLICIT_HEADER.size > len(content):
        raise Incomplete
    group, element, length = IMPLICIT_HEADER.unpack_from(content, at)
    if group << 16 | element != ITEM:
        raise NotPlain
    return at + IMPLICIT_HEADER.size, _end(content, at + IMPLICIT_HEADER.size, length)


def is_item_end(content: bytes, at: int) -> bool:
    """Return whether an item of undefined length ends here; Incomplete where the bytes at hand do not tell."""
    return _is(ITEM_END, content, at)


def is_sequence_end(content: bytes, at: int) -> bool:
    """Return whether a sequence of undefined length ends here; Incomplete where the bytes at hand do not tell."""
    return _is(SEQUENCE_END, content, at)


def _is(delimiter: bytes, content: bytes, at: int) -> bool:
    if at + len(delimiter) > len(content):
        raise Incomplete
    return content.startswith(delimiter, at)


def _end(content: bytes, start: int, length: int) -> int | None:
    if length == UNDEFINED_LENGTH:
        return None
    if start + length > len(content):
        raise Incomplete
    return start + length


def is_sequence(tag: int) -> bool:
    """Return whether the standard calls an element a sequence (PS3.6)."""
    return dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ"
