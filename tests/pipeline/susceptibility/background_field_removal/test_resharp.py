"""RESHARP finds the minimum that it states, with one ball or several."""

import pytest
import torch

from pipeline.errors import InvalidRecipe
from pipeline.grid import Grid
from pipeline.operators.spherical_mean import ball_kernel, balls_inside
from pipeline.susceptibility.background_field_removal.framed_field import cut_field
from pipeline.susceptibility.background_field_removal.resharp import (
    ResharpSettings,
    VResharpSettings,
    _root_of_doubling,
    resharp,
)

GRID = Grid((30, 32, 27), (1.0, 1.0, 1.0))


def noisy_field() -> torch.Tensor:
    return torch.randn(GRID.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def box() -> torch.Tensor:
    mask = torch.zeros(GRID.shape, dtype=torch.bool)
    mask[3:27, 4:29, 2:25] = True
    return mask


def test_the_local_field_solves_the_equations_of_the_published_problem() -> None:
    settings = ResharpSettings(radius_mm=4.0, regularisation=1e-2, iterations=400, tolerance=1e-11)
    field, mask = noisy_field(), box()
    cut = cut_field(field, mask, GRID)
    kept = 1 - ball_kernel(cut.frame.grid, 4.0, cut.field)
    region = balls_inside(cut.inside, 1 - kept)

    def filtered(volume: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfftn(torch.fft.rfftn(volume) * kept, s=cut.shape)

    # The gradient of the stated sum, ½ of it, on a dense image: H M H (b − B) + λ b = 0 everywhere on the frame.
    local, known = resharp(field, mask, GRID, settings)
    everywhere, _ = _whole_solution(cut, region, kept, settings)
    gradient = filtered(filtered(everywhere - cut.field) * region) + settings.regularisation * everywhere
    assert float(gradient.abs().max()) < 1e-9
    torch.testing.assert_close(local, cut.frame.restore(everywhere * region), rtol=0, atol=1e-7)
    assert torch.equal(known, cut.frame.restore(region))


def _whole_solution(cut, region, kept, settings):  # type: ignore[no-untyped-def]
    """Solve the same problem by plain conjugate gradients on images."""
    apply = lambda b: _filter(_filter(b, kept) * region, kept) + settings.regularisation * b  # noqa: E731
    solution = torch.zeros_like(cut.field)
    residual = _filter(_filter(cut.field, kept) * region, kept)
    direction, energy = residual.clone(), float(residual.square().sum())
    for _ in range(600):
        applied = apply(direction)
        length = energy / float((direction * applied).sum())
        solution, residual = solution + length * direction, residual - length * applied
        previous, energy = energy, float(residual.square().sum())
        direction = residual + energy / previous * direction
        if energy < 1e-24:
            break
    return solution, energy


def _filter(volume: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    return torch.fft.irfftn(torch.fft.rfftn(volume) * kept, s=volume.shape)


@pytest.mark.parametrize("size", [8, 9])
def test_scaled_half_spectra_have_the_inner_product_of_their_images(size: int) -> None:
    chance = torch.Generator().manual_seed(1)
    first, second = (torch.randn((4, 6, size), generator=chance, dtype=torch.float64) for _ in range(2))
    spectra = [torch.fft.rfftn(image, norm="ortho") * _root_of_doubling(size, image) for image in (first, second)]
    product = sum((torch.view_as_real(a) * torch.view_as_real(b)).sum() for a, b in [spectra])
    assert float(product) == pytest.approx(float((first * second).sum()), abs=1e-10)


def test_smaller_balls_at_the_border_keep_more_of_the_mask() -> None:
    field, mask = noisy_field(), box()
    _, one = resharp(field, mask, GRID, ResharpSettings(radius_mm=6.0))
    _, several = resharp(field, mask, GRID, VResharpSettings(radii_mm=(2.0, 6.0)))
    assert bool(several[one].all())
    assert int(several.sum()) > 2 * int(one.sum())


def test_one_radius_in_the_list_is_plain_resharp() -> None:
    field, mask = noisy_field(), box()
    plain, _ = resharp(field, mask, GRID, ResharpSettings(radius_mm=4.0, regularisation=2e-3))
    listed, _ = resharp(field, mask, GRID, VResharpSettings(radii_mm=(4.0,), regularisation=2e-3))
    assert torch.equal(plain, listed)


def test_radii_that_do_not_rise_are_refused() -> None:
    with pytest.raises(InvalidRecipe, match="must rise"):
        VResharpSettings(radii_mm=(6.0, 3.0))
