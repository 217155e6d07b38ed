"""The total field as every background field removal starts on it: cut around the mask, without its constant offset."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import OnIteration
from pipeline.operators.padding import Frame, frame_around


@dataclass(frozen=True)
class FramedField:
    """The field [ppm] and its mask on a frame, both `(z, y, x)`; the field is zero outside the mask."""

    frame: Frame
    field: Tensor
    inside: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the frame's shape."""
        return self.frame.grid.shape


def cut_field(total_field: Tensor, mask: Tensor, grid: Grid, margin: int = 1, multiple: int = 2) -> FramedField:
    """Cut the field to the mask's bounding box with a margin, and subtract its median.

    A constant is background whatever else is, and a large one would cost single precision its last digits.

    Parameters
    ----------
    total_field
        Relative field `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`.
    grid
        The grid of both.
    margin
        Least rim [voxels] around the mask; one keeps balls that leave the box apart from those inside it.
    multiple
        Every size of the frame is a multiple of this even number.

    Raises
    ------
    UnusableInput
        Shapes disagree or the mask is empty.
    """
    if total_field.shape != mask.shape:
        raise UnusableInput(f"The field has shape {tuple(total_field.shape)} but the mask {tuple(mask.shape)}.")
    frame = frame_around(mask, grid, margin, multiple)
    inside = frame.embed(mask)
    offset = total_field[mask].median()
    return FramedField(frame, torch.where(inside, frame.embed(total_field) - offset, 0.0), inside)


def counted(told: OnIteration | None, n_iterations: int) -> Callable[[int], None] | None:
    """Return a listener of step numbers that tells the fraction done."""
    if told is None:
        return None
    return lambda step: told(step / n_iterations)
