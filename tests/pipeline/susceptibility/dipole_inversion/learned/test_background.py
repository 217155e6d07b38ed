"""Slow fields are fitted as solid harmonics, and sources around a mask are told from those inside it."""

import pytest
import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.susceptibility.dipole_inversion.learned.background import GREATEST_ORDER, SolidHarmonics
from pipeline.susceptibility.dipole_inversion.learned.data_term import DataTerm

GRID = Grid((16, 22, 20), (2.0, 1.2, 1.5), (0.8, 0.6, 0.0))


def weights(dtype: torch.dtype = torch.float64) -> Tensor:
    z, y, x = places()
    chance = torch.Generator().manual_seed(1)
    inside = (z / 12).square() + (y / 11).square() + (x / 13).square() < 1
    return torch.where(inside, 0.5 + torch.rand(inside.shape, generator=chance, dtype=torch.float64), 0.0).to(dtype)


def places() -> tuple[Tensor, Tensor, Tensor]:
    axes = [
        (torch.arange(size, dtype=torch.float64) - 7) * step
        for size, step in zip(GRID.shape, GRID.voxel_size_mm, strict=True)
    ]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return z, y, x


def slow_field(degree: int) -> Tensor:
    z, y, x = (place / 10 for place in places())
    return {
        0: torch.ones_like(z),
        1: 0.3 * z - y + 2 * x,
        2: 2 * z.square() - y.square() - x.square() + z * y,
        3: z.pow(3) - 3 * z * x.square() + z * y * x,
        4: x.pow(4) - 6 * x.square() * y.square() + y.pow(4),
    }[degree]


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
def test_a_harmonic_vanishes_up_to_the_order_of_its_degree(degree: int) -> None:
    residual = slow_field(degree) * weights()
    size = float(residual.norm())
    for order in range(GREATEST_ORDER + 1):
        left = float(SolidHarmonics.of(weights(), GRID, order).without(residual.clone()).norm())
        assert left < 1e-9 * size if order >= degree else left > 1e-2 * size


def test_what_no_harmonic_explains_stays() -> None:
    z, y, x = places()
    bowl = (z.square() + y.square() + x.square()) / 100
    fit = SolidHarmonics.of(weights(), GRID, 4)
    left = fit.without(bowl * weights())
    assert float(left.norm()) > 0.1 * float(((bowl - bowl.mean()) * weights()).norm())
    torch.testing.assert_close(fit.without(left.clone()), left, atol=1e-9, rtol=0)


def test_single_precision_is_enough() -> None:
    residual = (slow_field(3) + torch.sin(places()[1] / 3)) * weights()
    double = SolidHarmonics.of(weights(), GRID, 4).without(residual.clone())
    single = SolidHarmonics.of(weights(torch.float32), GRID, 4).without(residual.float())
    torch.testing.assert_close(single.double(), double, atol=1e-4, rtol=0)


def test_sources_around_the_mask_are_taken_out_and_those_inside_are_not() -> None:
    mask = weights() > 0
    noise = torch.where(mask, 1e-3, 0.0)
    zero = torch.zeros_like(noise)
    empty = DataTerm.of(zero, mask, GRID, noise, order=4)

    def left(place: tuple[int, int, int]) -> float:
        framed = torch.zeros_like(empty.field)
        framed[tuple(at + start.start for at, start in zip(place, empty.frame.window, strict=True))] = 1.0
        field = empty.restored(empty.dipole(framed) * empty.mask)
        term = DataTerm.of(field, mask, GRID, noise, order=4)
        nothing = torch.zeros_like(term.field)
        plain = DataTerm.of(field, mask, GRID, noise, order=0)
        cleaned = term.cleaned(nothing, 8)
        return float(cleaned.residual(nothing).norm()) / float(plain.residual(nothing).norm())

    first, last = (int(torch.nonzero(mask.any(2).any(1)).flatten()[at]) for at in (0, -1))
    assert left((last - first + 3, 9, 8)) < 0.5 * left(((last - first) // 2, 9, 8))


def test_outliers_lose_weight_and_the_others_keep_it() -> None:
    mask = weights() > 0
    noise = torch.where(mask, 1e-3, 0.0)
    chance = torch.Generator().manual_seed(5)
    field = noise * torch.randn(noise.shape, generator=chance, dtype=torch.float64)
    is_wrong = mask & (torch.rand(mask.shape, generator=chance) < 0.02)
    term = DataTerm.of(torch.where(is_wrong, field + 0.05, field), mask, GRID, noise)
    nothing = torch.zeros_like(term.field)
    relative = term.restored(term.cleaned(nothing, 0).weights)
    assert float(relative[is_wrong].max()) < 0.4
    assert float(relative[mask & ~is_wrong].mean()) > 0.98
    assert term.cleaned(nothing, 0).expected < term.expected
