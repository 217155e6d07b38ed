"""Pictures of an evaluation: bars with intervals of every method, and example maps beside the truth."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from pipeline.studies.table import Estimate, EvaluationTable
from pipeline.training.evaluation_maps import ExampleMaps

_DPI, _ROW_INCHES, _PANEL_INCHES = 110, 0.22, 2.2
_NETWORK, _CLASSICAL = "tab:orange", "tab:blue"
_WIDEST_LINEAR = 8.0
"""Beyond this ratio of the longest to the shortest bar the axis is logarithmic, so that the short ones can be told."""
_WINDOW_PPM, _ERROR_WINDOW_PPM = 0.12, 0.06


def draw_comparison(table: EvaluationTable, networks: Sequence[str], path: Path) -> None:
    """Write a PNG with a bar for every row of a comparison: its first estimate and the 95 % interval.

    Parameters
    ----------
    table
        Methods in the first column, weights in the second, estimates from the fourth on.
    networks
        Which methods are networks.
    path
        Of the PNG.
    """
    rows = [row for row in table.rows if isinstance(row[3], Estimate) and not math.isnan(row[3].value)]
    drawing = Figure(figsize=(9.0, 1.4 + _ROW_INCHES * len(rows)), layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.subplots()
    for place, row in enumerate(reversed(rows)):
        found = row[3]
        assert isinstance(found, Estimate)
        colour = _NETWORK if str(row[0]).split(" ")[0] in networks else _CLASSICAL
        axes.barh(place, found.value, color=colour, alpha=0.5 if colour == _CLASSICAL and row[1] == "default" else 0.9)
        if not math.isnan(found.low):
            axes.plot([found.low, found.high], [place, place], color="black", linewidth=1.2)
    axes.set_yticks(range(len(rows)), [f"{row[0]}, {row[1]}" for row in reversed(rows)], fontsize=7)
    axes.set(xlabel=table.columns[3], title=table.title)
    values = [row[3].value for row in rows if isinstance(row[3], Estimate)]
    if values and min(values) > 0 and max(values) > _WIDEST_LINEAR * min(values):
        axes.set_xscale("log")
        axes.set_xlim(left=0.7 * min(values))
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(True, axis="x", which="both", alpha=0.3)
    _save(drawing, path)


def draw_maps(examples: ExampleMaps, path: Path) -> None:
    """Write a PNG with the truth and every map above, and each map's error below."""
    columns = 1 + len(examples.maps)
    aspect = examples.truth.shape[0] / examples.truth.shape[1]
    drawing = Figure(figsize=(_PANEL_INCHES * columns, 2 * _PANEL_INCHES * aspect + 0.9), layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.subplots(2, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    panels = {"truth": examples.truth, **examples.maps}
    for column, (name, values) in enumerate(panels.items()):
        axes[0, column].imshow(values.numpy(), cmap="gray", vmin=-_WINDOW_PPM, vmax=_WINDOW_PPM)
        axes[0, column].set_title(name, fontsize=8)
        if column:
            error = (values - examples.truth).numpy()
            axes[1, column].imshow(error, cmap="seismic", vmin=-_ERROR_WINDOW_PPM, vmax=_ERROR_WINDOW_PPM)
    drawing.suptitle(
        f"{examples.title}: ± {_WINDOW_PPM:g} ppm; below the error, ± {_ERROR_WINDOW_PPM:g} ppm", fontsize=9
    )
    _save(drawing, path)


def _save(drawing: Figure, path: Path) -> None:
    part = path.with_name(f"{path.stem}.part.png")
    drawing.savefig(part, dpi=_DPI)
    part.replace(path)
