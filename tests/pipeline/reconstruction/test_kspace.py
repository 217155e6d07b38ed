import math
from dataclasses import replace

import pytest
import torch

from pipeline.errors import MissingCalibration, UnusableInput
from pipeline.grid import Grid
from pipeline.reconstruction.kspace import Kspace, central_block

SHAPE = (8, 12, 6)


def scan(measured: torch.Tensor | None = None) -> Kspace:
    lines = torch.ones(SHAPE[:2], dtype=torch.bool) if measured is None else measured
    samples = torch.randn(2, 3, *SHAPE, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    return Kspace(
        samples * lines[..., None],
        lines.expand(2, *SHAPE[:2]),
        Grid(SHAPE, (2.0, 1.0, 1.0)),
        (0.005, 0.015),
        3.0,
    )


def test_a_fully_sampled_scan_is_its_own_central_block() -> None:
    assert central_block(scan()) == (0, 8, 0, 12)


def test_the_central_block_of_a_regular_pattern_is_its_calibration() -> None:
    lines = torch.zeros(SHAPE[:2], dtype=torch.bool)
    lines[:, ::2] = True
    lines[2:6, 3:9] = True
    # Rows 0 to 7 of column 6 alone would be 8 lines; the block holds 4 x 6, and 7 with the neighbour at each side.
    assert central_block(scan(lines)) == (2, 6, 2, 9)


def test_the_central_block_may_lie_off_centre() -> None:
    lines = torch.zeros(SHAPE[:2], dtype=torch.bool)
    lines[:, 4:] = True
    assert central_block(scan(lines)) == (0, 8, 4, 12)


def test_an_unmeasured_centre_is_named() -> None:
    lines = torch.ones(SHAPE[:2], dtype=torch.bool)
    lines[4, 6] = False
    with pytest.raises(MissingCalibration, match="centre of k-space"):
        central_block(scan(lines))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"echo_times_s": (0.005,)}, "2 echoes but 1 echo times"),
        ({"echo_times_s": (0.015, 0.005)}, "increasing"),
        ({"echo_times_s": (5.0, 15.0)}, "between 0 and 0.2"),
        ({"b0_tesla": 0.0}, "field strength"),
        ({"grid": Grid((8, 12, 7), (1.0, 1.0, 1.0))}, "does not fit the image grid"),
        ({"measured": torch.ones(2, 8, 11, dtype=torch.bool)}, "What was measured"),
        ({"measured": torch.ones(2, 8, 12)}, "What was measured"),
        ({"noise": torch.zeros(4, 100, dtype=torch.complex64)}, "noise scan"),
        ({"calibration": torch.zeros(2, 4, 4, 4, dtype=torch.complex64)}, "reference"),
        ({"noise": torch.full((3, 100), math.nan, dtype=torch.complex64)}, "noise scan holds samples that are not"),
    ],
)
def test_what_does_not_belong_together_is_refused(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(UnusableInput, match=sentence):
        replace(scan(), **change)  # type: ignore[arg-type]


def test_a_sample_that_is_no_number_is_refused() -> None:
    samples = scan().samples.clone()
    samples[1, 2, 3, 4, 5] = math.nan
    with pytest.raises(UnusableInput, match="K-space holds samples that are not finite"):
        replace(scan(), samples=samples)


def test_an_echo_without_a_readout_is_named() -> None:
    measured = scan().measured.clone()
    measured[1] = False
    with pytest.raises(UnusableInput, match="echo 2"):
        replace(scan(), measured=measured)
