"""How the benches show progress and numbers."""

import math
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from node.commands.console import err

_UNKNOWN = "–"


def progress_bar(quiet: bool) -> Progress:
    """Return a bar that counts pieces of work on a terminal, and nothing elsewhere."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        disable=quiet or not err.is_terminal,
    )


def figure(value: float) -> str:
    """Return a number in the digits that matter, a dash where there is none."""
    if math.isnan(value):
        return _UNKNOWN
    size = abs(value)
    return f"{value:.0f}" if size >= 1000 else f"{value:.1f}" if size >= 10 else f"{value:.3f}"


def without_nan(value: Any) -> Any:
    """Return plain values with None for what is not a finite number, which JSON does not know."""
    if isinstance(value, dict):
        return {name: without_nan(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
