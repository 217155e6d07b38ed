"""Closed shapes in patient coordinates, each given by its signed distance, from which the head phantom is built.

Points are tensors of shape `(3, ...)` holding x (to the patient's left), y (to the back) and z (to the head) [mm].
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

Point = tuple[float, float, float]


class Shape(Protocol):
    """A closed region of space."""

    def distance(self, points: Tensor) -> Tensor:
        """Return the signed distance [mm] from points `(3, ...)` to the surface, negative inside."""

    def sphere_around(self) -> tuple[Point, float]:
        """Return centre and radius [mm] of a sphere that holds the whole shape."""

    def mirrored(self) -> "Shape":
        """Return the shape on the other side of the median plane."""


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid, turned about its vertical axis and then tilted about the left-right axis.

    `turn_deg` moves its front towards the median plane for a shape on the left. The distance is exact on the surface
    and of first order beside it, which is all that an edge softened over one sample needs.
    """

    centre: Point
    radii: Point
    turn_deg: float = 0.0
    tilt_deg: float = 0.0

    def distance(self, points: Tensor) -> Tensor:
        """Return the signed distance [mm] from points `(3, ...)` to the surface, negative inside."""
        x, y, z = (points[axis] - self.centre[axis] for axis in range(3))
        if self.turn_deg:
            cosine, sine = _cosine_and_sine(self.turn_deg)
            x, y = cosine * x - sine * y, sine * x + cosine * y
        if self.tilt_deg:
            cosine, sine = _cosine_and_sine(self.tilt_deg)
            y, z = cosine * y - sine * z, sine * y + cosine * z
        squares = [(axis / radius).square() for axis, radius in zip((x, y, z), self.radii, strict=True)]
        level = (squares[0] + squares[1] + squares[2]).sqrt()
        slopes = [square / radius**2 for square, radius in zip(squares, self.radii, strict=True)]
        slope = (slopes[0] + slopes[1] + slopes[2]).sqrt().clamp_min(1e-9)
        return torch.where(level > 1e-4, (level - 1) * level / slope, -min(self.radii))

    def sphere_around(self) -> tuple[Point, float]:
        """Return centre and radius [mm] of a sphere that holds the whole shape."""
        return self.centre, max(self.radii)

    def mirrored(self) -> "Ellipsoid":
        """Return the shape on the other side of the median plane."""
        return replace(self, centre=_mirror(self.centre), turn_deg=-self.turn_deg)


@dataclass(frozen=True)
class Tube:
    """A round tube along straight pieces; its radius [mm] runs linearly from knot to knot."""

    knots: tuple[Point, ...]
    radii: tuple[float, ...]

    def distance(self, points: Tensor) -> Tensor:
        """Return the signed distance [mm] from points `(3, ...)` to the surface, negative inside."""
        nearest: Tensor | None = None
        for index in range(len(self.knots) - 1):
            piece = self._piece(points, index)
            nearest = piece if nearest is None else torch.minimum(nearest, piece)
        assert nearest is not None
        return nearest

    def _piece(self, points: Tensor, index: int) -> Tensor:
        start, end = self.knots[index], self.knots[index + 1]
        along = [b - a for a, b in zip(start, end, strict=True)]
        offsets = [points[axis] - start[axis] for axis in range(3)]
        length2 = max(sum(step * step for step in along), 1e-9)
        share = (offsets[0] * along[0] + offsets[1] * along[1] + offsets[2] * along[2]) / length2
        share = share.clamp(0, 1)
        squares = [(offset - share * step).square() for offset, step in zip(offsets, along, strict=True)]
        radius = self.radii[index] + share * (self.radii[index + 1] - self.radii[index])
        return (squares[0] + squares[1] + squares[2]).sqrt() - radius

    def sphere_around(self) -> tuple[Point, float]:
        """Return centre and radius [mm] of a sphere that holds the whole shape."""
        low = [min(knot[axis] for knot in self.knots) for axis in range(3)]
        high = [max(knot[axis] for knot in self.knots) for axis in range(3)]
        centre = tuple((a + b) / 2 for a, b in zip(low, high, strict=True))
        return (centre[0], centre[1], centre[2]), math.dist(low, high) / 2 + max(self.radii)

    def mirrored(self) -> "Tube":
        """Return the shape on the other side of the median plane."""
        return replace(self, knots=tuple(_mirror(knot) for knot in self.knots))


def blended(shapes: Sequence[Shape], points: Tensor, width_mm: float) -> Tensor:
    """Return the signed distance [mm] to the union of shapes, the creases between them rounded over a width [mm].

    Source: the polynomial smooth minimum of I. Quilez, "Smooth minimum" (2013).
    """
    union = shapes[0].distance(points)
    for shape in shapes[1:]:
        other = shape.distance(points)
        overlap = (width_mm - (union - other).abs()).clamp_min(0) / width_mm
        union = torch.minimum(union, other) - overlap.square() * (width_mm / 4)
    return union


def _mirror(point: Point) -> Point:
    return (-point[0], point[1], point[2])


def _cosine_and_sine(degrees: float) -> tuple[float, float]:
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
