"""A whole run: what it refuses, what it tells, and what it gives back, on a small scan of the simulated head."""

from dataclasses import replace

import pytest
import torch

from pipeline.acquisition import Acquisition
from pipeline.errors import OutOfMemory, SingleEcho, UnusableInput
from pipeline.grid import Grid
from pipeline.maps import Maps, Quality
from pipeline.recipe import builtin_recipe, builtin_recipe_text, parse_recipe
from pipeline.run import run
from pipeline.simulation.phantom import adult_head
from pipeline.simulation.scanner import SMALL, SimulatedScan, acquire

FEW_STEPS = 'method = "robust"\ncoarse_rounds = 2\ncoarse_iterations = 20\nrounds = 2\niterations = 10'
QUICK = parse_recipe(builtin_recipe_text("default").replace('method = "robust"', FEW_STEPS))
QUICK_SINGLE_ECHO = parse_recipe(builtin_recipe_text("single_echo").replace('method = "robust"', FEW_STEPS))


@pytest.fixture(scope="module")
def scan() -> SimulatedScan:
    return acquire(adult_head(), SMALL)


@pytest.fixture(scope="module")
def result(scan: SimulatedScan) -> tuple[Maps, Quality]:
    return run(scan.acquisition, builtin_recipe("default"))


def little_acquisition(shape: tuple[int, int, int] = (20, 20, 20), n_echoes: int = 2) -> Acquisition:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((n_echoes, *shape), generator=generator)
    times = tuple(0.005 * (echo + 1) for echo in range(n_echoes))
    return Acquisition(images + 1, images, times, 3.0, Grid(shape, (1.0, 1.0, 1.0)))


def test_all_maps_are_on_the_grid_finite_and_zero_outside_the_mask(
    scan: SimulatedScan, result: tuple[Maps, Quality]
) -> None:
    maps, _ = result
    for name in ("susceptibility", "total_field", "local_field", "field_noise", "r2star"):
        volume = getattr(maps, name)
        assert volume.dtype == torch.float32, name
        assert tuple(volume.shape) == scan.acquisition.grid.shape, name
        assert bool(torch.isfinite(volume).all()), name
        assert not volume[~maps.mask].any(), name
    assert maps.mask.dtype == torch.bool
    assert maps.reference == "whole_brain"
    assert abs(float(maps.susceptibility[maps.mask].mean())) < 1e-6


def test_iron_rich_nuclei_are_brighter_than_the_rest_by_what_they_hold(
    scan: SimulatedScan, result: tuple[Maps, Quality]
) -> None:
    maps, _ = result
    pallidum = [number for number, name in scan.label_names.items() if "pallidus" in name]
    region = torch.isin(scan.labels, torch.tensor(pallidum)) & maps.mask
    assert int(region.sum()) > 10
    truth = float(scan.susceptibility[region].mean() - scan.susceptibility[scan.brain].mean())
    assert float(maps.susceptibility[region].mean()) == pytest.approx(truth, abs=0.02)


def test_the_same_acquisition_gives_the_same_bits_and_figures(
    scan: SimulatedScan, result: tuple[Maps, Quality]
) -> None:
    maps, quality = run(scan.acquisition, builtin_recipe("default"))
    assert torch.equal(maps.susceptibility, result[0].susceptibility)
    assert torch.equal(maps.total_field, result[0].total_field)
    assert torch.equal(maps.r2star, result[0].r2star)
    assert quality == result[1]


def test_the_quality_describes_the_run(scan: SimulatedScan, result: tuple[Maps, Quality]) -> None:
    maps, quality = result
    figures = quality.figures
    assert figures["n_echoes_used"] == len(SMALL.echo_times_s)
    assert figures["mask_volume_ml"] == pytest.approx(int(maps.mask.sum()) * 0.027, rel=1e-6)
    assert 0.2 < figures["field_noise_median_ppb"] < 10
    assert 0.1 < figures["data_consistency_ratio"] < 3
    assert figures["unwrapping_residual_fraction"] < 0.02
    assert 5 < figures["r2star_median_per_s"] < 60


