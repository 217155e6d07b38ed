"""Measures on scans with known truth what the trust in a network's maps rests on, and stores it beside its weights."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
from scipy.optimize import nnls
from torch import Tensor

from pipeline.networks.inputs import FieldScan, Scan
from pipeline.networks.table import NETWORKS
from pipeline.networks.weights import FOLDER, load_network, weights_digest
from pipeline.studies.cases import QUICK_SCANS, TUNING_SEEDS, make_case
from pipeline.susceptibility.dipole_inversion.learned.envelope import Envelope, input_figures
from pipeline.susceptibility.dipole_inversion.learned.gates import GateLimits, MapFigures
from pipeline.susceptibility.dipole_inversion.learned.intervals import (
    TERMS,
    IntervalScale,
    calibrated,
    conformal_quantile,
    spread_terms,
    unscaled,
)
from pipeline.susceptibility.dipole_inversion.learned.lodestone_map import NAME, LodestoneSettings, learned_map
from pipeline.susceptibility.dipole_inversion.learned.starts import start_maps
from pipeline.susceptibility.dipole_inversion.learned.trust_calibration import TrustCalibration, store_calibration
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.recipe import DataRecipe
from pipeline.training.datasets.stream import sample
from pipeline.training.plans import find_plan

CALIBRATION_SEED = 4711
"""Of samples that nothing is trained, tuned or reported on."""
REGION_SIZES = (55.0, 173.0, 548.0, 1732.0)
"""Middles of the classes of regions [voxels]: 30 to 100, to 300, to 1000, to 3000."""
_SMALLEST, _LARGEST = 30.0, 3000.0
_FEWEST_REGIONS = 20
_ROUNDS, _LEAST_SHARE = 6, 0.05
_MARGIN = 1.25
_INSIDE = 0.965
"""Share of usual inputs that shall lie inside the envelope; a little more than the 95 % that must."""

OnProgress = Callable[[float], None]


@dataclass(frozen=True)
class CalibrationSize:
    """How much is measured, and on cubes of which edge [voxels]."""

    edge: int = 48
    n_usual: int = 260
    n_threshold: int = 80
    n_trained: int = 10
    n_held_out: int = 56
    seeds: tuple[int, ...] = TUNING_SEEDS[:2]
    regions_per_map: int = 40


@dataclass(frozen=True)
class Truth:
    """A scan whose susceptibility is known `(z, y, x)` [ppm]; `labels` are regions of its own, 0 elsewhere."""

    group: str
    scan: FieldScan
    magnitude: Tensor
    susceptibility: Tensor
    labels: Tensor | None = None


@dataclass(frozen=True)
class Judged:
    """What is known of one map of a truth: its error, and the terms of its intervals."""

    truth: Truth
    error: Tensor
    terms: Tensor


def calibrate(
    name: str = NAME,
    folder: Path = FOLDER,
    size: CalibrationSize | None = None,
    n_members: int = 3,
    on_progress: OnProgress | None = None,
) -> TrustCalibration:
    """Measure envelope, limits and intervals for the stored weights of a network, and store them beside the weights.

    Parameters
    ----------
    name
        A network that refines start maps.
    folder
        Of the weights.
    size
        How much is measured; the default takes a few minutes on one core.
    n_members
        Size of the ensemble, 1 to 4.
    on_progress
        Told the fraction done.

    Raises
    ------
    WeightsUnknown, WeightsMissing, WeightsAltered
        There are no weights to calibrate.
    """
    size = CalibrationSize() if size is None else size
    spec, network, digest = NETWORKS[name], load_network(name, folder=folder), weights_digest(name, folder)
    recipe = replace(find_plan(name).recipe, shape=(size.edge,) * 3, purpose="validation")
    envelope = usual_envelope(recipe, size, _part(on_progress, 0.0, 0.25))
    learned, classical, figures = [], [], []
    count = size.n_trained + size.n_held_out + 3 * len(size.seeds)
    for number, truth in enumerate(truths(recipe, size)):
        starts = start_maps(truth.scan, truth.magnitude)
        scan = Scan(truth.scan.local_field, truth.scan.mask, truth.scan.grid, truth.scan.field_noise)
        made = learned_map(spec, network, scan, starts, n_members, LodestoneSettings())
        learned.append(judged(truth, made.susceptibility, starts, made.variance))
        figures.append(made.figures)
        classical.append(judged(truth, starts[0], starts, None))
        if on_progress is not None:
            on_progress(0.25 + 0.7 * (number + 1) / count)
    scales = (interval_scale(learned, size), interval_scale(classical, size))
    limits = gate_limits(figures)
    found = TrustCalibration(digest, n_members, envelope, limits, *scales, _seen(learned, scales[0], size))
    store_calibration(found, name, folder)
    if on_progress is not None:
        on_progress(1.0)
    return found


def usual_envelope(recipe: DataRecipe, size: CalibrationSize, on_progress: OnProgress | None = None) -> Envelope:
    """Return the envelope of a recipe's inputs, as wide as further inputs of it and held-out ones ask for."""
    usual = []
    for index in range(size.n_usual):
        usual.append(input_figures(sample(recipe, CALIBRATION_SEED, index)))
        if on_progress is not None:
            on_progress((index + 1) / size.n_usual)
    envelope = Envelope.around(usual)
    distances: list[float] = []
    for drawn in (recipe, recipe.held_out()):
        further = (sample(drawn, CALIBRATION_SEED + 1, index) for index in range(size.n_threshold))
        distances += [envelope.distance(input_figures(one)) for one in further]
    return replace(envelope, threshold=_quantile(distances, _INSIDE))


