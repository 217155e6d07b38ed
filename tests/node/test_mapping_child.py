"""The mapping process answers with maps, with a named refusal, or its death is noticed."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from db.errors import Superseded
from dicom_io.read.reader import read_echo_series
from node.convert import acquisition_artefact
from node.errors import ChildDied
from node.mapping_child import MappingRequest, map_in_child
from node.workspace import Workspace, read_artefact
from pipeline.errors import OutOfMemory, UnusableInput
from pipeline.recipe import builtin_recipe_text
from tests.node import scans

pytestmark = pytest.mark.e2e


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Return an empty workspace."""
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def acquisition(tmp_path: Path) -> tuple[dict, dict]:
    """Return the small scan as arrays and metadata."""
    return acquisition_artefact(read_echo_series(scans.write(tmp_path / "scan", scans.instances())))


def request_for(workspace: Workspace, arrays: dict, metadata: dict, memory_limit_gib: float = 8.0) -> MappingRequest:
    return MappingRequest(
        acquisition=str(workspace.path(workspace.put(arrays, metadata))),
        recipe_text=builtin_recipe_text("default"),
        output=str(workspace.new_temporary()),
        device="cpu",
        threads=1,
        memory_limit_gib=memory_limit_gib,
    )


def test_maps_progress_and_figures_come_back_and_a_second_run_gives_the_same_bytes(
    workspace: Workspace, acquisition: tuple[dict, dict]
) -> None:
    request = request_for(workspace, *acquisition)
    heard: list[tuple[str, float]] = []
    result = map_in_child(request, 120, lambda step, fraction: heard.append((step, fraction)), lambda: True)
    maps = read_artefact(Path(request.output))
    assert maps.arrays["susceptibility"].shape == scans.SHAPE
    assert maps.arrays["mask"].any()
    assert {step for step, _ in heard} == set(result.seconds_per_step)
    assert {("masking", 0.0), ("masking", 1.0)} <= set(heard)
    assert result.quality["figures"]["n_echoes_used"] == 2
    assert result.device == "cpu, 1 threads"
    first = workspace.adopt(Path(request.output))
    map_in_child(request, 120, lambda *what: None, lambda: True)
    assert workspace.adopt(Path(request.output)) == first


def test_a_refusal_keeps_its_class_and_sentence_across_the_processes(
    workspace: Workspace, acquisition: tuple[dict, dict]
) -> None:
    arrays, metadata = acquisition
    arrays = {**arrays, "phase": np.zeros_like(arrays["phase"])}
    with pytest.raises(UnusableInput, match="phase images hold only zeros"):
        map_in_child(request_for(workspace, arrays, metadata), 120, lambda *what: None, lambda: True)


def test_too_little_memory_is_named_and_can_be_tried_again(
    workspace: Workspace, acquisition: tuple[dict, dict]
) -> None:
    arrays, metadata = acquisition
    large = {name: np.ones((2, 128, 256, 512), dtype=np.float32) for name in arrays}
    request = request_for(workspace, large, metadata | {"shape": [128, 256, 512]}, memory_limit_gib=0.5)
    with pytest.raises(OutOfMemory, match=r"more than 0\.5 GiB"):
        map_in_child(request, 120, lambda *what: None, lambda: True)


def test_a_killed_process_is_no_result(workspace: Workspace, acquisition: tuple[dict, dict]) -> None:
    def kill(step: str, fraction: float) -> None:
        for child in _mapping_processes():
            os.kill(child, signal.SIGKILL)

    with pytest.raises(ChildDied, match="exit code -9"):
        map_in_child(request_for(workspace, *acquisition), 120, kill, lambda: True)


def test_a_process_that_takes_too_long_is_stopped(workspace: Workspace, acquisition: tuple[dict, dict]) -> None:
    with pytest.raises(ChildDied, match="timeout_min"):
        map_in_child(request_for(workspace, *acquisition), 0.0, lambda *what: None, lambda: True)
    assert _mapping_processes() == []


def test_a_mapping_that_nobody_wants_any_more_is_stopped(workspace: Workspace, acquisition: tuple[dict, dict]) -> None:
    with pytest.raises(Superseded):
        map_in_child(request_for(workspace, *acquisition), 120, lambda *what: None, lambda: False)


def _mapping_processes() -> list[int]:
    listed = [int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]
    return [pid for pid in listed if b"node.mapping_process" in Path(f"/proc/{pid}/cmdline").read_bytes()]
