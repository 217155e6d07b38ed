"""The reconstructing process: reads one request, makes echo images of k-space, and writes them as artefacts.

A process of its own for the same reasons as the mapping process: a scan of gigabytes leaves no memory behind.
"""

import sys
from pathlib import Path
from typing import Any

from node.child_messages import Clock, describe_device, limit_memory, peak_memory_gib, serve_request, use_threads
from node.convert import choose_device
from node.kspace_store import KspaceStore
from node.raw_scans import read_raw_scan
from node.reconstruction import finding_dict, images_artefact, reconstruct_scan
from node.reconstruction_child import ReconstructionRequest, ReconstructionResult
from node.workspace import write_artefact
from pipeline.memory import return_freed_volumes
from pipeline.recipe import parse_recipe


def main() -> int:
    """Serve one request from standard input."""
    return serve_request(_reconstruct)


def _reconstruct(given: dict[str, Any], clock: Clock) -> dict[str, Any]:
    request = ReconstructionRequest(**given)
    device = choose_device(request.device)
    use_threads(request.threads)
    return_freed_volumes()
    limit_memory(device, request.memory_limit_gib)
    scan = read_raw_scan(KspaceStore(Path(request.kspace_folder)), Path(request.raw_object), is_verified=True).scan
    made = reconstruct_scan(scan, parse_recipe(request.recipe_text), device, request.needs_noise, clock.note)
    write_artefact(Path(request.output), *images_artefact(scan, made))
    write_artefact(Path(request.companions_output), made.companions, {})
    result = ReconstructionResult(
        device=describe_device(device),
        method=made.method,
        settings=made.settings,
        shape=list(made.geometry.shape),
        voxel_size_mm=list(made.geometry.voxel_size_mm),
        findings=[finding_dict(one) for one in made.findings],
        notes=list(made.notes),
        seconds_per_step=clock.rounded(),
        peak_memory_gib=peak_memory_gib(),
    )
    return vars(result)


if __name__ == "__main__":
    sys.exit(main())
