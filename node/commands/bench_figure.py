"""One picture of how the methods' cost grows with the number of voxels, beside N log N."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.studies.speed_bench import Timing, growth

_WIDTH_INCHES, _HEIGHT_INCHES, _DPI = 11.0, 7.0, 120


def draw_growth(grown: Mapping[str, Sequence[Timing]], path: Path) -> None:
    """Write a PNG with seconds per iteration over voxels, both logarithmic, one line per method."""
    drawing = Figure(figsize=(_WIDTH_INCHES, _HEIGHT_INCHES), layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.subplots()
    sizes: set[int] = set()
    seconds: list[float] = []
    for name, timings in grown.items():
        points = [(t.n_voxels, t.cost.seconds / t.n_iterations) for t in timings if t.cost is not None]
        if not points:
            continue
        sizes.update(size for size, _ in points)
        seconds += [value for _, value in points]
        label = f"{name.replace('_', ' ')} (p = {growth(timings):.2f})"
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, linewidth=1, label=label)
    if sizes:
        ordered = sorted(sizes)
        scale = min(seconds) / (ordered[0] * math.log(ordered[0]))
        axes.plot(ordered, [scale * n * math.log(n) for n in ordered], "k--", linewidth=1.5, label="N log N")
    axes.set(xscale="log", yscale="log", xlabel="voxels N", ylabel="seconds per iteration")
    axes.set_title("Cost per iteration ∝ (N log N)^p")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=_DPI)
