"""What a network costs: parameters, megabytes, and seconds for two volumes on a CPU and, where one is, on a GPU."""

import time
from collections.abc import Callable, Sequence

import torch

from pipeline.grid import Grid
from pipeline.networks.inputs import Scan
from pipeline.networks.lodestone_net import N_STARTS
from pipeline.networks.table import NETWORKS
from pipeline.studies.table import EvaluationTable
from pipeline.susceptibility.dipole_inversion.learned.apply import apply_network

SMALL, LARGE = (64, 64, 64), (160, 160, 110)
"""Volumes of DF-QSM's table of costs, a training patch and a head."""
_MOST_SECONDS_OF_LARGE = 30.0
_MARGIN = 6


def cost_table(
    networks: Sequence[str], has_large: bool = True, on_network: Callable[[str], None] | None = None
) -> EvaluationTable:
    """Time each network with values as they are drawn: what they are does not change how long it computes.

    Parameters
    ----------
    networks
        By name.
    has_large
        Whether a head of 160 × 160 × 110 voxels is timed too.
    on_network
        Told the name of a network when it was timed.
    """
    devices = [torch.device("cpu")] + ([torch.device("cuda")] if torch.cuda.is_available() else [])
    rows = []
    for name in networks:
        spec = NETWORKS[name]
        published = "" if spec.published_millions is None else f"{spec.published_millions:g}"
        cells: list[object] = [name, round(spec.n_parameters / 1e6, 3), published, round(spec.megabytes_stored, 1)]
        for device in devices:
            small = seconds_of(name, SMALL, device)
            growth = LARGE[0] * LARGE[1] * LARGE[2] / SMALL[0] ** 3
            is_timed = has_large and (device.type == "cuda" or small * growth < _MOST_SECONDS_OF_LARGE)
            cells += [small, seconds_of(name, LARGE, device) if is_timed else None]
        rows.append(tuple(cells))
        if on_network is not None:
            on_network(name)
    times = [f"{device.type}, {_named(shape)} [s]" for device in devices for shape in (SMALL, LARGE)]
    threads = f"CPU: {torch.get_num_threads()} threads, single precision; the network alone, without its start maps."
    left_out = (
        "A dash: not timed, since it would take more than half a minute." if has_large else "Only patches were timed."
    )
    return EvaluationTable(
        "What the networks cost",
        ("network", "parameters [10⁶]", "published [10⁶]", "stored [MB]", *times),
        tuple(rows),
        (threads, left_out),
    )


def seconds_of(name: str, shape: tuple[int, int, int], device: torch.device) -> float:
    """Return the time of a network's map of one volume, on a GPU after a first map that is not timed [s]."""
    spec = NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = spec.make().to(device).eval().requires_grad_(False)
        field = 0.02 * torch.randn(shape)
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN] = True
    noise = torch.full(shape, 2e-3)
    scan = Scan((field * mask).to(device), mask.to(device), Grid(shape, (1.0, 1.0, 1.0)), noise.to(device))
    start = _start(name, scan)
    for _ in range(2 if device.type == "cuda" else 1):
        _finish(device)
        began = time.perf_counter()
        apply_network(spec, network, scan, start)
        _finish(device)
    return time.perf_counter() - began


def _start(name: str, scan: Scan) -> torch.Tensor | None:
    """Return some maps for networks that start from them."""
    return torch.stack([scan.local_field] * N_STARTS) if NETWORKS[name].needs_start else None


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _named(shape: tuple[int, int, int]) -> str:
    return " × ".join(map(str, shape))
