"""The page of a run that was made on this machine: one file for a browser, with its picture inside."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from node.summary_words import SHORT_DIGEST, figures, passed_checks, verdict
from pipeline.maps import LEARNED

TEMPLATE = "result_page.html"
_CHART_WIDTH = 420.0
_LEAST_SPAN_PPB = 50.0
_MARGIN = 0.05


@dataclass(frozen=True)
class Bar:
    """Where a region's values lie in the chart, from its left edge [px]; None where there is no such value."""

    mean: float
    low: float
    high: float
    classical: float | None


def result_page(summary: Mapping[str, Any], picture: bytes) -> str:
    """Return the page of a run as HTML.

    It needs no other file and asks nothing of the network; links lead to the files beside it.

    Parameters
    ----------
    summary
        What `lodestone process` writes as `summary.json`.
    picture
        The contact sheet as PNG.
    """
    quality = {
        "figures": summary["quality"],
        "warnings": summary["warnings"],
        "findings": summary["findings"],
        "weights": summary["weights"],
        "susceptibility_source": summary["susceptibility_source"],
    }
    is_learned = summary["susceptibility_source"] == LEARNED
    bars, zero = _bars(summary["regions"], is_learned)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((resources.files("node") / TEMPLATE).read_text("utf-8"))
    return template.render(
        summary=summary,
        verdict=verdict(quality),
        passed=passed_checks(quality),
        figures=figures(quality),
        whose_map=_whose_map(summary),
        is_learned=is_learned,
        picture=base64.b64encode(picture).decode("ascii"),
        bars=bars,
        zero=zero,
        n_objects=sum(file["kind"].startswith("DICOM") for file in summary["files"]),
        chart_width=_CHART_WIDTH,
        # Adding zero takes the sign from a value that rounds to nothing.
        rounded=lambda ppb: f"{round(ppb, 1) + 0.0:.1f}",
        short=lambda digest: str(digest)[:SHORT_DIGEST],
    )


def _whose_map(summary: Mapping[str, Any]) -> str:
    if summary["susceptibility_source"] == LEARNED:
        return "the network's map"
    return "the classical map in the network's place" if summary["weights"] else "the classical map"


def _bars(regions: Sequence[Mapping[str, Any]], is_learned: bool) -> tuple[list[Bar], float]:
    """Return the bar of each region and where 0 ppb lies, on one scale that holds all of them."""
    reaches = [_reach(region, is_learned) for region in regions]
    ends = [end for reach in reaches for end in reach] + [0.0]
    ends += [region["classical_mean_ppb"] for region in regions if "classical_mean_ppb" in region]
    low, high = min(ends), max(ends)
    span = max(high - low, _LEAST_SPAN_PPB)
    low, span = low - _MARGIN * span, (1 + 2 * _MARGIN) * span

    def place(value: float) -> float:
        return round(_CHART_WIDTH * (value - low) / span, 1)

    bars = [
        Bar(
            place(region["mean_ppb"]),
            place(reach[0]),
            place(reach[1]),
            place(region["classical_mean_ppb"]) if "classical_mean_ppb" in region else None,
        )
        for region, reach in zip(regions, reaches, strict=True)
    ]
    return bars, place(0.0)


def _reach(region: Mapping[str, Any], is_learned: bool) -> tuple[float, float]:
    """Return the ends of a region's line [ppb]: its 90 % interval in a learned map, else its standard deviation."""
    half = region.get("half_width_ppb", 0.0) if is_learned else region["sd_ppb"]
    return region["mean_ppb"] - half, region["mean_ppb"] + half
