"""Draw a region as one closed line in the slice where it is largest, along the edges of its pixels."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage


@dataclass(frozen=True)
class Outline:
    """The line around one region in one slice, and what it does not show.

    `points` is `(n, 2)`, column and row in image coordinates where (0, 0) is the upper left corner of the upper left
    pixel (PS3.3 C.18.6); the last point is the first. `inside` is `(y, x)`, true for every pixel that the line
    encloses. `n_pieces` counts the region's pieces in the slice, of which the line surrounds the largest;
    `n_left_out` counts the region's pixels outside the line, `n_holes` the enclosed pixels that are not of the region.
    """

    slice_index: int
    points: np.ndarray
    inside: np.ndarray
    n_pieces: int
    n_left_out: int
    n_holes: int


def outline_of(region: np.ndarray) -> Outline | None:
    """Return the outline of a region in its largest slice, or None where the region has no voxel.

    Pixels that touch at a corner only are of different pieces. Of equal slices the first is taken, and of equal
    pieces the one that begins first. The pixels whose centres the line encloses are exactly `inside`, and its area
    is theirs, because it runs along their edges.

    Parameters
    ----------
    region
        `(z, y, x)`, true in the region.
    """
    pixels_per_slice = np.count_nonzero(region, axis=(1, 2))
    slice_index = int(pixels_per_slice.argmax())
    if not pixels_per_slice[slice_index]:
        return None
    numbered, n_pieces = ndimage.label(region[slice_index])
    sizes = np.bincount(numbered.ravel())[1:]
    piece = numbered == 1 + int(sizes.argmax())
    inside = ndimage.binary_fill_holes(piece)
    return Outline(
        slice_index=slice_index,
        points=_boundary(inside),
        inside=inside,
        n_pieces=int(n_pieces),
        n_left_out=int(np.count_nonzero(region[slice_index] & ~inside)),
        n_holes=int(np.count_nonzero(inside & ~region[slice_index])),
    )


def _boundary(inside: np.ndarray) -> np.ndarray:
    """Follow the edges around one filled piece clockwise, keeping the corners only.

    A piece whose pixels hang together by their edges, and whose holes are filled as far as they hang together by
    theirs, never touches itself at a corner: from every corner exactly one edge goes on.
    """
    next_corner = _edges(inside)
    start = min(next_corner, key=lambda corner: (corner[1], corner[0]))
    corners = [start]
    while (corner := next_corner[corners[-1]]) != start:
        corners.append(corner)
    points = np.asarray(corners, dtype=np.float64)
    turns = np.any(np.roll(points, -1, axis=0) - points != points - np.roll(points, 1, axis=0), axis=1)
    kept = points[turns]
    return np.concatenate([kept, kept[:1]])


def _edges(inside: np.ndarray) -> dict[tuple[int, int], tuple[int, int]]:
    """List the edges between a pixel inside and one outside, from corner to corner, with the inside on the right."""
    padded = np.pad(inside, 1)
    found: dict[tuple[int, int], tuple[int, int]] = {}
    # Where the neighbour lies, and where the edge towards it begins and ends, as (column, row) from the pixel's corner.
    sides = (((-1, 0), (0, 0), (1, 0)), ((0, 1), (1, 0), (1, 1)), ((1, 0), (1, 1), (0, 1)), ((0, -1), (0, 1), (0, 0)))
    for (down, right), begins, ends in sides:
        neighbour = np.roll(padded, (-down, -right), axis=(0, 1))
        rows, columns = np.nonzero(padded & ~neighbour)
        for row, column in zip((rows - 1).tolist(), (columns - 1).tolist(), strict=True):
            found[column + begins[0], row + begins[1]] = (column + ends[0], row + ends[1])
    return found
