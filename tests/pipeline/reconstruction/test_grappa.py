import pytest
import torch

from pipeline.errors import MissingCalibration
from pipeline.reconstruction.grappa import GrappaSettings, grappa
from pipeline.reconstruction.zero_filled import zero_filled
from pipeline.simulation.sampling_patterns import poisson_disk, uniform
from tests.pipeline.reconstruction.small_kspace import SHAPE, every_second_line, relative_error, small_scan

PATTERNS = {
    "two directions": uniform(SHAPE[:2], (2, 2), (10, 12)),
    "CAIPIRINHA": uniform(SHAPE[:2], (2, 2), (10, 12), caipi_shift=1),
    "irregular": poisson_disk(SHAPE[:2], 2.2, (10, 12), 1),
}


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_every_pattern_is_filled(name: str) -> None:
    # Two rings of coils: one ring tells nothing of the place along it.
    scan = small_scan(PATTERNS[name], n_coils=16)
    folded = relative_error(zero_filled(scan.kspace, scan.sensitivities), scan.images, scan.inside)
    filled = grappa(scan.kspace, scan.sensitivities, GrappaSettings(neighbours=6))
    assert relative_error(filled, scan.images, scan.inside) < 0.5 * folded


def test_measured_samples_are_kept_as_they_are() -> None:
    scan = small_scan(torch.ones(SHAPE[:2], dtype=torch.bool))
    torch.testing.assert_close(
        grappa(scan.kspace, scan.sensitivities), zero_filled(scan.kspace, scan.sensitivities), rtol=1e-4, atol=1e-5
    )


def test_missing_calibration_lines_are_named() -> None:
    scan = small_scan(every_second_line(2))
    with pytest.raises(MissingCalibration, match="calibration lines"):
        grappa(scan.kspace, scan.sensitivities)
