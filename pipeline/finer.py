"""Finer images by super-resolution, used only where the maps of both kinds of image keep the means of regions."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.acquisition import Acquisition
from pipeline.errors import Permanent, UnusableInput
from pipeline.grid import Grid
from pipeline.maps import Maps
from pipeline.method import Finding, OnIteration
from pipeline.networks.cards import training_state
from pipeline.networks.super_resolution import coarse_again
from pipeline.recipe import Recipe
from pipeline.reconstruction.gates import difference_finding, invariance_finding
from pipeline.reconstruction.super_resolution import NAME, FineImages, super_resolve
from pipeline.regions.measurements import measure
from pipeline.regions.shown import regions_shown
from pipeline.run import run

_SUPER_RESOLVING_SHARE = 0.1
_BAND_KEPT = 1e-3
_TINY = 1e-30


@dataclass(frozen=True)
class FinerImages:
    """Images, and whether they are finer than those that were given.

    Attributes
    ----------
    images
        Complex `(echo, z, y, x)` on `grid`: with added detail where every check is passed, else as given.
    grid
        Twice as fine, or as given.
    is_finer
        Which of both.
    findings
        What was found out, the last of it whose images these are.
    """

    images: Tensor
    grid: Grid
    is_finer: bool
    findings: tuple[Finding, ...]


def finer_images(
    images: Tensor,
    grid: Grid,
    echo_times_s: tuple[float, ...],
    b0_tesla: float,
    recipe: Recipe,
    on_iteration: OnIteration | None = None,
    network: torch.nn.Module | None = None,
) -> FinerImages:
    """Make images twice as fine, map them with and without the added detail, and keep it if regions keep their means.

    Without the network's detail the fine images are zero-filled: what was measured and nothing else. The measured band
    of k-space is that of the given images in both.

    Parameters
    ----------
    images
        Complex `(echo, z, y, x)`.
    grid
        Of the images.
    echo_times_s, b0_tesla
        Of the scan.
    recipe
        Says how susceptibility is mapped, and how the network computes.
    on_iteration
        Told the fraction done.
    network
        In place of the stored one.

    Raises
    ------
    UnusableInput
        The images are not complex or not on the grid, or there is one plane.
    WeightsUnknown, WeightsMissing, WeightsAltered
        The network is not trained, or its weights are not those that are listed.
    """
    if min(grid.shape) < 2:
        raise UnusableInput(
            f"Super-resolution makes volumes finer along all axes, and these images are {grid.shape}; leave it out."
        )
    settings = recipe.image_settings(NAME)
    fine = super_resolve(images, grid, settings, _part(on_iteration, 0.0, _SUPER_RESOLVING_SHARE), network)
    findings = [_training_finding()] if network is None else []
    findings.append(_band_finding(fine, images))
    scan = _acquisition(fine.zero_filled, fine.grid, echo_times_s, b0_tesla)
    findings.append(difference_finding(fine.images, fine.zero_filled, scan))
    findings.append(_regions_finding(fine, scan, recipe, on_iteration))
    is_finer = not any(finding.is_warning for finding in findings if finding.name != "super_resolution_training")
    findings.append(_source_finding(is_finer))
    if on_iteration is not None:
        on_iteration(1.0)
    used, its_grid = (fine.images, fine.grid) if is_finer else (images, grid)
    return FinerImages(used, its_grid, is_finer, tuple(findings))


def _regions_finding(fine: FineImages, scan: Acquisition, recipe: Recipe, told: OnIteration | None) -> Finding:
    """Map both kinds of images and compare the means of what stands out of the map without added detail."""
    middle = 0.5 * (1 + _SUPER_RESOLVING_SHARE)
    try:
        plain = run(scan, recipe, _steps(recipe, _part(told, _SUPER_RESOLVING_SHARE, middle)))[0]
        detailed = _acquisition(fine.images, fine.grid, scan.echo_times_s, scan.b0_tesla)
        finer = run(detailed, recipe, _steps(recipe, _part(told, middle, 1.0)))[0]
    except Permanent as refusal:
        said = f"No map could be made to compare regions before and after super-resolution: {refusal}"
        return Finding("regions_kept", said)
    mask = plain.mask & finer.mask
    labels, names = regions_shown(plain.susceptibility, mask, fine.grid)
    before, after = (_means(maps, labels, names, mask, fine.grid) for maps in (plain, finer))
    return invariance_finding(before, after)


def _means(maps: Maps, labels: Tensor, names: dict[int, str], mask: Tensor, grid: Grid) -> dict[str, float]:
    found = measure(maps.susceptibility, labels, names, mask, grid.voxel_size_mm)
    return {region.name: region.mean for region in found}


def _acquisition(images: Tensor, grid: Grid, echo_times_s: tuple[float, ...], b0_tesla: float) -> Acquisition:
    return Acquisition(images.abs(), images.angle(), echo_times_s, b0_tesla, grid)


def _training_finding() -> Finding:
    state = training_state(NAME)
    said = f"Images were made finer by the network {NAME}, which is {state.sentence}."
    return Finding("super_resolution_training", said, {}, is_warning=not state.is_full)


def _band_finding(fine: FineImages, images: Tensor) -> Finding:
    missed = float((coarse_again(fine.images) - images).norm() / images.norm().clamp_min(_TINY))
    is_kept = missed <= _BAND_KEPT
    said = (
        f"The measured band of k-space is {'untouched' if is_kept else 'changed'}: it differs by {100 * missed:.4f} %."
    )
    return Finding("measured_band_kept", said, {"band_difference_percent": 100 * missed}, is_warning=not is_kept)


def _source_finding(is_finer: bool) -> Finding:
    figures = {"super_resolution_used": float(is_finer)}
    if is_finer:
        said = "The images are twice as fine as they were measured; the detail beyond that is the network's."
        return Finding("super_resolution_source", said, figures, is_warning=False)
    said = "The images are as they were measured: a check of the finer ones failed."
    return Finding("super_resolution_source", said, figures)


def _steps(recipe: Recipe, told: OnIteration | None) -> Callable[[str, float], None]:
    """Return a listener to a chain's steps that tells the fraction of the whole chain."""
    steps = list(recipe.steps)

    def note(step: str, share: float) -> None:
        if told is not None:
            told((steps.index(step) + share) / len(steps))

    return note


def _part(told: OnIteration | None, start: float, stop: float) -> OnIteration | None:
    return None if told is None else lambda share: told(start + (stop - start) * share)
