import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from node.child_process import start_child, stop_child
from tests.waiting import eventually

SLEEPER = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()",
]
PARENT = """
import subprocess, sys
from node.child_process import start_child
child = start_child([sys.executable, "-c", "import signal; signal.pause()"], stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
child.wait()
"""


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
def test_a_child_dies_with_a_parent_that_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_running(child)
        os.kill(parent.pid, signal.SIGKILL)
        eventually(lambda: not is_running(child), 10, "the child's death")


def test_a_child_that_ends_when_asked_is_not_killed() -> None:
    with start_child(SLEEPER, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        assert stop_child(child, 10) == -signal.SIGTERM


def test_a_child_that_does_not_listen_is_killed_after_the_grace() -> None:
    with start_child(STUBBORN, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        assert stop_child(child, 0.2) == -signal.SIGKILL


def test_stopping_a_child_that_has_ended_returns_its_exit_code() -> None:
    child = start_child([sys.executable, "-c", "raise SystemExit(3)"])
    child.wait(20)
    assert stop_child(child, 1) == 3
