"""What every way to find sensitivities must do."""

from dataclasses import replace

import pytest
import torch

from pipeline.errors import MissingCalibration, UnknownMethod
from pipeline.operators.centred_fourier import to_kspace
from pipeline.reconstruction.coil_sensitivity.calibration import padded_kspace
from pipeline.reconstruction.coil_sensitivity.table import SENSITIVITIES, find_sensitivities
from tests.pipeline.reconstruction.small_kspace import SHAPE, SmallScan, every_second_line, small_scan

NAMES = sorted(SENSITIVITIES)
UNEXPLAINED = {"espirit": 0.03, "walsh": 0.2, "low_resolution": 0.15}


def unexplained(sensitivities: torch.Tensor, scan: SmallScan) -> float:
    """Return the share of the true coil images inside the object that no image could explain with sensitivities."""
    coils = scan.sensitivities * scan.images[0] * scan.inside
    explained = sensitivities * torch.linalg.vecdot(sensitivities, coils, dim=0)
    return float((coils - explained)[:, scan.inside].norm() / coils.norm())


@pytest.mark.parametrize("name", NAMES)
def test_the_coil_images_are_explained_from_the_calibration_lines(name: str) -> None:
    scan = small_scan(every_second_line(12))
    sensitivities = SENSITIVITIES[name](scan.kspace, None)
    assert unexplained(sensitivities, scan) < UNEXPLAINED[name]
    power = sensitivities.abs().square().sum(0)
    assert bool(((power - 1).abs() < 1e-4).logical_or(power == 0).all())
    assert bool((power[scan.inside] > 0).all())


@pytest.mark.parametrize("name", NAMES)
def test_a_separate_reference_serves_where_the_centre_has_gaps(name: str) -> None:
    scan = small_scan(every_second_line(2))
    with pytest.raises(MissingCalibration, match="no reference scan"):
        SENSITIVITIES[name](scan.kspace, None)
    reference = padded_kspace(small_scan().kspace.samples[0], (12, 12, 12))
    assert unexplained(SENSITIVITIES[name](replace(scan.kspace, calibration=reference), None), scan) < UNEXPLAINED[name]


@pytest.mark.parametrize("slices", [[6, 9], [4, 7, 10]])
def test_a_stack_of_few_slices_has_sensitivities_wherever_there_is_signal(slices: list[int]) -> None:
    whole = small_scan()
    coils = whole.sensitivities[:, slices] * whole.images[:, None, slices]
    grid = replace(whole.kspace.grid, shape=(len(slices), *SHAPE[1:]))
    lines = torch.ones((len(whole.images), *grid.shape[:2]), dtype=torch.bool)
    kspace = replace(whole.kspace, samples=to_kspace(coils), measured=lines, grid=grid)
    stack = SmallScan(kspace, whole.images[:, slices], whole.sensitivities[:, slices], whole.inside[slices])
    sensitivities = SENSITIVITIES["espirit"](stack.kspace, None)
    assert unexplained(sensitivities, stack) < UNEXPLAINED["espirit"]
    assert bool((sensitivities.abs().sum(0)[stack.inside] > 0).all())


def test_a_wrong_name_is_told_the_nearest_right_one() -> None:
    with pytest.raises(UnknownMethod, match="espirit"):
        find_sensitivities("esprit")


def test_padding_keeps_the_centre_in_the_centre() -> None:
    block = torch.zeros(1, 5, 4, 3, dtype=torch.complex64)
    block[0, 2, 2, 1] = 1
    assert float(padded_kspace(block, SHAPE)[0, 8, 16, 12].real) == 1
    assert torch.equal(padded_kspace(padded_kspace(block, SHAPE), (5, 4, 3)), block)
