"""What the split inversions promise beside the laws: blindness to turns, weights that matter, settings that act."""

import math
from typing import Any

import pytest
import torch

from pipeline.method import Method, StepContext
from pipeline.operators.dipole import dipole_kernel
from pipeline.susceptibility.dipole_inversion.dynamic_streaking import DYNAMIC_STREAKING
from pipeline.susceptibility.dipole_inversion.fansi import FANSI_TV
from pipeline.susceptibility.dipole_inversion.fansi_tgv import FANSI_TGV
from pipeline.susceptibility.dipole_inversion.mr_tkd import MR_TKD
from pipeline.susceptibility.dipole_inversion.rts import RTS
from pipeline.susceptibility.dipole_inversion.tkd import TKD
from tests.pipeline.small_scan import B0_TESLA, ECHO_TIMES_S, small_scan

FANSI = pytest.mark.parametrize("method", [FANSI_TV, FANSI_TGV], ids=lambda method: method.name)


def inverted(method: Method, changed: dict[str, torch.Tensor] | None = None, **settings: Any) -> torch.Tensor:
    scan = small_scan()
    context = StepContext(scan.head.grid, ECHO_TIMES_S, B0_TESLA)
    return method.apply(scan.artefacts | (changed or {}), context, method.settings(**settings))["susceptibility"]


def with_wrong_turns(radians_per_ppm: float) -> torch.Tensor:
    """Return the field with one turn too much in every second voxel of a block, along each axis."""
    field = small_scan().artefacts["local_field"].clone()
    field[14:22:2, 14:22:2, 14:22:2] += 2 * math.pi / radians_per_ppm
    return field


@FANSI
def test_a_wrong_turn_costs_the_nonlinear_data_term_nothing_and_the_linear_one_much(method: Method) -> None:
    head = small_scan().head
    wrong = {"local_field": with_wrong_turns(6.4)}
    nonlinear, linear = (inverted(method, wrong, data_term=term) for term in ("nonlinear", "linear"))
    plain = inverted(method)
    assert head.error_percent(nonlinear) < head.error_percent(plain) + 1
    assert head.error_percent(linear) > 3 * head.error_percent(plain)


@FANSI
def test_small_phases_make_both_data_terms_agree(method: Method) -> None:
    linear = inverted(method, data_term="linear", iterations=8)
    almost = inverted(method, radians_per_ppm=0.05, iterations=8)
    strong = inverted(method, radians_per_ppm=25.0, iterations=8)
    near, far = float((almost - linear).norm()), float((strong - linear).norm())
    assert near < 1e-3 * float(linear.norm())
    assert near < 0.1 * far


@FANSI
def test_a_voxel_said_to_be_noisy_is_not_believed(method: Method) -> None:
    scan = small_scan()
    field, noise = scan.artefacts["local_field"].clone(), scan.artefacts["field_noise"].clone()
    field[16:20, 16:20, 16:20] += 0.2
    noise[16:20, 16:20, 16:20] = 1.0
    trusting = scan.head.error_percent(inverted(method, {"local_field": field}, iterations=15))
    warned = scan.head.error_percent(inverted(method, {"local_field": field, "field_noise": noise}, iterations=15))
    assert warned < 0.7 * trusting


def test_without_noise_the_magnitude_says_which_voxels_to_believe() -> None:
    scan = small_scan()
    artefacts = {name: values for name, values in scan.artefacts.items() if name != "field_noise"}
    field, magnitude = artefacts["local_field"].clone(), artefacts["magnitude"].clone()
    field[16:20, 16:20, 16:20] += 0.2
    magnitude[:, 16:20, 16:20, 16:20] *= 1e-3
    context = StepContext(scan.head.grid, ECHO_TIMES_S, B0_TESLA)
    dark, bright = (
        FANSI_TV.apply(artefacts | {"local_field": field} | images, context, FANSI_TV.settings(iterations=15))[
            "susceptibility"
        ]
        for images in ({"magnitude": magnitude}, {})
    )
    assert scan.head.error_percent(dark) < 0.7 * scan.head.error_percent(bright)


def test_model_resolution_and_two_steps_beat_the_division_that_they_begin_with() -> None:
    head = small_scan().head
    divided = head.error_percent(inverted(TKD))
    assert head.error_percent(inverted(MR_TKD)) < 0.8 * divided
    assert head.error_percent(inverted(RTS)) < 0.8 * divided


def test_more_first_steps_lift_the_slope_of_the_rapid_inversion() -> None:
    head = small_scan().head
    assert head.slope(inverted(RTS, inner_iterations=16)) > head.slope(inverted(RTS, inner_iterations=2)) + 0.05


def test_a_streak_penalty_empties_the_cone_where_the_map_is_flat() -> None:
    free, drawn = (inverted(DYNAMIC_STREAKING, streak_penalty=penalty, rounds=3) for penalty in (0.0, 0.3))
    assert float(in_cone(drawn).norm()) < 0.9 * float(in_cone(free).norm())


def in_cone(susceptibility: torch.Tensor) -> torch.Tensor:
    """Return the spectrum of a map where the dipole kernel is below a tenth."""
    kernel = dipole_kernel(small_scan().head.grid, dtype=torch.float64)
    return torch.fft.rfftn(susceptibility.double()) * (kernel.abs() < 0.1)
