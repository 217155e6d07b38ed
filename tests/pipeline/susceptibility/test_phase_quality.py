"""Phase quality is high where the phase is smooth, however steep, and low where it is noise."""

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.susceptibility.phase_quality import phase_quality
from pipeline.susceptibility.phase_unwrapping.turns import wrap
from tests.pipeline.susceptibility.echoes import SHAPE, echoes


def noise_phase(n_echoes: int = 2) -> torch.Tensor:
    return torch.pi * (2 * torch.rand(n_echoes, *SHAPE, generator=torch.Generator().manual_seed(2)) - 1)


def test_a_steep_wrapped_ramp_is_as_good_as_a_flat_phase() -> None:
    z, y, x = torch.meshgrid(*(torch.arange(float(length)) for length in SHAPE), indexing="ij")
    ramp = wrap(2.5 * z + 1.7 * y - 2.0 * x)[None]
    assert phase_quality(ramp, torch.ones_like(ramp)).min() > 0.999


def test_noise_is_rated_near_zero() -> None:
    assert phase_quality(noise_phase(), torch.ones(2, *SHAPE)).mean() < 0.1


def test_tissue_and_air_fall_on_either_side_of_the_default_limit() -> None:
    scan = echoes(noise=0.05)
    quality = phase_quality(scan.phase, scan.magnitude)
    assert (quality[scan.mask] > 0.3).float().mean() > 0.98
    z = torch.zeros(SHAPE, dtype=torch.bool)
    z[0] = z[-1] = True
    assert (quality[z & ~scan.mask] < 0.4).float().mean() > 0.9


def test_a_strong_echo_counts_more_than_a_weak_one() -> None:
    phase = noise_phase()
    phase[0] = 0.0
    magnitude = torch.stack([torch.full(SHAPE, 10.0), torch.ones(SHAPE)])
    assert phase_quality(phase, magnitude).min() > 0.9
    assert phase_quality(phase, magnitude.flip(0)).max() < 0.6


def test_a_slab_of_two_slices_is_rated_along_its_other_axes() -> None:
    phase = torch.zeros(1, 2, 12, 12)
    assert (phase_quality(phase, torch.ones_like(phase)) == 1).all()


def test_air_that_the_scanner_stored_as_one_value_is_rated_zero() -> None:
    scan = echoes(noise=0.05)
    air = torch.zeros(SHAPE, dtype=torch.bool)
    air[:4] = True
    quality = phase_quality(torch.where(air, -torch.pi, scan.phase), scan.magnitude)
    assert not quality[air].any()
    assert torch.equal(quality[6:], phase_quality(scan.phase, scan.magnitude)[6:])


def test_where_there_is_no_signal_the_quality_is_zero() -> None:
    phase = noise_phase()
    magnitude = torch.ones_like(phase)
    magnitude[:, 5:] = 0.0
    assert not phase_quality(phase, magnitude)[7:].any()


def test_slabs_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    phase, magnitude = noise_phase(), torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(5))
    whole = phase_quality(phase, magnitude)
    monkeypatch.setattr("pipeline.susceptibility.phase_quality._SLAB_VOXELS", 1)
    torch.testing.assert_close(phase_quality(phase, magnitude), whole, rtol=0, atol=1e-5)


def test_phase_and_magnitude_of_other_shapes_are_refused() -> None:
    with pytest.raises(UnusableInput, match="must have one shape"):
        phase_quality(torch.zeros(2, *SHAPE), torch.zeros(3, *SHAPE))
