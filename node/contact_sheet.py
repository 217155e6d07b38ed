"""Draw one picture of a run that a person can judge at a glance: the map in three planes, the magnitude, the mask.

Beside a network's map the classical one and their difference are shown in the same slices.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.image import AxesImage

WINDOW_PPM = 0.2
N_COLUMNS = 6
_MARGIN_MM = 10.0
_CELL_INCHES = 2.0
_TITLE_INCHES = 0.55
_LEFT_INCHES, _RIGHT_INCHES = 0.45, 1.2
_GAP = 0.03
_DOTS_PER_INCH = 110
_BACKGROUND = "#101214"
_FOREGROUND = "#e6e6e6"
_OUTLINE = "#ffb000"
_SUSCEPTIBILITY, _CLASSICAL, _DIFFERENCE, _MAGNITUDE = "susceptibility", "classical", "difference", "magnitude"


@dataclass(frozen=True)
class _Head:
    """The volumes turned upright and cut to the brain, axes head, back and left, with their `spacing` [mm]."""

    susceptibility: np.ndarray
    magnitude: np.ndarray
    mask: np.ndarray
    spacing: tuple[float, float, float]
    classical: np.ndarray | None = None

    def volume_of(self, row: "_Row") -> np.ndarray:
        if row.shows == _CLASSICAL and self.classical is not None:
            return self.classical
        if row.shows == _DIFFERENCE and self.classical is not None:
            return self.susceptibility - self.classical
        return self.magnitude if row.shows == _MAGNITUDE else self.susceptibility

    def extent_mm(self, axis: int) -> float:
        return self.mask.shape[axis] * self.spacing[axis]


@dataclass(frozen=True)
class _Row:
    """One row of pictures: slices across `axis`, whose left edge is the patient's `left_edge`."""

    name: str
    axis: int
    left_edge: str
    shows: str = _SUSCEPTIBILITY

    def height_per_width(self, head: _Head) -> float:
        rows, columns = (other for other in range(3) if other != self.axis)
        return head.extent_mm(rows) / head.extent_mm(columns)


_ROWS = (
    _Row("axial", 0, "R"),
    _Row("classical", 0, "R", _CLASSICAL),
    _Row("difference", 0, "R", _DIFFERENCE),
    _Row("magnitude, mask", 0, "R", _MAGNITUDE),
    _Row("coronal", 1, "R"),
    _Row("sagittal", 2, "A"),
)


def contact_sheet(
    path: Path,
    susceptibility_ppm: np.ndarray,
    magnitude: np.ndarray,
    mask: np.ndarray,
    affine_lps: np.ndarray,
    title: str,
    classical_ppm: np.ndarray | None = None,
) -> None:
    """Write a PNG with slices through the brain; equal input gives equal bytes.

    The volume is turned to the nearest axial, coronal and sagittal planes and shown as radiologists look at it: the
    patient's right on the viewer's left.

    Parameters
    ----------
    path
        The file to write.
    susceptibility_ppm
        `(z, y, x)` [ppm].
    magnitude
        `(z, y, x)`, any unit.
    mask
        `(z, y, x)`, true in the brain.
    affine_lps
        From voxel index `(x, y, z, 1)` to patient coordinates [mm].
    title
        One line without patient data.
    classical_ppm
        The classical map beside a network's `(z, y, x)` [ppm]; None where there is none.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    volumes = [susceptibility_ppm, magnitude, mask, *([] if classical_ppm is None else [classical_ppm])]
    if len({volume.shape for volume in volumes}) > 1:
        message = f"shapes differ: {', '.join(str(volume.shape) for volume in volumes)}"
        raise ValueError(message)
    head = _head(susceptibility_ppm, magnitude, mask, affine_lps, classical_ppm)
    canvas = FigureCanvasAgg(_draw(head, title))
    # Matplotlib writes its own version into the file otherwise, and equal runs would give unequal files.
    canvas.print_png(str(path), metadata={"Software": None})


def to_standing_patient(array: np.ndarray, affine_lps: np.ndarray) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Turn `(z, y, x)` by whole axes so that the axes grow towards head, back and left; also return the spacing [mm].

    No value is interpolated: an oblique volume is shown in the planes in which it was acquired.
    """
    axes_zyx = affine_lps[:3, [2, 1, 0]]
    lengths = np.linalg.norm(axes_zyx, axis=0)
    directions = axes_zyx / lengths
    order = _nearest_axes(np.abs(directions))
    flips = tuple(axis for axis, source in enumerate(order) if directions[2 - axis, source] < 0)
    head, back, left = (float(lengths[source]) for source in order)
    return np.flip(np.transpose(array, order), flips), (head, back, left)


def _nearest_axes(weights: np.ndarray) -> tuple[int, int, int]:
    """Choose for head, back and left (patient z, y, x) the array axis closest to each, no axis twice."""
    choices = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    return max(choices, key=lambda order: sum(weights[2 - axis, source] for axis, source in enumerate(order)))


