import pytest
import torch

from pipeline.operators.centred_fourier import to_image, to_kspace
from pipeline.reconstruction.partial_fourier import acquired_box, fill_partial_fourier, is_partial
from tests.pipeline.reconstruction.small_kspace import SHAPE, every_second_line, relative_error, true_images


def lines_from(first_z: int, first_y: int) -> torch.Tensor:
    lines = torch.zeros(SHAPE[:2], dtype=torch.bool)
    lines[first_z:, first_y:] = True
    return lines


@pytest.mark.parametrize(("lines", "partial"), [((0, 0), False), ((0, 8), True), ((4, 0), True), ((4, 8), True)])
def test_asymmetric_patterns_are_recognised(lines: tuple[int, int], partial: bool) -> None:
    assert is_partial(lines_from(*lines)) is partial


def test_a_regular_pattern_is_not_taken_for_partial_fourier() -> None:
    assert not is_partial(every_second_line())


@pytest.mark.parametrize(("first_z", "first_y"), [(0, 9), (4, 0), (4, 9)])
def test_the_missing_side_is_found_from_the_smooth_phase(first_z: int, first_y: int) -> None:
    images, inside = true_images()
    lines = lines_from(first_z, first_y)
    kept = to_kspace(images[0], (-3, -2)) * lines[..., None]
    cut = to_image(kept, (-3, -2))
    filled = fill_partial_fourier(cut, lines)
    assert relative_error(filled, images[0], inside) < 0.6 * relative_error(cut, images[0], inside)
    again = to_kspace(filled, (-3, -2))
    torch.testing.assert_close(again * lines[..., None], kept, rtol=1e-3, atol=1e-3)


def test_symmetric_k_space_is_left_alone() -> None:
    image = true_images()[0][0]
    assert fill_partial_fourier(image, lines_from(0, 0)) is image
    assert acquired_box(lines_from(4, 9)) == ((4, 16), (9, 32))
