"""A worker process, a listener in this process and the record between them, for tests that kill and restart."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from db import audit, deliveries, provenance, runs, series
from db.series import ENDS, Series, State
from dicom_io.network.peers import Peer
from dicom_io.network.storage_scu import send
from node.listener import Listener
from node.services import Services
from tests.waiting import eventually

# Tests that count objects are about their travel, not about how many kinds there are: one map, segments, one report.
FEW_KINDS = '[output]\nobjects = ["susceptibility", "segmentation", "report"]\n'


class Worker:
    """One `python -m node.worker`, and its mapping child."""

    def __init__(self, node_toml: Path, module: str = "node.worker") -> None:
        self.process = subprocess.Popen([sys.executable, "-m", module, "-c", str(node_toml)])

    def mapping_process(self) -> int | None:
        """Return the process id of the mapping child, if there is one."""
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        for pid in [pid for child in children for pid in child.read_text().split()]:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if b"node.mapping_process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return int(pid)
        return None

    def kill(self) -> None:
        """End the worker as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=30)

    def stop(self) -> None:
        """End the worker in order."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(timeout=60)


@contextlib.contextmanager
def working(node_toml: Path, module: str = "node.worker") -> Iterator[Worker]:
    """Run a worker until the block ends."""
    worker = Worker(node_toml, module)
    try:
        yield worker
    finally:
        worker.stop()


@contextlib.contextmanager
def listening(services: Services) -> Iterator[Listener]:
    """Run the node's listener until the block ends."""
    listener = Listener(services.settings, services)
    listener.start()
    try:
        yield listener
    finally:
        listener.stop()


def send_to_node(services: Services, paths: Sequence[Path]) -> None:
    """Send files to the node as a scanner does."""
    node = services.settings.node
    send(Peer("node", node.ae_title, node.host, node.port), paths, calling_ae="SCANNER")


def is_alive(pid: int) -> bool:
    """Tell whether a process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def all_series(services: Services) -> list[Series]:
    """Return every series of the record."""
    with services.database.read() as session:
        return series.list_series(session)


def wait_for(services: Services, found: Callable[[Series], Any], what: str, within_s: float = 120) -> Series:
    """Wait until one series fulfils `found`, and return it."""
    return eventually(lambda: next((one for one in all_series(services) if found(one)), None), within_s, what)


def wait_for_the_end(services: Services, state: State = State.RECORDED, within_s: float = 180) -> Series:
    """Wait until the only series has ended, and check that it ended in `state`."""
    ended = wait_for(services, lambda one: one.state in ENDS, "the end of the journey", within_s)
    assert ended.state == state, f"{ended.state}: {ended.refusal_class}: {ended.sentence}"
    return ended


def events_of(services: Services, key: str) -> list[str]:
    """Return the audit of one series."""
    with services.database.read() as session:
        assert audit.verify(session).is_intact
        return [row.event for row in audit.list_events(session, key)]


def record_of(services: Services, key: str) -> dict[str, Any]:
    """Return the provenance of a series' newest run."""
    with services.database.read() as session:
        held = series.get(session, key)
        return provenance.of_run(session, runs.get(session, key, held.revision))


def delivery_rows(services: Services, key: str) -> list[deliveries.Delivery]:
    """Return the deliveries of a series' newest run."""
    with services.database.read() as session:
        held = series.get(session, key)
        return deliveries.of_run(session, runs.get(session, key, held.revision).key)
