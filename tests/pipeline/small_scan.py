"""What any method of the tables may ask for, from one small head: every artefact, on one grid, in either precision."""

import functools
import math
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from pipeline.method import Method, StepContext
from pipeline.operators.dipole import Dipole
from pipeline.units import radians_per_ppm
from tests.pipeline.susceptibility.dipole_inversion.heads import SmallHead, small_head

ECHO_TIMES_S = (0.004, 0.008, 0.012, 0.016)
B0_TESLA = 3.0
SHAPE = (36, 40, 38)
DIRECTIONS = ((1.0, 0.0, 0.0), (0.8, 0.6, 0.0), (0.8, 0.0, -0.6))
LOOPS = {"iterations": 6, "rounds": 2, "inner_iterations": 6, "coarse_rounds": 2, "coarse_iterations": 10}
"""How often loops run in tests that do not judge the result's accuracy."""


@dataclass(frozen=True)
class SmallScan:
    """A small head, and the artefacts of all steps that follow from it."""

    head: SmallHead
    artefacts: dict[str, Tensor]

    @property
    def context(self) -> StepContext:
        """Return the context in which the methods run."""
        return StepContext(self.head.grid, ECHO_TIMES_S, B0_TESLA, b0_directions=DIRECTIONS)

    def run(self, method: Method, settings: Any = None, **changed: Tensor) -> dict[str, Tensor]:
        """Run a method on the scan, with some artefacts changed."""
        return method.apply(self.artefacts | changed, self.context, settings or quick(method))


@functools.cache
def small_scan(
    dtype: torch.dtype = torch.float32,
    shape: tuple[int, int, int] = SHAPE,
    voxel_size_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    direction: tuple[float, float, float] | None = None,
) -> SmallScan:
    """Return the scan; the same tensors at every call, which nobody may change."""
    head = small_head(shape, voxel_size_mm, *(() if direction is None else (direction,)))
    volumes = head.artefacts(torch.float64) | _echoes(head)
    volumes["local_fields"] = torch.stack([_field(head, b0) for b0 in DIRECTIONS])
    volumes["susceptibility"] = head.truth
    volumes["region"] = head.mask & (head.truth < -0.01)
    cast = {name: values if values.dtype == torch.bool else values.to(dtype) for name, values in volumes.items()}
    return SmallScan(head, cast)


def quick(method: Method) -> Any:
    """Return the method's default settings with short loops."""
    names = {item.name for item in fields(method.settings)}
    defaults = method.settings()
    shorter = {name: min(count, getattr(defaults, name)) for name, count in LOOPS.items() if name in names}
    return replace(defaults, **shorter) if shorter else defaults


def permuted(values: Tensor) -> Tensor:
    """Exchange the first and the last axis in space."""
    return values.transpose(-3, -1).contiguous()


def permuted_scan(scan: SmallScan) -> tuple[dict[str, Tensor], StepContext]:
    """Return the artefacts and the context of a scan whose z and x axes are exchanged, B0 with them."""
    grid = scan.head.grid
    turned = replace(
        grid,
        shape=grid.shape[::-1],
        voxel_size_mm=grid.voxel_size_mm[::-1],
        b0_direction=grid.b0_direction[::-1],
    )
    directions = tuple(direction[::-1] for direction in DIRECTIONS)
    context = replace(scan.context, grid=turned, b0_directions=directions)
    return {name: permuted(values) for name, values in scan.artefacts.items()}, context


def _field(head: SmallHead, direction: tuple[float, float, float]) -> Tensor:
    return Dipole.on(replace(head.grid, b0_direction=direction), head.truth)(head.truth) * head.mask


def _echoes(head: SmallHead) -> dict[str, Tensor]:
    """Return echo images of one coil and of three, with a smooth offset, and R2* [1/s] that follows iron."""
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, size).double() for size in head.grid.shape), indexing="ij")
    offset = 0.4 + 0.6 * x - 0.3 * y * z
    r2star = 20 + 150 * head.truth.abs()
    # Air around the head, and a little signal in the skin, so that a mask has something to find.
    first = head.magnitude[0] + 20.0 * (((z**2 + y**2 + x**2).sqrt() - 0.92).abs() < 0.05)
    chance = torch.Generator().manual_seed(4)
    signals = []
    for time in ECHO_TIMES_S:
        angle = offset + head.total_field * radians_per_ppm(time, B0_TESLA)
        noise = torch.view_as_complex(torch.randn((*head.grid.shape, 2), generator=chance, dtype=torch.float64))
        signals.append(torch.polar(first * torch.exp(-r2star * time), angle) + noise)
    signal = torch.stack(signals)
    sensitivity = torch.stack(
        [torch.polar(torch.exp(0.5 * axis), phase + 0.5 * axis) for axis, phase in ((z, 0.0), (y, 1.0), (x, -2.0))]
    )
    coils = signal[:, None] * sensitivity
    unwrapped = torch.stack([head.total_field * radians_per_ppm(time, B0_TESLA) for time in ECHO_TIMES_S])
    return {
        "magnitude": signal.abs(),
        "phase": signal.angle(),
        "unwrapped_phase": unwrapped + torch.remainder(signal.angle() - unwrapped + math.pi, 2 * math.pi) - math.pi,
        "coil_magnitude": coils.abs(),
        "coil_phase": coils.angle(),
        "r2star": r2star,
        "quality": head.mask.double(),
    }
