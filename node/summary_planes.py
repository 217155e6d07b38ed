"""Draw the map in three planes through the nuclei, with the magnitude below, for the printed summary."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from node.contact_sheet import brain_box, to_standing_patient, upright_plane

WINDOW_PPB = 200.0
DIFFERENCE_WINDOW_PPB = 100.0
TALLEST_ROW_MM = 62.0
_MM_PER_INCH = 25.4
_DOTS_PER_INCH = 220
_GAP_MM, _NAME_MM, _BAR_MM = 1.5, 4.5, 17.0
_OUTLINE = "#ffb000"
_REGION = "#00a7e1"

Place = tuple[float, float, float, float]
"""Left, bottom, width and height."""


@dataclass(frozen=True)
class Planes:
    """The volumes of one run, turned upright and cut to the brain: axes head, back, left, with `spacing` [mm].

    `cut` is the index of the slice along each axis: axial, coronal, sagittal.
    """

    volumes: Mapping[str, np.ndarray]
    mask: np.ndarray
    labels: np.ndarray
    spacing: tuple[float, float, float]
    cut: tuple[int, int, int]

    def size_mm(self, axis: int) -> tuple[float, float]:
        """Return height and width of a plane across `axis` [mm]."""
        height, width = (self.mask.shape[other] * self.spacing[other] for other in range(3) if other != axis)
        return height, width


@dataclass(frozen=True)
class Row:
    """One row of three planes: which volume, its name at the left, its grey limits, the unit beside its bar.

    `has_regions` draws the outlines of brain and regions on it.
    """

    volume: str
    name: str
    limits: tuple[float, float]
    unit: str = ""
    has_regions: bool = False


@dataclass(frozen=True)
class _Plane:
    name: str
    axis: int
    edges: Mapping[str, str] = field(default_factory=dict)


_PLANES = (
    _Plane("axial", 0, {"left": "R", "right": "L", "top": "A", "bottom": "P"}),
    _Plane("coronal", 1, {"left": "R", "right": "L", "top": "H", "bottom": "F"}),
    _Plane("sagittal", 2, {"left": "A", "right": "P", "top": "H", "bottom": "F"}),
)
_LETTER_PLACES = {
    "left": (0.02, 0.5, "left", "center"),
    "right": (0.98, 0.5, "right", "center"),
    "top": (0.5, 0.98, "center", "top"),
    "bottom": (0.5, 0.02, "center", "bottom"),
}


def upright_planes(
    volumes: Mapping[str, np.ndarray], mask: np.ndarray, labels: np.ndarray | None, affine_lps: np.ndarray
) -> Planes:
    """Turn volumes to the standing patient and choose the slices: through most regions, else the brain's centre.

    Parameters
    ----------
    volumes
        Arrays `(z, y, x)` by name.
    mask
        `(z, y, x)`, true in the brain.
    labels
        `(z, y, x)`, 0 outside every region; None where there is no label map.
    affine_lps
        From voxel index `(x, y, z, 1)` to patient coordinates [mm].

    Raises
    ------
    ValueError
        The shapes differ.
    """
    known = labels if labels is not None else np.zeros(mask.shape, np.int32)
    shapes = {array.shape for array in (*volumes.values(), mask, known)}
    if len(shapes) > 1:
        message = f"shapes differ: {', '.join(str(shape) for shape in sorted(shapes))}"
        raise ValueError(message)
    standing, spacing = to_standing_patient(mask > 0, affine_lps)
    box = brain_box(standing, spacing)

    def upright(array: np.ndarray) -> np.ndarray:
        return to_standing_patient(array, affine_lps)[0][box]

    inside, regions = standing[box], np.where(standing[box], upright(known), 0)
    turned = {name: upright(array) for name, array in volumes.items()}
    return Planes(turned, inside, regions, spacing, _cut(inside, regions))


def brightest(magnitude: np.ndarray, mask: np.ndarray) -> float:
    """Return the value that is to be white in a magnitude image: few voxels of the brain are brighter."""
    inside = magnitude[mask > 0]
    return (float(np.percentile(inside, 99.5)) if inside.size else 0.0) or 1.0


def draw_planes(
    planes: Planes, rows: tuple[Row, ...], width_mm: float, tallest_row_mm: float = TALLEST_ROW_MM
) -> Image.Image:
    """Draw one row of axial, coronal and sagittal plane per `rows`; equal input gives equal pixels."""
    sizes = [planes.size_mm(plane.axis) for plane in _PLANES]
    free = width_mm - _NAME_MM - _BAR_MM - 2 * _GAP_MM
    scale = min(free / sum(width for _, width in sizes), tallest_row_mm / max(height for height, _ in sizes))
    row_mm = scale * max(height for height, _ in sizes)
    height_mm = len(rows) * row_mm + (len(rows) - 1) * _GAP_MM
    figure = Figure(figsize=(width_mm / _MM_PER_INCH, height_mm / _MM_PER_INCH), dpi=_DOTS_PER_INCH, facecolor="white")
    for number, row in enumerate(rows):
        top = height_mm - number * (row_mm + _GAP_MM)
        left = _NAME_MM + (free - scale * sum(width for _, width in sizes)) / 2
        for plane, (height, width) in zip(_PLANES, sizes, strict=True):
            place = (left, top - (row_mm + scale * height) / 2, scale * width, scale * height)
            axes = figure.add_axes(_fraction(place, width_mm, height_mm))
            _show(axes, planes, plane, row)
            left += scale * width + _GAP_MM
        figure.text(0.3 * _NAME_MM / width_mm, (top - row_mm / 2) / height_mm, row.name, _NAME_STYLE)
        bar_place = (left + 1.0, top - 0.85 * row_mm, 2.5, 0.7 * row_mm)
        _grey_bar(figure.add_axes(_fraction(bar_place, width_mm, height_mm)), row)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])


_NAME_STYLE: dict[str, Any] = {"rotation": 90, "fontsize": 7, "ha": "center", "va": "center"}


def _fraction(place: Place, width: float, height: float) -> Place:
    return place[0] / width, place[1] / height, place[2] / width, place[3] / height


def _cut(mask: np.ndarray, regions: np.ndarray) -> tuple[int, int, int]:
    if not regions.any():
        centre = np.argwhere(mask).mean(axis=0) if mask.any() else (np.array(mask.shape) - 1) / 2
        axial, coronal, sagittal = (round(float(place)) for place in centre)
        return axial, coronal, sagittal
    axial, coronal, sagittal = (_busiest(regions, axis) for axis in range(3))
    return axial, coronal, sagittal


def _busiest(regions: np.ndarray, axis: int) -> int:
    """Return the slice that crosses most regions; among equals the one with most of their voxels."""
    slices = np.moveaxis(regions, axis, 0)
    counts = [(len(np.unique(one)), np.count_nonzero(one)) for one in slices]
    return max(range(len(counts)), key=lambda index: (counts[index], -index))


def _show(axes: Axes, planes: Planes, plane: _Plane, row: Row) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    index = planes.cut[plane.axis]
    shown = upright_plane(planes.volumes[row.volume], plane.axis, index)
    axes.imshow(shown, cmap="gray", vmin=row.limits[0], vmax=row.limits[1], aspect="auto", interpolation="nearest")
    if row.has_regions:
        _outline(axes, upright_plane(planes.mask, plane.axis, index), _OUTLINE)
        labels = upright_plane(planes.labels, plane.axis, index)
        for label in np.unique(labels[labels != 0]):
            _outline(axes, labels == label, _REGION)
    for edge, letter in plane.edges.items():
        x, y, across, along = _LETTER_PLACES[edge]
        axes.text(x, y, letter, color=_OUTLINE, fontsize=8, ha=across, va=along, transform=axes.transAxes)


def _outline(axes: Axes, shape: np.ndarray, colour: str) -> None:
    # A slice without or full of the shape has no outline, and contour would warn about it.
    if shape.any() and not shape.all():
        axes.contour(shape.astype(float), levels=[0.5], colors=[colour], linewidths=0.6)


def _grey_bar(axes: Axes, row: Row) -> None:
    if not row.unit:
        axes.set_visible(False)
        return
    low, high = row.limits
    axes.imshow(np.linspace(high, low, 256)[:, None], cmap="gray", aspect="auto", extent=(0, 1, low, high))
    ticks = np.linspace(low, high, 5)
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.set_yticks(list(ticks), labels=[f"{tick:+.0f}" if tick else "0" for tick in ticks], fontsize=7)
    axes.set_title(row.unit, fontsize=7, pad=3)
