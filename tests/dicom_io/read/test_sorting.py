"""Completeness counts slots: parts × echoes × slices, and names the empty ones."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_io.read.headers import FrameHeader
from dicom_io.read.sorting import assess, slice_indices
from dicom_io.read.vendors.convention import StoredValues
from dicom_io.series import Part

VALUES = StoredValues(slope=2.0, intercept=-4096.0, units="", bits_stored=12, is_signed=False)


def frame(part: Part, echo: int, index: int, **changes: object) -> FrameHeader:
    made = FrameHeader(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
        sop_instance_uid=f"1.2.{list(Part).index(part)}.{echo}.{index}",
        frame_number=None,
        study_instance_uid="1.2.3",
        series_instance_uid="1.2.4",
        frame_of_reference_uid="1.2.5",
        vendor="Siemens",
        part=part,
        echo_time_ms=4.0 * (echo + 1),
        echo_number=echo + 1,
        position=(0.0, 0.0, 1.5 * index - 20),
        orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        pixel_spacing=(1.0, 1.0),
        rows=8,
        columns=8,
        spacing_between_slices=None,
        instance_number=1,
        temporal_position=None,
        acquired_at="",
        magnetic_field_strength_t=3.0,
        frequency_mhz=None,
        values=VALUES,
    )
    return replace(made, **changes)


def grid(
    keep: Callable[[Part, int, int], bool] = lambda part, echo, index: True, **changes: object
) -> list[FrameHeader]:
    return [
        frame(part, echo, index, **changes)
        for part in (Part.MAGNITUDE, Part.PHASE)
        for echo in range(3)
        for index in range(20)
        if keep(part, echo, index)
    ]


def test_a_full_grid_whose_header_declares_nothing_is_complete_but_not_certain() -> None:
    found = assess(grid())
    assert found.is_complete
    assert not found.is_certain
    assert found.sentence == "complete: 3 echoes, 20 slices, magnitude and phase"


@pytest.mark.parametrize(
    "declared", [{"n_slices_declared": 20, "n_echoes_declared": 3}, {"n_images_declared": 120}], ids=["each", "sum"]
)
def test_declared_counts_that_agree_make_it_certain(declared: dict[str, int]) -> None:
    assert assess(grid(**declared)).is_certain


def test_one_declared_count_of_two_is_not_certainty() -> None:
    assert not assess(grid(n_slices_declared=20)).is_certain


@pytest.mark.parametrize(
    ("keep", "sentence"),
    [
        (lambda part, echo, index: not (echo == 2 and 16 <= index <= 18), "incomplete: echo 3 lacks slices 17–19"),
        (
            lambda part, echo, index: not (echo == 2 and part is Part.PHASE and 16 <= index <= 18),
            "incomplete: echo 3 phase lacks slices 17–19",
        ),
        (lambda part, echo, index: index not in (4, 9), "incomplete: every echo lacks slices 5, 10"),
        (lambda part, echo, index: not (echo == 1 and part is Part.MAGNITUDE), "incomplete: echo 2 has no magnitude"),
        (lambda part, echo, index: part is Part.MAGNITUDE, "incomplete: no phase image has arrived"),
        (lambda part, echo, index: part is Part.PHASE, "incomplete: no magnitude image has arrived"),
        (lambda part, echo, index: (echo, index) != (0, 19), "incomplete: echo 1 lacks slice 20"),
        (
            lambda part, echo, index: part is Part.MAGNITUDE or (echo != 1 and index != 3),
            "incomplete: phase of every echo lacks slice 4; echo 2 has no phase",
        ),
    ],
)
def test_a_missing_slice_is_named_not_guessed(keep: Callable[[Part, int, int], bool], sentence: str) -> None:
    found = assess(grid(keep))
    assert not found.is_complete
    assert not found.is_certain
    assert found.sentence == sentence


def test_a_missing_end_is_seen_where_the_header_declares_the_number_of_slices() -> None:
    found = assess(grid(lambda part, echo, index: index > 1, n_slices_declared=20))
    assert found.sentence == "incomplete: 18 of 20 declared slices are there: the first or the last are missing"


def test_a_missing_echo_is_named_where_the_header_declares_the_number_of_echoes() -> None:
    found = assess(grid(lambda part, echo, index: echo != 1, n_echoes_declared=3))
    assert found.sentence == "incomplete: 2 of 3 declared echoes are there: echo 2 is missing"


def test_a_damaged_count_of_milliards_of_echoes_is_not_written_out() -> None:
    found = assess(grid(n_echoes_declared=2**31 - 1))
    assert found.sentence.endswith("of 2147483647 declared echoes are there")


def test_missing_images_are_counted_where_only_their_sum_is_declared() -> None:
    found = assess(grid(lambda part, echo, index: index < 19, n_images_declared=120))
    assert found.sentence == "incomplete: 114 of 120 declared images are there"


def test_magnitude_alone_fills_its_grid_but_is_not_complete() -> None:
    found = assess(grid(lambda part, echo, index: part is Part.MAGNITUDE))
    assert found.is_grid_full
    assert not found.is_complete


def test_nothing_usable_is_a_sentence_too() -> None:
    assert assess([]).sentence.startswith("incomplete: no magnitude")
    assert not assess([frame(Part.FIELD_MAP, 0, 0)]).is_complete


def test_every_second_slice_missing_is_seen_by_the_stated_spacing() -> None:
    found = assess(grid(lambda part, echo, index: index % 2 == 0, spacing_between_slices=1.5))
    assert found.n_slices == 19
    assert found.sentence.startswith("incomplete: every echo lacks slices 2, 4, 6")


def test_echo_times_a_few_microseconds_apart_are_one_echo() -> None:
    frames = [
        replace(made, echo_time_ms=(made.echo_time_ms or 0) + 0.002 * (index % 3)) for index, made in enumerate(grid())
    ]
    assert assess(frames).n_echoes == 3


def test_uneven_positions_are_a_sentence_not_an_exception() -> None:
    frames = grid()
    frames[3] = replace(frames[3], position=(0.0, 0.0, -14.9))
    found = assess(frames)
    assert not found.is_complete
    assert "no multiples of one step" in found.sentence


@settings(max_examples=60, deadline=None)
@given(
    arrived=st.sets(st.integers(0, 119), min_size=1),
    order=st.randoms(use_true_random=False),
)
def test_a_grid_is_complete_exactly_when_every_slot_is_filled(arrived: set[int], order: object) -> None:
    whole = grid(n_slices_declared=20, n_echoes_declared=3)
    frames = [whole[index] for index in arrived]
    order.shuffle(frames)  # type: ignore[attr-defined]
    repeated = frames + frames[: len(frames) // 2]
    found = assess(repeated)
    assert found.is_complete == (len(arrived) == 120)
    assert found.is_certain == found.is_complete
    assert bool(found.missing) != found.is_complete


@settings(max_examples=40, deadline=None)
@given(
    spacing=st.floats(0.3, 8),
    n_slices=st.integers(2, 200),
    tilt=st.floats(-0.9, 0.9),
    offset=st.floats(-300, 300),
)
def test_slices_are_counted_along_the_normal_for_any_tilt(
    spacing: float, n_slices: int, tilt: float, offset: float
) -> None:
    cosine = (1 - tilt**2) ** 0.5
    orientation = (1.0, 0.0, 0.0, 0.0, cosine, tilt)
    normal = (0.0, -tilt, cosine)
    frames = [
        frame(
            Part.PHASE,
            0,
            index,
            orientation=orientation,
            position=tuple(round(offset + index * spacing * component, 5) for component in normal),
        )
        for index in reversed(range(n_slices))
    ]
    indices, found = slice_indices(frames)
    assert found == n_slices
    assert indices == list(reversed(range(n_slices)))