def truths(recipe: DataRecipe, size: CalibrationSize, seed: int = CALIBRATION_SEED + 2) -> Iterator[Truth]:
    """Yield scans with known truth: of the recipe, of its held-out generators, and heads of the simulation."""
    for group, drawn, count in (
        ("trained", recipe, size.n_trained),
        ("held out", recipe.held_out(), size.n_held_out),
    ):
        for index in range(count):
            one = sample(drawn, seed, index)
            yield Truth(group, one, one.magnitude, one.susceptibility)
    yield from head_truths(size.seeds)


def head_truths(seeds: Sequence[int]) -> Iterator[Truth]:
    """Yield a coarse scan of a head of each family and seed."""
    for family in ("piecewise_smooth", "textured", "strong_background"):
        for seed in seeds:
            (name, protocol), *_ = QUICK_SCANS.items()
            case = make_case(family, seed, name, protocol)
            given = case.artefacts_for("dipole_inversion")
            scan = Scan(given["local_field"], given["mask"], case.grid, given["field_noise"])
            true = torch.where(case.mask, case.scan.susceptibility, 0.0)
            yield Truth(family, scan, given["magnitude"], true, case.scan.labels)


def judged(truth: Truth, susceptibility: Tensor, starts: Tensor, variance: Tensor | None) -> Judged:
    """Compare a map with the truth, and note what would be known of it without the truth."""
    scan = truth.scan
    terms = spread_terms(susceptibility, starts, variance, scan)
    error = susceptibility - truth.susceptibility
    error = torch.where(scan.mask, error - error[scan.mask].mean(), 0.0)
    return Judged(truth, error, terms)


