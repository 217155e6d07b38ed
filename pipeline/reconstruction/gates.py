"""What a learned reconstruction must pass before its images are used, and what is said of it beside the other one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pipeline.method import Finding, OnFinding
from pipeline.operators.centred_fourier import to_kspace
from pipeline.reconstruction.kspace import Kspace
from pipeline.units import radians_per_ppm

IMAGES_USED = "learned_images_used"
"""The figure by which a learned reconstruction tells whose images it gave: 1 the network's, 0 the conventional ones."""
_TINY = 1e-30
_PPB = 1e3
_MRAD = 1e3
_MOST_NAMED = 4
_SIGNAL = 0.1
"""Voxels of less than this share of the largest magnitude are not compared."""


class Timed(Protocol):
    """Whatever knows when its echoes were measured and in which field, as k-space and acquisitions do."""

    @property
    def echo_times_s(self) -> tuple[float, ...]:
        """Return the echo times [s]."""

    @property
    def b0_tesla(self) -> float:
        """Return the field strength [T]."""


@dataclass(frozen=True)
class GateLimits:
    """Where a gate closes.

    Attributes
    ----------
    residual
        Of the measured samples, as a multiple of the noise.
    residual_of_twin
        The same as a multiple of the conventional reconstruction's: sensitivities that do not fit spoil both.
    magnitude_percent, phase_mrad
        Differences from the conventional images; beyond them one of the two must be wrong.
    region_ppb, region_percent
        By how much a region's mean susceptibility may change where detail is added; the larger of the two holds.
    """

    residual: float = 1.15
    residual_of_twin: float = 1.15
    magnitude_percent: float = 35.0
    phase_mrad: float = 350.0
    region_ppb: float = 2.0
    region_percent: float = 2.0


LIMITS = GateLimits()


@dataclass(frozen=True)
class Judged:
    """The images that are used, and why.

    Attributes
    ----------
    images
        The learned ones where every gate is passed, else the conventional ones: complex `(echo, z, y, x)`.
    findings
        What was found, the last of them whose images these are.
    is_learned
        Whose they are.
    """

    images: Tensor
    findings: tuple[Finding, ...]
    is_learned: bool


def judged_images(
    learned: Tensor,
    conventional: Tensor,
    kspace: Kspace,
    sensitivities: Tensor,
    noise_power: float | None,
    *,
    limits: GateLimits = LIMITS,
    falls_back: bool = True,
    on_finding: OnFinding | None = None,
) -> Judged:
    """Compare learned images with the measured samples and with the conventional images, and choose.

    Parameters
    ----------
    learned, conventional
        Complex `(echo, z, y, x)`.
    kspace, sensitivities
        What both were made from, whitened.
    noise_power
        Mean squared magnitude of the noise of one complex sample; None where it is not known.
    limits
        Where gates close.
    falls_back
        Whether the conventional images are used where one closes.
    on_finding
        Told every finding.
    """
    found = [
        fidelity_finding(learned, conventional, kspace, sensitivities, noise_power, limits),
        difference_finding(learned, conventional, kspace, limits),
    ]
    is_learned = not (falls_back and any(finding.is_warning for finding in found))
    found.append(_source_finding(is_learned))
    if on_finding is not None:
        for finding in found:
            on_finding(finding)
    return Judged(learned if is_learned else conventional, tuple(found), is_learned)


def residual_power(images: Tensor, kspace: Kspace, sensitivities: Tensor) -> Tensor:
    """Return the mean squared distance between measured samples and those that images would give, for each echo.

    Parameters
    ----------
    images
        Complex `(echo, z, y, x)`.
    kspace, sensitivities
        The scan.
    """
    powers = []
    for image, samples, lines in zip(images, kspace.samples, kspace.measured, strict=True):
        total = image.real.new_zeros(())
        # Coil by coil: all of them at once would take as much memory as the samples.
        for coil, measured in zip(sensitivities, samples, strict=True):
            total = total + ((to_kspace(coil * image) - measured)[lines]).abs().square().sum()
        powers.append(total / (int(lines.sum()) * samples.shape[0] * samples.shape[-1]))
    return torch.stack(powers)


def fidelity_finding(
    learned: Tensor,
    conventional: Tensor,
    kspace: Kspace,
    sensitivities: Tensor,
    noise_power: float | None,
    limits: GateLimits = LIMITS,
) -> Finding:
    """Tell whether learned images give the measured samples back within the noise, or as well as the conventional ones.

    Parameters
    ----------
    learned, conventional, kspace, sensitivities, noise_power, limits
        As `judged_images` takes them.
    """
    own = residual_power(learned, kspace, sensitivities).sqrt()
    twin = residual_power(conventional, kspace, sensitivities).sqrt().clamp_min(_TINY)
    against_twin = float((own / twin).max())
    figures = {"residual_over_conventional": against_twin}
    is_passed = against_twin <= limits.residual_of_twin
    said = f"the learned images miss the measured samples by {against_twin:.2f} times what the conventional ones do"
    if noise_power is not None and noise_power > 0:
        over_noise = float(own.max()) / noise_power**0.5
        figures["residual_over_noise"] = over_noise
        is_passed = is_passed or over_noise <= limits.residual
        said += f", by {over_noise:.2f} times the noise"
    sentence = f"Measured k-space is {'kept' if is_passed else 'not kept'}: {said}."
    return Finding("measured_samples_kept", sentence, figures, is_warning=not is_passed)


