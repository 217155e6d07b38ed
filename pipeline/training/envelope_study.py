"""How often an envelope flags inputs: usual ones, which it should let through, and strange ones of many kinds."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from pipeline.networks.inputs import FieldScan, Scan
from pipeline.networks.weights import FOLDER
from pipeline.studies.cases import REPORTING_SEEDS
from pipeline.studies.removed_structures import rate_with_interval
from pipeline.studies.table import EvaluationTable
from pipeline.susceptibility.dipole_inversion.learned.envelope import Envelope, input_figures
from pipeline.susceptibility.dipole_inversion.learned.lodestone_map import NAME
from pipeline.susceptibility.dipole_inversion.learned.trust_calibration import load_calibration
from pipeline.training.calibration import head_truths
from pipeline.training.datasets.recipe import DataRecipe
from pipeline.training.datasets.stream import sample
from pipeline.training.plans import find_plan

STUDY_SEED = 90210
"""Of samples that no envelope is calibrated on."""
_RADIANS_PER_PPM, _HERTZ_PER_PPM = 16.05, 127.7
"""At 3 T; the phase after 20 ms."""
_NOISE, _BACKGROUND = 2.0, 8.0
"""Times the field's own root mean square."""
_LARGE_MM, _THICK, _TILT_DEG = 3.5, 4.5, 80.0

Strange = Callable[[FieldScan, torch.Generator], Scan]


def envelope_table(
    name: str = NAME,
    folder: Path = FOLDER,
    count: int = 40,
    edge: int = 48,
    on_progress: Callable[[float], None] | None = None,
) -> EvaluationTable:
    """Return the share of inputs that the calibrated envelope of a network flags, by kind.

    Parameters
    ----------
    name, folder
        The network and its weights, with their calibration.
    count
        Samples of each kind.
    edge
        Their size [voxels].
    on_progress
        Told the fraction done.

    Raises
    ------
    WeightsUnknown, WeightsMissing, WeightsAltered
        There is no calibration of these weights.
    """
    envelope = load_calibration(name, folder).envelope
    recipe = replace(find_plan(name).recipe, shape=(edge,) * 3, purpose="validation")
    return rates(envelope, recipe, count, REPORTING_SEEDS, on_progress)


def rates(
    envelope: Envelope,
    recipe: DataRecipe,
    count: int,
    seeds: tuple[int, ...],
    on_progress: Callable[[float], None] | None = None,
) -> EvaluationTable:
    """Return the share of inputs that an envelope flags: of a recipe, held-out ones, heads, and strange ones."""
    flags: dict[tuple[str, str], list[bool]] = {}

    def note(kind: str, wanted: str, scan: FieldScan) -> None:
        flags.setdefault((kind, wanted), []).append(not envelope.verdict(input_figures(scan)).is_inside)

    for index in range(count):
        usual = sample(recipe, STUDY_SEED, index)
        held_out = sample(recipe.held_out(), STUDY_SEED, index)
        note("samples of the training recipe", "inside", usual)
        note("held-out composite samples", "inside", held_out)
        chance = torch.Generator().manual_seed(STUDY_SEED + index)
        for kind, strange in STRANGE.items():
            note(kind, "outside", strange(usual if index % 2 else held_out, chance))
        if on_progress is not None:
            on_progress((index + 1) / count)
    for truth in head_truths(seeds):
        note("heads of the simulation", "inside", truth.scan)
    rows: list[tuple[object, ...]] = []
    for wanted in ("inside", "outside"):
        chosen = [found for (_, kind), found in flags.items() if kind == wanted]
        for (kind, side), found in flags.items():
            if side == wanted:
                rows.append((kind, wanted, len(found), rate_with_interval(sum(found), len(found))))
        total = [flag for found in chosen for flag in found]
        rows.append((f"all that lie {wanted}", wanted, len(total), rate_with_interval(sum(total), len(total))))
    return EvaluationTable(
        "Inputs flagged as unlike the training, by kind",
        ("kind", "lies", "inputs", "flagged [%]"),
        tuple(rows),
        (
            "Wanted: at least 95 % of those outside, at most 5 % of those inside. Half of the strange inputs are "
            f"held-out samples. Noise is {_NOISE:g} times the field, background {_BACKGROUND:g} times.",
        ),
    )


def _plain(scan: FieldScan, field: Tensor | None = None, noise: Tensor | None = None) -> Scan:
    chosen = scan.local_field if field is None else field
    return Scan(chosen * scan.mask, scan.mask, scan.grid, scan.field_noise if noise is None else noise)