def test_every_step_is_told_from_zero_to_one_in_order(scan: SimulatedScan) -> None:
    told: list[tuple[str, float]] = []
    run(scan.acquisition, QUICK, lambda step, fraction: told.append((step, fraction)))
    assert list(dict.fromkeys(step for step, _ in told)) == list(QUICK.steps)
    for step in QUICK.steps:
        fractions = [fraction for name, fraction in told if name == step]
        assert fractions[0] == 0.0
        assert fractions[-1] == 1.0
        assert fractions == sorted(fractions)
    assert sum(step == "total_field_inversion" for step, _ in told) > 20


def test_a_listener_can_cancel_the_run(scan: SimulatedScan) -> None:
    def cancel(step: str, fraction: float) -> None:
        if step == "total_field_inversion" and fraction > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(scan.acquisition, QUICK, cancel)


def test_a_given_mask_replaces_the_computed_one(scan: SimulatedScan) -> None:
    given = replace(scan.acquisition, mask=scan.brain)
    maps, _ = run(given, QUICK)
    assert torch.equal(maps.mask, scan.brain)


def test_a_phase_offset_common_to_all_echoes_does_not_change_the_field(
    scan: SimulatedScan, result: tuple[Maps, Quality]
) -> None:
    phase = torch.remainder(scan.acquisition.phase + 1.0 + torch.pi, 2 * torch.pi) - torch.pi
    given = replace(scan.acquisition, phase=phase, mask=result[0].mask)
    again, _ = run(given, QUICK)
    difference = (again.total_field - result[0].total_field)[result[0].mask]
    assert float((difference - difference.median()).abs().median()) < 2e-4


def test_one_echo_is_mapped_by_its_own_recipe_without_r2star(scan: SimulatedScan) -> None:
    acquisition = scan.acquisition
    single = replace(
        acquisition,
        magnitude=acquisition.magnitude[1:2],
        phase=acquisition.phase[1:2],
        echo_times_s=acquisition.echo_times_s[1:2],
    )
    with pytest.raises(SingleEcho, match="single_echo"):
        run(single, QUICK)
    maps, quality = run(single, QUICK_SINGLE_ECHO)
    assert maps.r2star is None
    assert quality.figures["n_echoes_used"] == 1
    assert bool(torch.isfinite(maps.susceptibility).all())


def test_values_that_are_not_finite_are_refused_by_name() -> None:
    acquisition = little_acquisition()
    phase = acquisition.phase.clone()
    phase[0, 3, 3, 3] = float("nan")
    with pytest.raises(UnusableInput, match=r"phase images .*not finite"):
        run(replace(acquisition, phase=phase), QUICK)
    magnitude = acquisition.magnitude.clone()
    magnitude[1, 2, 2, 2] = float("inf")
    with pytest.raises(UnusableInput, match=r"magnitude images .*not finite"):
        run(replace(acquisition, magnitude=magnitude), QUICK)


def test_images_of_zeros_are_refused() -> None:
    acquisition = little_acquisition()
    with pytest.raises(UnusableInput, match="only zeros"):
        run(replace(acquisition, phase=torch.zeros_like(acquisition.phase)), QUICK)


def test_a_thin_slab_is_refused_with_the_number_it_needs() -> None:
    with pytest.raises(UnusableInput, match=r"only 8 voxels thick.*at least 16"):
        run(little_acquisition((8, 20, 20)), QUICK)


def test_a_mask_of_another_grid_is_refused_before_anything_runs() -> None:
    told: list[str] = []
    acquisition = replace(little_acquisition(), mask=torch.ones(5, 5, 5, dtype=torch.bool))
    with pytest.raises(UnusableInput, match="mask on the grid"):
        run(acquisition, QUICK, lambda step, fraction: told.append(step))
    assert told == []


def test_an_empty_mask_is_refused_in_words() -> None:
    acquisition = little_acquisition()
    acquisition = replace(acquisition, mask=torch.zeros(acquisition.grid.shape, dtype=torch.bool))
    with pytest.raises(UnusableInput, match="mask"):
        run(acquisition, QUICK)


def test_a_failed_allocation_is_something_to_try_again() -> None:
    def exhaust(step: str, fraction: float) -> None:
        torch.empty(2**60, dtype=torch.float32)

    with pytest.raises(OutOfMemory, match="try again later"):
        run(little_acquisition(), QUICK, exhaust)
