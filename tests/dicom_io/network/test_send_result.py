from pathlib import Path

import pytest

from dicom_io.errors import PeerRefused
from dicom_io.network.send_result import WARNINGS, SendResult, meaning_of, raise_if_refused


def result(status: int | None, **more: bool) -> SendResult:
    return SendResult(Path("x"), "1.2", status, "no answer" if status is None else meaning_of(status), **more)


@pytest.mark.parametrize("status", WARNINGS)
def test_a_warning_means_that_the_object_is_stored_and_something_is_to_be_told(status: int) -> None:
    assert result(status).is_accepted
    assert result(status).is_warning


def test_a_success_is_no_warning() -> None:
    assert result(0x0000).is_accepted
    assert not result(0x0000).is_warning


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xC000, 0x0110, 0x0111, 0x0122, 0x0124, 0xB001, None])
def test_everything_else_is_not_stored(status: int | None) -> None:
    assert not result(status).is_accepted
    assert not result(status).is_warning


def test_only_a_kind_that_the_peer_does_not_take_is_beyond_another_attempt() -> None:
    not_taken = [status for status in (0x0000, 0x0110, 0x0122, 0xA700, 0xC000, 0xC122) if result(status).is_not_taken]
    assert not_taken == [0x0122, 0xC122]
    assert result(None, is_unsupported=True).is_not_taken
    assert not result(None).is_not_taken


def test_a_duplicate_is_neither_stored_nor_beyond_asking() -> None:
    assert result(0x0111).is_duplicate
    assert not result(0x0111).is_not_taken
    assert not result(0x0112).is_duplicate


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0xA7FF, "out of resources"),
        (0xA9FF, "does not match SOP class"),
        (0xC123, "cannot understand"),
        (0xC122, "transfer syntax"),
        (0x0117, "invalid SOP instance"),
        (0x9999, "unknown failure"),
    ],
)
def test_ranges_of_the_standard_have_words(status: int, words: str) -> None:
    assert words in meaning_of(status)


def test_objects_that_were_never_tried_are_counted_as_not_stored() -> None:
    raise_if_refused("PACS", [result(0x0000)], 1)
    with pytest.raises(PeerRefused, match=r"PACS stored 1 of 3 objects.*0xA700, out of resources"):
        raise_if_refused("PACS", [result(0x0000), result(0xA700)], 3)
