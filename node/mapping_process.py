"""The mapping process: reads one request, maps, and writes progress and one result as JSON lines.

It is a process of its own so that the listener and the record stay responsive, memory is given back, and a crash in
native code costs one attempt and not the worker.
"""

import sys
from pathlib import Path
from typing import Any

from node.child_messages import Clock, describe_device, limit_memory, peak_memory_gib, serve_request, use_threads
from node.convert import acquisition_from_artefact, choose_device, maps_artefact
from node.mapping_child import MappingRequest, MappingResult
from node.workspace import read_artefact, write_artefact
from pipeline.memory import return_freed_volumes
from pipeline.recipe import parse_recipe
from pipeline.run import run


def main() -> int:
    """Serve one request from standard input."""
    return serve_request(_map)


def _map(given: dict[str, Any], clock: Clock) -> dict[str, Any]:
    request = MappingRequest(**given)
    device = choose_device(request.device)
    use_threads(request.threads)
    return_freed_volumes()
    artefact = read_artefact(Path(request.acquisition))
    acquisition = acquisition_from_artefact(artefact.arrays, artefact.metadata, device)
    artefact.arrays.clear()
    limit_memory(device, request.memory_limit_gib)
    maps, quality = run(acquisition, parse_recipe(request.recipe_text), clock.note)
    arrays, metadata = maps_artefact(maps)
    write_artefact(Path(request.output), arrays, metadata)
    result = MappingResult(
        device=describe_device(device),
        quality=quality.as_dict(),
        seconds_per_step=clock.rounded(),
        peak_memory_gib=peak_memory_gib(),
    )
    return vars(result)


if __name__ == "__main__":
    sys.exit(main())
