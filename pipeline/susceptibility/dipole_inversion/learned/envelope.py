"""Whether an input is like those that a network was trained on: its geometry, its noise, and the look of its field."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.networks.inputs import FieldScan
from pipeline.operators.dipole import AXES, dipole_kernel
from pipeline.operators.padding import Frame, frame_around
from pipeline.susceptibility.dipole_inversion.learned.background import SolidHarmonics
from pipeline.susceptibility.dipole_inversion.learned.data_term import ASSUMED_NOISE_PPM

LIMITS: Mapping[str, tuple[float, float]] = {
    "finest_mm": (0.45, 3.1),
    "aspect": (1.0, 3.5),
    "tilt_deg": (0.0, 67.0),
    "mask_voxels": (2000.0, math.inf),
    "least_extent_voxels": (12.0, math.inf),
    "noise_to_field": (0.0, 0.85),
}
"""Geometry: the recipe of the training, and a little beyond it; and noise that nearly hides the field."""

_PHRASES = {
    "finest_mm": "the voxel's shortest edge of {:.2f} mm",
    "aspect": "the voxel's aspect of {:.1f}",
    "tilt_deg": "the tilt of B0 of {:.0f}°",
    "mask_voxels": "the mask of {:.0f} voxels",
    "least_extent_voxels": "the mask's extent of {:.0f} voxels",
    "noise_to_field": "the field's noise of {:.2f} times the field",
    "field_size": "the size of the field",
    "noise_share": "the noise beside the field",
    "slow_share": "the share of slow fields, as background leaves them",
    "edge_share": "the field near the mask's edge beside that within",
    "roughness": "the roughness of the field",
    "coarse_to_middle": "the field's spectrum, coarse beside middle detail",
    "middle_to_fine": "the field's spectrum, middle beside fine detail",
    "coarse_cone": "coarse detail of the field where the dipole leaves none, as in white noise or for another B0",
    "middle_cone": "middle detail of the field where the dipole leaves none, as in white noise or for another B0",
    "field_tails": "the share of extreme values of the field",
    "slope_tails": "the share of steep places of the field",
    "spike_share": "single voxels that stand out of the field",
}
STATISTICS = tuple(name for name in _PHRASES if name not in LIMITS)
_ORDER = 4
_BANDS = ((0.04, 0.12), (0.12, 0.25), (0.25, 0.45))
"""Cycles per voxel of coarse, middle and fine detail."""
_CONE, _OPEN = 0.1, 0.25
_TINY = 1e-12
_LEAST_TAILS = 0.05
"""Values that are all alike; a normal distribution has 0.226."""


@dataclass(frozen=True)
class Envelope:
    """What the statistics of usual inputs are, and how far from them an input may lie.

    Attributes
    ----------
    centre
        Mean of each of `STATISTICS`.
    spread
        Standard deviation of each.
    whitening
        Rows turn deviations, in units of `spread`, into numbers of unit variance that do not depend on one another.
    threshold
        Largest distance of an input inside.
    """

    centre: tuple[float, ...]
    spread: tuple[float, ...]
    whitening: tuple[tuple[float, ...], ...]
    threshold: float

    @classmethod
    def around(cls, usual: Sequence[Mapping[str, float]], threshold: float = math.inf) -> "Envelope":
        """Return the envelope around the statistics of usual inputs.

        Raises
        ------
        UnusableInput
            There are fewer inputs than twice the statistics.
        """
        if len(usual) < 2 * len(STATISTICS):
            raise UnusableInput(f"{len(usual)} inputs are too few to learn an envelope of {len(STATISTICS)} figures.")
        table = torch.tensor([[one[name] for name in STATISTICS] for one in usual], dtype=torch.float64)
        centre, spread = table.mean(0), table.std(0).clamp_min(1e-3)
        covariance = torch.cov(((table - centre) / spread).T)
        # What hardly varies among few samples would make every other input strange.
        values, vectors = torch.linalg.eigh(covariance)
        whitening = vectors.T / values.clamp_min(0.05).sqrt()[:, None]
        rows = tuple(tuple(row) for row in whitening.tolist())
        return cls(tuple(centre.tolist()), tuple(spread.tolist()), rows, threshold)

    def distance(self, figures: Mapping[str, float]) -> float:
        """Return how far an input's statistics are from usual ones (Mahalanobis); infinite where one is not finite."""
        far = torch.tensor(self._deviations(figures), dtype=torch.float64)
        distance = float((torch.tensor(self.whitening, dtype=torch.float64) @ far).norm())
        return distance if math.isfinite(distance) else math.inf

    def verdict(self, figures: Mapping[str, float]) -> "EnvelopeVerdict":
        """Return whether an input is inside, and a phrase for each thing that is not as usual."""
        outside = []
        for name, (lowest, highest) in LIMITS.items():
            if not lowest <= figures[name] <= highest:
                limit = f"{lowest:g} to {highest:g}" if math.isfinite(highest) else f"at least {lowest:g}"
                outside.append(f"{_PHRASES[name].format(figures[name])} ({limit} was trained)")
        distance = self.distance(figures)
        if not distance <= self.threshold:
            outside += self._strangest(figures)
        return EnvelopeVerdict(not outside, tuple(outside), distance, self.threshold)

    def _strangest(self, figures: Mapping[str, float]) -> list[str]:
        deviations = dict(zip(STATISTICS, self._deviations(figures), strict=True))
        ranked = sorted(STATISTICS, key=lambda name: -abs(deviations[name]))
        kept = [name for name in ranked[:3] if not abs(deviations[name]) < 2.0] or ranked[:1]
        return [f"{_PHRASES[name]} ({deviations[name]:+.1f} deviations)" for name in kept]

    def _deviations(self, figures: Mapping[str, float]) -> list[float]:
        return [
            (figures[name] - centre) / spread
            for name, centre, spread in zip(STATISTICS, self.centre, self.spread, strict=True)
        ]


