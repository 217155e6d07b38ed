"""Training slabs are what a scanner would measure of a head, and what a perfect reconstruction would make of it."""

import pytest
import torch

from pipeline.networks.variational_network import normal_operator
from pipeline.simulation.scanner import Protocol
from pipeline.training.datasets import kspace_heads
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.kspace_heads import (
    HELD_OUT_FAMILIES,
    TRAINED_FAMILIES,
    head_material,
)
from pipeline.training.datasets.kspace_slabs import (
    calibrated_sensitivities,
    fine_example,
    parallel_imaging_example,
    single_coil_example,
)
from tests.pipeline.training.kspace_material import SHAPE, small_material

CPU = torch.device("cpu")
MAKERS = [parallel_imaging_example, single_coil_example, fine_example]


@pytest.mark.parametrize("make", MAKERS)
def test_the_same_draws_give_the_same_example_and_others_another(make) -> None:
    material = small_material()
    one, same, other = (make(material, Chance(key, CPU), 8) for key in ("a", "a", "b"))
    assert torch.equal(one.truth, same.truth)
    assert all(torch.equal(first, second) for first, second in zip(one.inputs, same.inputs, strict=True))
    assert not torch.equal(one.truth, other.truth)


def test_the_adjoint_is_that_of_the_truth_but_for_noise_and_coils() -> None:
    material = small_material()
    for key in range(6):
        example = parallel_imaging_example(material, Chance(f"adjoint {key}", CPU), 8)
        adjoint, mask, maps, start = example.inputs
        expected = normal_operator(example.truth, mask, maps)
        assert (adjoint - expected).norm() < 0.35 * adjoint.norm()
        assert (start - example.truth).norm() < 0.5 * example.truth.norm()


def test_single_coils_keep_their_samples_where_lines_were_measured() -> None:
    samples, mask = single_coil_example(small_material(), Chance("coils", CPU), 8).inputs
    assert samples.shape[0] == mask.shape[0] == 2
    assert bool((samples.abs().sum(-1)[mask == 0] == 0).all())
    assert bool((samples.abs().sum(-1)[mask == 1] > 0).all())


def test_fine_examples_lack_what_lies_beyond_the_measured_band() -> None:
    material = small_material()
    example = fine_example(material, Chance("fine", CPU), 12)
    assert example.truth.shape == example.inputs[0].shape == (1, 12, 12, 12)
    assert 0.01 < (example.truth - example.inputs[0]).norm() / example.truth.norm() < 0.9


def test_a_calibration_block_gives_the_coils_that_it_was_seen_with() -> None:
    material = small_material()
    true = material.sensitivities(0, slice(4, 12))
    samples = torch.fft.fft2(true * material.images[0][..., 4:12].abs(), dim=(-3, -2), norm="ortho")
    found = calibrated_sensitivities(samples, (8, 8))
    inside = material.brain[..., 4:12]
    likeness = (found.conj() * true).sum(0).abs()[inside]
    assert float(likeness.mean()) > 0.98


def test_sensitivities_have_power_one() -> None:
    material = small_material()
    found = material.sensitivities(1, slice(0, SHAPE[2]))
    assert found.shape == (6, *SHAPE)
    assert torch.allclose(found.abs().square().sum(0), torch.ones(SHAPE), atol=1e-4)


def test_held_out_families_are_never_trained_on() -> None:
    assert not set(TRAINED_FAMILIES) & set(HELD_OUT_FAMILIES)


def test_a_head_of_the_stream_is_scanned_whole_and_again_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    coarse = Protocol((16, 22, 18), (10.0, 10.0, 10.0), (0.004, 0.01, 0.02), snr=1e7, finest_mm=5.0)
    monkeypatch.setattr(kspace_heads, "_protocol", lambda chance: coarse)
    make = head_material.__wrapped__
    material, again, other = make("training", 3, 0), make("training", 3, 0), make("training", 3, 1)
    assert torch.equal(material.images, again.images)
    assert not torch.equal(material.images, other.images)
    assert 0.1 < float(material.brain.float().mean()) < 0.7
    assert material.images[0].abs()[material.brain].mean() == pytest.approx(1.0, abs=1e-3)
    for pattern, (n_z, n_y) in material.patterns:
        middle = pattern[8 - n_z // 2 : 8 - n_z // 2 + n_z, 11 - n_y // 2 : 11 - n_y // 2 + n_y]
        assert bool(middle.all())
        assert 1.5 < pattern.numel() / int(pattern.sum()) < 6.2
