"""Ask a child process one thing: a request on its input, progress and one result on its output."""

import json
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import db.errors
import dicom_io.errors
import node.errors
import pipeline.errors
from node.child_process import start_child, stop_child
from node.errors import ChildDied

LOOK_EVERY_S = 1.0
GRACE_S = 2.0


def ask_child(
    module: str,
    what: str,
    request: dict[str, Any],
    timeout_s: float,
    on_progress: Callable[[str, float], None],
    is_wanted: Callable[[], bool],
) -> dict[str, Any]:
    """Run a module as a child process that serves one request, and return its result as plain values.

    Parameters
    ----------
    module
        Serves the request, as `node.child_messages.serve_request` does.
    what
        The word by which sentences call it, such as "mapping".
    request
        Plain values.
    timeout_s
        How long it may take [s].
    on_progress
        Told steps and the fraction of each that is done.
    is_wanted
        Asked every second whether anybody still wants the result.

    Raises
    ------
    ChildDied
        The child ended without a result, or ran longer than it may.
    Superseded
        `is_wanted` said no.
    NodeError, PipelineError, DicomError
        The child's own refusal, as the class it had there.
    """
    child = start_child([sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps(request).encode())
        child.stdin.close()
        answer = _listen(child, what, time.monotonic() + timeout_s, on_progress, is_wanted)
    except BrokenPipeError:
        answer = None
    finally:
        stop_child(child, GRACE_S)
        child.stdout.close()
    if answer is None:
        raise ChildDied(f"The {what} process ended with exit code {child.returncode} before it had a result.")
    if "error" in answer:
        raise refusal_of(answer["error"], what)
    result: dict[str, Any] = answer["result"]
    return result


def _listen(
    child: subprocess.Popen[Any],
    what: str,
    deadline: float,
    on_progress: Callable[[str, float], None],
    is_wanted: Callable[[], bool],
) -> dict[str, Any] | None:
    lines = _Lines(child.stdout)
    throttle = _Throttle(on_progress)
    next_look = time.monotonic() + LOOK_EVERY_S
    for message in lines:
        if message is not None and "step" in message:
            throttle.note(message["step"], message["fraction"])
        elif message is not None:
            return message
        if time.monotonic() > deadline:
            raise ChildDied(f"The {what} took longer than [mapping] timeout_min allows and was stopped.")
        if time.monotonic() > next_look:
            if not is_wanted():
                raise db.errors.Superseded(f"A newer revision of the series arrived; this {what} was stopped.")
            next_look = time.monotonic() + LOOK_EVERY_S
    return None


class _Lines:
    """Yields one JSON message per line, and None whenever a second passes without one."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._selector = selectors.DefaultSelector()
        self._selector.register(stream, selectors.EVENT_READ)

    def __iter__(self) -> Any:
        rest = b""
        with self._selector:
            while True:
                if not self._selector.select(LOOK_EVERY_S):
                    yield None
                    continue
                received = self._stream.read1(65536)
                if not received:
                    return
                *complete, rest = (rest + received).split(b"\n")
                for line in complete:
                    yield json.loads(line)


class _Throttle:
    """Passes on the start and end of every step, and in between one message per second."""

    def __init__(self, on_progress: Callable[[str, float], None]) -> None:
        self._on_progress = on_progress
        self._last: tuple[str, float] = ("", 0.0)

    def note(self, step: str, fraction: float) -> None:
        last_step, last_time = self._last
        if step != last_step or fraction >= 1.0 or time.monotonic() - last_time >= LOOK_EVERY_S:
            self._last = (step, time.monotonic())
            self._on_progress(step, fraction)


def refusal_of(answer: dict[str, str], what: str) -> Exception:
    """Return a child's refusal as the class that it had in the child."""
    for module in (pipeline.errors, node.errors, dicom_io.errors):
        kind = getattr(module, answer["class"], None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            return kind(answer["sentence"])
    return ChildDied(f"The {what} process failed: {answer['class']} at {answer['where']}.")
