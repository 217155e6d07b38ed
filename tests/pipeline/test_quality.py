"""Warnings appear where a figure is unusual, and only there."""

import math
from dataclasses import replace

import torch

from pipeline.grid import Grid
from pipeline.maps import Maps, Quality
from pipeline.method import LEARNED_MAP_USED, Finding
from pipeline.quality import assess
from pipeline.units import radians_per_ppm

GRID = Grid((32, 32, 32), (4.0, 4.0, 4.0))
TIMES = (0.005, 0.015)


def maps_of(radius_mm: float = 60.0, noise_ppm: float = 1e-3, r2star: float | None = 20.0) -> Maps:
    axis = (torch.arange(32) - 15.5) * 4.0
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    mask = z.square() + y.square() + x.square() < radius_mm**2
    noise = torch.randn(GRID.shape, generator=torch.Generator().manual_seed(3)) * noise_ppm * mask
    field = 0.002 * x * mask
    return Maps(
        susceptibility=torch.zeros(GRID.shape),
        total_field=field,
        local_field=noise,
        mask=mask,
        r2star=None if r2star is None else torch.full(GRID.shape, r2star) * mask,
        field_noise=torch.full(GRID.shape, noise_ppm) * mask,
        reference="whole_brain",
    )


def unwrapped(maps: Maps) -> torch.Tensor:
    return torch.stack([maps.total_field * radians_per_ppm(time, 3.0) for time in TIMES])


def judged(maps: Maps, phase: torch.Tensor | None = None) -> Quality:
    artefacts = {"unwrapped_phase": unwrapped(maps) if phase is None else phase}
    return assess(maps, artefacts, GRID, TIMES, 3.0)


def test_an_ordinary_brain_gives_no_warning() -> None:
    quality = judged(maps_of())
    assert quality.warnings == ()
    assert quality.figures["unwrapping_residual_fraction"] == 0
    # The median of |noise| of a normal distribution is 0.6745 standard deviations.
    assert abs(quality.figures["data_consistency_ratio"] - 0.6745) < 0.02


def test_a_mask_too_small_for_a_brain_is_pointed_out_with_its_volume() -> None:
    (warning,) = judged(maps_of(radius_mm=40.0)).warnings
    assert "holds 270 ml" in warning


def test_echoes_that_do_not_follow_one_field_are_counted() -> None:
    maps = maps_of()
    phase = unwrapped(maps)
    half = torch.zeros_like(maps.mask)
    half[:12] = True
    phase[1] += 2 * math.pi * (half & maps.mask)
    quality = judged(maps, phase)
    expected = float((half & maps.mask).sum()) / float(maps.mask.sum())
    assert abs(quality.figures["unwrapping_residual_fraction"] - expected) < 1e-6
    assert any("wrong unwrapping" in sentence for sentence in quality.warnings)


def test_a_noisy_field_is_pointed_out() -> None:
    assert any("noisy" in sentence for sentence in judged(maps_of(noise_ppm=0.03)).warnings)


def test_a_local_field_stronger_than_tissue_makes_is_pointed_out() -> None:
    maps = maps_of()
    steps = 0.3 * (torch.arange(32) // 4 % 2)[:, None, None] * maps.mask
    assert any("Do not use" in sentence for sentence in judged(replace(maps, local_field=steps)).warnings)


def test_without_r2star_there_is_no_figure_of_it() -> None:
    assert "r2star_median_per_s" not in judged(maps_of(r2star=None)).figures
    assert judged(maps_of()).figures["r2star_median_per_s"] == 20.0


def test_what_a_method_found_stands_among_the_figures_and_sentences() -> None:
    maps = maps_of()
    findings = (
        Finding("envelope", "The voxels are larger than any that the network was trained on.", {LEARNED_MAP_USED: 0.0}),
        Finding("noise", "The map explains the field as well as the noise allows.", {"ratio": 0.91}, is_warning=False),
    )
    quality = assess(maps, {"unwrapped_phase": unwrapped(maps)}, GRID, TIMES, 3.0, findings)
    assert quality.warnings == (findings[0].sentence,)
    assert quality.findings == findings
    assert quality.figures["ratio"] == 0.91
    assert quality.susceptibility_source == "classical"


def test_a_map_is_called_learned_only_where_its_method_said_so() -> None:
    assert judged(maps_of()).susceptibility_source == "classical"
    assert Quality({LEARNED_MAP_USED: 1.0}).susceptibility_source == "learned"
