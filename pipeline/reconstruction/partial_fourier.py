"""Partial Fourier: the lines beyond the end of an asymmetric acquisition, from the image's smooth phase (POCS)."""

import torch
from torch import Tensor

from pipeline.operators.centred_fourier import to_image, to_kspace

_LEAST_ASYMMETRY = 0.05
"""Of the longer reach; regular patterns end a line or two earlier at one side."""
_ITERATIONS = 12


def acquired_box(measured: Tensor) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return where measured lines begin and end along z and y, for bool `(z, y)`."""
    limits = []
    for axis in (0, 1):
        along = measured.any(1 - axis).nonzero()[:, 0]
        limits.append((int(along[0]), int(along[-1]) + 1))
    return limits[0], limits[1]


def is_partial(measured: Tensor) -> bool:
    """Say whether lines `(z, y)` reach clearly farther to one side of k = 0 than to the other."""
    return any(_is_lopsided(limits, size) for limits, size in zip(acquired_box(measured), measured.shape, strict=True))


def fill_partial_fourier(image: Tensor, measured: Tensor, iterations: int = _ITERATIONS) -> Tensor:
    """Replace what lies beyond the acquired lines so that the image has the phase of its symmetric middle.

    Parameters
    ----------
    image
        Complex `(z, y, x)` of one echo, reconstructed from an asymmetric acquisition.
    measured
        The lines, bool `(z, y)`; gaps inside the acquired box count as acquired, the reconstruction filled them.
    iterations
        How often the image is brought to that phase and its acquired k-space put back.

    Returns
    -------
    Complex `(z, y, x)`; the input itself where the acquisition is symmetric.

    Notes
    -----
    Acquired k-space is kept, so detail of the phase is lost only as far as it needs the lines that were not acquired.

    Source: Haacke 1991, doi:10.1016/0022-2364(91)90253-P (POCS).
    """
    if not is_partial(measured):
        return image
    acquired = to_kspace(image, (-3, -2))
    kept = torch.ones(measured.shape, device=image.device)
    middle = torch.ones(measured.shape, device=image.device)
    for axis, (limits, size) in enumerate(zip(acquired_box(measured), measured.shape, strict=True)):
        if not _is_lopsided(limits, size):
            continue
        profile = torch.zeros(size, device=image.device)
        profile[limits[0] : limits[1]] = 1
        kept = kept * profile.unsqueeze(1 - axis)
        middle = middle * _symmetric_window(limits, size, image.device).unsqueeze(1 - axis)
    phase = to_image(acquired * middle[..., None], (-3, -2))
    phase = torch.where(phase.abs() > 0, phase / phase.abs().clamp_min(torch.finfo(phase.real.dtype).tiny), 1)
    current = image
    for _ in range(iterations):
        in_phase = (current * phase.conj()).real.clamp_min(0) * phase
        spectrum = to_kspace(in_phase, (-3, -2))
        current = to_image(spectrum + (acquired - spectrum) * kept[..., None], (-3, -2))
    return current


def _is_lopsided(limits: tuple[int, int], size: int) -> bool:
    before, after = size // 2 - limits[0], limits[1] - 1 - size // 2
    # An even size has one line more before its middle than after it.
    return abs(before - after) > max(2.0, _LEAST_ASYMMETRY * max(before, after))


def _symmetric_window(limits: tuple[int, int], size: int, device: torch.device) -> Tensor:
    """Return a Hann window over the lines that have an acquired mirror image."""
    reach = min(size // 2 - limits[0], limits[1] - 1 - size // 2) + 1
    place = (torch.arange(size, device=device) - size // 2) / reach
    return torch.where(place.abs() < 1, torch.cos(0.5 * torch.pi * place).square(), 0)
