"""The whole step from k-space to echo images: whitening, sensitivities, one reconstruction, and what it is worth."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.method import Finding, MethodChoice, OnFinding, OnIteration, resolve_settings
from pipeline.reconstruction.coil_compression import compress_coils
from pipeline.reconstruction.coil_sensitivity.espirit import espirit
from pipeline.reconstruction.coil_sensitivity.holes import fill_holes
from pipeline.reconstruction.gates import judged_images
from pipeline.reconstruction.kspace import Kspace
from pipeline.reconstruction.noise_whitening import noise_level, whiten
from pipeline.reconstruction.partial_fourier import fill_partial_fourier, is_partial
from pipeline.reconstruction.pseudo_replica import geometry_factor, noise_map
from pipeline.reconstruction.reconstruction import Reconstruction
from pipeline.reconstruction.table import CONVENTIONAL_TWIN, find_reconstruction

MOST_COILS = 16
"""Arrays of more coils are compressed to so many virtual ones."""
REPLICAS = 2
_REPLICA_SEED = 20_261_122
_SENSITIVITIES_SHARE = 0.1
_REPLICAS_SHARE = 0.2


@dataclass(frozen=True)
class Reconstructed:
    """What a scan became, in units of its noise.

    `images` are complex `(echo, z, y, x)`, `sensitivities` `(coil, z, y, x)` of the virtual coils, `noise` the standard
    deviation of real or imaginary part of the first echo's image `(z, y, x)`, `geometry_factor` the share of it that
    undersampling causes, None where nothing was left out. `conventional_twin` are the images of the conventional
    reconstruction beside a learned one.
    """

    images: Tensor
    sensitivities: Tensor
    noise: Tensor
    geometry_factor: Tensor | None
    conventional_twin: Tensor | None
    findings: tuple[Finding, ...]


def reconstruct(
    kspace: Kspace,
    choice: MethodChoice,
    on_iteration: OnIteration | None = None,
    on_finding: OnFinding | None = None,
) -> Reconstructed:
    """Make complex echo images of a scan and find out what they are worth.

    Parameters
    ----------
    kspace
        The scan as it was measured.
    choice
        The reconstruction and the settings that differ from its defaults.
    on_iteration
        Told the fraction done.
    on_finding
        Told every finding.

    Returns
    -------
    Images, sensitivities, noise, and what was found. A learned reconstruction that fails a gate gives the conventional
    images in its place, and says so.

    Raises
    ------
    UnknownMethod
        There is no such reconstruction or setting.
    SingularNoise
        The noise scan cannot be used.
    MissingCalibration
        Nothing tells the coils' sensitivities.
    NotConverged
        The reconstruction diverged.
    """
    entry = find_reconstruction(choice.method)
    settings = resolve_settings(entry, choice.settings, "step 'reconstruction'")
    findings: list[Finding] = []

    def found(finding: Finding) -> None:
        findings.append(finding)
        if on_finding is not None:
            on_finding(finding)

    white, share = compress_coils(whiten(kspace), MOST_COILS)
    _tell_of_input(kspace, white, share, found)
    sensitivities, filled = fill_holes(white, espirit(white))
    if filled:
        found(_holes_finding(filled))
    _tell(on_iteration, _SENSITIVITIES_SHARE)

    def made(scan: Kspace, way: Reconstruction, chosen: object, listener: OnIteration | None = None) -> Tensor:
        images = way.apply(scan, sensitivities, chosen, listener)
        pairs = zip(images, scan.measured, strict=True)
        return torch.stack([fill_partial_fourier(image, lines) for image, lines in pairs])

    until = 1 - _REPLICAS_SHARE
    twin = None
    if entry.learned:
        middle = 0.5 * (_SENSITIVITIES_SHARE + until)
        conventional = find_reconstruction(CONVENTIONAL_TWIN)
        twin = made(white, conventional, conventional.settings(), _part(on_iteration, _SENSITIVITIES_SHARE, middle))
        learned = made(white, entry, settings, _part(on_iteration, middle, until))
        judged = judged_images(learned, twin, white, sensitivities, noise_level(white) ** 2, on_finding=found)
        images = judged.images
        if not judged.is_learned:
            entry, settings = conventional, conventional.settings()
    else:
        images = made(white, entry, settings, _part(on_iteration, _SENSITIVITIES_SHARE, until))
    noise = _noise(white, sensitivities, lambda scan: made(scan, entry, settings))
    factor = None
    if not bool(white.measured[0].all()):
        acceleration = white.measured[0].numel() / int(white.measured[0].sum())
        factor = geometry_factor(noise, sensitivities, noise_level(white), acceleration)
        found(_geometry_finding(factor, acceleration))
    _tell(on_iteration, 1.0)
    return Reconstructed(images, sensitivities, noise, factor, twin, tuple(findings))


def _noise(kspace: Kspace, sensitivities: Tensor, reconstruct_again: Callable[[Kspace], Tensor]) -> Tensor:
    inside = torch.linalg.vector_norm(sensitivities, dim=0) > 0
    chance = torch.Generator(device=sensitivities.device).manual_seed(_REPLICA_SEED)
    return noise_map(kspace, reconstruct_again, REPLICAS, chance, inside)


def _tell_of_input(kspace: Kspace, white: Kspace, share: float, found: OnFinding) -> None:
    if kspace.noise is None:
        sentence = (
            "There is no noise scan: the coils were not whitened, and the noise was told from the rim of k-space."
        )
        found(Finding("no_noise_scan", sentence))
    if share < 1:
        sentence = (
            f"{kspace.n_coils} coils were compressed to {white.n_coils} that hold {100 * share:.2f} % of the signal."
        )
        found(Finding("coils_compressed", sentence, {"signal_percent": 100 * share}, is_warning=False))
    if any(is_partial(lines) for lines in kspace.measured):
        sentence = "K-space is asymmetric (partial Fourier); fine detail of the phase is that of its symmetric middle."
        found(Finding("partial_fourier", sentence))


def _holes_finding(share: float) -> Finding:
    sentence = (
        f"ESPIRiT found no sensitivities in {100 * share:.0f} % of the bright voxels; those of low-resolution images "
        "stand in for them. Look at the images there, or acquire more calibration lines."
    )
    return Finding("sensitivities_filled", sentence, {"percent": 100 * share})


def _geometry_finding(factor: Tensor, acceleration: float) -> Finding:
    inside = factor[factor > 0]
    if not len(inside):
        return Finding("geometry_factor", "There is no signal in which a g-factor could be told.")
    ordered = inside.sort().values
    median, high = float(ordered[len(ordered) // 2]), float(ordered[int(0.95 * (len(ordered) - 1))])
    sentence = (
        f"{acceleration:.2f} times fewer lines were measured; noise is {median:.2f} times what that alone explains "
        f"(median g-factor; 95 % of voxels below {high:.2f})."
    )
    return Finding("geometry_factor", sentence, {"median": median, "percentile_95": high}, is_warning=False)


def _part(listener: OnIteration | None, start: float, stop: float) -> OnIteration | None:
    if listener is None:
        return None
    return lambda share: listener(start + (stop - start) * share)


def _tell(listener: OnIteration | None, share: float) -> None:
    if listener is not None:
        listener(share)
