"""What must be reached on the peers' phantom, as one table, and how near the methods came."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.methods import STEPS
from pipeline.recipe import chain_names
from pipeline.studies.accuracy_bench import Result
from pipeline.studies.speed_bench import Timing
from pipeline.studies.step_scores import CHAIN, FIELD_MAP

FIRST = "(the step's default)"
ROBUST_BEST = "(the best that keeps 95 % of the brain)"
PAIRS, TIMES_WARPKIT, GIB = "fft_pairs", "times_warpkit", "gib"
LEAST_KEPT_PERCENT = 95.0


@dataclass(frozen=True)
class Target:
    """A limit: which figure of which method of which step, on which variant of the phantom.

    `good` is "low" (at most the limit), "high" (at least) or "one" (no farther from one than the limit).
    """

    step: str
    method: str
    figure: str
    limit: float
    unit: str = "%"
    good: str = "low"
    variant: str = ""

    @property
    def is_speed(self) -> bool:
        """Say whether time or memory is limited."""
        return self.figure in (PAIRS, TIMES_WARPKIT, GIB)

    @property
    def sentence(self) -> str:
        """The limit in words."""
        if self.good == "one":
            return f"{1 - self.limit:.2f} – {1 + self.limit:.2f}"
        sign = "≤" if self.good == "low" else "≥"
        return f"{sign} {self.limit:g} {'' if self.unit == '1' else self.unit}".rstrip()


@dataclass(frozen=True)
class Reached:
    """A target with the figure that was measured, None where the method is not there or refused."""

    target: Target
    method: str
    measured: float | None

    @property
    def is_kept(self) -> bool:
        """Say whether the limit is kept."""
        value, target = self.measured, self.target
        if value is None or math.isnan(value):
            return False
        if target.good == "one":
            return abs(value - 1) <= target.limit
        return value <= target.limit if target.good == "low" else value >= target.limit


TARGETS: tuple[Target, ...] = (
    Target("phase_unwrapping", "romeo", TIMES_WARPKIT, 1.5, "× warpkit"),
    Target("phase_unwrapping", "romeo", "wrong_percent", 0.001),
    Target("phase_unwrapping", "romeo", "wrong_percent", 0.001, variant="SNR 10"),
    Target("phase_unwrapping", "romeo", "wrong_percent", 0.001, variant="7 T"),
    Target(FIELD_MAP, FIRST, "rms_over_bound", 1.15, "× the bound"),
    Target(FIELD_MAP, FIRST, PAIRS, 55, "pairs"),
    Target("background_field_removal", ROBUST_BEST, "deep_nrmse", 25),
    Target("background_field_removal", ROBUST_BEST, "kept", LEAST_KEPT_PERCENT, good="high"),
    Target("background_field_removal", ROBUST_BEST, "dentate_bias_ppb", 15, "ppb"),
    Target("background_field_removal", "resharp", PAIRS, 97, "pairs"),
    Target("background_field_removal", "v_sharp", PAIRS, 39, "pairs"),
    Target("background_field_removal", "pdf", PAIRS, 97, "pairs"),
    Target("background_field_removal", "lbv", PAIRS, 65, "pairs"),
    Target("dipole_inversion", "tkd", PAIRS, 3, "pairs"),
    Target("dipole_inversion", "l2", PAIRS, 5, "pairs"),
    Target("dipole_inversion", "total_variation", "nrmse", 27.4),
    Target("dipole_inversion", "total_variation", PAIRS, 65, "pairs"),
    Target("dipole_inversion", FIRST, "nrmse", 26),
    Target("dipole_inversion", FIRST, "roi_error_ppb", 2.3, "ppb"),
    Target("dipole_inversion", FIRST, "slope", 0.04, "1", "one"),
    Target("dipole_inversion", FIRST, PAIRS, 270, "pairs"),
    Target(CHAIN, "default", "nrmse", 28),
    Target(CHAIN, "default", "kept", LEAST_KEPT_PERCENT, good="high"),
    Target(CHAIN, "default", "roi_error_ppb", 4.5, "ppb"),
    Target(CHAIN, "default", "slope", 0.04, "1", "one"),
    Target(CHAIN, "default", "dentate_error_ppb", 10, "ppb"),
    Target(CHAIN, "default", PAIRS, 800, "pairs"),
    Target(CHAIN, "default", GIB, 1.5, "GiB"),
)


def needed_methods(targets: Iterable[Target]) -> list[tuple[str, str]]:
    """Return the pairs of step and method, of those that there are, from which targets are judged."""
    pairs: dict[tuple[str, str], None] = {}
    for target in targets:
        names = _names(target.step)
        if target.method == FIRST:
            names = names[:1]
        elif target.method != ROBUST_BEST:
            names = tuple(name for name in names if name == target.method)
        pairs |= dict.fromkeys((target.step, name) for name in names)
    return list(pairs)


def judged_accuracy(targets: Iterable[Target], results: Mapping[str, Sequence[Result]]) -> list[Reached]:
    """Return the accuracy targets with what was reached.

    Parameters
    ----------
    targets
        All targets; those of speed are left out.
    results
        For each variant of the phantom ("" for the phantom itself) what its methods reached.
    """
    reached = []
    for target in targets:
        if target.is_speed:
            continue
        found = [result for result in results.get(target.variant, ()) if result.step == target.step and result.scores]
        result = _chosen(target, found)
        reached.append(Reached(target, result.method if result else target.method, _figure(result, target.figure)))
    return reached


def judged_speed(targets: Iterable[Target], timings: Sequence[Timing], figures: Mapping[str, float]) -> list[Reached]:
    """Return the speed targets with what was reached; `figures` holds those that no method's timing gives."""
    reached = []
    for target in targets:
        if not target.is_speed:
            continue
        name = _names(target.step)[0] if target.method == FIRST else target.method
        timing = next((t for t in timings if (t.step, t.method) == (target.step, name) and t.cost), None)
        measured = figures.get(target.figure)
        if target.figure == PAIRS:
            measured = timing.cost.fft_pairs if timing is not None and timing.cost is not None else None
        reached.append(Reached(target, name, measured))
    return reached


def _names(step: str) -> tuple[str, ...]:
    if step == CHAIN:
        return chain_names()
    return tuple(STEPS.get("echo_combination" if step == FIELD_MAP else step, ()))


def _chosen(target: Target, found: Sequence[Result]) -> Result | None:
    if target.method == ROBUST_BEST:
        whole = [result for result in found if result.scores["kept"] >= LEAST_KEPT_PERCENT]
        return min(whole, key=lambda result: result.scores["deep_nrmse"], default=None)
    names = _names(target.step)
    name = names[0] if target.method == FIRST and names else target.method
    return next((result for result in found if result.method == name), None)


def _figure(result: Result | None, figure: str) -> float | None:
    return result.scores.get(figure) if result is not None else None
