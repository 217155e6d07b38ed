"""Volumes cut into overlapping tiles, so that a network sees in each all that its part of the map depends on."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.errors import UnusableInput
from pipeline.networks.inputs import FieldPreparation
from pipeline.networks.lodestone_net import RefinementPreparation
from pipeline.networks.table import NetworkSpec

Slices = tuple[slice, ...]
_MOST_PIECES = 8
_FIRST_PROBE = 16
_LONGEST_PROBE = 4096


@dataclass(frozen=True)
class Tile:
    """One part of a volume `(z, y, x)`: what the network reads, what of its output is kept, and where that goes."""

    read: Slices
    keep: Slices
    write: Slices

    @property
    def n_voxels(self) -> int:
        """Return how many voxels the network reads."""
        return math.prod(part.stop - part.start for part in self.read)


def tile_multiple(spec: NetworkSpec) -> int | None:
    """Return of what number of voxels a tile's edges must be multiples; None where a network needs the whole volume.

    Networks in k-space, and unrolled ones, which convolve with the dipole, cannot work on parts.
    """
    preparation = spec.preparation
    if spec.is_unrolled or not isinstance(preparation, FieldPreparation | RefinementPreparation):
        return None
    return preparation.multiple


def tiles_of(shape: Sequence[int], core: Sequence[int], overlap: int, multiple: int) -> list[Tile]:
    """Return tiles whose cores cover a volume once, each read with an overlap that ends at the volume's faces.

    Parameters
    ----------
    shape
        Of the volume `(z, y, x)`, multiples of `multiple` [voxels].
    core
        What each tile contributes at most along each axis; rounded up to multiples [voxels].
    overlap
        What it reads beyond on each side; rounded up to multiples [voxels].
    multiple
        The network's.

    Raises
    ------
    UnusableInput
        The shape is no multiple.
    """
    if any(size % multiple for size in shape):
        raise UnusableInput(f"A volume of {tuple(shape)} voxels cannot be cut: sizes must be multiples of {multiple}.")
    halo = _rounded_up(overlap, multiple)
    steps = [min(_rounded_up(max(wanted, 1), multiple), size) for size, wanted in zip(shape, core, strict=True)]
    axes = [
        [_segment(start, min(start + step, size), halo, size) for start in range(0, size, step)]
        for size, step in zip(shape, steps, strict=True)
    ]
    return [
        Tile(*(tuple(axis[part] for axis in segments) for part in range(3))) for segments in itertools.product(*axes)
    ]


def _segment(start: int, stop: int, halo: int, size: int) -> tuple[slice, slice, slice]:
    first, last = max(start - halo, 0), min(stop + halo, size)
    return slice(first, last), slice(start - first, stop - first), slice(start, stop)


def _rounded_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def tiles_that_fit(shape: Sequence[int], overlap: int, multiple: int, most_voxels: float) -> list[Tile]:
    """Return the tiles that read least in all, none of them more than `most_voxels`.

    Where no cut is small enough, the one with the smallest tiles is returned: an overlap as wide as the volume leaves
    nothing to save.
    """
    best: tuple[tuple[float, float], list[Tile]] | None = None
    for pieces in itertools.product(range(1, _MOST_PIECES + 1), repeat=3):
        core = [-(-size // count) for size, count in zip(shape, pieces, strict=True)]
        tiles = tiles_of(shape, core, overlap, multiple)
        largest = max(tile.n_voxels for tile in tiles)
        rank = (max(largest - most_voxels, 0.0), float(sum(tile.n_voxels for tile in tiles)))
        if best is None or rank < best[0]:
            best = (rank, tiles)
        if rank[0] == 0.0 and len(tiles) == 1:
            break
    assert best is not None
    return best[1]


@torch.no_grad()
def receptive_radius(network: nn.Module, multiple: int) -> int:
    """Return how far along an axis an output can depend on inputs [voxels], at places that are multiples apart.

    One block of a long thin volume holds NaN, which every layer passes on, to whatever depends on it. Kernels must be
    cubes, as those of all our networks are.

    Parameters
    ----------
    network
        A convolutional network in inference, on any device.
    multiple
        The factor by which its coarsest level is smaller.

    Raises
    ------
    UnusableInput
        The network sees farther than any volume is long.
    """
    length = _FIRST_PROBE
    while length * multiple <= _LONGEST_PROBE:
        probe = _blank(network, (length * multiple, multiple, multiple))
        first = length // 2 * multiple
        probe[:, :, first : first + multiple] = torch.nan
        reached = torch.nonzero(network(probe)[0].isnan().flatten(2).any(dim=2).any(dim=0)).flatten()
        low, high = int(reached[0]), int(reached[-1]) + 1
        if low > 0 and high < length * multiple:
            return max(first - low, high - first - multiple)
        length *= 2
    raise UnusableInput("The network sees the whole volume everywhere and cannot be applied in tiles.")


@torch.no_grad()
def bytes_per_voxel(network: nn.Module, multiple: int) -> float:
    """Return about how much memory inference takes for each voxel read: twice the largest layer's input and output.

    The factor two stands for features that are kept for the way up and for the copies that convolutions make.
    """
    size = 2 * multiple
    sizes: list[int] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        sizes.append(sum(values.numel() for values in inputs) + output.numel())

    leaves = [module for module in network.modules() if not any(module.children())]
    hooks = [leaf.register_forward_hook(note) for leaf in leaves if not isinstance(leaf, nn.ModuleList)]
    try:
        network(_blank(network, (size, size, size)))
    finally:
        for hook in hooks:
            hook.remove()
    return 2 * max(sizes) * next(network.parameters()).element_size() / size**3


def _blank(network: nn.Module, shape: tuple[int, int, int]) -> Tensor:
    first = next(module for module in network.modules() if isinstance(module, nn.Conv3d))
    return first.weight.new_zeros((1, first.in_channels, *shape))


def computed_in_tiles(run: Callable[[Tensor], Tensor], channels: Tensor, tiles: Sequence[Tile]) -> Tensor:
    """Return what a network makes of channels, tile by tile.

    Parameters
    ----------
    run
        Maps channels `(channel, z, y, x)` to outputs of the same size in space.
    channels
        The whole volume's.
    tiles
        Which parts; their cores cover the volume.
    """
    whole: Tensor | None = None
    for tile in tiles:
        part = run(channels[(slice(None), *tile.read)])
        if len(tiles) == 1:
            return part
        if whole is None:
            whole = channels.new_empty((part.shape[0], *channels.shape[1:]))
        whole[(slice(None), *tile.write)] = part[(slice(None), *tile.keep)]
    assert whole is not None
    return whole
