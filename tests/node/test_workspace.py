"""An artefact is known by its content: the same content has one name, other content is noticed."""

from pathlib import Path

import numpy as np
import pytest

from node.errors import ArtefactDamaged
from node.workspace import Workspace, read_artefact


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Return an empty workspace."""
    return Workspace(tmp_path / "workspace")


ARRAYS = {"phase": np.linspace(-3, 3, 24, dtype=np.float32).reshape(2, 3, 4), "mask": np.ones((3, 4), dtype=np.uint8)}
METADATA = {"echo_times_s": [0.004, 0.008], "b0_tesla": 3.0, "shape": [3, 4]}


def test_what_is_put_comes_back(workspace: Workspace) -> None:
    artefact = workspace.get(workspace.put(ARRAYS, METADATA))
    assert artefact.metadata == METADATA
    assert set(artefact.arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(artefact.arrays[name], array)
        assert artefact.arrays[name].dtype == array.dtype


def test_the_same_content_has_the_same_digest_whatever_its_order_and_layout(workspace: Workspace) -> None:
    first = workspace.put(ARRAYS, METADATA)
    turned = {name: np.asfortranarray(ARRAYS[name]) for name in reversed(ARRAYS)}
    assert workspace.put(turned, dict(reversed(METADATA.items()))) == first
    assert workspace.put(ARRAYS, METADATA | {"b0_tesla": 7.0}) != first
    assert len(list(workspace.folder.glob("??/*.safetensors"))) == 2


def test_a_changed_file_is_not_used(workspace: Workspace) -> None:
    digest = workspace.put(ARRAYS, METADATA)
    path = workspace.path(digest)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtefactDamaged, match="has changed"):
        workspace.get(digest)


def test_a_lost_file_is_named(workspace: Workspace) -> None:
    with pytest.raises(ArtefactDamaged, match="aaaaaaaaaaaa is missing"):
        workspace.get("a" * 64)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "a" * 63])
def test_no_path_is_built_from_anything_but_a_digest(workspace: Workspace, name: str) -> None:
    with pytest.raises(ValueError, match="no SHA-256"):
        workspace.path(name)


def test_what_was_left_half_written_is_removed_and_finished_artefacts_stay(workspace: Workspace) -> None:
    digest = workspace.put(ARRAYS, METADATA)
    workspace.new_temporary().write_bytes(b"half")
    assert workspace.remove_unfinished() == 1
    assert workspace.get(digest).metadata == METADATA


def test_a_file_that_is_no_artefact_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.safetensors"
    path.write_text("no tensors")
    with pytest.raises(ArtefactDamaged, match="no artefact"):
        read_artefact(path)