def _head(
    susceptibility: np.ndarray,
    magnitude: np.ndarray,
    mask: np.ndarray,
    affine_lps: np.ndarray,
    classical: np.ndarray | None,
) -> _Head:
    upright_mask, spacing = to_standing_patient(mask > 0, affine_lps)
    box = brain_box(upright_mask, spacing)
    upright = [to_standing_patient(array, affine_lps)[0][box] for array in (susceptibility, magnitude)]
    twin = None if classical is None else to_standing_patient(classical, affine_lps)[0][box]
    return _Head(upright[0], upright[1], upright_mask[box], spacing, twin)


def brain_box(mask: np.ndarray, spacing: tuple[float, float, float]) -> tuple[slice, slice, slice]:
    """Return the part of an upright volume that holds the brain and 10 mm around it; all of it for an empty mask."""
    found = np.nonzero(mask) if mask.any() else np.nonzero(np.ones_like(mask))
    margins = [round(_MARGIN_MM / step) for step in spacing]
    z, y, x = (
        slice(max(0, int(index.min()) - margin), int(index.max()) + margin + 1)
        for index, margin in zip(found, margins, strict=True)
    )
    return z, y, x


def _draw(head: _Head, title: str) -> Figure:
    rows = [row for row in _ROWS if head.classical is not None or row.shows not in (_CLASSICAL, _DIFFERENCE)]
    heights = [row.height_per_width(head) for row in rows]
    width = _LEFT_INCHES + N_COLUMNS * _CELL_INCHES + _RIGHT_INCHES
    height = _TITLE_INCHES + (sum(heights) + _GAP * len(rows)) * _CELL_INCHES
    figure = Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, facecolor=_BACKGROUND)
    grid = GridSpec(
        len(rows),
        N_COLUMNS,
        figure=figure,
        height_ratios=heights,
        left=_LEFT_INCHES / width,
        right=1 - _RIGHT_INCHES / width,
        top=1 - _TITLE_INCHES / height,
        bottom=0.01,
        wspace=_GAP,
        hspace=_GAP,
    )
    figure.text(_LEFT_INCHES / width, 1 - 0.6 * _TITLE_INCHES / height, title, color=_FOREGROUND, fontsize=13)
    for number, row in enumerate(rows):
        for column, index in enumerate(_slice_indices(head.mask, row.axis)):
            axes = figure.add_subplot(grid[number, column])
            _prepare(axes)
            shown = _show(axes, row, index, head)
            if column == 0:
                _label(axes, row)
    _colour_bar(figure, 1 - 0.9 * _RIGHT_INCHES / width, shown)
    return figure


def _slice_indices(mask: np.ndarray, axis: int) -> list[int]:
    """Spread the slices evenly over the brain; the outermost tenths of it show little."""
    across = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
    first, last = (across[0], across[-1]) if across.size else (0, mask.shape[axis] - 1)
    return [
        round(float(place))
        for place in np.linspace(first + 0.1 * (last - first), last - 0.1 * (last - first), N_COLUMNS)
    ]


def _show(axes: Axes, row: _Row, index: int, head: _Head) -> AxesImage:
    limits, volume = (-WINDOW_PPM, WINDOW_PPM), head.volume_of(row)
    if row.shows == _MAGNITUDE:
        brightest = float(np.percentile(head.magnitude[head.mask], 99.5)) if head.mask.any() else 0.0
        limits = (0.0, brightest or 1.0)
    rows, columns = (head.spacing[other] for other in range(3) if other != row.axis)
    shown = axes.imshow(
        upright_plane(volume, row.axis, index), cmap="gray", vmin=limits[0], vmax=limits[1], aspect=rows / columns
    )
    outline = upright_plane(head.mask, row.axis, index)
    # A slice without or full of mask has no outline, and contour would warn about it.
    if row.shows == _MAGNITUDE and outline.any() and not outline.all():
        axes.contour(outline.astype(float), levels=[0.5], colors=[_OUTLINE], linewidths=0.8)
    return shown


def upright_plane(volume: np.ndarray, axis: int, index: int) -> np.ndarray:
    """Cut a slice: the nose up in axial slices, the head up in the others."""
    plane = np.take(volume, index, axis=axis)
    return plane if axis == 0 else plane[::-1]


def _prepare(axes: Axes) -> None:
    axes.set_facecolor(_BACKGROUND)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _label(axes: Axes, row: _Row) -> None:
    axes.set_ylabel(row.name, color=_FOREGROUND, fontsize=11)
    axes.text(0.02, 0.5, row.left_edge, color=_OUTLINE, fontsize=10, va="center", transform=axes.transAxes)


def _colour_bar(figure: Figure, left: float, shown: AxesImage) -> None:
    bar = figure.colorbar(shown, cax=figure.add_axes((left, 0.3, 0.012, 0.4)))
    ticks = np.linspace(-WINDOW_PPM, WINDOW_PPM, 5)
    bar.set_ticks(list(ticks), labels=[f"{1000 * tick:+.0f}" if tick else "0" for tick in ticks])
    bar.ax.tick_params(colors=_FOREGROUND, labelsize=10)
    bar.set_label("susceptibility [ppb]", color=_FOREGROUND, fontsize=11)
