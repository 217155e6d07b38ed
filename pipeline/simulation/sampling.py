"""Where samples lie in the patient: a regular grid of any tilt, and smooth fields given on a coarse lattice."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.simulation.shapes import Point


@dataclass(frozen=True)
class SamplingGrid:
    """Sample positions `(z, y, x)` in patient coordinates.

    `first_mm` is the centre of sample (0, 0, 0); `steps_mm` are the vectors to the next sample along z, y and x.
    Vectors hold x (left), y (back), z (head) [mm].
    """

    shape: tuple[int, int, int]
    first_mm: Point
    steps_mm: tuple[Point, Point, Point]

    def points(self) -> Tensor:
        """Return the positions [mm], shape `(3, z, y, x)`."""
        rows = []
        for axis in range(3):
            along = [torch.arange(size, dtype=torch.float64) * step[axis] for size, step in self._axes()]
            position = self.first_mm[axis] + along[0][:, None, None] + along[1][:, None] + along[2]
            rows.append(position.float())
        return torch.stack(rows)

    def part(self, box: tuple[slice, slice, slice]) -> "SamplingGrid":
        """Return the grid of a box of samples, given by its start and stop along `(z, y, x)`."""
        first = tuple(
            self.first_mm[axis] + sum(cut.start * step[axis] for cut, step in zip(box, self.steps_mm, strict=True))
            for axis in range(3)
        )
        shape = tuple(cut.stop - cut.start for cut in box)
        return SamplingGrid((shape[0], shape[1], shape[2]), (first[0], first[1], first[2]), self.steps_mm)

    def slabs(self, thickness: int) -> Iterator[tuple[slice, "SamplingGrid"]]:
        """Yield the grid in slabs of a thickness along z, each with its place."""
        whole = (slice(0, self.shape[1]), slice(0, self.shape[2]))
        for start in range(0, self.shape[0], thickness):
            place = slice(start, min(start + thickness, self.shape[0]))
            yield place, self.part((place, *whole))

    def box_around(self, centre: Point, radius_mm: float) -> tuple[slice, slice, slice] | None:
        """Return the box of samples that holds a sphere, or None where it lies outside."""
        cuts = []
        for size, step in self._axes():
            length2 = sum(part * part for part in step)
            middle = sum((centre[axis] - self.first_mm[axis]) * step[axis] for axis in range(3)) / length2
            reach = radius_mm / length2**0.5
            start, stop = max(0, int(middle - reach) - 1), min(size, int(middle + reach) + 2)
            if start >= stop:
                return None
            cuts.append(slice(start, stop))
        return cuts[0], cuts[1], cuts[2]

    def _axes(self) -> Iterator[tuple[int, Point]]:
        return zip(self.shape, self.steps_mm, strict=True)


@dataclass(frozen=True)
class Lattice:
    """Smooth fields known on a coarse lattice along the patient's axes and interpolated linearly between its knots.

    `values` has shape `(field, z, y, x)`; `first_mm` is the position of the first knot. Beyond the lattice the value at
    its border holds.
    """

    values: Tensor
    first_mm: Point
    spacing_mm: float

    @classmethod
    def grid(cls, low: Point, high: Point, spacing_mm: float) -> SamplingGrid:
        """Return the positions of a lattice's knots between two corners [mm]."""
        counts = [round((b - a) / spacing_mm) + 1 for a, b in zip(low, high, strict=True)]
        steps = ((0.0, 0.0, spacing_mm), (0.0, spacing_mm, 0.0), (spacing_mm, 0.0, 0.0))
        return SamplingGrid((counts[2], counts[1], counts[0]), low, steps)

    def at(self, points: Tensor, fields: slice) -> Tensor:
        """Return fields at points `(3, ...)` [mm], shape `(field, ...)`."""
        chosen = self.values[fields]
        sizes = chosen.shape[-1:0:-1]
        scaled = [
            (points[axis] - self.first_mm[axis]) * (2 / (self.spacing_mm * (size - 1))) - 1
            for axis, size in enumerate(sizes)
        ]
        places = torch.stack(scaled, -1).reshape(1, 1, 1, -1, 3)
        found = torch.nn.functional.grid_sample(
            chosen[None], places, mode="bilinear", padding_mode="border", align_corners=True
        )
        return found.reshape(chosen.shape[0], *points.shape[1:])
