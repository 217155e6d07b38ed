"""A calibration is stored beside its weights and comes back as it was; beside others it is refused."""

from pathlib import Path

import pytest
import torch

from pipeline.errors import WeightsAltered, WeightsMissing, WeightsUnknown
from pipeline.networks.table import NETWORKS
from pipeline.networks.weights import store_weights
from pipeline.susceptibility.dipole_inversion.learned.trust_calibration import (
    calibration_file,
    load_calibration,
    store_calibration,
)
from tests.pipeline.susceptibility.dipole_inversion.learned.calibrations import calibration

NAME = "lodestone_net"
COMMAND = "lodestone evaluate lodestone_net --calibrate"


def stored_weights(folder: Path, seed: int = 1) -> str:
    torch.manual_seed(seed)
    return store_weights(NAME, NETWORKS[NAME].make().state_dict(), folder).sha256


def test_a_calibration_comes_back_as_it_was(tmp_path: Path) -> None:
    kept = calibration(stored_weights(tmp_path))
    path = store_calibration(kept, NAME, tmp_path)
    assert path == calibration_file(NAME, tmp_path)
    assert load_calibration(NAME, tmp_path) == kept
    assert COMMAND in path.read_text()


def test_a_calibration_of_other_weights_is_refused(tmp_path: Path) -> None:
    store_calibration(calibration(stored_weights(tmp_path)), NAME, tmp_path)
    stored_weights(tmp_path, seed=2)
    with pytest.raises(WeightsAltered, match=COMMAND):
        load_calibration(NAME, tmp_path)


def test_a_missing_calibration_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnknown):
        load_calibration(NAME, tmp_path)
    stored_weights(tmp_path)
    with pytest.raises(WeightsMissing, match=COMMAND):
        load_calibration(NAME, tmp_path)


@pytest.mark.parametrize("change", [("[learned]", "[learned"), ("n_members", "members"), ('"voxel"', '"voxels"')])
def test_a_calibration_that_cannot_be_read_is_refused(tmp_path: Path, change: tuple[str, str]) -> None:
    path = store_calibration(calibration(stored_weights(tmp_path)), NAME, tmp_path)
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(WeightsAltered, match=COMMAND):
        load_calibration(NAME, tmp_path)
