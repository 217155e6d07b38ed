"""Errors are told apart by where in k-space they are; an untrained k-QSM is the division that it starts from."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.networks.k_qsm import KQsm
from pipeline.networks.weights import store_weights
from pipeline.operators.dipole import Dipole
from pipeline.studies.claims_inversions import classical, held_out_samples
from pipeline.studies.claims_k_qsm import cone_errors, k_qsm_claim
from pipeline.studies.metrics import nrmse
from pipeline.studies.table import Estimate
from pipeline.training.datasets.sample import Sample
from pipeline.training.plans import ANY

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def drawn() -> Sample:
    return held_out_samples(replace(ANY, shape=(24, 24, 24)), 1)[0]


def test_without_a_cone_the_error_outside_is_the_whole_error(drawn: Sample) -> None:
    chance = torch.Generator().manual_seed(3)
    wrong = drawn.susceptibility + 0.01 * torch.randn(drawn.grid.shape, generator=chance) * drawn.mask
    _, outside = cone_errors(wrong, drawn, 1e-7)
    assert outside == pytest.approx(nrmse(wrong, drawn.susceptibility, drawn.mask), rel=2e-3)


def test_a_constant_and_what_lies_outside_the_mask_do_not_count(drawn: Sample) -> None:
    shifted = drawn.susceptibility + 0.3 + 5.0 * ~drawn.mask
    assert cone_errors(shifted, drawn, 0.1) == pytest.approx((0.0, 0.0), abs=1e-3)


def test_an_error_whose_field_is_weak_counts_in_the_cone(drawn: Sample) -> None:
    whole = replace(drawn, mask=torch.ones_like(drawn.mask))
    chance = torch.Generator().manual_seed(4)
    error = 0.05 * torch.randn(drawn.grid.shape, generator=chance)
    field = Dipole.on(drawn.grid, error)
    measured = error
    for _ in range(60):
        measured = measured - field(field(measured))
    inside, outside = cone_errors(whole.susceptibility + measured, whole, 0.15)
    everywhere = cone_errors(whole.susceptibility + error, whole, 0.15)
    assert inside / outside > 2 * everywhere[0] / everywhere[1]


def test_truncated_division_errs_most_in_the_cone(drawn: Sample) -> None:
    inside, outside = cone_errors(classical("tkd", threshold=0.1).run(drawn), drawn, 0.1)
    assert inside > outside


def test_the_table_compares_each_network_with_division_at_its_threshold(tmp_path: Path) -> None:
    store_weights("kqsm", KQsm().state_dict(), tmp_path)
    told: list[float] = []
    table = k_qsm_claim(tmp_path, n_samples=2, size=16, on_progress=told.append)
    rows = {str(row[0]): row for row in table.rows}
    assert set(rows) == {"tkd 0.1", "tkd 0.1, corrected", "kqsm", "tkd 0.2", "tkd 0.2, corrected"}
    ratio = rows["kqsm"][table.columns.index("NRMSE / tkd")]
    assert isinstance(ratio, Estimate)
    # Its last layer starts at zero, so only the padding differs.
    assert ratio.value == pytest.approx(1.0, abs=0.2)
    assert any("kqsm_02" in note for note in table.notes)
    assert told == sorted(told)
    assert told[-1] == 1.0