def _size(scan: FieldScan) -> Tensor:
    return scan.local_field[scan.mask].square().mean().sqrt()


def _times(scan: FieldScan, factor: float, noise_too: bool) -> Scan:
    noise = scan.field_noise
    return _plain(scan, factor * scan.local_field, noise * factor if noise_too and noise is not None else noise)


def _white(scan: FieldScan, chance: torch.Generator) -> Tensor:
    return torch.randn(scan.mask.shape, generator=chance) * _size(scan)


def _noisy(scan: FieldScan, chance: torch.Generator, is_known: bool) -> Scan:
    noise = torch.where(scan.mask, _NOISE * _size(scan), 0.0) if is_known else None
    return _plain(scan, scan.local_field + _NOISE * _white(scan, chance), noise)


def _blurred(scan: FieldScan, chance: torch.Generator) -> Scan:
    smooth = _white(scan, chance)[None, None]
    for _ in range(2):
        smooth = torch.nn.functional.avg_pool3d(smooth, 5, stride=1, padding=2)
    field = smooth[0, 0]
    return _plain(scan, field * (_size(scan) / field[scan.mask].std()))


def _with_background(scan: FieldScan, chance: torch.Generator) -> Scan:
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in scan.mask.shape), indexing="ij")
    weights = torch.randn(8, generator=chance).tolist()
    shapes = (z, y, x, z * y, y * x, z * x, x.square() - y.square(), 2 * z.square() - x.square() - y.square())
    field = torch.stack([weight * shape for weight, shape in zip(weights, shapes, strict=True)]).sum(0)
    field = field - field[scan.mask].mean()
    return _plain(scan, scan.local_field + field * (_BACKGROUND * _size(scan) / field[scan.mask].std()))


def _with_voxels(scan: FieldScan, finest_mm: float | None, aspect: float | None) -> Scan:
    voxel = scan.grid.voxel_size_mm
    least = min(voxel)
    z, y, x = (size * finest_mm / least for size in voxel) if finest_mm else (least * (aspect or 1.0), least, least)
    return replace(_plain(scan), grid=replace(scan.grid, voxel_size_mm=(z, y, x)))


def _towards(scan: FieldScan, direction: tuple[float, float, float]) -> Scan:
    return replace(_plain(scan), grid=replace(scan.grid, b0_direction=direction))


def _across(scan: FieldScan, _: torch.Generator) -> Scan:
    """Return the scan with a B0 at right angles to the true one, as little tilted as can be."""
    true = torch.tensor(scan.grid.b0_direction)
    first = torch.tensor((1.0, 0.0, 0.0))
    other = first - true * float(true @ first)
    other = other if float(other.norm()) > 0.1 else torch.tensor((0.0, 1.0, 0.0)) - true * float(true[1])
    z, y, x = (other / other.norm()).tolist()
    return _towards(scan, (z, y, x))


_TILTED = (math.cos(math.radians(_TILT_DEG)), math.sin(math.radians(_TILT_DEG)), 0.0)
STRANGE: Mapping[str, Strange] = {
    f"voxels of {_LARGE_MM:g} mm": lambda scan, _: _with_voxels(scan, _LARGE_MM, None),
    "voxels of 0.35 mm": lambda scan, _: _with_voxels(scan, 0.35, None),
    f"aspect of {_THICK:g}": lambda scan, _: _with_voxels(scan, None, _THICK),
    f"tilt of {_TILT_DEG:g}°": lambda scan, _: _towards(scan, _TILTED),
    "field in radians": lambda scan, _: _times(scan, _RADIANS_PER_PPM, False),
    "field and noise in radians": lambda scan, _: _times(scan, _RADIANS_PER_PPM, True),
    "field in hertz": lambda scan, _: _times(scan, _HERTZ_PER_PPM, False),
    "field and noise in hertz": lambda scan, _: _times(scan, _HERTZ_PER_PPM, True),
    "much noise, known": lambda scan, chance: _noisy(scan, chance, True),
    "much noise, not known": lambda scan, chance: _noisy(scan, chance, False),
    "white noise alone": lambda scan, chance: _plain(scan, _white(scan, chance)),
    "smoothed noise alone": _blurred,
    "background not removed": _with_background,
    "B0 turned by 90°": _across,
}
"""Inputs that no training sample is like."""
