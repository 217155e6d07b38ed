"""Laws of the transforms in place: the library's values, there and back, in one memory."""

import pytest
import torch

from pipeline.operators import fourier as module
from pipeline.operators.fourier import (
    forward_transform,
    inverse_transform,
    scale_spectrum,
    transform_over,
    volume_with_room,
)

SHAPES = pytest.mark.parametrize("shape", [(6, 4, 8), (5, 7, 9), (1, 3, 2), (8, 1, 1)])
SLABS = pytest.mark.parametrize("slab_values", [1, 60, 10**9])


def random(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


@SHAPES
@SLABS
def test_transforms_in_place_are_those_of_the_library(
    shape: tuple[int, int, int], slab_values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SLAB_VALUES", slab_values)
    volume = random(*shape)
    expected = torch.fft.rfftn(volume)
    torch.testing.assert_close(forward_transform(volume), expected)
    over = transform_over(volume_with_room(shape, volume).copy_(volume))
    torch.testing.assert_close(over, expected)
    torch.testing.assert_close(inverse_transform(over, shape), volume)


def test_a_volume_and_its_spectrum_share_one_memory() -> None:
    volume = volume_with_room((4, 6, 8), random(1)).copy_(random(4, 6, 8))
    place = volume.data_ptr()
    spectrum = transform_over(volume)
    assert spectrum.data_ptr() == place
    back = inverse_transform(spectrum, (4, 6, 8))
    assert back.data_ptr() == place
    assert back.is_contiguous()
    assert transform_over(back).data_ptr() == place


def test_a_plain_transform_leaves_the_volume_alone() -> None:
    volume = random(4, 6, 8, dtype=torch.float32)
    assert forward_transform(volume).dtype == torch.complex64
    assert torch.equal(volume, random(4, 6, 8, dtype=torch.float32))


def test_a_spectrum_that_is_not_in_one_piece_is_transformed_too() -> None:
    spectrum = torch.fft.rfftn(random(6, 4, 8), dim=(0, 1, 2)).transpose(0, 1).contiguous().transpose(0, 1)
    torch.testing.assert_close(inverse_transform(spectrum, (6, 4, 8)), random(6, 4, 8))


def test_a_volume_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="room"):
        transform_over(random(4, 6, 8))
    with pytest.raises(ValueError, match="room"):
        transform_over(volume_with_room((4, 6, 8), random(1)).transpose(0, 1))


@SLABS
def test_scaling_in_pieces_is_a_product(slab_values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SLAB_VALUES", slab_values)
    spectrum, factor = torch.complex(random(4, 5, 6), random(4, 5, 6).flip(0)), random(4, 5, 6)
    expected = spectrum * factor
    assert scale_spectrum(spectrum, factor) is spectrum
    torch.testing.assert_close(spectrum, expected)
