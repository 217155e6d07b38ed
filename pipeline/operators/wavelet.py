"""An orthonormal wavelet transform of complex volumes, any size, shifted at no cost; one matrix per axis and level."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_FILTERS = {
    "haar": (1.0, 1.0),
    "daubechies_2": (
        1 + math.sqrt(3),
        3 + math.sqrt(3),
        3 - math.sqrt(3),
        1 - math.sqrt(3),
    ),
    "daubechies_3": (
        0.47046721,
        1.14111692,
        0.650365,
        -0.19093442,
        -0.12083221,
        0.0498175,
    ),
    "symlet_4": (
        -0.07576571478927333,
        -0.02963552764599851,
        0.49761866763201545,
        0.8037387518059161,
        0.29785779560527736,
        -0.09921954357684722,
        -0.012603967262037833,
        0.0322231006040427,
    ),
}
WAVELETS = tuple(_FILTERS)
_COARSEST = 8


class WaveletTransform:
    """The periodic transform of volumes `(..., a, b, c)` along their last three axes.

    Each level splits what the level before smoothed; the smooth part lies in the corner at index 0. Matrices serve
    because a product with one is as fast as a convolution with a short filter, and a shift by whole samples is a roll
    of their columns.

    Source: Daubechies 1988, doi:10.1002/cpa.3160410705; 1992, doi:10.1137/1.9781611970104 (symlets, the least
    asymmetric of their length).
    """

    def __init__(self, shape: Sequence[int], levels: int, wavelet: str, like: Tensor) -> None:
        """Lay out the transform for volumes of a shape, with the matrices in the type and on the device of a tensor."""
        filter_ = torch.tensor(_FILTERS[wavelet], dtype=torch.float64)
        filter_ = filter_ / filter_.norm()
        self.corners: list[tuple[int, ...]] = [tuple(shape)]
        self._matrices: list[list[Tensor | None]] = []
        self._kept: Tensor | None = None
        for _ in range(levels):
            sizes = self.corners[-1]
            split = [size >= _COARSEST for size in sizes]
            if not any(split):
                break
            made = [
                _matrix(size, filter_).to(like.real) if cut else None for size, cut in zip(sizes, split, strict=True)
            ]
            self._matrices.append(made)
            self.corners.append(
                tuple(_smooth_size(size) if cut else size for size, cut in zip(sizes, split, strict=True))
            )

    def forward(self, volumes: Tensor, shift: Sequence[int] = (0, 0, 0)) -> Tensor:
        """Return the coefficients of volumes `(..., a, b, c)` rolled by a shift, the same shape."""
        coefficients = self._apply_finest(volumes, self._shifted(shift), torch.empty_like(volumes))
        for sizes, matrices in zip(self.corners[1:], self._matrices[1:], strict=False):
            corner = coefficients[..., : sizes[0], : sizes[1], : sizes[2]]
            corner.copy_(_apply(corner.contiguous(), matrices))
        return coefficients

    def inverse(self, coefficients: Tensor, shift: Sequence[int] = (0, 0, 0)) -> Tensor:
        """Return the volumes of coefficients that `forward` made with the same shift; the coefficients are lost."""
        for sizes, matrices in reversed(list(zip(self.corners[1:], self._matrices[1:], strict=False))):
            corner = coefficients[..., : sizes[0], : sizes[1], : sizes[2]]
            corner.copy_(_apply(corner.contiguous(), [None if m is None else m.mT for m in matrices]))
        matrices = [None if m is None else m.mT for m in self._shifted(shift)]
        return self._apply_finest(coefficients, matrices, coefficients)

    def _apply_finest(self, volumes: Tensor, matrices: Sequence[Tensor | None], target: Tensor) -> Tensor:
        """Multiply whole volumes in memory that is kept from call to call, and write the product into a target."""
        a, b, c = matrices
        if a is None or b is None or c is None or volumes.is_cuda:
            return _apply(volumes, matrices)
        if self._kept is None or self._kept.shape[1:] != volumes.shape:
            self._kept = volumes.new_empty((2, *volumes.shape))
        first, second = self._kept
        n_a, n_b, n_c = volumes.shape[-3:]
        torch.mm(volumes.reshape(-1, n_c), c.mT.to(volumes.dtype), out=first.view(-1, n_c))
        rows = [torch.view_as_real(kept).view(-1, n_b, 2 * n_c) for kept in (first, second)]
        torch.bmm(b.expand(len(rows[0]), -1, -1), rows[0], out=rows[1])
        planes = [torch.view_as_real(kept).view(-1, n_a, n_b * 2 * n_c) for kept in (second, target)]
        torch.bmm(a.expand(len(planes[0]), -1, -1), planes[0], out=planes[1])
        return target

    def _shifted(self, shift: Sequence[int]) -> list[Tensor | None]:
        if not self._matrices:
            return [None, None, None]
        return [
            None if matrix is None else matrix.roll(-step, dims=1)
            for matrix, step in zip(self._matrices[0], shift, strict=True)
        ]


def _smooth_size(size: int) -> int:
    """Return how many samples of an axis go on to the next level: half, and the odd one that has no partner."""
    return (size + 1) // 2


def _matrix(size: int, smooth: Tensor) -> Tensor:
    """Return the orthogonal matrix of one level along an axis: smooth rows first, an odd last sample among them."""
    even = size - size % 2
    detail = smooth.flip(0) * torch.tensor([1.0, -1.0], dtype=smooth.dtype).repeat(len(smooth) // 2)
    matrix = smooth.new_zeros(size, size)
    for row in range(even // 2):
        for tap, (low, high) in enumerate(zip(smooth.tolist(), detail.tolist(), strict=True)):
            matrix[row, (2 * row + tap) % even] += low
            matrix[_smooth_size(size) + row, (2 * row + tap) % even] += high
    if size % 2:
        matrix[even // 2, even] = 1.0
    return matrix


def _apply(volumes: Tensor, matrices: Sequence[Tensor | None]) -> Tensor:
    """Multiply complex volumes `(..., a, b, c)` along their last three axes by real matrices; makes new ones."""
    a, b, c = matrices
    shape = volumes.shape
    if c is not None:
        volumes = volumes @ c.mT.to(volumes.dtype)
    planes = torch.view_as_real(volumes.contiguous())
    if b is not None:
        planes = b @ planes.reshape(*shape[:-1], 2 * shape[-1])
    if a is not None:
        planes = a @ planes.reshape(*shape[:-2], 2 * shape[-2] * shape[-1])
    result = torch.view_as_complex(planes.reshape(*shape, 2))
    return result.clone() if a is None and b is None and c is None else result
