"""One picture of a training: its loss, its learning rate, and its error on held-out samples over the steps."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_WIDTH_INCHES, _HEIGHT_INCHES, _DPI = 9.0, 6.5, 110


def draw_curves(network: str, history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Write a PNG, so that the former one stays until the new one is whole.

    Parameters
    ----------
    network
        For the title.
    history
        One row per validation.
    path
        Of the PNG.
    """
    drawing = Figure(figsize=(_WIDTH_INCHES, _HEIGHT_INCHES), layout="constrained")
    FigureCanvasAgg(drawing)
    above, below = drawing.subplots(2, 1, sharex=True)
    steps = [row["step"] for row in history]
    for key, word, colour in (("nrmse", "mean", "tab:blue"), ("typical_nrmse", "typical", "tab:green")):
        above.plot(
            steps, [row[key] for row in history], color=colour, marker="o", markersize=3, label=f"{network}, {word}"
        )
        if history and f"start_{key}" in history[-1]:
            start = history[-1][f"start_{key}"]
            above.axhline(start, color=colour, linestyle="--", linewidth=1, label=f"start map, {word}")
    above.set(ylabel="held-out NRMSE [%]", title=f"Training of {network}")
    above.legend(fontsize=8)
    below.plot(steps, [row["loss"] for row in history], marker="o", markersize=3, color="tab:orange")
    below.set(xlabel="step", ylabel="loss, running mean")
    beside = below.twinx()
    beside.plot(steps, [row["rate"] for row in history], color="tab:gray", linewidth=1)
    beside.set(ylabel="learning rate (grey)")
    for axes in (above, below):
        axes.grid(True, alpha=0.3)
    part = path.with_name(f"{path.stem}.part.png")
    drawing.savefig(part, dpi=_DPI)
    part.replace(path)
