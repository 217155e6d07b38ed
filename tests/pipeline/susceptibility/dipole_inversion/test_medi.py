"""What only MEDI promises: edges of the magnitude are spared, whole turns do not matter, and CSF is zero in MEDI+0."""

import functools
import math
from dataclasses import replace

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.method import StepContext
from pipeline.susceptibility.dipole_inversion.medi import MEDI, MEDI_0, MediSettings, MediZeroSettings
from tests.pipeline.susceptibility.dipole_inversion.heads import SmallHead, small_head

FEW = MediSettings(rounds=3, inner_iterations=8)
FEW_ZERO = MediZeroSettings(rounds=3, inner_iterations=8)
TIMES_S = (0.004, 0.012, 0.02)


@functools.cache
def head() -> SmallHead:
    return small_head((36, 40, 38))


def mapped(artefacts: dict[str, torch.Tensor], settings: MediSettings = FEW) -> torch.Tensor:
    return MEDI.apply(artefacts, StepContext(head().grid), settings)["susceptibility"]


def mapped_zero(artefacts: dict[str, torch.Tensor], settings: MediZeroSettings = FEW_ZERO) -> torch.Tensor:
    n_echoes = artefacts["magnitude"].shape[0]
    return MEDI_0.apply(artefacts, StepContext(head().grid, TIMES_S[:n_echoes]), settings)["susceptibility"]


def fluid() -> torch.Tensor:
    """A block of flat tissue, away from the inclusions."""
    block = torch.zeros_like(head().mask)
    block[16:20, 18:22, 24:28] = True
    return block


def test_edges_that_the_magnitude_shows_survive_strong_regularisation() -> None:
    strong = replace(FEW, regularisation=5e-3)
    artefacts = head().artefacts(torch.float64)
    spared = head().error_percent(mapped(artefacts, strong))
    everywhere = head().error_percent(mapped(artefacts, replace(strong, edge_fraction=0.0)))
    assert spared < everywhere - 5


def test_whole_turns_of_the_phase_do_not_matter() -> None:
    artefacts = head().artefacts(torch.float64)
    turns = torch.randint(-2, 3, head().grid.shape, generator=torch.Generator().manual_seed(1)).double()
    jumping = artefacts["local_field"] + turns * (2 * math.pi / FEW.radians_per_ppm) * head().mask
    torch.testing.assert_close(mapped(artefacts | {"local_field": jumping}), mapped(artefacts), atol=1e-8, rtol=0)


def test_voxels_far_off_lose_their_vote() -> None:
    artefacts = head().artefacts()
    wrong = artefacts["local_field"].clone()
    places = torch.randperm(int(head().mask.sum()), generator=torch.Generator().manual_seed(1))[:40]
    values = wrong[head().mask]
    values[places] += 0.2
    wrong[head().mask] = values
    believed = mapped(artefacts | {"local_field": wrong}, replace(FEW, outlier=1e6))
    doubted = mapped(artefacts | {"local_field": wrong}, replace(FEW, outlier=2.0))
    assert head().error_percent(doubted) < head().error_percent(believed) - 5


def test_the_given_fluid_becomes_zero_and_uniform() -> None:
    artefacts = head().artefacts() | {"region": fluid()}
    found = mapped_zero(artefacts)
    loose = mapped_zero(artefacts, replace(FEW_ZERO, csf_weight=0.0))
    assert abs(float(found[fluid()].mean())) < 1e-6
    assert float(found[fluid()].std()) < 0.8 * float(loose[fluid()].std())


def test_the_fluid_is_found_from_the_decay_rate_or_from_the_echoes() -> None:
    r2star = torch.where(fluid(), 1.0, 25.0)
    artefacts = head().artefacts()
    given = mapped_zero(artefacts | {"region": fluid()})
    assert torch.equal(mapped_zero(artefacts | {"r2star": r2star}), given)
    echoes = torch.stack([artefacts["magnitude"][0] * torch.exp(-r2star * time) for time in TIMES_S])
    image = echoes.square().sum(0).sqrt()[None]
    from_echoes = mapped_zero(artefacts | {"magnitude": echoes})
    assert abs(float(from_echoes[fluid()].mean())) < 1e-6
    expected = mapped_zero(artefacts | {"magnitude": image, "region": fluid()})
    torch.testing.assert_close(from_echoes, expected, atol=1e-5, rtol=0)


def test_a_region_outside_the_mask_is_refused() -> None:
    with pytest.raises(UnusableInput, match="no voxel of the mask"):
        mapped_zero(head().artefacts() | {"region": ~head().mask})
