"""What only the robust total-field inversion promises: it needs no background removal and survives wrong voxels."""

import functools
from dataclasses import replace

import torch

from pipeline.method import StepContext
from pipeline.susceptibility.dipole_inversion.total_field import ROBUST, RobustSettings
from tests.pipeline.susceptibility.dipole_inversion.heads import NOISE_PPM, SmallHead, small_head

FEW = RobustSettings(coarse_rounds=3, coarse_iterations=40, rounds=4, iterations=20)


def mapped(head: SmallHead, artefacts: dict[str, torch.Tensor], settings: RobustSettings = FEW) -> dict:
    given = {name: artefacts[name] for name in ROBUST.inputs}
    return ROBUST.run(given, StepContext(head.grid), settings)


@functools.cache
def clean_map() -> dict[str, torch.Tensor]:
    head = small_head()
    return mapped(head, head.artefacts())


def test_strong_sources_outside_change_the_map_little() -> None:
    head = small_head()
    artefacts = head.artefacts()
    with_background = clean_map()["susceptibility"]
    without = mapped(head, artefacts | {"total_field": artefacts["local_field"]})["susceptibility"]
    background = (head.total_field - head.local_field)[head.mask]
    assert float(background.std()) > 3 * float(head.local_field[head.mask].std())
    assert head.error_percent(with_background) < head.error_percent(without) + 10


def test_a_constant_offset_of_the_field_changes_nothing_that_can_be_seen() -> None:
    head = small_head()
    artefacts = head.artefacts(torch.float64)
    plain = mapped(head, artefacts)["susceptibility"]
    shifted = mapped(head, artefacts | {"total_field": artefacts["total_field"] + 0.5})["susceptibility"]
    assert float((shifted - plain)[head.mask].abs().max()) < 1e-4


def test_voxels_with_a_wrong_field_lose_their_vote() -> None:
    head = small_head()
    artefacts = head.artefacts()
    wrong = artefacts["total_field"].clone()
    places = torch.randperm(int(head.mask.sum()), generator=torch.Generator().manual_seed(1))[:60]
    values = wrong[head.mask]
    values[places] += 0.4
    wrong[head.mask] = values
    clean = head.error_percent(clean_map()["susceptibility"])
    assert head.error_percent(mapped(head, artefacts | {"total_field": wrong})["susceptibility"]) < clean + 5


def test_a_voxel_declared_noisy_is_ignored() -> None:
    head = small_head()
    artefacts = head.artefacts()
    spot = (slice(21, 24),) * 3
    broken, noise = artefacts["total_field"].clone(), artefacts["field_noise"].clone()
    broken[spot] += 0.3
    noise[spot] = 1.0
    found = mapped(head, artefacts | {"total_field": broken, "field_noise": noise})["susceptibility"]
    assert head.error_percent(found) < head.error_percent(clean_map()["susceptibility"]) + 3


def test_the_local_field_is_that_of_the_map_and_the_explained_field_that_of_all_sources() -> None:
    head = small_head()
    artefacts = head.artefacts()
    made = clean_map()
    difference = (made["local_field"].double() - head.local_field)[head.mask]
    assert float((difference - difference.mean()).std()) < 0.5 * float(head.local_field[head.mask].std())
    left = (made["explained_field"] - artefacts["total_field"])[head.mask].double()
    assert float((left - left.median()).abs().median()) < 1.5 * NOISE_PPM
    assert not made["local_field"][~head.mask].any()
    assert not made["explained_field"][~head.mask].any()


def test_one_image_serves_as_magnitude_like_a_stack_of_one() -> None:
    head = small_head()
    artefacts = head.artefacts()
    stacked = clean_map()["susceptibility"]
    assert torch.equal(mapped(head, artefacts | {"magnitude": artefacts["magnitude"][0]})["susceptibility"], stacked)


def test_a_small_volume_can_do_without_coarser_grids() -> None:
    head = small_head()
    found = mapped(head, head.artefacts(), RobustSettings(levels=1, rounds=4, iterations=40))["susceptibility"]
    assert head.error_percent(found) < 50


def test_a_restoring_round_gives_back_contrast_that_total_variation_takes() -> None:
    head = small_head()
    strong = replace(FEW, regularisation=1e-2)
    slopes = [
        head.slope(mapped(head, head.artefacts(), replace(strong, restoring_rounds=count))["susceptibility"])
        for count in (0, 1, 2)
    ]
    assert slopes[0] + 0.005 < slopes[1] < slopes[2] < 1.02


def test_a_wrong_voxel_is_not_fitted_by_a_restoring_round() -> None:
    head = small_head()
    artefacts = head.artefacts()
    wrong = artefacts["total_field"].clone()
    spot = (slice(21, 23),) * 3
    wrong[spot] += 0.4
    found = mapped(head, artefacts | {"total_field": wrong}, replace(FEW, restoring_rounds=2))["local_field"]
    assert float((found - clean_map()["local_field"])[spot].abs().max()) < 0.1
