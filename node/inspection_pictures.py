"""Draw what is in a series: the middle slice of every part and echo, and what the first looks like from other sides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from dicom_io.errors import DicomError, GeometryUnusable
from dicom_io.geometry import Geometry
from dicom_io.read.headers import FrameHeader
from dicom_io.read.pixels import decode
from dicom_io.read.sorting import arrange
from dicom_io.series import EchoSeries, Part
from node.contact_sheet import to_standing_patient, upright_plane

MOST_ECHOES = 8
# Fewer slices than this are a line when seen from the side.
LEAST_SLICES = 8
BAR_MM, SHORT_BAR_MM = 50, 10
CELL_INCHES, TITLE_INCHES, LEFT_INCHES = 1.9, 0.6, 0.4
BACKGROUND, FOREGROUND, MARK = "#101214", "#e6e6e6", "#ffb000"
NAMES = ("axial", "coronal", "sagittal")
# Left, right, top and bottom of a slice across head, back and left, as radiologists look at it.
EDGES = (("R", "L", "A", "P"), ("R", "L", "H", "F"), ("A", "P", "H", "F"))
OUTLINE = [withStroke(linewidth=2, foreground="black")]
SIGNED = (Part.PHASE, Part.PHASE_DIFFERENCE, Part.REAL, Part.IMAGINARY, Part.FIELD_MAP)

Volumes = Mapping[Part, Mapping[float, np.ndarray]]


@dataclass(frozen=True)
class _Cell:
    """One picture: a volume turned upright, the axis that it is cut across, and what to call it."""

    volume: np.ndarray
    spacing: tuple[float, float, float]
    axis: int
    title: str


def volumes_of(echoes: EchoSeries) -> Volumes:
    """Return magnitude and phase [rad] of every echo, by part and echo time [ms]."""
    times = [1000 * time for time in echoes.source.echo_times_s]
    both = {Part.MAGNITUDE: echoes.magnitude, Part.PHASE: echoes.phase}
    return {part: dict(zip(times, images, strict=True)) for part, images in both.items()}


def volumes_as_stored(paths: Sequence[Path], frames: Sequence[Sequence[FrameHeader]]) -> Volumes:
    """Return the stored values of a series that is no acquisition, by part and echo time [ms]; empty where unreadable.

    Parameters
    ----------
    paths
        Its files.
    frames
        The frame headers of each file.
    """
    path_of = {of_file[0].sop_instance_uid: path for path, of_file in zip(paths, frames, strict=False) if of_file}
    found: dict[Part, dict[float, np.ndarray]] = {}
    try:
        for part in {frame.part for of_file in frames for frame in of_file}:
            slots = arrange([frame for of_file in frames for frame in of_file if frame.part is part])
            for echo, time in enumerate(slots.echo_times_ms):
                held = [slots.frames.get((part, echo, index), []) for index in range(slots.n_slices)]
                found.setdefault(part, {})[time] = _stacked([column[0] if column else None for column in held], path_of)
    except DicomError:
        return {}
    return found


def _stacked(column: Sequence[FrameHeader | None], path_of: Mapping[str, Path]) -> np.ndarray:
    """Return the slices of one echo `(z, y, x)`, black where one is missing; only decoded pixels take memory."""
    planes: list[np.ndarray | None] = []
    decoded: dict[str, np.ndarray] = {}
    for frame in column:
        if frame is not None and frame.sop_instance_uid not in decoded:
            decoded = {frame.sop_instance_uid: decode(path_of[frame.sop_instance_uid])}
        planes.append(decoded[frame.sop_instance_uid][(frame.frame_number or 1) - 1] if frame else None)
    shapes = {plane.shape for plane in planes if plane is not None}
    if len(shapes) != 1:
        raise GeometryUnusable("The slices have matrices of different sizes; send one acquisition at a time.")
    black = np.zeros(shapes.pop(), dtype=np.float32)
    return np.stack([black if plane is None else plane.astype(np.float32) for plane in planes])


def write_picture(path: Path, volumes: Volumes, geometry: Geometry, title: str) -> None:
    """Write a PNG: a row for each part, a column for each echo, and two columns across the acquired slices.

    Parameters
    ----------
    path
        The file to write.
    volumes
        `(z, y, x)` by part and echo time [ms].
    geometry
        Their grid.
    title
        One line without patient data.
    """
    rows = {part: _row(volumes[part], geometry) for part in sorted(volumes)}
    n_columns = max(len(row) for row in rows.values())
    shape = LEFT_INCHES + n_columns * CELL_INCHES, TITLE_INCHES + len(rows) * (CELL_INCHES + 0.2)
    figure = Figure(figsize=shape, dpi=110, facecolor=BACKGROUND)
    grid = figure.add_gridspec(
        len(rows), n_columns, left=LEFT_INCHES / shape[0], right=0.995, top=1 - TITLE_INCHES / shape[1], bottom=0.02
    )
    figure.text(LEFT_INCHES / shape[0], 1 - 0.25 / shape[1], title, color=FOREGROUND, fontsize=10, va="center")
    for number, (part, row) in enumerate(rows.items()):
        limits = _limits(part, row)
        for column, cell in enumerate(row):
            axes = figure.add_subplot(grid[number, column])
            _show(axes, cell, limits)
            if column == 0:
                axes.set_ylabel(str(part), color=FOREGROUND, fontsize=9)
    FigureCanvasAgg(figure).print_png(str(path), metadata={"Software": None})


def _row(by_time: Mapping[float, np.ndarray], geometry: Geometry) -> list[_Cell]:
    """Return the echoes in the acquired plane, then the first of them in the two others."""
    acquired = 2 - int(np.argmax(np.abs(geometry.normal)))
    times = sorted(by_time)
    if len(times) > MOST_ECHOES:
        times = [times[round(place)] for place in np.linspace(0, len(times) - 1, MOST_ECHOES).tolist()]
    upright = [to_standing_patient(by_time[time], geometry.affine_lps) for time in times]
    named = [f", {time:g} ms" if time else "" for time in times]
    cells = [_Cell(*image, acquired, NAMES[acquired] + name) for image, name in zip(upright, named, strict=True)]
    if len(by_time[times[0]]) < LEAST_SLICES:
        return cells
    return cells + [_Cell(*upright[0], axis, NAMES[axis] + named[0]) for axis in range(3) if axis != acquired]


def _limits(part: Part, row: Sequence[_Cell]) -> tuple[float, float]:
    """Return the values of black and white: what all but the outermost voxels reach, zero in the middle of signed."""
    values = np.concatenate([cell.volume.ravel()[::7] for cell in row])
    low, high = (float(np.percentile(values, share)) for share in (0.5, 99.5))
    if part in SIGNED and low < 0:
        return min(low, -high), max(-low, high)
    return (low if part in SIGNED else min(0.0, low)), max(high, low + 1e-6)


def _show(axes: Axes, cell: _Cell, limits: tuple[float, float]) -> None:
    plane = upright_plane(cell.volume, cell.axis, cell.volume.shape[cell.axis] // 2)
    rows_mm, columns_mm = (cell.spacing[axis] for axis in range(3) if axis != cell.axis)
    axes.imshow(plane, cmap="gray", vmin=limits[0], vmax=limits[1], aspect=rows_mm / columns_mm, interpolation="none")
    axes.set_title(cell.title, color=FOREGROUND, fontsize=8, pad=3)
    axes.set_facecolor(BACKGROUND)
    axes.set_xticks([])
    axes.set_yticks([])
    left, right, top, bottom = EDGES[cell.axis]
    for letter, x, y in ((left, 0.04, 0.5), (right, 0.96, 0.5), (top, 0.5, 0.94), (bottom, 0.5, 0.06)):
        mark = axes.text(x, y, letter, color=MARK, fontsize=8, ha="center", va="center", path_effects=OUTLINE)
        mark.set_transform(axes.transAxes)
    width_mm = plane.shape[1] * columns_mm
    bar = BAR_MM if width_mm > 2 * BAR_MM else SHORT_BAR_MM
    start, height = 0.04 * plane.shape[1], 0.93 * plane.shape[0]
    axes.plot([start, start + bar / columns_mm], [height, height], color=MARK, linewidth=1.5, path_effects=OUTLINE)
    above = height - 0.03 * plane.shape[0]
    axes.text(start, above, f"{bar} mm", color=MARK, fontsize=6, va="bottom", path_effects=OUTLINE)
