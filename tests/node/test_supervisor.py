import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dicom_io.network.peers import Peer
from dicom_io.network.verification import echo
from node.errors import InvalidSettings
from node.settings import Settings
from node.site import write_site
from node.supervisor import RestartLadder, keep_running, running_address, serve
from tests.waiting import eventually, free_port, is_listening

APPEND_AND_DIE = "import sys; open(sys.argv[1], 'a').write('x'); sys.exit(3)"
APPEND_AND_STAY = "import signal, sys; open(sys.argv[1], 'a').write('x'); signal.pause()"


@pytest.fixture
def site(tmp_path: Path) -> Settings:
    return write_site(tmp_path / "site", port=free_port(), allowed=("SCANNER",))


@contextmanager
def kept_running(program: str, starts: Path, ladder: RestartLadder) -> Iterator[None]:
    stop = threading.Event()
    starts.touch()
    command = [sys.executable, "-c", program, str(starts)]
    keeper = threading.Thread(target=keep_running, args=(command, stop, ladder, 5.0))
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join(30)
        assert not keeper.is_alive()


def test_a_worker_that_dies_is_started_again_and_again(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    with kept_running(APPEND_AND_DIE, starts, RestartLadder(first_s=0.01, longest_s=0.05)):
        eventually(lambda: len(starts.read_text()) >= 4, 30, "the fourth start")


def test_the_pauses_between_starts_grow(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    with kept_running(APPEND_AND_DIE, starts, RestartLadder(first_s=0.01, backoff=1e6, longest_s=3600)):
        eventually(lambda: len(starts.read_text()) == 2, 30, "the second start")
        # The third would come after an hour; stopping does not wait for it.
    assert len(starts.read_text()) == 2


def test_a_worker_that_lives_is_left_alone_and_ended_at_the_stop(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    with kept_running(APPEND_AND_STAY, starts, RestartLadder(first_s=0.01)):
        eventually(lambda: starts.read_text() == "x", 30, "the start")
    assert starts.read_text() == "x"


@contextmanager
def serving(site: Settings) -> Iterator[tuple[subprocess.Popen, Path]]:
    log = site.directory / "log.jsonl"
    with log.open("wb") as stream:
        process = subprocess.Popen([sys.executable, "-m", "node.cli", "serve", "-c", str(site.file)], stderr=stream)
    try:
        eventually(lambda: running_address(site.directory) or process.poll() is not None, 60, "the node's start")
        assert process.poll() is None, log.read_text()
        yield process, log
    finally:
        process.kill()
        process.wait(30)


def worker_pids(log: Path) -> list[int]:
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
    return [line["pid"] for line in lines if line["event"] == "worker.started"]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.e2e
def test_a_served_node_survives_its_worker_and_ends_in_order(site: Settings) -> None:
    with serving(site) as (process, log):
        address = running_address(site.directory)
        assert address is not None
        assert (address.port, address.pid) == (site.node.port, process.pid)
        first = eventually(lambda: worker_pids(log), 30, "the worker's start")[0]
        os.kill(first, signal.SIGKILL)
        second = eventually(lambda: worker_pids(log)[1:], 30, "the worker's second start")[0]
        assert echo(Peer("node", "LODESTONE", "127.0.0.1", site.node.port), "SCANNER") > 0
        with pytest.raises(InvalidSettings, match=r"running in .* already"):
            serve(site.file)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert not is_running(second)
    assert not is_listening(site.node.port)
    assert running_address(site.directory) is None


@pytest.mark.e2e
def test_a_killed_node_takes_its_worker_with_it_and_is_not_taken_for_running(site: Settings) -> None:
    with serving(site) as (process, log):
        worker = eventually(lambda: worker_pids(log), 30, "the worker's start")[0]
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        eventually(lambda: not is_running(worker), 30, "the worker's end")
    assert running_address(site.directory) is None
