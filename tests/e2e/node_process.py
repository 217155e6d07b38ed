"""A real Lodestone node for the tests: `lodestone init`, `lodestone serve`, and the record read with the commands."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.waiting import eventually, free_port, is_listening

LODESTONE = [sys.executable, "-m", "node.cli"]
FINAL = {"recorded", "refused", "failed", "joined", "ignored"}


class Node:
    """One node with its folder and port."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.toml = folder / "node.toml"

    def ask(self, *words: str) -> object:
        """Run a command with `--json` against this node and return what it printed."""
        command = [*LODESTONE, *words, "-c", str(self.toml), "--json"]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout)

    def series(self) -> list[dict]:
        """Return what `lodestone list --json` says."""
        return self.ask("list")

    def wait_for_final_states(self, n_series: int, within_s: float = 600) -> list[dict]:
        """Wait until `n_series` series have ended, and return them."""

        def ended() -> list[dict] | None:
            known = self.series()
            return known if len(known) >= n_series and all(one["state"] in FINAL for one in known) else None

        return eventually(ended, within_s, f"the end of {n_series} series", every_s=1.0)


def lodestone(*words: str, check: bool = True, timeout: float = 300) -> subprocess.CompletedProcess:
    """Run a lodestone command as a person would."""
    return subprocess.run([*LODESTONE, *words], check=check, capture_output=True, text=True, timeout=timeout)


def write_site(folder: Path, archive: str, allowed: list[str], extra: dict[str, str] | None = None) -> Node:
    """Make a site folder with `lodestone init`; `extra` replaces text in its node.toml."""
    node = Node(folder, free_port())
    allow = [word for title in allowed for word in ("--allow", title)]
    lodestone("init", str(folder), "--port", str(node.port), "--archive", archive, *allow)
    text = node.toml.read_text()
    for old, new in (extra or {}).items():
        assert old in text, f"node.toml no longer holds `{old}`"
        text = text.replace(old, new)
    node.toml.write_text(text)
    return node


@contextlib.contextmanager
def serving(node: Node) -> Iterator[subprocess.Popen]:
    """Run `lodestone serve` until the block ends."""
    with (node.folder / "serve.log").open("ab") as log:
        process = subprocess.Popen(
            [*LODESTONE, "serve", "-c", str(node.toml)], stdout=log, stderr=subprocess.STDOUT, env=dict(os.environ)
        )
    try:
        eventually(lambda: process.poll() is not None or is_listening(node.port), 60, "the node's start")
        assert process.poll() is None, (node.folder / "serve.log").read_text()
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
