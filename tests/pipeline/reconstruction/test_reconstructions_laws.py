"""What every conventional reconstruction of the table must do."""

from functools import cache

import pytest
import torch

from pipeline.method import resolve_settings
from pipeline.reconstruction.table import RECONSTRUCTIONS
from tests.pipeline.reconstruction.small_kspace import (
    SmallScan,
    every_second_line,
    phase_error,
    relative_error,
    small_scan,
)

CONVENTIONAL = sorted(name for name, entry in RECONSTRUCTIONS.items() if not entry.learned)
FEWER = {name: {"iterations": 25} for name in ("l1_wavelet", "joint_l1_wavelet", "total_variation")}
UNFOLDING = [name for name in CONVENTIONAL if name != "zero_filled"]


@cache
def full() -> SmallScan:
    return small_scan()


@cache
def halved() -> SmallScan:
    return small_scan(every_second_line())


def reconstructed(name: str, scan: SmallScan) -> torch.Tensor:
    entry = RECONSTRUCTIONS[name]
    return entry.apply(scan.kspace, scan.sensitivities, resolve_settings(entry, FEWER.get(name, {}), "test"))


@pytest.mark.parametrize("name", CONVENTIONAL)
def test_fully_sampled_k_space_gives_the_truth_but_for_noise(name: str) -> None:
    images = reconstructed(name, full())
    assert images.dtype == torch.complex64
    assert relative_error(images, full().images, full().inside) < 0.02


@pytest.mark.parametrize("name", UNFOLDING)
def test_every_second_line_is_unfolded(name: str) -> None:
    scan = halved()
    folded = relative_error(reconstructed("zero_filled", scan), scan.images, scan.inside)
    images = reconstructed(name, scan)
    assert relative_error(images, scan.images, scan.inside) < 0.25 * folded
    assert phase_error(images, scan.images, scan.inside) < 0.03


@pytest.mark.parametrize("name", CONVENTIONAL)
def test_progress_grows_to_one(name: str) -> None:
    entry = RECONSTRUCTIONS[name]
    told: list[float] = []
    entry.run(
        halved().kspace, halved().sensitivities, resolve_settings(entry, FEWER.get(name, {}), "test"), told.append
    )
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("name", CONVENTIONAL)
def test_inputs_are_left_as_they_were(name: str) -> None:
    scan = halved()
    samples, sensitivities = scan.kspace.samples.clone(), scan.sensitivities.clone()
    reconstructed(name, scan)
    assert torch.equal(samples, scan.kspace.samples)
    assert torch.equal(sensitivities, scan.sensitivities)
