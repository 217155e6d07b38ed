"""Freed volumes go back to the system."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import torch
from pipeline.memory import return_freed_volumes

def held_now():
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * float(next(line for line in lines if line.startswith("VmRSS:")).split()[1])

assert return_freed_volumes()
before = held_now()
volumes = [torch.ones(4_000_000) for _ in range(12)]
held = held_now() - before
# Every second one, so that the others lie between the gaps.
del volumes[::2]
print(held, held_now() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library keeps freed blocks")
def test_every_second_volume_that_is_freed_goes_back_to_the_system() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    held, left = map(float, ended.stdout.split())
    assert held > 180e6
    assert left < 0.6 * held
