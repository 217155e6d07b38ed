"""k-QSM: what is measured stays, what is open is filled, and the truncated kernel keeps its sign."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.networks.inputs import FieldPreparation, Scaling, Scan
from pipeline.networks.k_qsm import SpectrumPreparation, whole_spectrum
from pipeline.networks.table import NETWORKS
from tests.pipeline.networks.small_volume import SHAPE, small_scan

UPRIGHT = Grid((8, 10, 6), (2.0, 1.0, 1.5))


def upright_scan() -> Scan:
    """Return a scan that fills its grid, with B0 along z, in double precision."""
    field = torch.randn(UPRIGHT.shape, generator=torch.Generator().manual_seed(8), dtype=torch.float64) * 0.02
    return Scan(field, torch.ones(UPRIGHT.shape, dtype=torch.bool), UPRIGHT)


def truncated_division(field: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """Invert by a whole complex FFT, written from the papers' formula alone."""
    kz, ky, kx = np.meshgrid(
        *(np.fft.fftfreq(n, h) for n, h in zip(field.shape, UPRIGHT.voxel_size_mm, strict=True)), indexing="ij"
    )
    squared = kz**2 + ky**2 + kx**2
    squared[0, 0, 0] = 1.0
    kernel = 1 / 3 - kz**2 / squared
    inverse = np.where(kernel >= 0, 1.0, -1.0) / np.maximum(np.abs(kernel), threshold)
    inverse[0, 0, 0] = 0.0
    inverted: NDArray[np.float64] = np.fft.ifftn(np.fft.fftn(field) * inverse).real
    return inverted


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 3, 6), (5, 5, 1), (2, 2, 2)])
def test_a_half_spectrum_is_completed_to_the_whole(shape: tuple[int, int, int]) -> None:
    volume = torch.rand(shape, dtype=torch.float64)
    whole = whole_spectrum(torch.fft.rfftn(volume), shape[2])
    assert torch.allclose(whole, torch.fft.fftn(volume), atol=1e-12)


@pytest.mark.parametrize("threshold", [0.1, 0.2])
def test_a_network_that_adds_nothing_gives_the_truncated_division_with_the_kernels_sign(threshold: float) -> None:
    preparation = SpectrumPreparation(threshold=threshold, margin=0)
    channels, context = preparation.prepare(upright_scan(), None)
    found = preparation.finish(torch.zeros(2, *channels.shape[1:]), context)
    assert np.allclose(found.numpy(), truncated_division(upright_scan().local_field.numpy(), threshold), atol=1e-12)


def test_measured_frequencies_stay_exactly_as_the_division_left_them() -> None:
    preparation = SpectrumPreparation(threshold=0.1)
    channels, context = preparation.prepare(small_scan(), None)
    output = torch.randn(2, *channels.shape[1:], generator=torch.Generator().manual_seed(2))
    filled = preparation.filled_spectrum(output, context)
    is_measured = channels[2].abs() >= 0.1
    assert context.base is not None
    assert torch.equal(filled[is_measured], context.base[is_measured])
    assert bool((filled[~is_measured] != context.base[~is_measured]).float().mean() > 0.9)


def test_the_map_of_a_filled_spectrum_keeps_the_measured_frequencies_too() -> None:
    preparation = SpectrumPreparation(threshold=0.2, margin=0)
    channels, context = preparation.prepare(upright_scan(), None)
    output = torch.randn(2, *channels.shape[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    spectrum = torch.fft.fftshift(torch.fft.fftn(preparation.finish(output, context), norm="ortho"))
    is_measured = channels[2].abs() >= 0.2
    assert context.base is not None
    assert torch.allclose(spectrum[is_measured], context.base[is_measured], atol=1e-12)


def test_the_mean_stays_zero_whatever_the_network_says() -> None:
    preparation = SpectrumPreparation(threshold=0.1)
    channels, context = preparation.prepare(small_scan(), None)
    filled = preparation.filled_spectrum(torch.ones(2, *channels.shape[1:]), context)
    assert filled[tuple(size // 2 for size in filled.shape)] == 0


def test_a_field_twice_as_strong_gives_the_same_channels_and_twice_the_map() -> None:
    preparation, scan = SpectrumPreparation(threshold=0.1), small_scan()
    channels, context = preparation.prepare(scan, None)
    doubled, context_doubled = preparation.prepare(replace(scan, local_field=2 * scan.local_field), None)
    assert torch.allclose(channels, doubled, atol=1e-5)
    output = torch.randn(2, *channels.shape[1:], generator=torch.Generator().manual_seed(2))
    twice = 2 * preparation.finish(output, context)
    assert torch.allclose(preparation.finish(output, context_doubled), twice, atol=1e-6)


def test_an_untrained_network_starts_from_the_truncated_division() -> None:
    spec = NETWORKS["kqsm"]
    channels, context = spec.prepare(small_scan())
    nothing = torch.zeros(2, *channels.shape[1:])
    assert torch.equal(spec.invert(spec.make().eval(), small_scan()), spec.finish(nothing, context))


def test_a_field_of_zeros_gives_a_map_of_zeros() -> None:
    scan = replace(small_scan(), local_field=torch.zeros(SHAPE))
    channels, context = NETWORKS["kqsm"].prepare(scan)
    assert bool(channels.isfinite().all())
    assert not bool(NETWORKS["kqsm"].finish(torch.ones(2, *channels.shape[1:]), context).abs().max() > 1e-30)


def test_a_context_of_another_network_is_refused() -> None:
    channels, context = FieldPreparation(8, Scaling()).prepare(small_scan(), None)
    with pytest.raises(UnusableInput, match="another network"):
        NETWORKS["kqsm"].finish(channels.expand(2, -1, -1, -1), context)
