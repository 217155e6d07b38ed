"""`lodestone serve`: the listener in this process, one worker beside it, started again whenever it dies."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import structlog

from node import app
from node.child_process import start_child, stop_child
from node.errors import InvalidSettings
from node.kspace_drop import DropFolder
from node.listener import Listener
from node.log import configure
from node.mrd.listener import MrdListener
from node.settings import load_settings

log = structlog.get_logger()

LOCK_FILE = "serve.lock"
STATUS_FILE = "serve.json"
WORKER_GRACE_S = 20.0
ASSOCIATION_GRACE_S = 5.0
_POLL_S = 0.2


@dataclass(frozen=True)
class Address:
    """Where a running node is found; `lodestone serve` also writes it to `serve.json` in the node's folder.

    `kspace_port` receives MRD streams, where the node does.
    """

    ae_title: str
    host: str
    port: int
    pid: int
    kspace_port: int | None = None


@dataclass(frozen=True)
class RestartLadder:
    """How long to wait before a dead worker is started again [s].

    The pause grows from the first to the longest; a worker that lived `healthy_after_s` starts the ladder anew.
    """

    first_s: float = 1.0
    backoff: float = 2.0
    longest_s: float = 60.0
    healthy_after_s: float = 60.0


def serve(config: Path, on_ready: Callable[[Address], None] | None = None) -> None:
    """Receive, map and deliver until SIGTERM or SIGINT; call it from the main thread.

    Raises
    ------
    InvalidSettings
        The settings cannot be used, the port is taken, or another node runs in the same folder.
    """
    settings = load_settings(config)
    configure()
    stop = threading.Event()
    with _only_one(settings.directory), _stopping_on_signals(stop), closing(app.build_services(settings)) as services:
        listener = Listener(settings, services)
        mrd = MrdListener(services) if settings.kspace.listen else None
        drop = DropFolder(services, settings.drop_folder) if settings.drop_folder is not None else None
        port = listener.start()
        try:
            kspace_port = None if mrd is None else mrd.start()
            if drop is not None:
                drop.start()
            address = Address(settings.node.ae_title, settings.node.host, port, os.getpid(), kspace_port)
            _write_status(settings.directory / STATUS_FILE, address)
            if on_ready is not None:
                on_ready(address)
            keep_running([sys.executable, "-m", "node.worker", "-c", str(settings.file)], stop)
        finally:
            if drop is not None:
                drop.stop()
            if mrd is not None:
                mrd.stop(ASSOCIATION_GRACE_S)
            listener.stop(ASSOCIATION_GRACE_S)
            (settings.directory / STATUS_FILE).unlink(missing_ok=True)


def keep_running(
    command: Sequence[str], stop: threading.Event, ladder: RestartLadder | None = None, grace_s: float = WORKER_GRACE_S
) -> None:
    """Run `command` as a child, start it again with growing pauses whenever it ends, and end it when `stop` is set."""
    ladder = ladder or RestartLadder()
    pause_s = ladder.first_s
    while not stop.is_set():
        started = time.monotonic()
        # A session of its own: Ctrl-C in a terminal reaches this process only, which then ends the child in order.
        child = start_child(command, stdin=subprocess.DEVNULL, start_new_session=True)
        log.info("worker.started", pid=child.pid)
        try:
            while child.poll() is None and not stop.wait(_POLL_S):
                pass
        finally:
            exit_code = stop_child(child, grace_s)
        if stop.is_set():
            log.info("worker.stopped", exit_code=exit_code)
            return
        if time.monotonic() - started >= ladder.healthy_after_s:
            pause_s = ladder.first_s
        log.error("worker.died", exit_code=exit_code, retry_in_s=pause_s)
        stop.wait(pause_s)
        pause_s = min(pause_s * ladder.backoff, ladder.longest_s)


def running_address(directory: Path) -> Address | None:
    """Return where the node of that folder is listening, or None where none runs."""
    try:
        content = json.loads((directory / STATUS_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Address(**content) if _is_locked(directory) else None


@contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    """Hold the folder's lock: two nodes on one inbox would remove each other's unfinished files."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / LOCK_FILE).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidSettings(f"A node is running in {directory} already; stop it first.") from error
        yield


def _is_locked(directory: Path) -> bool:
    with (directory / LOCK_FILE).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


@contextmanager
def _stopping_on_signals(stop: threading.Event) -> Iterator[None]:
    def set_stop(number: int, frame: FrameType | None) -> None:
        stop.set()

    previous: dict[signal.Signals, Any] = {
        number: signal.signal(number, set_stop) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _write_status(path: Path, address: Address) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(address)), encoding="utf-8")
    part.replace(path)