def difference_finding(learned: Tensor, conventional: Tensor, scan: Timed, limits: GateLimits = LIMITS) -> Finding:
    """Tell how far learned images are from the conventional ones: in magnitude, in phase, and in the field it gives.

    Parameters
    ----------
    learned, conventional, limits
        As `judged_images` takes them.
    scan
        Knows echo times and field strength.
    """
    figures = image_differences(learned, conventional, scan)
    magnitude, phase = figures["magnitude_percent"], figures["phase_mrad"]
    is_passed = magnitude <= limits.magnitude_percent and phase <= limits.phase_mrad
    sentence = (
        f"Learned and conventional images differ by {magnitude:.1f} % in magnitude and {phase:.0f} mrad in phase"
        + (f", {figures['field_ppb']:.1f} ppb of field" if "field_ppb" in figures else "")
        + ("." if is_passed else "; that is more than noise and regularisation explain.")
    )
    return Finding("difference_from_conventional", sentence, figures, is_warning=not is_passed)


def image_differences(images: Tensor, others: Tensor, scan: Timed) -> dict[str, float]:
    """Return by how much images differ from others where these have signal.

    Parameters
    ----------
    images, others
        Complex `(echo, z, y, x)`.
    scan
        Knows echo times and field strength.

    Returns
    -------
    `magnitude_percent`, the root mean square difference over the root mean square; `phase_mrad`, the root mean square
    difference of the phase between first and last echo, or of the only echo's, weighted by the signal; with several
    echoes `field_ppb`, the same as a field.
    """
    magnitude = others.abs()
    inside = magnitude[0] > _SIGNAL * magnitude[0].max()
    own, theirs = images.abs()[:, inside], magnitude[:, inside]
    percent = 100 * float((own - theirs).square().sum().sqrt() / theirs.square().sum().sqrt().clamp_min(_TINY))
    if len(images) == 1:
        turned = (images[0] * others[0].conj())[inside]
    else:
        turned = (images[-1] * images[0].conj() * (others[-1] * others[0].conj()).conj())[inside]
    # By signal: where it is gone, phases are anything, and either image is as good as the other.
    weight = magnitude[0][inside] * magnitude[-1][inside]
    phase = float(((weight * turned.angle().square()).sum() / weight.sum().clamp_min(_TINY)).sqrt())
    figures = {"magnitude_percent": percent, "phase_mrad": _MRAD * phase}
    if len(images) > 1:
        interval = scan.echo_times_s[-1] - scan.echo_times_s[0]
        figures["field_ppb"] = _PPB * phase / radians_per_ppm(interval, scan.b0_tesla)
    return figures


def invariance_finding(
    measured: Mapping[str, float], finer: Mapping[str, float], limits: GateLimits = LIMITS
) -> Finding:
    """Tell whether regions keep their mean susceptibility where super-resolution adds detail.

    Parameters
    ----------
    measured
        Means by region without the network's detail, on the same fine grid [ppm].
    finer
        Means by region with it [ppm].
    limits
        Where the gate closes.
    """
    changes = {name: abs(finer[name] - mean) for name, mean in measured.items() if name in finer}
    allowed = {
        name: max(limits.region_ppb / _PPB, limits.region_percent / 100 * abs(measured[name])) for name in changes
    }
    moved = sorted(name for name, change in changes.items() if not change <= allowed[name])
    most = _PPB * max(changes.values(), default=0.0)
    figures = {"largest_change_ppb": most, "regions": float(len(changes))}
    if not changes:
        said = "No region could be compared before and after super-resolution."
        return Finding("regions_kept", said, figures, is_warning=True)
    if moved:
        worst = sorted(moved, key=lambda name: -changes[name])[:_MOST_NAMED]
        others = f" and {len(moved) - len(worst)} others" if len(moved) > len(worst) else ""
        said = f"Super-resolution moves the mean of {', '.join(worst)}{others}, by up to {most:.1f} ppb."
        return Finding("regions_kept", said, figures, is_warning=True)
    said = f"Super-resolution keeps the means of {len(changes)} regions within {most:.1f} ppb."
    return Finding("regions_kept", said, figures, is_warning=False)


def _source_finding(is_learned: bool) -> Finding:
    figures = {IMAGES_USED: float(is_learned)}
    if is_learned:
        return Finding("images_source", "The images are the network's.", figures, is_warning=False)
    said = "The images are the conventional ones, since a check of the learned ones failed."
    return Finding("images_source", said, figures, is_warning=True)
