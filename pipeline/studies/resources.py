"""What a computation costs: seconds, the same in FFT pairs, and the most memory beside what was there before.

An FFT pair is one float32 `rfftn` and `irfftn` of the volume, timed in the same run on the same device, so that ratios
hold on a slow or busy machine too.
"""

import ctypes
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

FLOAT32_BYTES = 4
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


@dataclass(frozen=True)
class Cost:
    """What one call took; `peak_volumes` is a multiple of one float32 volume, not a number where it is not known."""

    seconds: float
    fft_pairs: float
    peak_volumes: float


def fft_pair_seconds(shape: tuple[int, int, int], device: str = "cpu", repeats: int = 9) -> float:
    """Return the median time of one float32 `rfftn` + `irfftn` of a volume [s]."""
    volume = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
    times = []
    for _ in range(repeats):
        began = clock(device)
        torch.fft.irfftn(torch.fft.rfftn(volume), s=shape)
        times.append(clock(device) - began)
    return statistics.median(times)


def clock(device: str = "cpu") -> float:
    """Return a time [s], after a GPU has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def measured(
    work: Callable[[], Any], shape: tuple[int, int, int], device: str = "cpu", repeats: int = 1
) -> tuple[Any, Cost]:
    """Return what a call returns and what it cost: the best time of several, the pairs timed before and after.

    Parameters
    ----------
    work
        The call.
    shape
        The volume by which time and memory are counted.
    device
        Where it computes.
    repeats
        How often it is called at most; a call of more than a second is not repeated.
    """
    pair = fft_pair_seconds(shape, device)
    before = start_peak(device)
    began = clock(device)
    result = work()
    seconds = clock(device) - began
    extra = peak_bytes(device) - before
    for _ in range(repeats - 1):
        if seconds > 1.0:
            break
        began = clock(device)
        work()
        seconds = min(seconds, clock(device) - began)
    pair = (pair + fft_pair_seconds(shape, device)) / 2
    return result, Cost(seconds, seconds / pair, extra / (FLOAT32_BYTES * math.prod(shape)))


def start_peak(device: str = "cpu") -> float:
    """Forget earlier peaks and return the memory in use now [bytes]; not a number where the system does not tell."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return float(torch.cuda.memory_allocated())
    # What earlier work freed but the allocator kept would be used again unseen.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError:
        return math.nan
    return _status_bytes("VmRSS")


def peak_bytes(device: str = "cpu") -> float:
    """Return the most memory in use since `start_peak` [bytes]."""
    if device.startswith("cuda"):
        return float(torch.cuda.max_memory_allocated())
    return _status_bytes("VmHWM")


def _status_bytes(field: str) -> float:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return math.nan
    found = next((line for line in lines if line.startswith(f"{field}:")), None)
    return 1024 * float(found.split()[1]) if found else math.nan
