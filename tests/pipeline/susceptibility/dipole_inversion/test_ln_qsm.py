"""What only LN-QSM promises: sources outside the mask cost nothing, so they take the background."""

import functools
from dataclasses import replace

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.method import StepContext
from pipeline.susceptibility.dipole_inversion.ln_qsm import LN_QSM, LnQsmSettings, least_norm_inversion
from tests.pipeline.susceptibility.dipole_inversion.heads import NOISE_PPM, SmallHead, small_head

FEW = LnQsmSettings(levels=2, coarse_rounds=3, coarse_iterations=30, rounds=3, inner_iterations=15, margin=8)


def mapped(head: SmallHead, artefacts: dict[str, torch.Tensor], settings: LnQsmSettings = FEW) -> dict:
    return LN_QSM.apply(artefacts, StepContext(head.grid), settings)


@functools.cache
def clean_map() -> dict[str, torch.Tensor]:
    head = small_head()
    return mapped(head, head.artefacts())


def test_strong_sources_outside_do_not_end_up_in_the_map() -> None:
    head = small_head()
    artefacts = head.artefacts()
    without = mapped(head, artefacts | {"total_field": artefacts["local_field"]})["susceptibility"]
    background = (head.total_field - head.local_field)[head.mask]
    assert float(background.std()) > 3 * float(head.local_field[head.mask].std())
    assert head.error_percent(clean_map()["susceptibility"]) < head.error_percent(without) + 15


def test_the_field_of_all_sources_is_the_measured_one_up_to_noise() -> None:
    head = small_head()
    left = (clean_map()["explained_field"] - head.artefacts()["total_field"])[head.mask].double()
    assert float((left - left.median()).abs().median()) < 1.5 * NOISE_PPM


def test_the_local_field_is_that_of_the_sources_inside() -> None:
    head = small_head()
    difference = (clean_map()["local_field"].double() - head.local_field)[head.mask]
    assert float((difference - difference.mean()).std()) < 0.5 * float(head.local_field[head.mask].std())


def test_a_constant_in_the_field_changes_nothing() -> None:
    head = small_head()
    artefacts = head.artefacts(torch.float64)
    plain = mapped(head, artefacts)["susceptibility"]
    shifted = mapped(head, artefacts | {"total_field": artefacts["total_field"] + 0.5})["susceptibility"]
    # Conjugate gradients blow rounding up to some 1e-5 of the map's norm before they settle; single voxels move more.
    assert float((shifted - plain)[head.mask].square().mean().sqrt()) < 5e-5


def test_a_heavier_norm_makes_the_map_smaller() -> None:
    head = small_head()
    heavy = mapped(head, head.artefacts(), replace(FEW, norm_weight=3e-2))["susceptibility"]
    assert float(heavy.norm()) < 0.9 * float(clean_map()["susceptibility"].norm())


def test_a_voxel_declared_noisy_is_ignored() -> None:
    head = small_head()
    artefacts = head.artefacts()
    spot = (slice(21, 24),) * 3
    broken, noise = artefacts["total_field"].clone(), artefacts["field_noise"].clone()
    broken[spot] += 0.3
    believed = mapped(head, artefacts | {"total_field": broken})["susceptibility"]
    noise[spot] = 1.0
    found = mapped(head, artefacts | {"total_field": broken, "field_noise": noise})["susceptibility"]
    clean = head.error_percent(clean_map()["susceptibility"])
    assert head.error_percent(found) < clean + 5
    assert head.error_percent(believed) > head.error_percent(found) + 10


def test_a_field_on_another_grid_is_refused() -> None:
    head = small_head()
    artefacts = head.artefacts()
    with pytest.raises(UnusableInput, match="field noise has shape"):
        least_norm_inversion(
            artefacts["total_field"], artefacts["mask"], artefacts["field_noise"][1:], head.grid, LnQsmSettings()
        )
