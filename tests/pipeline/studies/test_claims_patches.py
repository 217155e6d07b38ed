"""Both trainings of xQSM are judged on both kinds of fields, and what has no weights is named."""

from pathlib import Path

import pytest
import torch

from pipeline.networks.table import NETWORKS
from pipeline.networks.weights import store_weights
from pipeline.studies.claims_patches import patches_claim
from pipeline.studies.table import Estimate

pytestmark = pytest.mark.usefixtures("one_thread")


def test_each_training_is_judged_on_each_kind_of_field(tmp_path: Path) -> None:
    for name, seed in (("xqsm", 1), ("xqsm_cropped", 2)):
        torch.manual_seed(seed)
        store_weights(name, NETWORKS[name].make().state_dict(), tmp_path)
    table = patches_claim(tmp_path, n_samples=1, size=16)
    assert [(row[0], row[1]) for row in table.rows] == [
        (mode, name) for mode in ("individual", "cropped") for name in ("total_variation", "xqsm", "xqsm_cropped")
    ]
    ratios = [row[-1] for row in table.rows if row[1] == "xqsm"]
    assert all(isinstance(ratio, Estimate) and ratio.value > 0 for ratio in ratios)
    assert not any("No trained weights" in note for note in table.notes)


def test_without_weights_the_classical_rows_and_a_sentence_remain(tmp_path: Path) -> None:
    table = patches_claim(tmp_path, n_samples=1, size=16)
    assert {row[1] for row in table.rows} == {"total_variation"}
    assert any("xqsm, xqsm_cropped" in note for note in table.notes)
    assert patches_claim(tmp_path, n_samples=1, size=16) == table
