"""A network applied to a whole volume: at once, or in tiles where memory is short; bfloat16 products on a GPU."""

import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.errors import UnusableInput
from pipeline.method import OnIteration, setting
from pipeline.networks.inputs import FieldScan
from pipeline.networks.table import NetworkSpec
from pipeline.susceptibility.dipole_inversion.learned.tiles import (
    Tile,
    bytes_per_voxel,
    computed_in_tiles,
    receptive_radius,
    tile_multiple,
    tiles_of,
    tiles_that_fit,
)

PRECISIONS = ("auto", "float32", "bfloat16")
_SHARE_OF_FREE_MEMORY = 0.7
_PREPARED = 0.1
"""Share of the work after which the channels are made."""
_MEMORY_FACTS, _OWN_FACTS = Path("/proc/meminfo"), Path("/proc/self/status")
_GROUP_LIMIT, _GROUP_USE = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


@dataclass(frozen=True)
class ComputingSettings:
    """How a network computes; no setting changes the map by more than rounding, but a small overlap."""

    tile: int = setting(
        0, "voxel", "edge of the parts computed one by one; 0 is the whole volume while memory lasts", minimum=0
    )
    overlap: int = setting(
        0, "voxel", "what a part reads beyond its edge; 0 is all that the network can see", minimum=0
    )
    precision: str = setting("auto", "-", "of the products; auto is bfloat16 on a GPU that has it", choices=PRECISIONS)


def apply_network(
    spec: NetworkSpec,
    network: nn.Module,
    scan: FieldScan,
    start: Tensor | None = None,
    settings: ComputingSettings | None = None,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Return the map that a network makes of a scan.

    Parameters
    ----------
    spec
        What the network is.
    network
        Its trained module, in inference, on the device of the scan; not changed.
    scan
        Local field, mask, grid and field noise.
    start
        Maps by other methods `(map, z, y, x)` [ppm], for networks that refine them.
    settings
        Tiles and precision; the defaults where None.
    on_iteration
        Told the fraction done, after every tile.

    Returns
    -------
    Susceptibility `(z, y, x)` [ppm], zero outside the mask.

    Raises
    ------
    UnusableInput
        Shapes disagree, the mask is empty, start maps are needed and missing, or the network cannot be cut into tiles.
    """
    settings = ComputingSettings() if settings is None else settings
    channels, context = spec.prepare(scan, start)
    tiles = chosen_tiles(spec, network, channels, settings)
    _tell(on_iteration, _PREPARED)
    done = 0

    def run(part: Tensor) -> Tensor:
        nonlocal done
        with torch.no_grad(), products_in(settings.precision, part.device):
            output = spec.run(network, part[None], [context])[0]
        done += 1
        _tell(on_iteration, _PREPARED + (0.95 - _PREPARED) * done / len(tiles))
        return output

    susceptibility = spec.finish(computed_in_tiles(run, channels, tiles), context)
    _tell(on_iteration, 1.0)
    return susceptibility


def chosen_tiles(
    spec: NetworkSpec, network: nn.Module, channels: Tensor, settings: ComputingSettings
) -> Sequence[Tile]:
    """Return the tiles that the settings ask for, or that the free memory asks for, or one of the whole volume.

    Raises
    ------
    UnusableInput
        Tiles are asked for, but the network needs the whole volume.
    """
    shape = channels.shape[1:]
    multiple = tile_multiple(spec)
    if multiple is None:
        if settings.tile:
            raise UnusableInput(
                f"The network {spec.name} needs the whole volume at once and cannot be applied in tiles; leave tile 0."
            )
        return tiles_of(shape, shape, 0, 1)
    if settings.tile:
        overlap = settings.overlap or receptive_radius(network, multiple)
        return tiles_of(shape, (settings.tile,) * 3, overlap, multiple)
    most_voxels = _SHARE_OF_FREE_MEMORY * free_bytes(channels.device) / bytes_per_voxel(network, multiple)
    if shape.numel() <= most_voxels:
        return tiles_of(shape, shape, 0, multiple)
    return tiles_that_fit(shape, settings.overlap or receptive_radius(network, multiple), multiple, most_voxels)


def products_in(precision: str, device: torch.device) -> torch.autocast:
    """Return the context in which a network's products are made in the chosen precision.

    Raises
    ------
    UnusableInput
        There is no such precision.
    """
    if precision not in PRECISIONS:
        raise UnusableInput(f"The precision is one of {', '.join(PRECISIONS)}, not '{precision}'.")
    by_itself = device.type == "cuda" and torch.cuda.is_bf16_supported()
    is_half = precision == "bfloat16" or (precision == "auto" and by_itself)
    return torch.autocast(device.type, torch.bfloat16, enabled=is_half, cache_enabled=False)


def free_bytes(device: torch.device) -> float:
    """Return how much memory a device has left; infinity where that cannot be known."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    free = _stated_bytes(_MEMORY_FACTS, "MemAvailable", float("inf"))
    # A mapping process may take no more than the site allows, whatever the machine has.
    own_limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    if own_limit != resource.RLIM_INFINITY:
        free = min(free, own_limit - _stated_bytes(_OWN_FACTS, "VmData", 0.0))
    # A container's limit counts where it is lower than the machine's.
    if _GROUP_LIMIT.is_file() and _GROUP_USE.is_file() and (limit := _GROUP_LIMIT.read_text().strip()).isdigit():
        free = min(free, float(limit) - float(_GROUP_USE.read_text()))
    return free


def _stated_bytes(path: Path, name: str, otherwise: float) -> float:
    """Return what the kernel states under a name in one of its files of facts [B]."""
    if not path.is_file():
        return otherwise
    facts = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    return 1024.0 * float(facts[name].split()[0]) if name in facts else otherwise


def _tell(on_iteration: OnIteration | None, fraction: float) -> None:
    if on_iteration is not None:
        on_iteration(fraction)
