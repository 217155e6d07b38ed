"""In which numbers a network is trained: single precision, or bfloat16 products where the processor has them."""

from pathlib import Path

import torch
from torch import Tensor

from pipeline.errors import InvalidRecipe

PRECISIONS = ("auto", "float32", "bfloat16")
_CPU_FLAGS = Path("/proc/cpuinfo")
# oneDNN 3.12 leaves memory unset in gradients of bfloat16 kernels over volumes of 2 voxels: NaN, or any number.
_LEAST_VOXELS_ON_A_CPU = 3


def chosen_precision(wanted: str, device: torch.device, coarsest: int) -> torch.dtype:
    """Return the precision of products: bfloat16 where it is faster and right, unless a person says otherwise.

    Parameters
    ----------
    wanted
        "auto", "float32" or "bfloat16".
    device
        Where the network computes.
    coarsest
        Least size of a volume inside the network [voxels].

    Raises
    ------
    InvalidRecipe
        No such precision, or one whose gradients would be wrong.
    """
    if wanted not in PRECISIONS:
        raise InvalidRecipe(f"The precision is one of {', '.join(PRECISIONS)}, not '{wanted}'.")
    is_right = device.type != "cpu" or coarsest >= _LEAST_VOXELS_ON_A_CPU
    if wanted == "bfloat16" and not is_right:
        raise InvalidRecipe(
            f"The patch leaves {coarsest} voxels along an axis inside the network, where bfloat16 gradients are wrong "
            "on a CPU. Take a larger --patch, or --precision float32."
        )
    if wanted == "auto":
        return torch.bfloat16 if is_right and _multiplies_bfloat16(device) else torch.float32
    return torch.bfloat16 if wanted == "bfloat16" else torch.float32


def autocast_for(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """Return the context in which a network computes; it may be entered again and again."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16, cache_enabled=False)


def in_fast_layout(values: Tensor) -> Tensor:
    """Return a batch or a kernel `(batch, channel, z, y, x)` with channels innermost, as fast convolutions read it."""
    return values.contiguous(memory_format=torch.channels_last_3d)


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    # Without the instruction bfloat16 is emulated and slower than single precision.
    return _CPU_FLAGS.is_file() and "avx512_bf16" in _CPU_FLAGS.read_text(errors="ignore")
