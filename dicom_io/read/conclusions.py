"""What was concluded from some elements is concluded once, however many frames hold the same bytes in them.

A rule is watched while it looks at a frame. Another frame whose elements are equal wherever the rule looked gives the
same answer without asking it again. So a rule must depend on nothing but the frame's attributes.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from pydicom import Dataset

from dicom_io.read.elements import TAG, TAG_BITS, Layout, Layouts
from dicom_io.read.multiframe import PRIVATE_HOLDERS, FrameView, keys_of, tag_of
from dicom_io.read.plain_values import PLAIN_VR

ANSWERS_MAXIMUM = 4096
CREATORS = range(0x10, 0x100)
HOLDER_OFFSETS = {(group, offset) for _, group, offset in PRIVATE_HOLDERS}
HOLDER_GROUPS = {group for group, _ in HOLDER_OFFSETS}

Answer = TypeVar("Answer")
Rule = Callable[[FrameView, Any], Answer]
Pick = Callable[[Sequence[Hashable]], Hashable]


class Looked:
    """Where rules have looked: at keys, into sequences, at private elements, or at everything."""

    def __init__(self) -> None:
        self.keys: set[int] = set()
        self.sequences: set[int] = set()
        self.private: set[tuple[int, int]] = set()
        self.at_everything = False

    @property
    def size(self) -> int:
        """Return how many places there are."""
        return len(self.keys) + len(self.sequences) + len(self.private) + self.at_everything

    def holds(self, key: int, vr: str | None) -> bool:
        """Return whether a rule looked at the element with this key, or may have."""
        if self.at_everything or key in self.keys or key in self.sequences or key >> TAG_BITS in self.sequences:
            return True
        return bool(self.private) and self._holds_private(key, vr)

    def _holds_private(self, key: int, vr: str | None) -> bool:
        group, element = (key & TAG) >> 16, key & 0xFFFF
        if key == tag_of("MRImageFrameTypeSequence"):
            return True
        # What is written as a number or a word holds nothing, whatever its value.
        is_offset = (group, element & 0xFF) in HOLDER_OFFSETS and vr not in PLAIN_VR
        is_holder = group in HOLDER_GROUPS and (element in CREATORS or is_offset)
        asked = {offset for looked, offset in self.private if looked == group}
        return is_holder or (bool(asked) and (element in CREATORS or element & 0xFF in asked))


class WatchedView(FrameView):
    """A frame that notes which of its attributes are looked at."""

    __slots__ = ("_looked", "_view")

    def __init__(self, view: FrameView, looked: Looked) -> None:
        self._view = view
        self._looked = looked
        self.is_one_of_many = view.is_one_of_many
        self.transfer_syntax = view.transfer_syntax

    @property
    def dataset(self) -> Dataset:
        """Return the object; what is looked at in it stays unknown."""
        self._looked.at_everything = True
        return self._view.dataset

    @property
    def groups(self) -> tuple[Dataset, ...]:
        """Return the functional groups; what is looked at in them stays unknown."""
        self._looked.at_everything = True
        return self._view.groups

    def get(self, keyword: str) -> object:
        """Return what the frame's own `get` does."""
        self._looked.keys.update(keys_of(keyword))
        return self._view.get(keyword)

    def of_object(self, keyword: str) -> object:
        """Return what the frame's own `of_object` does."""
        self._looked.keys.add(tag_of(keyword))
        return self._view.of_object(keyword)

    def item(self, keyword: str) -> Dataset | None:
        """Return what the frame's own `item` does."""
        self._looked.sequences.add(tag_of(keyword))
        return self._view.item(keyword)

    def private(self, creator: str, group: int, offset: int) -> object:
        """Return what the frame's own `private` does."""
        self._looked.private.add((group, offset))
        return self._view.private(creator, group, offset)

    def creators(self, group: int) -> list[str]:
        """Return what the frame's own `creators` does."""
        self._looked.private.add((group, CREATORS.start))
        return self._view.creators(group)


class _Answers:
    """The answers of one rule, by the bytes of the elements that it looked at."""

    def __init__(self) -> None:
        self._looked = Looked()
        # By layout, a function that picks what was looked at, and the answers by what it picks.
        self._known: dict[Layout, tuple[Pick, dict[Hashable, Any]]] = {}
        self._alike: dict[Hashable, dict[Hashable, Any]] = {}

    def of(self, rule: Rule[Answer], view: FrameView, vendor: object) -> Answer:
        elements = view.elements
        pick, known = self._known.get(elements.layout) or self._learn(elements.layout)
        key = pick(elements.values)
        if key in known:
            answer: Answer = known[key]
            return answer
        size = self._looked.size
        answer = rule(WatchedView(view, self._looked), vendor)
        if self._looked.size != size or len(known) > ANSWERS_MAXIMUM:
            self._known.clear()
            self._alike.clear()
            pick, known = self._learn(elements.layout)
            key = pick(elements.values)
        known[key] = answer
        return answer

    def _learn(self, layout: Layout) -> tuple[Pick, dict[Hashable, Any]]:
        wanted, pick = layout.picker(self._looked.holds)
        found = self._known[layout] = pick, self._alike.setdefault(wanted, {})
        return found


class Conclusions:
    """The answers of all rules for the frames of one reading."""

    def __init__(self) -> None:
        self.layouts = Layouts()
        self._answers: dict[Hashable, _Answers] = {}

    def of(self, rule: Rule[Answer], view: FrameView, vendor: object) -> Answer:
        """Return `rule(view, vendor)`, asked only where no frame before held the same bytes where it looks."""
        key = rule, id(vendor), view.context
        answers = self._answers.get(key)
        if answers is None:
            answers = self._answers[key] = _Answers()
        return answers.of(rule, view, vendor)
