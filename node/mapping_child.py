"""The mapping process as its parent sees it: a request on its input, progress and one result on its output."""

import json
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import db.errors
import dicom_io.errors
import node.errors
import pipeline.errors
from node.child_process import start_child, stop_child
from node.errors import ChildDied

LOOK_EVERY_S = 1.0
GRACE_S = 2.0


@dataclass(frozen=True)
class MappingRequest:
    """What the child is to do; paths of an acquisition artefact and of the artefact that it shall write."""

    acquisition: str
    recipe_text: str
    output: str
    device: str
    threads: int
    memory_limit_gib: float


@dataclass(frozen=True)
class MappingResult:
    """What the child says about a finished run; `quality` is what `Quality.as_dict` gives."""

    device: str
    quality: dict[str, Any]
    seconds_per_step: dict[str, float] = field(default_factory=dict)
    peak_memory_gib: float = 0.0


def map_in_child(
    request: MappingRequest,
    timeout_s: float,
    on_progress: Callable[[str, float], None],
    is_wanted: Callable[[], bool],
) -> MappingResult:
    """Run one mapping in a child process, and kill it when time is up or nobody wants its result any more.

    Raises
    ------
    ChildDied
        The child ended without a result, or ran longer than `timeout_s` [s].
    Superseded
        `is_wanted` said no.
    PipelineError
        The child's own refusal, as the class it had there.
    """
    answer = ask_child("node.mapping_process", asdict(request), timeout_s, on_progress, is_wanted)
    return MappingResult(**answer)


def ask_child(
    module: str,
    request: dict[str, Any],
    timeout_s: float,
    on_progress: Callable[[str, float], None],
    is_wanted: Callable[[], bool],
) -> dict[str, Any]:
    """Run a module as a child process that serves one request, and return its result; see `map_in_child`."""
    child = start_child([sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps(request).encode())
        child.stdin.close()
        answer = _listen(child, time.monotonic() + timeout_s, on_progress, is_wanted)
    except BrokenPipeError:
        answer = None
    finally:
        stop_child(child, GRACE_S)
        child.stdout.close()
    if answer is None:
        raise ChildDied(f"The mapping process ended with exit code {child.returncode} before it had a result.")
    if "error" in answer:
        raise _error(answer["error"])
    result: dict[str, Any] = answer["result"]
    return result


def _listen(
    child: subprocess.Popen[Any],
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
            raise ChildDied("The mapping took longer than [mapping] timeout_min allows and was stopped.")
        if time.monotonic() > next_look:
            if not is_wanted():
                raise db.errors.Superseded("A newer revision of the series arrived; this mapping was stopped.")
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


def _error(answer: dict[str, str]) -> Exception:
    """Return the child's refusal as the class that it had in the child."""
    for module in (pipeline.errors, node.errors, dicom_io.errors):
        kind = getattr(module, answer["class"], None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            return kind(answer["sentence"])
    return ChildDied(f"The mapping process failed: {answer['class']} at {answer['where']}.")
