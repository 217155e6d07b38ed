"""The mapping process: reads one request, maps, and writes progress and one result as JSON lines.

It is a process of its own so that the listener and the record stay responsive, memory is given back, and a crash in
native code costs one attempt and not the worker.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import torch

import node.errors
import pipeline.errors
from node.convert import acquisition_from_artefact, choose_device, maps_artefact
from node.mapping_child import MappingRequest, MappingResult
from node.workspace import read_artefact, write_artefact
from pipeline.memory import return_freed_volumes
from pipeline.recipe import parse_recipe
from pipeline.run import run

GIB = 1024**3
REFUSALS = (node.errors.NodeError, pipeline.errors.PipelineError)


def main() -> int:
    """Serve one request from standard input."""
    messages = _message_stream()
    request = MappingRequest(**json.loads(sys.stdin.buffer.read()))
    try:
        result = _map(request, messages)
    except REFUSALS as error:
        _say(messages, {"error": {"class": type(error).__name__, "sentence": str(error), "where": ""}})
        return 1
    except MemoryError:
        _say(messages, {"error": _out_of_memory(request)})
        return 1
    except RuntimeError as error:
        # The CPU allocator of PyTorch has no exception class of its own.
        if "can't allocate memory" not in str(error):
            raise
        _say(messages, {"error": _out_of_memory(request)})
        return 1
    _say(messages, {"result": result.__dict__})
    return 0


def _map(request: MappingRequest, messages: TextIO) -> MappingResult:
    device = choose_device(request.device)
    torch.set_num_threads(request.threads or os.cpu_count() or 1)
    return_freed_volumes()
    artefact = read_artefact(Path(request.acquisition))
    acquisition = acquisition_from_artefact(artefact.arrays, artefact.metadata, device)
    artefact.arrays.clear()
    if device == "cpu":
        # CUDA reserves far more addresses than memory, so only a run on the processor can be limited this way.
        limit = int(request.memory_limit_gib * GIB)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    clock = _Clock(messages)
    maps, quality = run(acquisition, parse_recipe(request.recipe_text), clock.note)
    arrays, metadata = maps_artefact(maps)
    write_artefact(Path(request.output), arrays, metadata)
    return MappingResult(
        device=_describe(device),
        quality=quality.as_dict(),
        seconds_per_step={step: round(seconds, 3) for step, seconds in clock.seconds.items()},
        peak_memory_gib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2, 3),
    )


class _Clock:
    """Passes progress on, and adds up how long each step took."""

    def __init__(self, messages: TextIO) -> None:
        self._messages = messages
        self._started: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    def note(self, step: str, fraction: float) -> None:
        now = time.monotonic()
        started = self._started.setdefault(step, now)
        self.seconds[step] = now - started
        _say(self._messages, {"step": step, "fraction": round(fraction, 4)})


def _describe(device: str) -> str:
    if device == "cpu":
        return f"cpu, {torch.get_num_threads()} threads"
    return f"{device}, {torch.cuda.get_device_name(device)}"


def _out_of_memory(request: MappingRequest) -> dict[str, str]:
    sentence = (
        f"The mapping needs more than {request.memory_limit_gib:g} GiB; raise [mapping] memory_limit_gib where the "
        "machine has more."
    )
    return {"class": "OutOfMemory", "sentence": sentence, "where": ""}


def _message_stream() -> TextIO:
    """Keep standard output for messages alone: what a native library prints there goes to standard error."""
    own = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return os.fdopen(own, "w", encoding="utf-8", buffering=1)


def _say(messages: TextIO, message: dict[str, Any]) -> None:
    messages.write(json.dumps(message) + "\n")
    messages.flush()


if __name__ == "__main__":
    sys.exit(main())