@dataclass(frozen=True)
class EnvelopeVerdict:
    """Whether an input is inside the envelope, and what is outside."""

    is_inside: bool
    outside: tuple[str, ...]
    distance: float
    threshold: float

    @property
    def sentence(self) -> str:
        """Return what a report says of it."""
        if self.is_inside:
            return "The scan is like those that the network was trained on."
        return "The scan is unlike those that the network was trained on: " + "; ".join(self.outside) + "."


def input_figures(scan: FieldScan) -> dict[str, float]:
    """Return what is compared with the envelope: geometry as in `LIMITS`, and logarithms of ratios as `STATISTICS`.

    Parameters
    ----------
    scan
        Local field [ppm], mask, grid and field noise [ppm].

    Raises
    ------
    UnusableInput
        Shapes disagree or the mask is empty.
    """
    if scan.local_field.shape != scan.mask.shape:
        raise UnusableInput(
            f"The field has shape {tuple(scan.local_field.shape)} but the mask {tuple(scan.mask.shape)}."
        )
    frame = frame_around(scan.mask, scan.grid, margin=4)
    inside = frame.embed(scan.mask)
    weights = inside.to(scan.local_field.dtype)
    field = SolidHarmonics.of(weights, frame.grid, 0).without(frame.embed(scan.local_field * scan.mask))
    return {**_geometry(scan, frame), **_sizes(scan, field, inside, frame), **_details(field, inside, frame)}


def _geometry(scan: FieldScan, frame: Frame) -> dict[str, float]:
    voxel = scan.grid.voxel_size_mm
    return {
        "finest_mm": min(voxel),
        "aspect": max(voxel) / min(voxel),
        "tilt_deg": math.degrees(math.acos(min(abs(scan.grid.b0_direction[0]), 1.0))),
        "mask_voxels": float(scan.mask.sum()),
        "least_extent_voxels": float(min(cut.stop - cut.start for cut in frame.inner)),
    }


