"""Source separation on a small head of iron and myelin whose field and decay are known."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, StepContext
from pipeline.methods import STEPS
from pipeline.operators.dipole import Dipole
from pipeline.susceptibility.source_separation import CHI_SEPARATION, VOXELWISE, RelaxationSettings, total_strength

SHAPE = (24, 28, 26)
GRID = Grid(SHAPE, (2.0, 1.5, 1.5), (0.8, 0.6, 0.0))
METHODS = pytest.mark.parametrize("method", STEPS["source_separation"].values(), ids=lambda method: method.name)


@dataclass(frozen=True)
class Head:
    """What was put in, and what a scanner would tell of it."""

    positive: Tensor
    negative: Tensor
    artefacts: dict[str, Tensor]


def head(b0_tesla: float = 3.0, noise: float = 1.0) -> Head:
    """Return white matter of iron and myelin in grey matter, a ventricle without either, and nuclei of both."""
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, length) for length in SHAPE), indexing="ij")

    def ellipsoid(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Tensor:
        places = zip((z, y, x), centre, radii, strict=True)
        return sum((((axis - middle) / radius).square() for axis, middle, radius in places), torch.zeros(SHAPE)) < 1

    positive, negative = torch.zeros(SHAPE), torch.zeros(SHAPE)
    mask = ellipsoid((0, 0, 0), (0.8, 0.8, 0.8))
    for place, iron, myelin in (
        (mask, 0.02, -0.01),
        (ellipsoid((0, 0, 0), (0.6, 0.6, 0.6)), 0.015, -0.045),
        (ellipsoid((0, 0.1, 0), (0.3, 0.3, 0.15)), 0.0, 0.0),
        (ellipsoid((0.1, -0.25, 0.3), (0.2, 0.2, 0.2)), 0.12, -0.02),
        (ellipsoid((0.1, -0.25, -0.3), (0.2, 0.2, 0.2)), 0.09, -0.06),
    ):
        positive[place], negative[place] = iron, myelin
    chance = torch.Generator().manual_seed(0)
    wide = Grid((48, 56, 52), GRID.voxel_size_mm, GRID.b0_direction)
    padded = torch.zeros(wide.shape)
    padded[: SHAPE[0], : SHAPE[1], : SHAPE[2]] = positive + negative
    field = Dipole.on(wide, padded)(padded)[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    field = field + 0.002 * noise * torch.randn(SHAPE, generator=chance)
    rate = 13.0 + 137.0 * b0_tesla / 3 * (positive - negative) + noise * torch.randn(SHAPE, generator=chance)
    artefacts = {
        "local_field": torch.where(mask, field, 0),
        "r2star": torch.where(mask, rate.clamp_min(0), 0),
        "mask": mask,
        "susceptibility": positive + negative,
    }
    return Head(positive, negative, artefacts)


def separated(method: Method, artefacts: dict[str, Tensor], b0_tesla: float | None = 3.0) -> dict[str, Tensor]:
    return method.apply(artefacts, StepContext(GRID, b0_tesla=b0_tesla), method.settings())


def error(found: Tensor, truth: Tensor, mask: Tensor) -> float:
    return float((found - truth)[mask].norm() / truth[mask].norm())


@METHODS
def test_both_sources_are_found_far_better_than_by_the_sign_of_the_true_map(method: Method) -> None:
    truth = head()
    made, mask = separated(method, truth.artefacts), truth.artefacts["mask"]
    exact = truth.artefacts["susceptibility"]
    for name, wanted, signed in (
        ("paramagnetic", truth.positive, exact.clamp_min(0)),
        ("diamagnetic", truth.negative, exact.clamp_max(0)),
    ):
        assert error(made[name], wanted, mask) < 0.25
        assert error(made[name], wanted, mask) < 0.4 * error(signed, wanted, mask)


@METHODS
def test_the_maps_have_their_sign_and_nothing_lies_outside_the_mask(method: Method) -> None:
    artefacts = head().artefacts
    made = separated(method, artefacts)
    assert made["paramagnetic"].min() >= 0
    assert made["diamagnetic"].max() <= 0
    assert not made["paramagnetic"][~artefacts["mask"]].any()
    assert not made["diamagnetic"][~artefacts["mask"]].any()


@METHODS
def test_exchanging_the_signs_of_all_sources_exchanges_the_maps(method: Method) -> None:
    artefacts = head().artefacts
    opposite = {**artefacts, "local_field": -artefacts["local_field"], "susceptibility": -artefacts["susceptibility"]}
    made, mirrored = separated(method, artefacts), separated(method, opposite)
    torch.testing.assert_close(mirrored["paramagnetic"], -made["diamagnetic"], atol=1e-5, rtol=0)
    torch.testing.assert_close(mirrored["diamagnetic"], -made["paramagnetic"], atol=1e-5, rtol=0)


@METHODS
def test_single_and_double_precision_agree(method: Method) -> None:
    artefacts = head().artefacts
    double = {name: values if name == "mask" else values.double() for name, values in artefacts.items()}
    single, twice = separated(method, artefacts), separated(method, double)
    assert twice["paramagnetic"].dtype == torch.float64
    assert (single["paramagnetic"] - twice["paramagnetic"]).square().mean().sqrt() < 1e-4


@METHODS
def test_what_lies_outside_the_mask_does_not_matter_to_the_separation(method: Method) -> None:
    artefacts = head().artefacts
    mask = artefacts["mask"]
    disturbed = {
        name: values if name == "mask" else torch.where(mask, values, 3.0) for name, values in artefacts.items()
    }
    made, again = separated(method, artefacts), separated(method, disturbed)
    assert torch.equal(made["paramagnetic"], again["paramagnetic"])
    assert torch.equal(made["diamagnetic"], again["diamagnetic"])


def test_the_constant_grows_with_the_field_strength() -> None:
    at_seven = head(b0_tesla=7.0).artefacts
    at_three = head(b0_tesla=3.0).artefacts
    settings = RelaxationSettings()
    seven = total_strength(at_seven["r2star"], at_seven["mask"], 7.0, settings)
    three = total_strength(at_three["r2star"], at_three["mask"], 3.0, settings)
    # The same noise of R2* weighs less where the constant is larger.
    assert (seven - three).abs().max() < 5 / 137
    assert torch.equal(three, total_strength(at_three["r2star"], at_three["mask"], None, settings))


def test_a_measured_r2_takes_the_place_of_the_assumed_one() -> None:
    artefacts = head(noise=0.0).artefacts
    slower = torch.full(SHAPE, 5.0)
    shifted = {**artefacts, "r2star": (artefacts["r2star"] - 8) * artefacts["mask"], "r2": slower}
    made, again = separated(VOXELWISE, artefacts), separated(VOXELWISE, shifted)
    torch.testing.assert_close(made["paramagnetic"], again["paramagnetic"], atol=1e-6, rtol=0)


def test_voxels_that_the_field_noise_calls_wild_are_not_believed() -> None:
    truth = head()
    mask, noise = truth.artefacts["mask"], torch.full(SHAPE, 0.002)
    wild = truth.artefacts["local_field"].clone()
    spot = (slice(11, 14), slice(20, 23), slice(12, 15))
    wild[spot] += 0.5
    noise[spot] = 5.0
    doubted = separated(CHI_SEPARATION, {**truth.artefacts, "local_field": wild, "field_noise": noise})
    believed = separated(CHI_SEPARATION, {**truth.artefacts, "local_field": wild})
    assert error(doubted["paramagnetic"], truth.positive, mask) < 0.25
    assert error(believed["paramagnetic"], truth.positive, mask) > 0.4


def test_the_joint_inversion_tells_how_far_it_is_and_can_be_cancelled() -> None:
    artefacts = head().artefacts
    heard: list[float] = []
    CHI_SEPARATION.apply(artefacts, StepContext(GRID, on_iteration=heard.append), CHI_SEPARATION.settings(iterations=8))
    assert heard == sorted(heard)
    assert heard[0] < 0.2
    assert heard[-1] == 1.0

    def cancel(fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CHI_SEPARATION.apply(artefacts, StepContext(GRID, on_iteration=cancel), CHI_SEPARATION.settings())


def test_a_map_of_another_grid_is_refused() -> None:
    artefacts = head().artefacts
    with pytest.raises(UnusableInput, match="give one grid to all"):
        separated(VOXELWISE, {**artefacts, "susceptibility": torch.zeros(SHAPE[0], SHAPE[1], 9)})
