"""Corrections are judged on the same starts; the paper's rule depends on the volume, its homogeneous form does not."""

from dataclasses import replace

import pytest
import torch

from pipeline.networks.table import NETWORKS
from pipeline.networks.weights import store_weights
from pipeline.studies.claims_inversions import held_out_samples
from pipeline.studies.claims_refinement import CORRECTIONS, refinement_claims
from pipeline.studies.table import Estimate, EvaluationTable
from pipeline.training.plans import AXIAL

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[EvaluationTable]:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(1)
    store_weights("unet_df", NETWORKS["unet_df"].make().state_dict(), folder)
    return refinement_claims(
        folder, networks=("unet_df", "xqsm"), n_samples=1, size=16, fine_samples=1, fine_iterations=1
    )


def test_every_start_has_a_row_with_error_and_residual_before_and_after(tables: list[EvaluationTable]) -> None:
    rows = {str(row[0]): dict(zip(tables[0].columns, row, strict=True)) for row in tables[0].rows}
    assert set(rows) == {"zero", "weighted_tv", "total_variation", "unet_df"}
    before, after = rows["zero"]["residual [noise]"], rows["zero"]["residual, ours"]
    assert isinstance(before, Estimate)
    assert isinstance(after, Estimate)
    assert after.value < before.value
    assert rows["unet_df"]["scans"] == "axial"
    assert any("xqsm" in note for note in tables[0].notes)


def test_all_corrections_of_a_start_stand_beside_one_another(tables: list[EvaluationTable]) -> None:
    made = [row[2] for row in tables[1].rows if row[0] == "unet_df"]
    assert made == ["none", *CORRECTIONS, "fine"]
    fine = next(row for row in tables[1].rows if row[2] == "fine")
    assert fine[tables[1].columns.index("samples")] == 1


def test_the_papers_rule_stops_at_once_on_a_small_volume_and_its_form_per_voxel_does_not() -> None:
    drawn = held_out_samples(replace(AXIAL, shape=(16, 16, 16)), 1)[0]
    start = torch.zeros_like(drawn.susceptibility)
    assert torch.equal(CORRECTIONS["df_qsm, paper"](start, drawn), start)
    assert float(CORRECTIONS["df_qsm, paper per voxel"](start, drawn).abs().max()) > 0
