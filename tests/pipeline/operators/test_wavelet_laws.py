import pytest
import torch

from pipeline.operators.periodic_differences import differences, differences_adjoint
from pipeline.operators.wavelet import WAVELETS, WaveletTransform


def random_complex(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("wavelet", WAVELETS)
@pytest.mark.parametrize("shape", [(16, 12, 8), (17, 9, 1), (3, 4, 33)])
def test_the_transform_keeps_the_norm_and_comes_back(shape: tuple[int, int, int], wavelet: str) -> None:
    volumes = random_complex(2, *shape)
    transform = WaveletTransform(shape, 3, wavelet, volumes)
    before = volumes.clone()
    coefficients = transform.forward(volumes, (1, 2, 5))
    assert torch.equal(volumes, before)
    torch.testing.assert_close(coefficients.norm(), volumes.norm())
    torch.testing.assert_close(transform.inverse(coefficients, (1, 2, 5)), volumes, rtol=1e-4, atol=1e-5)


def test_a_shift_is_a_roll_of_the_volume() -> None:
    volumes = random_complex(16, 12, 8)
    transform = WaveletTransform((16, 12, 8), 2, "daubechies_2", volumes)
    rolled = transform.forward(volumes.roll((3, 1, 2), (0, 1, 2)))
    torch.testing.assert_close(transform.forward(volumes, (3, 1, 2)), rolled, rtol=1e-4, atol=1e-5)


def test_an_even_volume_has_no_detail() -> None:
    transform = WaveletTransform((16, 16, 16), 2, "daubechies_3", torch.ones(1, dtype=torch.complex64))
    coefficients = transform.forward(torch.ones(16, 16, 16, dtype=torch.complex64))
    a, b, c = transform.corners[-1]
    coefficients[:a, :b, :c] = 0
    assert float(coefficients.abs().max()) < 1e-4


def test_differences_have_their_adjoint() -> None:
    volumes, edges, weights = random_complex(2, 5, 4, 3), random_complex(3, 2, 5, 4, 3, seed=2), (1.0, 0.5, 0.25)
    left = torch.vdot(differences(volumes, weights).flatten(), edges.flatten())
    torch.testing.assert_close(left, torch.vdot(volumes.flatten(), differences_adjoint(edges, weights).flatten()))


def test_earlier_coefficients_stay_when_others_are_made() -> None:
    first, second = random_complex(16, 12, 8), random_complex(16, 12, 8, seed=2)
    transform = WaveletTransform((16, 12, 8), 2, "symlet_4", first)
    coefficients = transform.forward(first, (1, 2, 3))
    before = coefficients.clone()
    transform.inverse(transform.forward(second, (3, 1, 0)), (3, 1, 0))
    assert torch.equal(coefficients, before)
