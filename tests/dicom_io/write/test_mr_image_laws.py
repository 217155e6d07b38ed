"""Laws of storing a map: what is written is read back within half a ppb, and order is kept."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dicom_io.write.identity import derived_uid
from dicom_io.write.mr_image import to_stored_ppb
from dicom_io.write.scanner import stored_phase

# A busy machine is no counterexample.
RELAXED = settings(deadline=None, max_examples=60)
MAPS = arrays(np.float64, (2, 3, 4), elements=st.floats(-32_767, 32_767))


@RELAXED
@given(MAPS)
def test_no_value_moves_by_more_than_half_a_ppb(susceptibility_ppb: np.ndarray) -> None:
    stored, clipped = to_stored_ppb(susceptibility_ppb)
    assert clipped == 0
    assert np.abs(stored - susceptibility_ppb).max() <= 0.5


@RELAXED
@given(arrays(np.float64, (8,), elements=st.floats(-1e6, 1e6)))
def test_order_is_kept_even_where_values_are_clipped(susceptibility_ppb: np.ndarray) -> None:
    stored, _ = to_stored_ppb(np.sort(susceptibility_ppb))
    assert (np.diff(stored.astype(int)) >= 0).all()


@RELAXED
@given(MAPS)
def test_the_opposite_map_is_stored_as_the_opposite(susceptibility_ppb: np.ndarray) -> None:
    there, _ = to_stored_ppb(susceptibility_ppb)
    back, _ = to_stored_ppb(-susceptibility_ppb)
    np.testing.assert_array_equal(there, -back)


@RELAXED
@given(st.floats(-20.0, 20.0))
def test_a_stored_phase_is_the_same_angle_within_half_a_step(phase: float) -> None:
    stored = float(stored_phase(np.array([phase]))[0])
    angle = (2.0 * stored - 4096.0) / 4096.0 * np.pi
    assert abs(np.angle(np.exp(1j * (angle - phase)))) <= np.pi / 4096 + 1e-9


@RELAXED
@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_two_uids_are_equal_only_for_equal_parts(first: list[str], second: list[str]) -> None:
    assert (derived_uid(*first) == derived_uid(*second)) == (first == second)
