import pytest
import torch

from pipeline.operators.centred_fourier import to_image, to_kspace

SHAPES = [(4, 6, 8), (3, 5, 7), (1, 6, 5)]


def random_complex(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES)
def test_each_transform_undoes_the_other(shape: tuple[int, ...]) -> None:
    image = random_complex(2, *shape)
    torch.testing.assert_close(to_image(to_kspace(image)), image)
    torch.testing.assert_close(to_kspace(to_image(image)), image)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_transform_is_the_adjoint_of_the_other(shape: tuple[int, ...]) -> None:
    left, right = random_complex(*shape), random_complex(*shape, seed=2)
    inner = torch.vdot(to_image(left).flatten(), right.flatten())
    torch.testing.assert_close(inner, torch.vdot(left.flatten(), to_kspace(right).flatten()))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_zero_frequency_lies_at_half_the_size(shape: tuple[int, ...]) -> None:
    spectrum = to_kspace(torch.ones(shape, dtype=torch.complex64))
    centre = tuple(size // 2 for size in shape)
    assert tuple(int(index) for index in torch.unravel_index(spectrum.abs().argmax(), shape)) == centre
    point = torch.zeros(shape, dtype=torch.complex64)
    point[centre] = 1
    torch.testing.assert_close(to_image(point), torch.full_like(point, point.numel() ** -0.5))


def test_axes_choose_what_is_transformed() -> None:
    kspace = random_complex(3, 4, 6)
    torch.testing.assert_close(to_image(to_image(kspace, (-1,)), (-3, -2)), to_image(kspace))
