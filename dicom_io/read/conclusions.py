"""What was concluded from some elements is concluded once, however many frames hold the same bytes in them.

A rule is watched while it looks at a frame. Another frame whose elements are equal wherever the rule looked gives the
same answer without asking it again. So a rule must depend on nothing but the frame's attributes. Equal means equal in
the frame's own item, in what it shares with other frames, and at its object's top level, of this object or another.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from pydicom import Dataset

from dicom_io.read.elements import ODD_GROUP, TAG, TAG_BITS, Layout, Layouts
from dicom_io.read.frames import Frames
from dicom_io.read.multiframe import FRAME_TYPE, PRIVATE_HOLDERS, FrameView, keys_of, tag_of
from dicom_io.read.plain_values import PLAIN_VR

ANSWERS_MAXIMUM = 4096
CREATORS = range(0x10, 0x100)
HOLDER_OFFSETS = {(group, offset) for _, group, offset in PRIVATE_HOLDERS}
HOLDER_GROUPS = {group for group, _ in HOLDER_OFFSETS}

Answer = TypeVar("Answer")
Rule = Callable[..., Answer]
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
        if not key & ODD_GROUP:
            return key == tag_of(FRAME_TYPE)
        group, element = (key & TAG) >> 16, key & 0xFFFF
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
        self.looked = Looked()
        # By layouts, functions that pick what was looked at, and the answers by what they pick.
        self._known: dict[tuple[Layout, ...], tuple[tuple[Pick, ...], dict[Hashable, Any]]] = {}
        self._alike: dict[Hashable, dict[Hashable, Any]] = {}

    def of(self, rule: Rule[Answer], view: FrameView, given: Sequence[object]) -> Answer:
        size = self.looked.size
        if size:
            picks, known = self._known.get(view.layouts) or self._learn(view.layouts)
            key = _picked(picks, view)
            if key in known:
                answer: Answer = known[key]
                return answer
        answer = rule(WatchedView(view, self.looked), *given)
        if not size or self.looked.size != size or len(known) > ANSWERS_MAXIMUM:
            self._known.clear()
            self._alike.clear()
            picks, known = self._learn(view.layouts)
            key = _picked(picks, view)
        known[key] = answer
        return answer

    def of_all(self, rule: Rule[Answer], frames: Frames, given: Sequence[object]) -> list[Answer]:
        while True:
            size = self.looked.size
            views, keys = frames.differing(self.looked.holds)
            answers: dict[Hashable, Answer] = {}
            for key, view in views.items():
                answers[key] = self.of(rule, view, given)
                if self.looked.size != size:
                    break
            else:
                return [answers[key] for key in keys] if keys else list(answers.values()) * len(frames.views)

    def _learn(self, layouts: tuple[Layout, ...]) -> tuple[tuple[Pick, ...], dict[Hashable, Any]]:
        pickers = [layout.picker(self.looked.holds) for layout in layouts]
        wanted = tuple([wanted for wanted, _ in pickers])
        found = self._known[layouts] = tuple([pick for _, pick in pickers]), self._alike.setdefault(wanted, {})
        return found


def _picked(picks: Sequence[Pick], view: FrameView) -> Hashable:
    if len(picks) == 1:
        return picks[0](view.values[0])
    return tuple([pick(values) for pick, values in zip(picks, view.values, strict=True)])


class Conclusions:
    """The answers of all rules for the frames of one reading."""

    def __init__(self) -> None:
        self.layouts = Layouts()
        self._answers: dict[Hashable, _Answers] = {}

    def of(self, rule: Rule[Answer], view: FrameView, *given: object) -> Answer:
        """Return `rule(view, *given)`, asked only where no frame before held the same bytes where it looks.

        What is given are lasting objects, such as a manufacturer's conventions, told apart by their identity.
        """
        return self._answers_of(rule, view, given).of(rule, view, given)

    def of_all(self, rule: Rule[Answer], frames: Frames, *given: object) -> list[Answer]:
        """Return what `of` would for each of some frames of one object."""
        return self._answers_of(rule, frames.views[0], given).of_all(rule, frames, given)

    def _answers_of(self, rule: Rule[Answer], view: FrameView, given: Sequence[object]) -> _Answers:
        key = rule, tuple([id(one) for one in given]), view.context
        answers = self._answers.get(key)
        if answers is None:
            answers = self._answers[key] = _Answers()
        return answers
