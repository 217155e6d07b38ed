"""Which lines of k-space an accelerated scan measures: masks over both phase-encoding directions `(z, y)`."""

import math

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import UnusableInput

_HALVINGS = 9
_EDGE_RADIUS = 2.0
"""How many times wider apart than in the middle the lines of a Poisson disk lie at the rim of k-space."""


def uniform(
    shape_zy: tuple[int, int],
    factor_zy: tuple[int, int],
    calibration: tuple[int, int],
    caipi_shift: int = 0,
) -> Tensor:
    """Measure every n-th line, and all lines of the centre.

    Parameters
    ----------
    shape_zy
        Lines of the whole k-space along `(z, y)`.
    factor_zy
        Every how many lines one is measured along `(z, y)`; 1 measures all.
    calibration
        Lines `(z, y)` of the fully measured centre; 0 for none.
    caipi_shift
        By how many lines along y the pattern moves from one measured plane in z to the next (CAIPIRINHA).

    Returns
    -------
        Bool `(z, y)`; the line through the centre of k-space is always measured.

    Raises
    ------
    UnusableInput
        A factor is below one or the centre larger than k-space.

    References
    ----------
    Breuer et al. 2006, doi:10.1002/mrm.20787.
    """
    if min(factor_zy) < 1:
        raise UnusableInput(f"Acceleration factors start at 1; they are {factor_zy}.")
    z = (torch.arange(shape_zy[0]) - shape_zy[0] // 2)[:, None]
    y = torch.arange(shape_zy[1]) - shape_zy[1] // 2
    moved = y - caipi_shift * torch.div(z, factor_zy[0], rounding_mode="floor")
    return (z % factor_zy[0] == 0) & (moved % factor_zy[1] == 0) | _centre(shape_zy, calibration)


def poisson_disk(shape_zy: tuple[int, int], acceleration: float, calibration: tuple[int, int], seed: int = 0) -> Tensor:
    """Measure lines that lie at random but never close together, denser in the middle, and all lines of the centre.

    Parameters
    ----------
    shape_zy
        Lines of the whole k-space along `(z, y)`.
    acceleration
        All lines divided by the measured ones, the centre included.
    calibration
        Lines `(z, y)` of the fully measured centre; 0 for none.
    seed
        Decides the lines.

    Returns
    -------
        Bool `(z, y)` with the asked number of lines.

    Raises
    ------
    UnusableInput
        The centre alone holds more lines than the acceleration allows.

    References
    ----------
    Vasanawala et al. 2011, doi:10.1109/ISBI.2011.5872579.
    """
    centre = _centre(shape_zy, calibration)
    wanted = round(math.prod(shape_zy) / acceleration)
    if acceleration < 1 or int(centre.sum()) > wanted:
        raise UnusableInput(
            f"Acceleration {acceleration} leaves {wanted} of {shape_zy} lines, but the centre alone has "
            f"{int(centre.sum())}; ask for less acceleration or a smaller centre."
        )
    chance = torch.Generator().manual_seed(seed)
    order = torch.randperm(math.prod(shape_zy), generator=chance).numpy()
    low, high = 0.0, 2.0 * math.sqrt(acceleration) + 2.0
    mask = torch.ones(shape_zy, dtype=torch.bool)
    for _ in range(_HALVINGS):
        radius = 0.5 * (low + high)
        thrown = _throw(shape_zy, radius, centre.numpy(), order)
        if int(thrown.sum()) >= wanted:
            low, mask = radius, thrown
        else:
            high = radius
    outside = (mask & ~centre).flatten().nonzero().flatten()
    spare = int(mask.sum()) - wanted
    dropped = outside[torch.randperm(len(outside), generator=chance)[:spare]]
    mask.view(-1)[dropped] = False
    return mask


def partial_fourier(mask: Tensor, share_y: float, share_z: float = 1.0) -> Tensor:
    """Leave out the first lines of a pattern along y and z.

    Parameters
    ----------
    mask
        Bool `(z, y)`.
    share_y
        Share of the lines along y that stays (above 0.5, up to 1).
    share_z
        Share of the lines along z that stays.

    Returns
    -------
        Bool `(z, y)`.

    Raises
    ------
    UnusableInput
        A share is out of range: with half of k-space or less its centre is lost.
    """
    if not (0.5 < share_y <= 1 and 0.5 < share_z <= 1):
        raise UnusableInput(f"Shares of partial Fourier lie above 0.5 and up to 1; they are {share_y} and {share_z}.")
    kept = mask.clone()
    kept[: round(mask.shape[0] * (1 - share_z))] = False
    kept[:, : round(mask.shape[1] * (1 - share_y))] = False
    return kept


def _centre(shape_zy: tuple[int, int], calibration: tuple[int, int]) -> Tensor:
    """Return the fully measured block about the centre of k-space, bool `(z, y)`."""
    if any(not 0 <= lines <= size for lines, size in zip(calibration, shape_zy, strict=True)):
        raise UnusableInput(f"A centre of {calibration} lines does not fit into {shape_zy}.")
    centre = torch.zeros(shape_zy, dtype=torch.bool)
    first_z, first_y = (size // 2 - lines // 2 for lines, size in zip(calibration, shape_zy, strict=True))
    centre[first_z : first_z + calibration[0], first_y : first_y + calibration[1]] = True
    return centre


def _throw(shape_zy: tuple[int, int], radius: float, centre: np.ndarray, order: np.ndarray) -> Tensor:
    """Take lines in an order, each that lies far enough from those taken before; the distance grows outwards."""
    n_z, n_y = shape_zy
    z, y = np.meshgrid(np.arange(n_z) - n_z // 2, np.arange(n_y) - n_y // 2, indexing="ij")
    outwards = np.hypot(2 * z / max(n_z, 2), 2 * y / max(n_y, 2))
    squares = (radius * (1 + (_EDGE_RADIUS - 1) * np.minimum(outwards, 1))) ** 2
    free, taken = ~centre, centre.copy()
    for index in order.tolist():
        row, column = divmod(index, n_y)
        if not free[row, column]:
            continue
        taken[row, column] = True
        square = squares[row, column]
        reach = math.ceil(math.sqrt(square))
        top, left = max(0, row - reach), max(0, column - reach)
        rows = np.arange(top, min(n_z, row + reach + 1)) - row
        columns = np.arange(left, min(n_y, column + reach + 1)) - column
        near = rows[:, None] ** 2 + columns**2 < square
        free[top : top + len(rows), left : left + len(columns)] &= ~near
    return torch.from_numpy(taken)
