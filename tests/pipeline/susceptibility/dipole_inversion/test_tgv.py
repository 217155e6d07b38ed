"""What only single-step TGV promises: it reads wrapped phase, and sees neither offsets nor harmonic fields."""

import functools
import math
from dataclasses import replace

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.method import StepContext
from pipeline.susceptibility.dipole_inversion.tgv import TGV, TgvSettings
from pipeline.units import radians_per_ppm
from tests.pipeline.susceptibility.dipole_inversion.heads import SmallHead, small_head

TIMES_S = (0.004, 0.008, 0.012)
FEW = TgvSettings(levels=2, coarse_iterations=40, iterations=20, tolerance=0.0)


@functools.cache
def head() -> SmallHead:
    return small_head((40, 40, 40))


def phases(field: torch.Tensor) -> torch.Tensor:
    return torch.stack([field * radians_per_ppm(time, 3.0) for time in TIMES_S])


def wrapped(phase: torch.Tensor) -> torch.Tensor:
    return torch.remainder(phase + math.pi, 2 * math.pi) - math.pi


def mapped(phase: torch.Tensor, settings: TgvSettings = FEW, **changed: torch.Tensor) -> torch.Tensor:
    magnitude = head().magnitude.expand_as(phase)
    artefacts = {"phase": phase, "magnitude": magnitude, "mask": head().mask} | changed
    return TGV.apply(artefacts, StepContext(head().grid, TIMES_S, 3.0), settings)["susceptibility"]


@functools.cache
def local_map() -> torch.Tensor:
    return mapped(phases(head().local_field))


def test_wrapped_phase_gives_the_map_of_unwrapped_phase() -> None:
    phase = phases(head().total_field)
    assert float(phase[:, head().mask].abs().max()) > math.pi
    torch.testing.assert_close(mapped(wrapped(phase)), mapped(phase), atol=1e-9, rtol=0)


def test_a_harmonic_background_is_not_seen() -> None:
    # Between the grid's Laplacian and the sources' field lies the discretisation, largest close to the sources.
    difference = (mapped(phases(head().total_field)) - local_map())[head().mask]
    background = (head().total_field - head().local_field)[head().mask]
    assert float(background.std()) > 3 * float(head().local_field[head().mask].std())
    assert float(difference.std()) < 0.4 * float(head().truth[head().mask].std())


def test_an_offset_of_the_phase_changes_nothing() -> None:
    offset = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)[:, None, None, None]
    shifted = mapped(wrapped(phases(head().local_field) + offset))
    torch.testing.assert_close(shifted, local_map(), atol=1e-9, rtol=0)


def test_the_steps_grow_ever_smaller() -> None:
    phase = phases(head().local_field)
    counts = (10, 11, 40, 41)
    first, next_to_first, last, next_to_last = (
        mapped(phase, replace(FEW, levels=1, iterations=count)) for count in counts
    )
    assert float((next_to_last - last).norm()) < 0.8 * float((next_to_first - first).norm())


def test_coarser_grids_save_steps() -> None:
    phase = phases(head().local_field)
    alone = mapped(phase, replace(FEW, levels=1, iterations=20))
    helped = mapped(phase)
    assert head().error_percent(helped) < head().error_percent(alone) - 5


def test_a_tolerance_ends_the_steps_early_and_still_tells_the_end() -> None:
    told: list[float] = []
    context = StepContext(head().grid, TIMES_S, 3.0, on_iteration=told.append)
    phase = phases(head().local_field)
    artefacts = {"phase": phase, "magnitude": head().magnitude.expand_as(phase), "mask": head().mask}
    TGV.apply(artefacts, context, replace(FEW, levels=1, iterations=100_000, tolerance=0.05))
    assert len(told) < 1000
    assert told[-1] == 1.0


def test_a_weaker_echo_has_less_to_say() -> None:
    phase = phases(head().local_field)
    noise = torch.randn(head().grid.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    phase[2] += 0.5 * noise
    magnitude = head().magnitude.expand_as(phase).clone()
    believed = mapped(phase, magnitude=magnitude)
    magnitude[2] *= 0.01
    ignored = mapped(phase, magnitude=magnitude)
    assert head().error_percent(ignored) < head().error_percent(believed) - 5


def test_the_field_strength_and_an_echo_time_for_each_echo_are_needed() -> None:
    phase = phases(head().local_field)
    artefacts = {"phase": phase, "magnitude": head().magnitude.expand_as(phase), "mask": head().mask}
    with pytest.raises(UnusableInput, match="field strength"):
        TGV.apply(artefacts, StepContext(head().grid, TIMES_S, None), FEW)
    with pytest.raises(UnusableInput, match="echo times"):
        TGV.apply(artefacts, StepContext(head().grid, TIMES_S[:2], 3.0), FEW)


def test_a_mask_without_an_interior_is_refused() -> None:
    thin = torch.zeros_like(head().mask)
    thin[20:22] = head().mask[20:22]
    with pytest.raises(UnusableInput, match="three voxels thick"):
        mapped(phases(head().local_field), mask=thin)
