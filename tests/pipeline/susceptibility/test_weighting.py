"""Weighted images darken what they promise to darken, by the amount that the papers give, and nothing else."""

import math

import pytest
import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, StepContext
from pipeline.methods import STEPS
from pipeline.susceptibility.weighting import (
    SMWI,
    SWI,
    TRUE_SWI,
    high_pass_phase,
    map_weighted,
    minimum_intensity_projection,
)

SHAPE = (20, 24, 22)
GRID = Grid(SHAPE, (2.0, 1.0, 1.0))
TIMES = (0.01, 0.02)
METHODS = pytest.mark.parametrize("method", STEPS["weighting"].values(), ids=lambda method: method.name)


def scan(vein_rad: float = 0.0) -> dict[str, Tensor]:
    """Return two echoes of a box of even magnitude with a ramp of phase, and a vein along z at (12, 11)."""
    mask = torch.zeros(SHAPE, dtype=torch.bool)
    mask[2:-2, 2:-2, 2:-2] = True
    ramp = torch.linspace(-1, 1, SHAPE[2]).expand(SHAPE)
    vein = torch.zeros(SHAPE)
    vein[:, 12, 11] = 1.0
    phase = torch.stack([(4 * (1 + ramp) + vein_rad * vein) * time / TIMES[-1] for time in TIMES])
    magnitude = torch.stack([torch.full(SHAPE, 300.0), torch.full(SHAPE, 100.0)])
    return {
        "phase": torch.atan2(phase.sin(), phase.cos()),
        "unwrapped_phase": phase,
        "magnitude": magnitude,
        "mask": mask,
        "susceptibility": 0.3 * vein,
    }


def weighted(method: Method, artefacts: dict[str, Tensor], **settings: object) -> dict[str, Tensor]:
    given = {name: artefacts[name] for name in (*method.inputs, *method.optional_inputs) if name in artefacts}
    return method.apply(given, StepContext(GRID, TIMES, 3.0), method.settings(**settings))


def test_a_map_darkens_by_the_power_of_its_distance_from_black() -> None:
    susceptibility = torch.tensor([-0.5, 0.0, 0.25, 0.5, 2.0]).expand(4, 4, 5)
    magnitude = torch.full((4, 4, 5), 80.0)
    image = map_weighted(magnitude, susceptibility, torch.ones(4, 4, 5, dtype=torch.bool), 0.0, 1.0, 4)
    expected = torch.tensor([80.0, 80.0, 80 * 0.75**4, 80 * 0.5**4, 0.0])
    torch.testing.assert_close(image, expected.expand(4, 4, 5))


def test_the_papers_thresholds_and_powers_are_the_defaults() -> None:
    artefacts = scan()
    at = (10, 12, 11)
    assert weighted(SMWI, artefacts)["weighted_image"][at] == pytest.approx(200 * (1 - 0.3) ** 4, rel=1e-5)
    assert weighted(TRUE_SWI, artefacts)["weighted_image"][at] == pytest.approx(200 * (1 - 0.3 / 0.45) ** 2, rel=1e-5)


def test_calcium_is_darkened_where_diamagnetic_sources_are_asked_for() -> None:
    artefacts = scan()
    artefacts["susceptibility"] = -artefacts["susceptibility"]
    at = (10, 12, 11)
    assert weighted(SMWI, artefacts)["weighted_image"][at] == pytest.approx(200)
    assert weighted(SMWI, artefacts, darken="diamagnetic")["weighted_image"][at] == pytest.approx(
        200 * 0.7**4, rel=1e-5
    )


@pytest.mark.parametrize("names", [("phase",), ("phase", "unwrapped_phase")])
def test_a_vein_of_positive_phase_is_dark_and_the_smooth_field_is_not_seen(names: tuple[str, ...]) -> None:
    artefacts = scan(vein_rad=1.5)
    given = {name: artefacts[name] for name in (*names, "magnitude", "mask")}
    image = weighted(SWI, given)["weighted_image"]
    inner = image[5:-5, 8:-8, 8:-8] / 200
    vein = inner[:, 12 - 8, 11 - 8]
    assert vein.max() < (1 - 1.2 / math.pi) ** 4
    inner[:, 12 - 8, 11 - 8] = 1.0
    assert inner.min() > 0.9


def test_a_vein_of_negative_phase_is_dark_only_where_diamagnetic_sources_are_asked_for() -> None:
    artefacts = scan(vein_rad=-1.5)
    del artefacts["unwrapped_phase"]
    at = (10, 12, 11)
    assert weighted(SWI, artefacts)["weighted_image"][at] == pytest.approx(200, rel=0.05)
    assert weighted(SWI, artefacts, darken="diamagnetic")["weighted_image"][at] < 40


def test_the_high_pass_does_not_see_whole_turns() -> None:
    artefacts = scan(vein_rad=1.0)
    both = [
        high_pass_phase(artefacts[name][1], artefacts["magnitude"][1], artefacts["mask"], GRID, 4.0)
        for name in ("phase", "unwrapped_phase")
    ]
    torch.testing.assert_close(both[0], both[1], atol=1e-4, rtol=0)


def test_the_projection_takes_the_least_value_of_the_slab_and_skips_what_is_outside() -> None:
    chance = torch.Generator().manual_seed(3)
    image = torch.rand(SHAPE, generator=chance) + 1
    mask = torch.rand(SHAPE, generator=chance) > 0.3
    projected = minimum_intensity_projection(torch.where(mask, image, 0), mask, GRID, 6.0)
    for z in range(SHAPE[0]):
        slab = slice(max(0, z - 1), z + 2)
        least = torch.where(mask, image, torch.inf)[slab].amin(0)
        assert torch.equal(projected[z], torch.where(mask[z], least, 0))


@METHODS
def test_weighting_follows_the_scale_of_the_magnitude_and_leaves_nothing_outside_the_mask(method: Method) -> None:
    artefacts = scan(vein_rad=1.0)
    once = weighted(method, artefacts)
    twice = weighted(method, {**artefacts, "magnitude": 2 * artefacts["magnitude"]})
    for name in ("weighted_image", "minimum_intensity_projection"):
        torch.testing.assert_close(twice[name], 2 * once[name])
        assert not once[name][~artefacts["mask"]].any()
        assert once[name].max() <= 200 * (1 + 1e-6)
        assert once[name].min() >= 0


@METHODS
def test_what_lies_outside_the_mask_does_not_matter_to_the_weighting(method: Method) -> None:
    artefacts = scan(vein_rad=1.0)
    disturbed = dict(artefacts)
    for name in ("phase", "unwrapped_phase", "magnitude", "susceptibility"):
        disturbed[name] = torch.where(artefacts["mask"], artefacts[name], 7.0)
    for name, image in weighted(method, artefacts).items():
        assert torch.equal(image, weighted(method, disturbed)[name])


def test_equal_thresholds_and_images_of_two_grids_are_refused() -> None:
    with pytest.raises(UnusableInput, match="set the upper one higher"):
        weighted(TRUE_SWI, scan(), lower_threshold=0.45)
    with pytest.raises(UnusableInput, match="must lie on one grid"):
        map_weighted(torch.ones(4, 4, 4), torch.ones(4, 4, 5), torch.ones(4, 4, 4, dtype=torch.bool), 0.0, 1.0, 4)
