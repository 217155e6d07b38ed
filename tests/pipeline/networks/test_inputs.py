"""Windows, scaling and the convolution that unrolled networks compute with."""

from dataclasses import replace

import pytest
import torch

from pipeline.grid import Grid
from pipeline.networks.inputs import (
    FieldPreparation,
    Scaling,
    UnrolledPreparation,
    Window,
    convolved,
    window_of_multiples,
)
from pipeline.operators.dipole import Dipole
from tests.pipeline.networks.small_volume import GRID, SHAPE, small_scan, small_truth


@pytest.mark.parametrize("shape", [(1, 2, 3), (8, 16, 7), (17, 5, 9)])
@pytest.mark.parametrize(("multiple", "margin"), [(1, 0), (8, 0), (2, 4), (16, 3)])
def test_a_window_gives_back_the_volume_that_was_put_in(
    shape: tuple[int, int, int], multiple: int, margin: int
) -> None:
    volume = torch.rand(shape)
    window = window_of_multiples(shape, multiple, margin)
    padded = window.pad(volume)
    assert all(size % multiple == 0 for size in padded.shape)
    assert all(more - less >= 2 * margin for more, less in zip(padded.shape, shape, strict=True))
    assert torch.equal(window.crop(padded), volume)
    assert float(padded.sum()) == pytest.approx(float(volume.sum()), rel=1e-5)


def test_a_window_is_no_larger_than_it_must_be() -> None:
    assert window_of_multiples((16, 17, 1), 16) == Window((16, 17, 1), (16, 32, 16))


def test_a_field_is_scaled_inside_the_mask_and_zero_outside_even_if_its_mean_is_not() -> None:
    scan = small_scan()
    channels, context = FieldPreparation(8, Scaling(field_mean=0.01, field_deviation=0.02)).prepare(scan, None)
    scaled = context.window.crop(channels[0])
    assert torch.allclose(scaled[scan.mask], (scan.local_field[scan.mask] - 0.01) / 0.02)
    assert float(channels.abs().sum()) == pytest.approx(float(scaled[scan.mask].abs().sum()), rel=1e-5)


@pytest.mark.parametrize("preparation", [FieldPreparation, UnrolledPreparation])
def test_finish_undoes_the_scaling_of_susceptibilities(preparation: type) -> None:
    scaling = Scaling(susceptibility_mean=0.01, susceptibility_deviation=0.04)
    ours = UnrolledPreparation(scaling) if preparation is UnrolledPreparation else FieldPreparation(8, scaling)
    _, context = ours.prepare(small_scan(), None)
    truth = small_truth()
    output = context.window.pad((truth - 0.01) / 0.04)[None]
    assert torch.allclose(ours.finish(output, context), truth, atol=1e-7)


def test_the_convolution_of_unrolled_networks_does_not_wrap_around() -> None:
    scan, truth = small_scan(), small_truth()
    _, context = UnrolledPreparation(Scaling()).prepare(scan, None)
    assert context.kernel is not None
    doubled = replace(GRID, shape=tuple(2 * size for size in SHAPE))
    padded = torch.zeros(doubled.shape)
    padded[: SHAPE[0], : SHAPE[1], : SHAPE[2]] = truth
    expected = Dipole.on(doubled, truth)(padded)[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    assert torch.allclose(convolved(truth[None, None], context.kernel[None])[0, 0], expected, atol=1e-7)


def test_the_convolution_is_its_own_adjoint() -> None:
    grid = Grid((12, 10, 14), (1.0, 2.0, 1.0), (0.6, 0.0, 0.8))
    kernel = Dipole.on(grid, torch.zeros(1, dtype=torch.float64)).kernel[None]
    first, second = torch.rand(2, 1, 1, 6, 5, 7, dtype=torch.float64)
    assert float((convolved(first, kernel) * second).sum()) == pytest.approx(
        float((first * convolved(second, kernel)).sum()), rel=1e-10
    )
