"""In which numbers a network is trained: single precision, or bfloat16 products where the processor has them."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.errors import InvalidRecipe

PRECISIONS = ("auto", "float32", "bfloat16")
_CPU_FLAGS = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Extent:
    """How small volumes become inside a network, and how wide its kernels are [voxels]."""

    coarsest: int
    kernel: int

    @classmethod
    def of(cls, network: nn.Module, patch: int, multiple: int) -> "Extent":
        """Return those of a network on a patch, of whose sizes it asks to be multiples."""
        return cls(
            patch // multiple, max((value.shape[-1] for value in network.parameters() if value.ndim == 5), default=1)
        )

    @property
    def allows_bfloat16_on_a_cpu(self) -> bool:
        """Tell whether gradients are right: oneDNN leaves memory unset in those of kernels wider than the volume."""
        return self.coarsest >= self.kernel


def chosen_precision(wanted: str, device: torch.device, extent: Extent) -> torch.dtype:
    """Return the precision of products: bfloat16 where it is faster and right, unless a person says otherwise.

    Parameters
    ----------
    wanted
        "auto", "float32" or "bfloat16".
    device
        Where the network computes.
    extent
        Of the network on its patch.

    Raises
    ------
    InvalidRecipe
        No such precision, or one whose gradients would be wrong.
    """
    if wanted not in PRECISIONS:
        raise InvalidRecipe(f"The precision is one of {', '.join(PRECISIONS)}, not '{wanted}'.")
    is_right = device.type != "cpu" or extent.allows_bfloat16_on_a_cpu
    if wanted == "bfloat16" and not is_right:
        raise InvalidRecipe(
            f"The patch leaves {extent.coarsest} voxels along an axis where kernels have {extent.kernel}; a CPU's "
            "bfloat16 gradients are wrong there. Take a larger --patch, or --precision float32."
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
