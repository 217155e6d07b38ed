"""Identifiers depend on content and on nothing else."""

import uuid

import numpy as np
from pydicom.uid import UID

from dicom_io.write.identity import SUSCEPTIBILITY_SERIES_OFFSET, array_digest, derived_uid, series_number


def test_equal_parts_give_an_equal_uid_on_every_machine() -> None:
    assert derived_uid("susceptibility", "a") == "2.25.62439553354377625355960263668402865964"


def test_parts_are_not_run_together() -> None:
    assert derived_uid("ab", "c") != derived_uid("a", "bc")
    assert derived_uid("ab") != derived_uid("ab", "")


def test_a_derived_uid_is_a_valid_uid_and_a_version_8_uuid() -> None:
    for number in range(200):
        made = UID(derived_uid("x", str(number)))
        assert made.is_valid
        assert len(made) <= 64
        as_uuid = uuid.UUID(int=int(made.removeprefix("2.25.")))
        assert as_uuid.variant == uuid.RFC_4122
        assert as_uuid.version == 8


def test_the_digest_of_an_array_sees_values_shape_and_type_but_not_memory_layout() -> None:
    array = np.arange(12, dtype="<i2").reshape(3, 4)
    assert array_digest(array) == array_digest(np.asfortranarray(array))
    assert array_digest(array) != array_digest(array.reshape(4, 3))
    assert array_digest(array) != array_digest(array.astype("<u2"))
    assert array_digest(array) != array_digest(array + 1)


def test_series_are_numbered_by_a_fixed_offset_from_their_source() -> None:
    assert series_number("2001", SUSCEPTIBILITY_SERIES_OFFSET) == 12_001


def test_a_source_without_a_usable_number_counts_as_0() -> None:
    for absent in (None, "", "not a number", -3, 2**31 - 1):
        assert series_number(absent, SUSCEPTIBILITY_SERIES_OFFSET) == SUSCEPTIBILITY_SERIES_OFFSET
