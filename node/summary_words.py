"""What a run's figures and findings mean, in words for the person who reads the summary."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dicom_io.series import SourceSeries
from dicom_io.write.provenance import RunDescription
from pipeline.maps import CLASSICAL
from pipeline.method import LEARNED_MAP_USED

SHORT_DIGEST = 12


class Level(StrEnum):
    """How far the values of a map may be used."""

    GOOD = "good"
    WARNINGS = "warnings"
    FAILED = "failed"


@dataclass(frozen=True)
class Verdict:
    """The quality of a map in one word, one headline and the reasons for it."""

    level: Level
    headline: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """One quality figure: what it is called, its value with unit, and what it tells; `meaning` may be empty."""

    name: str
    value: str
    meaning: str


# How a figure is called, printed, and what it tells a person who did not write the method.
_EXPLAINED: Mapping[str, tuple[str, str, str]] = {
    "mask_volume_ml": (
        "Volume of the brain mask",
        "{:.0f} ml",
        "An adult's brain holds 700 to 2200 ml. Far outside, the mask missed brain or took in skull.",
    ),
    "field_noise_median_ppb": (
        "Noise of the measured field",
        "{:.1f} ppb",
        "The median over the brain. Above 15 ppb small structures cannot be measured.",
    ),
    "susceptibility_sd_ppb": (
        "Spread of the map in the brain",
        "{:.1f} ppb",
        "The contrast of all tissue together. Streaks and noise raise it, smoothing lowers it.",
    ),
    "local_field_sd_ppb": (
        "Spread of the local field",
        "{:.1f} ppb",
        "What is left of the field after the sources outside the brain were removed.",
    ),
    "data_consistency_ratio": (
        "Misfit to the measured field",
        "{:.2f} × noise",
        "How far the field that the map explains lies from the measured one; about 0.7 where only noise is left.",
    ),
    "unwrapping_residual_fraction": (
        "Echoes that disagree",
        "{:.1%} of the brain",
        "Where the phase of an echo does not follow the others. Above 2 % the unwrapping is to be looked at.",
    ),
    "n_echoes_used": ("Echoes used", "{:.0f}", "More echoes lower the noise."),
    "r2star_median_per_s": (
        "Median R2*",
        "{:.1f} /s",
        "The rate at which the signal fades; iron, calcium and air nearby raise it.",
    ),
    "envelope_distance": (
        "Distance of this scan from the network's training",
        "{:.2f}",
        "To be read against the threshold below: beyond it the network has not learnt such scans.",
    ),
    "envelope_threshold": ("Largest distance that is trusted", "{:.2f}", ""),
    "learned_misfit": (
        "Misfit of the network's map",
        "{:.2f} × noise",
        "How far the field of the network's map lies from the measured one.",
    ),
    "learned_misfit_to_twin": (
        "The same, against the classical map's misfit",
        "{:.2f} ×",
        "Near 1 both maps explain the field equally well.",
    ),
    "learned_change": (
        "Difference from the classical map",
        "{:.0%} of its contrast",
        "How much the network changed what the classical inversion found.",
    ),
}
_NOT_FOR_PEOPLE = frozenset({LEARNED_MAP_USED})
_UNIT_SUFFIXES = {"_ppb": "ppb", "_ppm": "ppm", "_ml": "ml", "_mm": "mm", "_hz": "Hz", "_rad": "rad", "_per_s": "/s"}


def verdict(quality: Mapping[str, Any]) -> Verdict:
    """Judge a map by what its run found out: good, usable with warnings, or failed.

    It failed where a method's check of its own map failed; what stands in its place may still be usable, and the
    headline says what that is. `quality` is what `Quality.as_dict` gives.
    """
    failed = failed_checks(quality)
    warnings = tuple(sentence for sentence in quality.get("warnings", ()) if sentence not in failed)
    if failed and quality.get("weights") and quality["susceptibility_source"] == CLASSICAL:
        headline = "Check failed: the network's map was set aside; picture and values are those of the classical map."
        return Verdict(Level.FAILED, headline, (*failed, *(w for w in warnings if w not in _set_aside(quality))))
    if failed:
        return Verdict(Level.FAILED, "Check failed: do not use the values.", (*failed, *warnings))
    if warnings:
        return Verdict(Level.WARNINGS, "Usable with warnings: read these before using the values.", warnings)
    return Verdict(Level.GOOD, "Good: no check found anything unusual.")


def failed_checks(quality: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the sentences of the checks that a map of this run failed, empty where all were passed."""
    return tuple(finding["sentence"] for finding in _checks(quality) if finding["is_warning"])


def passed_checks(quality: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the sentences of the checks that were passed."""
    return tuple(finding["sentence"] for finding in _checks(quality) if not finding["is_warning"])


def figures(quality: Mapping[str, Any]) -> list[Figure]:
    """Return the figures of a run, those with an explanation first, every one that the run has."""
    known = {name: value for name, value in quality.get("figures", {}).items() if name not in _NOT_FOR_PEOPLE}
    explained = [
        Figure(called, pattern.format(known[name]), meaning)
        for name, (called, pattern, meaning) in _EXPLAINED.items()
        if name in known
    ]
    return explained + [_plain_figure(name, known[name]) for name in sorted(known) if name not in _EXPLAINED]


def what_was_done(source: SourceSeries, run: RunDescription) -> list[tuple[str, str]]:
    """Return the facts of acquisition and processing as pairs of heading and text."""
    times = ", ".join(f"{1000 * time:.3g}" for time in source.echo_times_s)
    dz, dy, dx = source.geometry.voxel_size_mm
    count = len(source.echo_times_s)
    made = [f"Lodestone {run.software_version} (revision {run.code_revision})"]
    made += [f"weights {name} {sha256[:SHORT_DIGEST]}" for name, sha256 in run.weights]
    facts = [
        (
            "Acquisition",
            f"{source.vendor}, {source.magnetic_field_strength_t:g} T, voxel {dx:.3g} × {dy:.3g} × {dz:.3g} mm",
        ),
        ("Echoes", f"{count} {'echo' if count == 1 else 'echoes'} at {times} ms"),
        ("Recipe", f"{run.recipe_name}, SHA-256 {run.recipe_digest[:SHORT_DIGEST]}"),
        ("Methods", run.method_sentence),
        (
            "Reference",
            f"{run.reference} (0 ppb). Positive is paramagnetic, as iron; negative diamagnetic, as calcium and myelin.",
        ),
        ("Software", "; ".join(made)),
        ("Input", f"SHA-256 {run.input_digest[:SHORT_DIGEST]}; phase: {source.phase_scaling}"),
    ]
    if run.map_sentence:
        facts.insert(4, ("Map", run.map_sentence))
    notes = " ".join(source.notes)
    return [*facts, ("Notes", notes)] if notes else facts


def _checks(quality: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the findings that judge a map; which map was used is their consequence."""
    return [finding for finding in quality.get("findings", ()) if LEARNED_MAP_USED not in finding["figures"]]


def _set_aside(quality: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the sentences that say only what the headline says: that the classical map was taken."""
    return tuple(
        finding["sentence"] for finding in quality.get("findings", ()) if LEARNED_MAP_USED in finding["figures"]
    )


def _plain_figure(name: str, value: float) -> Figure:
    suffix = next((suffix for suffix in _UNIT_SUFFIXES if name.endswith(suffix)), "")
    called = name.removesuffix(suffix).replace("_", " ").capitalize()
    return Figure(called, f"{value:.4g} {_UNIT_SUFFIXES.get(suffix, '')}".strip(), "")
