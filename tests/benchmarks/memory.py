"""Print the peak memory of mapping a 256 × 256 × 128 series of five echoes; exit with 1 above the limit.

Run with `python -m tests.benchmarks.memory`. One child simulates the series, another maps it, so that the peak of the
one is not counted for the other.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from pipeline.acquisition import Acquisition
from pipeline.grid import Grid
from pipeline.recipe import builtin_recipe
from pipeline.run import run
from pipeline.simulation.phantom import adult_head
from pipeline.simulation.scanner import Protocol, acquire

LARGE = Protocol(shape=(128, 256, 256), voxel_size_mm=(1.2, 0.9, 0.9))
LARGEST_GIB = 6.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="default", help="name of a built-in recipe")
    parser.add_argument("--part", choices=["simulate", "map"], help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part == "simulate":
        return simulate(options.file)
    if options.part == "map":
        return map_series(options.file, options.recipe)
    with tempfile.TemporaryDirectory() as folder:
        for part in ("simulate", "map"):
            command = [sys.executable, "-m", "tests.benchmarks.memory", "--part", part, "--recipe", options.recipe]
            status = subprocess.run([*command, "--file", str(Path(folder, "series.pt"))], check=False).returncode
            if status:
                return status
    return 0


def simulate(file: Path) -> int:
    scan = acquire(adult_head(), LARGE).acquisition
    torch.save((scan.magnitude, scan.phase, scan.grid.b0_direction), file)
    print(f"simulating: peak {peak_gib():.2f} GiB", flush=True)
    return 0


def map_series(file: Path, recipe: str) -> int:
    magnitude, phase, b0_direction = torch.load(file)
    grid = Grid(LARGE.shape, LARGE.voxel_size_mm, b0_direction)
    before, began = peak_gib(), time.perf_counter()
    step_peaks: dict[str, float] = {}

    def listen(step: str, fraction: float) -> None:
        step_peaks[step] = peak_gib()

    run(Acquisition(magnitude, phase, LARGE.echo_times_s, LARGE.b0_tesla, grid), builtin_recipe(recipe), listen)
    seconds = time.perf_counter() - began
    print(f"mapping {LARGE.shape} × {len(LARGE.echo_times_s)} echoes with recipe {recipe}: {seconds:.0f} s")
    for step, peak in {"(loaded)": before, **step_peaks}.items():
        print(f"  {step:26} peak so far {peak:.2f} GiB")
    is_kept = peak_gib() <= LARGEST_GIB
    print(f"peak memory {peak_gib():.2f} GiB, limit {LARGEST_GIB:.0f} GiB: {'kept' if is_kept else 'MISSED'}")
    return 0 if is_kept else 1


def peak_gib() -> float:
    """Return the largest resident size of this process so far [GiB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    sys.exit(main())