def _sizes(scan: FieldScan, field: Tensor, inside: Tensor, frame: Frame) -> dict[str, float]:
    weights = inside.to(field.dtype)
    energy = _mean_square(field, inside)
    left = SolidHarmonics.of(weights, frame.grid, _ORDER).without(field.clone())
    slow = 1 - _mean_square(left, inside) / max(energy, _TINY)
    noise = ASSUMED_NOISE_PPM
    if scan.field_noise is not None and bool((known := scan.mask & (scan.field_noise > 0)).any()):
        noise = float(scan.field_noise[known].median())
    core = -torch.nn.functional.max_pool3d(-weights[None, None], 5, stride=1, padding=2)[0, 0] > 0
    rim = inside & ~core
    edge = _mean_square(field, rim) / max(_mean_square(field, core), _TINY) if bool(core.any() & rim.any()) else 1.0
    return {
        "noise_to_field": noise / math.sqrt(max(energy, _TINY)),
        "field_size": 0.5 * _log(energy),
        "noise_share": math.log(max(noise, _TINY)) - 0.5 * _log(energy),
        "slow_share": _log(min(max(slow, 1e-3), 1.0)) - _log(1 - min(max(slow, 0.0), 0.999)),
        "edge_share": 0.5 * _log(edge),
    }


def _details(field: Tensor, inside: Tensor, frame: Frame) -> dict[str, float]:
    steps, bends = [], []
    for axis in AXES:
        size = field.shape[axis]
        pair = inside.narrow(axis, 0, size - 1) & inside.narrow(axis, 1, size - 1)
        steps.append(field.diff(dim=axis)[pair])
        trio = pair.narrow(axis, 0, size - 2) & pair.narrow(axis, 1, size - 2)
        bends.append(field.diff(n=2, dim=axis)[trio])
    step, bend = torch.cat(steps), torch.cat(bends)
    values = field[inside]
    energy = float(values.square().mean())
    return {
        "roughness": 0.5 * _log(float(step.square().mean())) - 0.5 * _log(energy),
        "field_tails": _tails(values),
        "slope_tails": _tails(step),
        "spike_share": _tails(bend),
        **_spectrum(field, frame),
    }


def _spectrum(field: Tensor, frame: Frame) -> dict[str, float]:
    power = torch.fft.rfftn(field, dim=AXES).abs().square()
    kernel = dipole_kernel(frame.grid, dtype=field.dtype, device=field.device).abs()
    depth, height, width = field.shape
    frequencies = (
        torch.fft.fftfreq(depth, device=field.device)[:, None, None],
        torch.fft.fftfreq(height, device=field.device)[None, :, None],
        torch.fft.rfftfreq(width, device=field.device)[None, None, :],
    )
    radius = sum(part.square() for part in frequencies)
    assert isinstance(radius, Tensor)
    radius = radius.sqrt()
    level, cone = [], []
    for lowest, highest in _BANDS:
        band = (radius >= lowest) & (radius < highest)
        level.append(_log(float(power[band].mean())))
        shut, shown = power[band & (kernel < _CONE)], power[band & (kernel > _OPEN)]
        cone.append(_log(float(shut.mean()) if len(shut) else 0.0) - _log(float(shown.mean()) if len(shown) else 0.0))
    return {
        "coarse_to_middle": level[0] - level[1],
        "middle_to_fine": level[1] - level[2],
        "coarse_cone": cone[0],
        "middle_cone": cone[1],
    }


def _tails(values: Tensor) -> float:
    """Return how heavy the tails of values are: the logarithm of the logarithm of root mean square over mean size."""
    size = float(values.abs().mean())
    return math.log(max(0.5 * _log(float(values.square().mean())) - _log(size), _LEAST_TAILS))


def _mean_square(values: Tensor, where: Tensor) -> float:
    return float(values[where].double().square().mean())


def _log(value: float) -> float:
    return math.log(max(value, _TINY))
