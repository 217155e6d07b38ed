"""Finer images are used where every check is passed, and only there."""

import functools

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.finer import finer_images
from pipeline.grid import Grid
from pipeline.networks.super_resolution import SuperResolution, coarse_again
from pipeline.recipe import Recipe, builtin_recipe, builtin_recipe_text, parse_recipe
from tests.pipeline.reconstruction.learned_scan import awake

GRID = Grid((16, 18, 18), (4.0, 4.0, 4.0))
ECHO_TIMES_S = (0.006, 0.018)
B0_TESLA = 3.0
RADIANS_PER_S_AND_PPM = 2 * torch.pi * 42.577478518 * B0_TESLA


@functools.cache
def ball_of_water() -> torch.Tensor:
    """Return two echoes of a ball whose core is 0.2 ppm more paramagnetic, with a little noise."""
    axes = [(torch.arange(size) - size // 2) * 4.0 for size in GRID.shape]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    radius = (z**2 + y**2 + x**2).sqrt().clamp_min(1e-3)
    field = torch.where(radius < 12, 0.0, 0.2 / 3 * (12 / radius) ** 3 * (3 * (z / radius) ** 2 - 1))
    bright = 100.0 * torch.sigmoid(28 - radius)
    times = torch.tensor(ECHO_TIMES_S)[:, None, None, None]
    images = torch.polar(bright * torch.exp(-20 * times), 0.3 + RADIANS_PER_S_AND_PPM * field * times)
    chance = torch.Generator().manual_seed(3)
    return images + 0.5 * torch.randn(images.shape, dtype=torch.complex64, generator=chance)


@functools.cache
def quick_recipe() -> Recipe:
    start, _, rest = builtin_recipe_text("v_sharp_tv").partition("[dipole_inversion]")
    following = rest[rest.index("\n[") :]
    finer = '[super_resolution]\nmethod = "super_resolution"\n'
    return parse_recipe(f'{start}[dipole_inversion]\nmethod = "tkd"\n{following}\n{finer}')


def made(network: torch.nn.Module):
    return finer_images(ball_of_water(), GRID, ECHO_TIMES_S, B0_TESLA, quick_recipe(), network=network)


def test_a_network_that_adds_nothing_passes_every_check() -> None:
    told: list[float] = []
    images = ball_of_water()
    found = finer_images(images, GRID, ECHO_TIMES_S, B0_TESLA, quick_recipe(), told.append, SuperResolution())
    assert found.is_finer
    assert found.grid.shape == (32, 36, 36)
    assert found.images.shape == (2, 32, 36, 36)
    assert torch.allclose(coarse_again(found.images), images, atol=1e-2)
    assert [finding.name for finding in found.findings if finding.is_warning] == []
    assert {"measured_band_kept", "regions_kept", "difference_from_conventional"} <= {
        one.name for one in found.findings
    }
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_images_stay_as_they_were_measured_where_regions_lose_their_means() -> None:
    found = made(awake(SuperResolution()))
    assert not found.is_finer
    assert found.grid == GRID
    assert torch.equal(found.images, ball_of_water())
    warned = [finding.name for finding in found.findings if finding.is_warning]
    assert {"difference_from_conventional", "regions_kept"} & set(warned)
    assert warned[-1] == "super_resolution_source"


def test_images_that_cannot_be_mapped_stay_as_they_were_measured() -> None:
    grid = Grid((6, 18, 18), (4.0, 4.0, 4.0))
    images = ball_of_water()[:, 5:11].contiguous()
    found = finer_images(images, grid, ECHO_TIMES_S, B0_TESLA, quick_recipe(), network=SuperResolution())
    assert not found.is_finer
    assert any("No map could be made" in finding.sentence for finding in found.findings)


def test_a_single_plane_is_refused() -> None:
    flat = Grid((1, 18, 18), (4.0, 4.0, 4.0))
    with pytest.raises(UnusableInput, match="leave it out"):
        finer_images(ball_of_water()[:, :1], flat, ECHO_TIMES_S, B0_TESLA, quick_recipe(), network=SuperResolution())


def test_a_recipe_names_super_resolution_and_its_digest_tells() -> None:
    recipe, default = builtin_recipe("super_resolution"), builtin_recipe("default")
    assert recipe.image_networks == ("super_resolution",)
    assert default.image_networks == default.networks == ()
    assert recipe.digest != default.digest
    assert recipe.steps == default.steps
    assert recipe.image_settings("super_resolution").thickness == 48
