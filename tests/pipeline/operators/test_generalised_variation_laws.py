"""Laws of the split generalised variation: ramps are free where steps are not, and its fixed point is a minimum."""

import torch

from pipeline.grid import Grid
from pipeline.operators import generalised_variation as module
from pipeline.operators.generalised_variation import SplitGeneralisedVariation

STEPS = (1.5, 1.0, 0.7)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_symmetrised_gradient_and_its_adjoint_give_the_same_inner_product() -> None:
    field, bend = random(3, 6, 5, 4), random(6, 6, 5, 4, seed=1)
    force = torch.zeros(3, 7, 5, 4, dtype=torch.float64)
    module._subtract_adjoint(force, bend, 1.0, STEPS, True)
    gradient = module._symmetrised_gradient(field, 6, STEPS)
    torch.testing.assert_close((gradient * bend).sum(), -(force[:, :-1] * field).sum())
    assert not force[:, -1].any()


def test_a_symmetrised_gradient_in_pieces_is_that_of_the_whole() -> None:
    field = random(3, 6, 5, 4)
    pieces = [
        module._symmetrised_gradient(field[:, :3], 2, STEPS),
        module._symmetrised_gradient(field[:, 2:], 4, STEPS),
    ]
    torch.testing.assert_close(torch.cat(pieces, dim=1), module._symmetrised_gradient(field, 6, STEPS))


def test_a_rotation_is_not_bent() -> None:
    z, y, _ = torch.meshgrid(*(torch.arange(5, dtype=torch.float64) for _ in range(3)), indexing="ij")
    turned = torch.stack([y, -z, torch.zeros_like(z)])
    bend = module._symmetrised_gradient(turned, 5, (1.0, 1.0, 1.0))
    assert float(bend[:, :-1, :-1].abs().max()) < 1e-12
    assert float(module._symmetrised_gradient(turned.abs(), 5, (1.0, 1.0, 1.0)).abs().max()) > 0.5


def test_slabs_give_what_the_whole_gives(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    grid = Grid((10, 8, 6), STEPS)
    window = (slice(2, 9), slice(1, 7), slice(1, 5))
    volumes = [random(*grid.shape, seed=seed) for seed in range(4)]
    found = []
    for slab_voxels in (1, 150, 10**9):
        monkeypatch.setattr(module, "_SLAB_VOXELS", slab_voxels)
        variation = SplitGeneralisedVariation(grid, window, volumes[0], 0.3, 2.0, 1.6)
        found.append(torch.stack([variation.update(volume.clone()) for volume in volumes]))
    torch.testing.assert_close(found[0], found[2])
    torch.testing.assert_close(found[1], found[2])


def test_single_precision_keeps_its_state_in_half_and_agrees() -> None:
    grid = Grid((10, 8, 6), STEPS)
    window = (slice(2, 9), slice(1, 7), slice(1, 5))
    volumes = [random(*grid.shape, seed=seed) for seed in range(6)]
    exact = SplitGeneralisedVariation(grid, window, volumes[0], 0.3, 2.0, 1.6)
    short = SplitGeneralisedVariation(grid, window, volumes[0].float(), 0.3, 2.0, 1.6)
    for volume in volumes:
        single = volume.float()
        expected, found = exact.update(volume), short.update(single).double()
    assert 0 < float((expected - found).norm() / expected.norm()) < 2e-3


def test_denoising_a_ramp_with_a_smooth_slope_beats_total_variation() -> None:
    grid = Grid((8, 8, 32), (1.0, 1.0, 1.0))
    window = (slice(0, 8), slice(0, 8), slice(1, 31))
    ramp = (1 - (torch.arange(32, dtype=torch.float64) / 16 - 1).abs()).expand(8, 8, 32)
    given = ramp + 0.1 * random(8, 8, 32)
    errors = []
    for smoothness in (1e-3, 2.0):
        found = denoised(given, SplitGeneralisedVariation(grid, window, given, 0.05, smoothness, 1.6))
        errors.append(float((found - ramp)[..., 4:13].norm()))
    assert errors[1] < 0.8 * errors[0]
    assert errors[1] < 0.5 * float((given - ramp)[..., 4:13].norm())


def denoised(given: torch.Tensor, variation: SplitGeneralisedVariation) -> torch.Tensor:
    """Minimise ½‖x − given‖² plus the variation by the splitting that it is made for."""
    penalty = variation.penalty(2.0)
    size = given.shape
    axes = [torch.arange(n, dtype=torch.float64) for n in size]
    waves = [(2 * torch.sin(torch.pi * k / n)).square() for k, n in zip(axes, size, strict=True)]
    divisor = 1 + penalty * (waves[0][:, None, None] + waves[1][:, None] + waves[2])
    volume = given.clone()
    for _ in range(150):
        drawn = variation.update(volume)
        volume = torch.fft.ifftn(torch.fft.fftn(given + penalty * drawn) / divisor).real
    return volume
