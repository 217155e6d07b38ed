"""A node's collaborators in a folder of the test's own, on SQLite."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.app import build_services_from_file
from node.services import Services

NODE_TOML = """
[node]
port = {port}
free_space_watermark_mb = 10
[completeness]
settle_s = 0.5
quiet_time_s = {quiet_time_s}
[delivery]
first_retry_s = 0.2
longest_retry_s = 1.0
[mapping]
threads = 1
[[allow]]
ae_title = "SCANNER"
[[peers]]
name = "ARCHIVE"
ae_title = "ARCHIVE"
host = "127.0.0.1"
port = {archive_port}
[[rules]]
name = "every series"
recipe = "default"
destinations = ["ARCHIVE"]
"""


@pytest.fixture
def node_toml(tmp_path: Path) -> Callable[..., Path]:
    """Return the function that writes a node.toml."""

    def write(port: int = 11112, archive_port: int = 4242, quiet_time_s: float = 60.0, more: str = "") -> Path:
        path = tmp_path / "site" / "node.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(NODE_TOML.format(port=port, archive_port=archive_port, quiet_time_s=quiet_time_s) + more)
        return path

    return write


@pytest.fixture
def services(node_toml: Callable[..., Path]) -> Iterator[Services]:
    """Return the collaborators of a node that nobody runs."""
    built = build_services_from_file(node_toml())
    yield built
    built.close()
