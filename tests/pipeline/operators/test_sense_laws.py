import pytest
import torch

from pipeline.operators import sense
from pipeline.operators.sense import SenseOperator, coils_by_readout, images_by_readout, images_of_readouts

SHAPE = (5, 8, 6)


def random_complex(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def pattern(name: str) -> torch.Tensor:
    lines = torch.zeros(SHAPE[:2], dtype=torch.bool)
    if name == "irregular":
        return torch.rand(SHAPE[:2], generator=torch.Generator().manual_seed(4)) > 0.5
    if name == "along y":
        lines[:, ::2] = True
    elif name == "along z":
        lines[::2] = True
    else:
        lines[:] = True
    return lines


PATTERNS = ["irregular", "along y", "along z", "full"]


def operator(name: str) -> SenseOperator:
    return SenseOperator(coils_by_readout(random_complex(3, *SHAPE)), pattern(name))


@pytest.mark.parametrize("name", PATTERNS)
def test_adjoint_is_the_adjoint_of_forward(name: str) -> None:
    sense = operator(name)
    images, samples = random_complex(SHAPE[2], *SHAPE[:2], seed=2), random_complex(3, *SHAPE, seed=3)
    left = torch.vdot(sense.forward(images).flatten(), samples.flatten())
    torch.testing.assert_close(left, torch.vdot(images.flatten(), sense.adjoint(samples).flatten()))


@pytest.mark.parametrize("name", PATTERNS)
def test_normal_is_forward_then_adjoint(name: str) -> None:
    sense = operator(name)
    images = random_complex(SHAPE[2], *SHAPE[:2], seed=2)
    torch.testing.assert_close(sense.normal(images), sense.adjoint(sense.forward(images)), rtol=1e-4, atol=1e-4)


def test_only_undersampled_axes_are_transformed() -> None:
    assert [tuple(operator(name).axes) for name in PATTERNS] == [(-2, -1), (-1,), (-2,), ()]


def test_images_come_back_from_the_readouts_layout() -> None:
    images = random_complex(2, *SHAPE)
    torch.testing.assert_close(images_of_readouts(images_by_readout(images)), images)


def test_coils_in_groups_sum_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, images = operator("irregular"), images_by_readout(random_complex(*SHAPE, seed=2))
    at_once = whole.normal(images)
    monkeypatch.setattr(sense, "_SLAB_VALUES", 2 * SHAPE[0] * SHAPE[1])
    torch.testing.assert_close(whole.normal(images), at_once)
