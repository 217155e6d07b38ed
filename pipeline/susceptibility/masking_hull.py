"""Find a smooth, filled brain on a coarse grid: tissue is opened until its largest body lets go of the scalp.

Tissue is opened with growing balls until the next ball changes little; what still hangs on the body by a narrow passage
and reaches the scalp, like the eyes, is cut at the passage. Sulci are closed, air that reaches in is taken out again.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UnusableInput
from pipeline.susceptibility import morphology as shapes
from pipeline.susceptibility.morphology import Bool, Float, Size

# Least signal of tissue as a part of the local brain signal, and the openings [mm] tried with it: gentle ones first.
SEPARATIONS = ((0.5, (3.0, 4.5, 6.0)), (0.6, (4.5, 6.0, 8.0)), (0.7, (6.0, 8.0, 10.0)), (0.8, (8.0, 10.0, 12.0)))
SCALP_MM = 4.0
FREE_SHARE = 0.02
LEAST_DYNAMIC_MM = 1.5
LEVEL_MM = 20.0


def brain_hull(
    signal: Float, first: Float, trusted: Bool, size: Size, least_signal: float, closing_mm: float
) -> tuple[Bool, Float]:
    """Return a smooth, filled brain, and the level of brain tissue in the first echo, both on the coarse grid.

    Parameters
    ----------
    signal
        Magnitude of all echoes together [arbitrary], `(z, y, x)`.
    first
        Magnitude of the first echo [arbitrary], `(z, y, x)`; it shows tissue that loses signal early.
    trusted
        Where the phase is no noise, `(z, y, x)`.
    size
        Voxel size [mm], `(z, y, x)`.
    least_signal
        Part of the local level below which a voxel is bone or air [1].
    closing_mm
        Gaps narrower than twice this are closed [mm].

    Raises
    ------
    UnusableInput
        The magnitude is zero, or no body of tissue is found.
    """
    head = shapes.head(signal)
    level = shapes.local_mean(signal, head, LEVEL_MM, size)
    brain = head
    for _ in range(2):
        brain = _separate(_relative(signal, level), trusted, head, size)
        level = shapes.local_mean(signal, brain, LEVEL_MM, size)
    closed = shapes.close(brain, closing_mm, size)
    level = shapes.local_mean(first, brain, LEVEL_MM, size)
    outside = shapes.open(first < least_signal * level, 1.0, size)
    solid = shapes.open(brain | (closed & ~outside), 4.0, size)
    hull = shapes.fill(shapes.largest(solid))
    return hull, shapes.local_mean(first, hull, LEVEL_MM, size)


def _relative(signal: Float, level: Float) -> Float:
    """Return the signal as a part of the local level [1]; zero where no level is known."""
    return np.divide(signal, level, out=np.zeros_like(signal), where=level > 0)


def _separate(relative: Float, trusted: Bool, head: Bool, size: Size) -> Bool:
    """Return the largest body of tissue after the gentlest opening that takes it off the scalp."""
    shell = head & ~shapes.erode(head, SCALP_MM, size)
    candidates: list[tuple[float, Bool]] = []
    free: list[Bool] = []
    for least, radii in SEPARATIONS:
        tissue = (relative > least) & trusted
        numbers = None
        for radius in radii:
            core = shapes.largest(shapes.erode(tissue, radius, size))
            if not core.any():
                break
            body = tissue & shapes.dilate(core, radius + max(size), size)
            share = float((body & shell).sum() / max(1, shell.sum()))
            candidates.append((share, body))
            if share >= FREE_SHARE:
                continue
            if numbers is None:
                numbers = shapes.basins(shapes.depth(tissue, size), LEAST_DYNAMIC_MM)
            free.append(_without_neighbours(numbers, core, body, shell))
            # What the next opening leaves nearly as it was had nothing foreign left on it.
            if len(free) > 1 and free[-1].sum() > 0.95 * free[-2].sum():
                return free[-2]
    return free[-1] if free else _least_bad(candidates)


def _least_bad(candidates: list[tuple[float, Bool]]) -> Bool:
    """Return the body to keep where all touch the head's surface, each given with the share of it that it touches."""
    if not candidates:
        raise UnusableInput("No body of tissue was found in the magnitude; check that the images show a head.")
    first, freest = candidates[0], min(candidates, key=lambda candidate: candidate[0])
    # A brain without scalp, or a slab inside the brain, touches the head's surface whatever is done: nothing to cut.
    return freest[1] if freest[0] < 0.3 * first[0] else first[1]


def _without_neighbours(numbers: NDArray[np.integer], core: Bool, body: Bool, shell: Bool) -> Bool:
    """Return the body without the basins that hang on it by a passage and reach the scalp, like the eyes."""
    count = int(numbers.max()) + 1
    volume = np.bincount(numbers.ravel(), minlength=count)
    in_core, in_body, in_shell = (np.bincount(numbers[part], minlength=count) for part in (core, body, shell))
    own = (in_core > 0) | ((in_shell < FREE_SHARE * volume) & (in_body > 0.5 * volume))
    own[0] = False
    return own[numbers] & body
