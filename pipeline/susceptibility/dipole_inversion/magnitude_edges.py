"""Where the magnitude is steep, susceptibility may be too: the prior that inversions share."""

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.operators.gradient import gradient_length


def steep_places(
    magnitude: Tensor, mask: Tensor, voxel_size_mm: tuple[float, float, float], steep_share: float
) -> Tensor:
    """Return the voxels of the mask where the late echoes' magnitude is steepest.

    Iron shows in the late echoes: edges of all echoes together would leave the red nuclei to the regularisation.

    Parameters
    ----------
    magnitude
        Echo images `(echo, z, y, x)`, or one image `(z, y, x)` [arbitrary].
    mask
        Bool `(z, y, x)`.
    voxel_size_mm
        Voxel size `(z, y, x)` [mm].
    steep_share
        Which share of the mask to return, 0 to 1.

    Returns
    -------
    Bool `(z, y, x)`, False outside the mask.

    Raises
    ------
    UnusableInput
        The images do not lie on the mask's grid.

    Source: Liu 2012, doi:10.1002/mrm.24272.
    """
    if magnitude.shape[-3:] != mask.shape:
        raise UnusableInput(f"The magnitude has shape {tuple(magnitude.shape)} but the mask {tuple(mask.shape)}.")
    late = magnitude[magnitude.shape[0] // 2 :] if magnitude.dim() == 4 else magnitude[None]
    image = late[0].square()
    for echo in late[1:]:
        image.addcmul_(echo, echo)
    steepness = gradient_length(image.sqrt_(), voxel_size_mm)
    inside = steepness[mask]
    n_smooth = round((1 - steep_share) * inside.numel())
    if n_smooth < 1:
        return mask.clone()
    return mask & (steepness > torch.kthvalue(inside, n_smooth).values)
