"""Unwrap each echo along the path of the best voxel reliability (Abdul-Rahman and Herráez).

The path search is scikit-image's; this module feeds it and makes sure that what comes back differs from the input by
whole turns only.
"""

from collections.abc import Mapping

import numpy as np
import torch
from skimage.restoration import unwrap_phase
from torch import Tensor

from pipeline.method import Method, NoSettings, StepContext
from pipeline.susceptibility.phase_unwrapping.each_echo import unwrap_each_echo

_SEED = 0


def unwrap_best_path(phase: Tensor, magnitude: Tensor, mask: Tensor) -> Tensor:
    """Unwrap one volume along its best path.

    Parameters
    ----------
    phase
        Wrapped phase within ±π [rad], `(z, y, x)`.
    magnitude
        Not used: the reliability is the smallness of the phase's second differences.
    mask
        Where to unwrap, bool `(z, y, x)`.

    Returns
    -------
        Unwrapped phase [rad], `(z, y, x)`, zero outside the mask, in each of its parts up to whole turns.

    References
    ----------
    Abdul-Rahman 2007, doi:10.1364/AO.46.006623.
    """
    hidden = ~mask.cpu().numpy()
    # Equal reliabilities are settled by chance: a fixed seed makes the same input give the same turns.
    unwrapped = unwrap_phase(np.ma.masked_array(phase.detach().cpu().double().numpy(), hidden), rng=_SEED)
    filled = np.ascontiguousarray(np.ma.filled(unwrapped, 0.0))
    return torch.from_numpy(filled).to(device=phase.device, dtype=phase.dtype)


def run(inputs: Mapping[str, Tensor], context: StepContext, settings: NoSettings) -> dict[str, Tensor]:
    """Unwrap the step's phase; see `unwrap_best_path`."""
    unwrapped = unwrap_each_echo(
        unwrap_best_path,
        inputs["phase"],
        inputs["magnitude"],
        inputs["mask"],
        context.echo_times_s,
        context.on_iteration,
    )
    return {"unwrapped_phase": unwrapped}


BEST_PATH = Method(
    name="best_path",
    citation="Abdul-Rahman 2007, doi:10.1364/AO.46.006623 (path search: scikit-image)",
    run=run,
    settings=NoSettings,
    inputs=("phase", "magnitude", "mask"),
    outputs=("unwrapped_phase",),
    memory_volumes=21.5,
)
