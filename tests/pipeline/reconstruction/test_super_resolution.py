"""Super-resolution may add detail and may not touch what was measured."""

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.networks.super_resolution import SuperResolution, coarse_again
from pipeline.reconstruction.super_resolution import SuperResolutionSettings, super_resolve
from tests.pipeline.reconstruction.learned_scan import GRID, awake, true_images

WHOLE = SuperResolutionSettings(thickness=40, precision="float32")


def test_the_measured_band_stays_whatever_the_network_says() -> None:
    images = true_images()
    fine = super_resolve(images, GRID, WHOLE, network=awake(SuperResolution()))
    assert (fine.images - fine.zero_filled).norm() > 1e-3 * fine.images.norm()
    assert torch.allclose(coarse_again(fine.images), images, atol=1e-3)


def test_the_fine_grid_has_half_the_voxel_and_the_same_direction() -> None:
    fine = super_resolve(true_images(), GRID, WHOLE, network=SuperResolution())
    assert fine.grid.shape == (28, 32, 40)
    assert fine.grid.voxel_size_mm == (5.0, 6.0, 4.5)
    assert fine.grid.b0_direction == GRID.b0_direction
    assert torch.allclose(fine.images[:, ::2, ::2, ::2], true_images(), atol=1e-3)


def test_an_untrained_network_gives_zero_filling() -> None:
    fine = super_resolve(true_images(), GRID, WHOLE, network=SuperResolution())
    assert torch.allclose(fine.images, fine.zero_filled, atol=1e-4)


def test_slabs_give_the_image_of_the_whole_where_they_overlap_enough() -> None:
    network = awake(SuperResolution())
    told: list[float] = []
    together = super_resolve(true_images(), GRID, WHOLE, network=network)
    parts = SuperResolutionSettings(thickness=16, margin=40, precision="float32")
    apart = super_resolve(true_images(), GRID, parts, told.append, network)
    assert torch.allclose(together.images, apart.images, atol=1e-3)
    assert told == [0.5, 1.0]


def test_images_that_are_not_complex_or_not_on_the_grid_are_refused() -> None:
    for wrong in (true_images().abs(), true_images()[:, 1:], true_images()[0]):
        with pytest.raises(UnusableInput, match="complex images"):
            super_resolve(wrong, GRID, WHOLE, network=SuperResolution())