def interval_scale(maps: Sequence[Judged], size: CalibrationSize) -> IntervalScale:
    """Return the scale of intervals from the errors of maps.

    The weights of the terms are those that best explain the errors of regions; the quantiles make the intervals hold
    the wanted share, each character of truths counting alike.
    """
    regions = [regions_of(one.truth, size.regions_per_map, number) for number, one in enumerate(maps)]
    characters = [_character(one.truth.group) for one in maps]
    shares = [1.0 / characters.count(character) for character in characters]
    scale = unscaled(_coefficients(maps, regions, shares))
    ratios, weights, voxels, voxel_weights = [], [], [], []
    for one, chosen, share in zip(maps, regions, shares, strict=True):
        half = scale.half_widths(one.terms)
        ratios += region_ratios(one, half, chosen)
        weights += [share / max(len(chosen), 1)] * len(chosen)
        mask = one.truth.scan.mask
        some = (one.error[mask].abs() / half[mask].clamp_min(1e-9))[:: max(int(mask.sum()) // 500, 1)]
        voxels.append(some)
        voxel_weights.append(torch.full_like(some, share / len(some)))
    voxel = conformal_quantile(torch.cat(voxels), torch.cat(voxel_weights))
    edges = [_SMALLEST] + [math.sqrt(a * b) for a, b in pairwise(REGION_SIZES)] + [math.inf]
    sizes, values = torch.tensor([count for _, count in ratios]), torch.tensor([ratio for ratio, _ in ratios])
    quantiles = []
    for lowest, highest in pairwise(edges):
        chosen_size = (sizes >= lowest) & (sizes < highest)
        some = chosen_size if int(chosen_size.sum()) >= _FEWEST_REGIONS else torch.ones_like(chosen_size)
        quantiles.append(conformal_quantile(values[some], torch.tensor(weights)[some]))
    return calibrated(scale, voxel, REGION_SIZES, quantiles)


def _character(group: str) -> str:
    """Return what a group of truths is like: the heads of all families are of one character."""
    return group if group in ("trained", "held out") else "heads"


def region_ratios(one: Judged, half_widths: Tensor, regions: Sequence[Tensor]) -> list[tuple[float, int]]:
    """Return, for regions of a truth, the absolute error of the mean over the mean half width, and the size."""
    found = []
    for region in regions:
        width = float(half_widths[region].double().mean())
        found.append((abs(float(one.error[region].double().mean())) / max(width, 1e-9), int(region.sum())))
    return found


def regions_of(truth: Truth, count: int, number: int) -> list[Tensor]:
    """Return regions of 30 to 3000 voxels: ellipsoids, parts of them where the truth is nearly even, and labels.

    Parameters
    ----------
    truth
        The scan.
    count
        How many are tried; those that come out too small or too large are left out.
    number
        Decides the draws.
    """
    mask, true = truth.scan.mask, truth.susceptibility
    chance = Chance(f"regions/{number}", torch.device("cpu"))
    inside = torch.nonzero(mask)
    axes = [torch.arange(size) for size in mask.shape]
    contrast = float(true[mask].std())
    regions = []
    for trial in range(count):
        place = inside[chance.integer(0, len(inside) - 1)]
        wanted = chance.log_uniform(_SMALLEST, _LARGEST)
        stretch = [chance.log_uniform(0.6, 1.6) for _ in range(3)]
        # A level set keeps about a third of its ellipsoid.
        is_level = trial % 2 == 1
        radius = (wanted * (3.0 if is_level else 1.0) / (4.19 * math.prod(stretch))) ** (1 / 3)
        z, y, x = (
            ((axis - at) / (radius * along)).square() for axis, at, along in zip(axes, place, stretch, strict=True)
        )
        region = (z[:, None, None] + y[None, :, None] + x < 1) & mask
        if is_level:
            region &= (true - true[tuple(place)]).abs() < 0.25 * contrast
        regions.append(region)
    if truth.labels is not None:
        regions += [(truth.labels == label) & mask for label in truth.labels.unique().tolist() if label]
    return [region for region in regions if _SMALLEST <= int(region.sum()) <= _LARGEST]


def gate_limits(figures: Sequence[MapFigures]) -> GateLimits:
    """Return limits a quarter beyond all that was seen on usual scans."""

    def between(values: list[float]) -> tuple[float, float]:
        return min(values) / _MARGIN, max(values) * _MARGIN

    return GateLimits(
        misfit=between([one.misfit for one in figures]),
        misfit_to_twin=between([one.misfit_to_twin for one in figures]),
        change=_MARGIN * max(one.change for one in figures),
    )


def _coefficients(maps: Sequence[Judged], regions: Sequence[Sequence[Tensor]], shares: Sequence[float]) -> list[float]:
    """Return the weights, none negative, with which the terms explain squared errors of regions."""
    rows, targets, weights = [], [], []
    for one, chosen, share in zip(maps, regions, shares, strict=True):
        contrast = one.terms[-1][one.truth.scan.mask].mean().clamp_min(1e-12)
        for region in chosen:
            rows.append(one.terms[:, region].mean(dim=1) / contrast)
            targets.append(one.error[region].mean().square() / contrast)
            weights.append(math.sqrt(share / len(chosen)))
    if not rows:
        return [0.0] * (len(TERMS) - 1) + [1.0]
    table, target = torch.stack(rows).double(), torch.stack(targets).double()
    balance = torch.tensor(weights, dtype=torch.float64)
    # An error's square scatters in proportion to its expectation, so small ones say as much as large ones.
    expected, found = torch.full_like(target, float(target.mean())), None
    for _ in range(_ROUNDS):
        row_weights = balance / expected
        found, _ = nnls((table * row_weights[:, None]).numpy(), (target * row_weights).numpy())
        expected = (table @ torch.from_numpy(found)).clamp_min(_LEAST_SHARE * float(target.mean()))
    assert found is not None
    return [float(value) for value in found] if found.any() else [0.0] * (len(TERMS) - 1) + [1.0]


def _seen(maps: Sequence[Judged], scale: IntervalScale, size: CalibrationSize) -> dict[str, float]:
    """Return what a reader may want to know of the calibration."""
    held = [one for one in maps if one.truth.group != "trained"]
    return {
        "maps": float(len(maps)),
        "regions": float(sum(len(regions_of(one.truth, size.regions_per_map, n)) for n, one in enumerate(maps))),
        "spread_to_error": rank_correlation(held, scale),
    }


def rank_correlation(maps: Sequence[Judged], scale: IntervalScale) -> float:
    """Return the mean over maps of Spearman's correlation of the voxels' half widths with their absolute errors."""
    found = []
    for one in maps:
        mask = one.truth.scan.mask
        widths, errors = scale.half_widths(one.terms)[mask], one.error[mask].abs()
        ranks = torch.stack([values.argsort().argsort().double() for values in (widths, errors)])
        found.append(float(torch.corrcoef(ranks)[0, 1]))
    return sum(found) / max(len(found), 1)


def _quantile(values: Sequence[float], share: float) -> float:
    return float(torch.tensor(sorted(values), dtype=torch.float64).quantile(share))


def _part(told: OnProgress | None, first: float, last: float) -> OnProgress | None:
    if told is None:
        return None
    return lambda fraction: told(first + (last - first) * fraction)
