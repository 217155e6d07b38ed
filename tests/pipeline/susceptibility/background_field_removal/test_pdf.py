"""PDF explains the background by sources outside the mask and nothing else, and lets noisy voxels count less."""

import torch

from pipeline.grid import Grid
from pipeline.operators.dipole import Dipole
from pipeline.susceptibility.background_field_removal.pdf import PdfSettings, pdf

GRID = Grid((36, 40, 38), (1.0, 1.0, 1.0), (0.8, 0.6, 0.0))


def ball(radius: float, centre: tuple[float, float, float] = (18.0, 20.0, 19.0)) -> torch.Tensor:
    z, y, x = torch.meshgrid(*(torch.arange(size, dtype=torch.float64) for size in GRID.shape), indexing="ij")
    return (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= radius**2


def field_of(sources: torch.Tensor) -> torch.Tensor:
    return Dipole.on(GRID, sources)(sources)


def test_the_remaining_field_is_orthogonal_to_every_outer_source() -> None:
    mask = ball(15.0)
    inner = field_of(0.1 * ball(4.0, (18.0, 24.0, 19.0)).double())
    local = pdf(inner, mask, GRID, PdfSettings(iterations=100, tolerance=1e-3))
    seen = field_of(local * mask)[~mask]
    seen_before = field_of((inner - inner[mask].mean()) * mask)[~mask]
    assert float(seen.norm()) < 0.05 * float(seen_before.norm())


def test_more_steps_come_no_nearer_to_the_truth() -> None:
    mask = ball(15.0)
    inner = field_of(0.1 * ball(4.0, (18.0, 24.0, 19.0)).double())
    field = inner + field_of(3.0 * ball(2.5, (18.0, 38.0, 19.0)).double())
    few, many = (
        (pdf(field, mask, GRID, settings) - inner)[mask]
        for settings in (PdfSettings(), PdfSettings(iterations=100, tolerance=5e-3))
    )
    assert float(few.std()) < 1.1 * float(many.std())
    assert float(few.std()) < 0.5 * float(inner[mask].std())


def test_a_wrong_voxel_that_is_known_to_be_noisy_draws_the_background_less() -> None:
    mask = ball(15.0)
    wrong = ball(4.0, (18.0, 31.0, 19.0))
    field = torch.where(wrong, 1.0, 0.0).double()
    noise = torch.where(wrong, 1.0, 0.01).double()
    settings = PdfSettings(iterations=100, tolerance=5e-3)
    elsewhere = ball(7.0) & ~wrong
    trusting, wary = pdf(field, mask, GRID, settings), pdf(field, mask, GRID, settings, noise)
    assert float(wary[elsewhere].norm()) < 0.1 * float(trusting[elsewhere].norm())
