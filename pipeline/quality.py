"""Figures that tell whether a map can be trusted, computed from the artefacts of a run; the same for the same input."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.maps import Maps, Quality
from pipeline.method import Finding
from pipeline.operators.dipole import Dipole
from pipeline.operators.padding import frame_around
from pipeline.units import radians_per_ppm

_BRAIN_ML = (700.0, 2200.0)
_LARGEST_RESIDUAL_FRACTION = 0.02
_NOISY_FIELD_PPB = 15.0
# Heads make 10–30 ppb; a phase offset of its own in each slab or slice, as after multiband pulses, makes hundreds.
_STRONG_LOCAL_FIELD_PPB = 100.0


def assess(
    maps: Maps,
    artefacts: Mapping[str, Tensor],
    grid: Grid,
    echo_times_s: tuple[float, ...],
    b0_tesla: float,
    findings: Sequence[Finding] = (),
) -> Quality:
    """Describe a finished run by numbers, and warn in sentences where a number is unusual.

    Parameters
    ----------
    maps
        The maps of the run.
    artefacts
        What the steps made; `unwrapped_phase` `(echo, z, y, x)` [rad] is used where present.
    grid
        The acquisition's grid.
    echo_times_s
        Echo times [s].
    b0_tesla
        Field strength [T].
    findings
        What the methods said about their results; their figures and sentences follow those of the run.
    """
    mask = maps.mask
    inside = maps.susceptibility[mask].double()
    voxel_ml = math.prod(grid.voxel_size_mm) / 1000
    figures = {
        "mask_volume_ml": int(mask.sum()) * voxel_ml,
        "field_noise_median_ppb": float(maps.field_noise[mask].median()) * 1000,
        "susceptibility_sd_ppb": float(inside.std()) * 1000,
        "local_field_sd_ppb": float(maps.local_field[mask].double().std()) * 1000,
        "data_consistency_ratio": _data_consistency(maps, artefacts, grid),
        "n_echoes_used": float(len(echo_times_s)),
    }
    if "unwrapped_phase" in artefacts and len(echo_times_s) > 1:
        figures["unwrapping_residual_fraction"] = _residual_fraction(
            artefacts["unwrapped_phase"], maps, echo_times_s, b0_tesla
        )
    if maps.r2star is not None:
        figures["r2star_median_per_s"] = float(maps.r2star[mask].median())
    for finding in findings:
        figures.update(finding.figures)
    return Quality(
        {name: round(value, 6) for name, value in figures.items()},
        _warnings(figures) + tuple(finding.sentence for finding in findings if finding.is_warning),
        tuple(findings),
    )


def _data_consistency(maps: Maps, artefacts: Mapping[str, Tensor], grid: Grid) -> float:
    """Return the median of |explained − measured field| over the noise, about 0.67 where only noise is left.

    A total-field inversion explains the total field; a chain in two steps explains the local field by its map.
    """
    if "explained_field" in artefacts:
        difference = (artefacts["explained_field"] - maps.total_field)[maps.mask]
    else:
        frame = frame_around(maps.mask, grid)
        field = frame.restore(Dipole.on(frame.grid, maps.susceptibility)(frame.embed(maps.susceptibility)))
        difference = (field - maps.local_field)[maps.mask]
    difference = difference - difference.median()
    return float((difference.abs() / maps.field_noise[maps.mask].clamp_min(1e-6)).median())


def _residual_fraction(unwrapped: Tensor, maps: Maps, echo_times_s: tuple[float, ...], b0_tesla: float) -> float:
    """Return the share of mask voxels in which an echo lies more than π away from a straight line through zero."""
    wrong = torch.zeros_like(maps.mask)
    for echo, time in enumerate(echo_times_s):
        residual = unwrapped[echo] - maps.total_field * radians_per_ppm(time, b0_tesla)
        offset = residual[maps.mask].median()
        wrong |= (residual - offset).abs() > math.pi
    return float((wrong & maps.mask).sum()) / max(1, int(maps.mask.sum()))


def _warnings(figures: Mapping[str, float]) -> tuple[str, ...]:
    sentences = []
    volume = figures["mask_volume_ml"]
    if not _BRAIN_ML[0] <= volume <= _BRAIN_ML[1]:
        sentences.append(
            f"The brain mask holds {volume:.0f} ml; an adult's brain holds {_BRAIN_ML[0]:.0f}–{_BRAIN_ML[1]:.0f} ml. "
            "Look at the mask before using the values."
        )
    fraction = figures.get("unwrapping_residual_fraction", 0.0)
    if fraction > _LARGEST_RESIDUAL_FRACTION:
        sentences.append(
            f"In {100 * fraction:.1f} % of the brain the echoes follow no common field; look for wrong unwrapping."
        )
    noise = figures["field_noise_median_ppb"]
    if noise > _NOISY_FIELD_PPB:
        sentences.append(f"The field is noisy ({noise:.1f} ppb); small structures cannot be measured.")
    local = figures["local_field_sd_ppb"]
    if local > _STRONG_LOCAL_FIELD_PPB:
        sentences.append(
            f"The local field varies by {local:.0f} ppb over the brain, more than tissue makes: the phase holds "
            "steps, as between slabs or slices, or offsets that no field makes. Do not use the values."
        )
    return tuple(sentences)
