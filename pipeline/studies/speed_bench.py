"""How long every method takes, in FFT pairs, and how much memory it needs: what `lodestone bench speed` prints."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from pipeline.errors import PipelineError
from pipeline.methods import STEPS
from pipeline.simulation.scanner import Protocol
from pipeline.studies.accuracy_bench import prepared
from pipeline.studies.cases import ECHO_TIMES_S, REPORTING_SEEDS, Case, make_case
from pipeline.studies.resources import FLOAT32_BYTES, Cost, measured
from pipeline.studies.step_scores import STEP_SCORES, LackingTruth, Scores

FAMILY = "strong_background"
STANDARD = Protocol((112, 160, 136), (1.4, 1.25, 1.25), ECHO_TIMES_S, finest_mm=0.7)
SMALL = Protocol((56, 80, 68), (2.8, 2.5, 2.5), ECHO_TIMES_S, finest_mm=1.4)
MILLIONS = (0.5, 1.0, 2.0, 4.0)
_FIELD_OF_VIEW_MM = (157.0, 200.0, 170.0)
_REPEATS = 3


@dataclass(frozen=True)
class Timing:
    """What one method cost on one volume; `remark` says why it did not run.

    A method's `cost` counts its working memory, beside inputs and outputs, as `stated_volumes` promises it; that of a
    whole chain counts all it takes.

    `n_iterations` counts how often the method told its progress, 1 for one without iterations.
    """

    step: str
    method: str
    shape: tuple[int, int, int]
    cost: Cost | None = None
    stated_volumes: float = math.nan
    n_iterations: int = 1
    scores: Scores = field(default_factory=dict)
    remark: str = ""

    @property
    def n_voxels(self) -> int:
        """Number of voxels of the volume."""
        return math.prod(self.shape)


def timing_case(protocol: Protocol = STANDARD) -> Case:
    """Return the scan on which methods are timed."""
    return make_case(FAMILY, REPORTING_SEEDS[0], f"{math.prod(protocol.shape) / 1e6:.2g} million voxels", protocol)


def scaled_protocol(millions: float) -> Protocol:
    """Return a scan of about so many million voxels of one field of view, in even sizes."""
    edge_mm = (math.prod(_FIELD_OF_VIEW_MM) / (millions * 1e6)) ** (1 / 3)
    z, y, x = (2 * round(extent / edge_mm / 2) for extent in _FIELD_OF_VIEW_MM)
    return replace(STANDARD, shape=(z, y, x), voxel_size_mm=(edge_mm,) * 3, finest_mm=edge_mm / 2)


def time_methods(case: Case, chosen: Sequence[tuple[str, str]]) -> Iterator[Timing]:
    """Yield what each chosen method costs on a case; a refusal or a lack of inputs is a remark."""
    shape = case.grid.shape
    for step, name in chosen:
        stated = STEPS[step][name].memory_volumes if step in STEPS else math.nan
        empty = Timing(step, name, shape, stated_volumes=stated)
        told: list[float] = []
        try:
            work = prepared(case, step, name, told.append)
            made, cost = measured(work, shape)
            if step in STEPS:
                cost = replace(cost, peak_volumes=max(0.0, cost.peak_volumes - _volumes_of(made.values(), shape)))
            scores = STEP_SCORES[step].score(case, made) if step in STEP_SCORES else {}
            iterations = max(1, len(told))
            if cost.seconds < 1.0:
                # Caches are warm now; what repeats is the method's own time.
                again = measured(work, shape, repeats=_REPEATS)[1]
                cost = Cost(min(cost.seconds, again.seconds), min(cost.fft_pairs, again.fft_pairs), cost.peak_volumes)
        except PipelineError as error:
            yield replace(empty, remark=f"refused: {error}")
        except LackingTruth as lack:
            yield replace(empty, remark=f"not applicable: {lack}")
        else:
            yield replace(empty, cost=cost, n_iterations=iterations, scores=scores)


def _volumes_of(made: Iterable[Tensor], shape: tuple[int, int, int]) -> float:
    """Return what the outputs take, as a multiple of one float32 volume."""
    return sum(values.numel() * values.element_size() for values in made) / (FLOAT32_BYTES * math.prod(shape))


def growth(timings: Sequence[Timing]) -> float:
    """Return the power p in seconds per iteration ∝ (N log N)^p, fitted over volumes of different size.

    Not a number for fewer than two sizes. One means N log N, as the FFT grows.
    """
    points = [
        (math.log(timing.n_voxels * math.log(timing.n_voxels)), math.log(timing.cost.seconds / timing.n_iterations))
        for timing in timings
        if timing.cost is not None
    ]
    if len({size for size, _ in points}) < 2:
        return math.nan
    mean_size, mean_time = (sum(axis) / len(points) for axis in zip(*points, strict=True))
    spread = sum((size - mean_size) ** 2 for size, _ in points)
    return sum((size - mean_size) * (time - mean_time) for size, time in points) / spread
