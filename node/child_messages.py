"""What every working process shares: one request on its input, progress and one result as JSON lines on its output."""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import torch

import dicom_io.errors
import node.errors
import pipeline.errors

GIB = 1024**3
REFUSALS = (node.errors.NodeError, pipeline.errors.PipelineError, dicom_io.errors.DicomError)


class Clock:
    """Passes progress on, and adds up how long each step took."""

    def __init__(self, messages: TextIO) -> None:
        self._messages = messages
        self._started: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    def note(self, step: str, fraction: float) -> None:
        """Say how far a step is."""
        now = time.monotonic()
        started = self._started.setdefault(step, now)
        self.seconds[step] = now - started
        say(self._messages, {"step": step, "fraction": round(fraction, 4)})

    def rounded(self) -> dict[str, float]:
        """Return the seconds of every step."""
        return {step: round(seconds, 3) for step, seconds in self.seconds.items()}


def serve_request(work: Callable[[dict[str, Any], Clock], dict[str, Any]]) -> int:
    """Serve one request from standard input by `work`, and return the process' exit code.

    A refusal is answered with its class and its sentence, so that the parent can raise it again. Every request has a
    `memory_limit_gib`.
    """
    messages = _message_stream()
    request = json.loads(sys.stdin.buffer.read())
    try:
        result = work(request, Clock(messages))
    except REFUSALS as error:
        say(messages, {"error": {"class": type(error).__name__, "sentence": str(error), "where": ""}})
        return 1
    except MemoryError:
        say(messages, {"error": _out_of_memory(request["memory_limit_gib"])})
        return 1
    except RuntimeError as error:
        # The CPU allocator of PyTorch has no exception class of its own.
        if "can't allocate memory" not in str(error):
            raise
        say(messages, {"error": _out_of_memory(request["memory_limit_gib"])})
        return 1
    say(messages, {"result": result})
    return 0


def limit_memory(device: str, memory_limit_gib: float) -> None:
    """Limit this process' memory where that is possible."""
    if device == "cpu":
        # CUDA reserves far more addresses than memory, so only a run on the processor can be limited this way.
        limit = int(memory_limit_gib * GIB)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def peak_memory_gib() -> float:
    """Return the most memory that this process had."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2, 3)


def describe_device(device: str) -> str:
    """Return what computes, for the record."""
    if device == "cpu":
        return f"cpu, {torch.get_num_threads()} threads"
    return f"{device}, {torch.cuda.get_device_name(device)}"


def use_threads(threads: int) -> None:
    """Let the mathematics use so many processor threads; 0 takes all."""
    torch.set_num_threads(threads or os.cpu_count() or 1)


def say(messages: TextIO, message: dict[str, Any]) -> None:
    """Write one message as a line."""
    messages.write(json.dumps(message) + "\n")
    messages.flush()


def _out_of_memory(memory_limit_gib: float) -> dict[str, str]:
    sentence = (
        f"The mapping needs more than {memory_limit_gib:g} GiB; raise [mapping] memory_limit_gib where the machine has "
        "more."
    )
    return {"class": "OutOfMemory", "sentence": sentence, "where": ""}


def _message_stream() -> TextIO:
    """Keep standard output for messages alone: what a native library prints there goes to standard error."""
    own = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return os.fdopen(own, "w", encoding="utf-8", buffering=1)
