"""A PostgreSQL server of the tests' own: started as user postgres in a folder of its own, stopped when done."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import INSTALL_HINT
from tests.waiting import free_port


def programs() -> Path:
    """Return the folder of the server's programs; skip where it is not installed, fail where peers are required."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    message = f"The real peer `postgresql` is not installed: {INSTALL_HINT}."
    if os.environ.get("LODESTONE_REQUIRE_PEERS"):
        pytest.fail(message)
    return pytest.skip(message)


@contextlib.contextmanager
def running_server() -> Iterator[str]:
    """Start a fresh server on loopback and yield the URL of its database."""
    binaries = programs()
    folder = Path(tempfile.mkdtemp(prefix="lodestone-postgresql-"))
    port = free_port()
    data = folder / "data"
    try:
        folder.chmod(0o755)
        if os.geteuid() == 0:
            # The server refuses to run as root.
            shutil.chown(folder, "postgres")
        _as_postgres(str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        log = str(folder / "log")
        _as_postgres(str(binaries / "pg_ctl"), "-D", str(data), "-l", log, "-o", options, "-w", "start")
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            _as_postgres(str(binaries / "pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_postgres(*command: str) -> None:
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    # A server that inherits the test's pipes would keep them open for ever.
    subprocess.run(
        [*prefix, *command], check=True, timeout=60, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd="/"
    )
