"""The gates that a learned map must pass: the input is usual, the field is explained as usual, the change is usual."""

import math
from dataclasses import dataclass

from torch import Tensor

from pipeline.method import Finding
from pipeline.susceptibility.dipole_inversion.learned.data_term import DataTerm
from pipeline.susceptibility.dipole_inversion.learned.envelope import EnvelopeVerdict


@dataclass(frozen=True)
class GateLimits:
    """Between what the figures of a learned map lie on calibration scans, with a margin.

    Attributes
    ----------
    misfit
        Misfit of the map over the noise, lowest and highest: below, it explains the noise; above, it contradicts the
        field.
    misfit_to_twin
        The same over the misfit of the classical twin.
    change
        Most that the map may differ from the twin, as a share of the twin's contrast.
    """

    misfit: tuple[float, float]
    misfit_to_twin: tuple[float, float]
    change: float


@dataclass(frozen=True)
class MapFigures:
    """What the gates judge a learned map by; see `GateLimits`."""

    misfit: float
    misfit_to_twin: float
    change: float


def map_figures(susceptibility: Tensor, twin: Tensor, mask: Tensor, term: DataTerm) -> MapFigures:
    """Return what the gates judge a map by.

    Parameters
    ----------
    susceptibility, twin
        The learned map and the classical one `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`.
    term
        Of the field, cleaned of outliers and of what sources around the mask left: that speaks against no map.

    Raises
    ------
    UnusableInput
        Shapes disagree.
    """
    classical = term.ratio(term.residual(term.framed(twin)))
    learned = term.ratio(term.residual(term.framed(susceptibility)))
    inside, other = susceptibility[mask].double(), twin[mask].double()
    inside, other = inside - inside.mean(), other - other.mean()
    contrast = float(other.norm())
    change = float((inside - other).norm()) / contrast if contrast > 0 else math.inf
    return MapFigures(learned, learned / classical if classical > 0 else math.inf, change)


def envelope_finding(verdict: EnvelopeVerdict) -> Finding:
    """Return what is said of the input."""
    figures = {"envelope_distance": verdict.distance, "envelope_threshold": verdict.threshold}
    finite = {name: value for name, value in figures.items() if math.isfinite(value)}
    return Finding("envelope", verdict.sentence, finite, is_warning=not verdict.is_inside)


def map_findings(figures: MapFigures, limits: GateLimits) -> tuple[Finding, Finding]:
    """Return what is said of the map's misfit, and of its distance from the classical one; a warning fails a gate."""
    return _misfit_finding(figures, limits), _change_finding(figures, limits)


def _misfit_finding(figures: MapFigures, limits: GateLimits) -> Finding:
    lowest, highest = limits.misfit
    least, most = limits.misfit_to_twin
    numbers = {"learned_misfit": figures.misfit, "learned_misfit_to_twin": figures.misfit_to_twin}
    found = f"{figures.misfit:.2f} times the noise, {figures.misfit_to_twin:.2f} times that of the classical map"
    # Written so that NaN fails.
    if not (figures.misfit <= highest and figures.misfit_to_twin <= most):
        wrong = (
            f"The learned map contradicts the field: it misses it by {found} "
            f"(at most {highest:.2f} and {most:.2f} were seen in calibration)."
        )
        return Finding("consistency", wrong, _finite(numbers))
    if not (figures.misfit >= lowest and figures.misfit_to_twin >= least):
        wrong = (
            f"The learned map explains the noise too: it misses the field by {found} only "
            f"(at least {lowest:.2f} and {least:.2f} were seen in calibration)."
        )
        return Finding("consistency", wrong, numbers)
    return Finding("consistency", f"The learned map misses the field by {found}.", numbers, is_warning=False)


def _change_finding(figures: MapFigures, limits: GateLimits) -> Finding:
    numbers = _finite({"learned_change": figures.change})
    said = f"differs from the classical one by {100 * figures.change:.0f} % of that one's contrast"
    if not figures.change <= limits.change:
        wrong = f"The learned map {said} (at most {100 * limits.change:.0f} % was seen in calibration)."
        return Finding("change", wrong, numbers)
    return Finding("change", f"The learned map {said}.", numbers, is_warning=False)


def _finite(numbers: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in numbers.items() if math.isfinite(value)}
