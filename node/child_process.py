"""Child processes that never outlive the process that started them."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

_PR_SET_PDEATHSIG = 1
# Loaded before any fork: between fork and exec a thread of the parent may hold the loader's lock.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def start_child(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """Start a process that the kernel kills when the calling *thread* ends, even if that thread's process is killed.

    A worker that survived its supervisor would compete with its successor for the same jobs and the same GPU. Call
    it from a thread that lives as long as the child is wanted. `options` go to `subprocess.Popen`.
    """
    if _LIBC is None:
        return subprocess.Popen(command, **options)
    parent = os.getpid()

    def die_with_parent() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # The parent may have died before the request was made.
        if os.getppid() != parent:
            os._exit(1)

    return subprocess.Popen(command, preexec_fn=die_with_parent, **options)


def stop_child(child: subprocess.Popen[Any], grace_s: float) -> int:
    """Ask a child to end, kill it after `grace_s` [s], and return its exit code."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(grace_s)
        except subprocess.TimeoutExpired:
            child.kill()
    return child.wait()
