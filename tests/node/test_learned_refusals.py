"""In the journey, weights that are missing, altered or unknown refuse a series once, with the command; no retry."""

import io
import json
import sys
from pathlib import Path

import pytest

import node.child_messages
import node.mapping_process
import pipeline.errors
from dicom_io.read.reader import read_echo_series
from node import worker
from node.child_request import refusal_of
from node.convert import acquisition_artefact
from node.mapping_child import MappingRequest
from node.workspace import Workspace
from pipeline.recipe import builtin_recipe_text
from tests.node import scans
from tests.pipeline.learned_stub import NAME, folder_with_weights, use_weights_of


@pytest.fixture
def request_for_learned(tmp_path: Path) -> MappingRequest:
    """Return the request for the recipe with a network on the small scan."""
    workspace = Workspace(tmp_path / "workspace")
    echoes = read_echo_series(scans.write(tmp_path / "scan", scans.instances()))
    return MappingRequest(
        acquisition=str(workspace.path(workspace.put(*acquisition_artefact(echoes)))),
        recipe_text=builtin_recipe_text("learned"),
        output=str(workspace.new_temporary()),
        device="cpu",
        threads=1,
        memory_limit_gib=64.0,
    )


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = folder_with_weights(tmp_path / "weights")
    use_weights_of(monkeypatch, folder)
    return folder


def answer_of(request: MappingRequest, monkeypatch: pytest.MonkeyPatch) -> dict:
    """Return what the mapping process answers, served in this process."""
    messages = io.StringIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(vars(request)).encode())))
    monkeypatch.setattr(node.child_messages, "_message_stream", lambda: messages)
    # The limit would stay on this process.
    monkeypatch.setattr(node.child_messages.resource, "setrlimit", lambda *_: None)
    assert node.mapping_process.main() == 1
    return json.loads(messages.getvalue().splitlines()[-1])


@pytest.mark.parametrize("wrong", ["WeightsMissing", "WeightsAltered", "WeightsUnknown"])
def test_the_worker_sees_the_class_and_the_command_and_refuses_for_good(
    wrong: str, request_for_learned: MappingRequest, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights / f"{NAME}.safetensors"
    if wrong == "WeightsMissing":
        path.unlink()
    elif wrong == "WeightsAltered":
        path.write_bytes(path.read_bytes() + b"\0")
    else:
        (weights / "digests.toml").write_text("")
    error = refusal_of(answer_of(request_for_learned, monkeypatch)["error"], "mapping")
    assert type(error) is getattr(pipeline.errors, wrong)
    assert isinstance(error, worker.PERMANENT)
    assert not isinstance(error, worker.TRANSIENT)
    command = f"lodestone train {NAME} --export" if wrong == "WeightsUnknown" else "git checkout -- "
    assert command in str(error)
    assert not Path(request_for_learned.output).exists()
